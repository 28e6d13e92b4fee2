"""Options of an integration by argument or from the environment, read strictly."""

from __future__ import annotations

import logging
import math
import pickle
from dataclasses import replace

import pytest

from reward_client import InputError, ObjectiveHead, RecipeError, RetryPolicy, RewardClient
from reward_client._integrations.environment import (
    PATIENCE,
    PREFIX,
    VARIABLES,
    from_environment,
    options_of,
)
from reward_client.methods import TokenLogit
from reward_client.testing import RewardServer

URL = "http://a:8000"


@pytest.mark.parametrize(
    ("option", "text", "expected"),
    [
        ("base_url", URL, URL),
        ("base_url", "http://a, http://b", ["http://a", "http://b"]),
        ("headers", "X-Team=a,x-b=c=d", {"x-team": "a", "x-b": "c=d"}),
        ("recipe", "none", None),
        ("recipe", "some/model", "some/model"),
        ("method", "TokenLogit(0)", TokenLogit(0)),
        ("head", "auto", "auto"),
        (
            "head",
            "ObjectiveHead(2, weights={'label_0': 1})",
            ObjectiveHead(2, weights={"label_0": 1}),
        ),
        ("route", "Pooling", "pooling"),
        ("bos", "true", True),
        ("bos", "False", False),
        ("bos", "none", None),
        ("on_overlong", "drop_turns", "drop_turns"),
        ("server_activation", "none", None),
        ("timeout", "2.5", 2.5),
        ("strip_reasoning", "think, reason", ("think", "reason")),
        ("strip_reasoning", "none", ()),
        ("failed", "-10", -10.0),
    ],
)
def test_what_a_variable_means(
    option: str, text: str, expected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PREFIX + option.upper(), f" {text} ")
    found = from_environment()
    assert found == {option: expected}
    assert type(found[option]) is type(expected)


@pytest.mark.parametrize(
    ("option", "text", "says"),
    [
        ("headers", "secret-value", "must be NAME=VALUE"),
        ("headers", "x=1,X=2", "names a header twice"),
        ("method", "TokenLgit(0)", "there is no TokenLgit"),
        ("method", "TokenLogit(__import__('os'))", "there is no __import__"),
        ("head", "ObjectiveHead(", "was never closed"),
        ("route", "score", "must be auto, embeddings, pooling, classify or encode, not 'score'"),
        ("bos", "yes", "must be true, false or none, not 'yes'"),
        ("on_overlong", "truncate", "must be raise or drop_turns"),
        ("timeout", "1 hour", "must be a number"),
        ("patience", "long", "must be a number"),
        ("strip_reasoning", "<think>", "without brackets"),
    ],
)
def test_a_bad_value_names_its_variable(
    option: str, text: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PREFIX + option.upper(), text)
    with pytest.raises(InputError, match=says) as raised:
        options_of("f", {})
    message = str(raised.value)
    assert message.count(PREFIX + option.upper()) == 2  # in the reason, and in an example
    assert "secret" not in message


def test_each_example_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.setenv(variable.name, variable.example)
    assert from_environment().keys() == {variable.option for variable in VARIABLES}
    options = options_of("f", {"recipe": None, "method": None})
    assert pickle.loads(pickle.dumps(options)) == options


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("ON_OVERLNG", "ON_OVERLONG"),
        ("URL", "BASE_URL"),
        ("MODEL_NAME", "MODEL"),
        ("KEY", "API_KEY"),
        ("STRIP_REASONINGS", "STRIP_REASONING"),
        ("STRIP", "STRIP_REASONING"),
        ("POLICY", "POLICY_TOKENIZER"),
    ],
)
def test_84_a_misspelt_variable_is_an_error(
    name: str, right: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PREFIX + name, "x")
    with pytest.raises(InputError, match=rf"no environment variable {PREFIX}{name}\. Write .*"):
        options_of("f", {})
    with pytest.raises(InputError, match=rf"Write {PREFIX}{right}\."):
        options_of("f", {})


@pytest.mark.parametrize(
    "name",
    ["reward_client_model", "REWARDCLIENT_MODEL", "REWARD-CLIENT_MODEL", "REWARD_CLEINT_MODEL"],
)
def test_84_a_misspelt_prefix_is_an_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "x")
    with pytest.raises(InputError, match=f"{name}. Write {PREFIX}MODEL."):
        options_of("f", {}, URL)


def test_variables_of_other_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REWARD_MODEL", "REWARD_MODEL_URL", "REWARDS_API_KEY", "MODEL", "CLIENT_MODEL"):
        monkeypatch.setenv(name, "x")
    assert from_environment() == {}


def test_another_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(f"{PREFIX}ZZZ", "x")
    with caplog.at_level(logging.WARNING):
        options_of("f", {}, URL)
    assert f"{PREFIX}ZZZ is set, but is no option" in caplog.text


def test_arguments_come_first_and_empty_variables_do_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(f"{PREFIX}BASE_URL", URL)
    monkeypatch.setenv(f"{PREFIX}MODEL", "of the environment")
    monkeypatch.setenv(f"{PREFIX}ROUTE", "  ")
    options = options_of("f", {"model": "given"}, "http://b")
    assert options.client == {
        "base_url": "http://b",
        "model": "given",
        "retry": RetryPolicy(budget=PATIENCE),
    }
    assert options_of("f", {}).client["base_url"] == URL


def test_the_patience_is_that_of_the_retries_unless_they_are_given() -> None:
    assert options_of("f", {"patience": 7}, URL).client["retry"] == RetryPolicy(budget=7)
    options = options_of("f", {"patience": 7, "retry": 3}, URL)
    assert (options.client["retry"], options.patience) == (3, 7)
    for wrong in (0, -1, math.inf, math.nan, True, "10"):
        with pytest.raises(InputError, match="patience="):
            options_of("f", {"patience": wrong}, URL)
    for wrong in ("raise", True, [1], math.nan, math.inf):
        with pytest.raises(InputError, match="failed="):
            options_of("f", {"failed": wrong}, URL)


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout": -3},
        {"head": "nope"},
        {"route": "nope"},
        {"base_url": "nope"},
        {"model": 3},
        {"recipe": "nope"},
    ],
)
def test_an_invalid_option_is_an_error_before_training(wrong: dict[str, object]) -> None:
    with pytest.raises((InputError, RecipeError)):
        options_of("f", {"base_url": URL, **wrong})
    with pytest.raises(InputError, match="REWARD_CLIENT_BASE_URL"):
        options_of("f", {})


def test_a_copy_is_the_same_whatever_it_holds() -> None:
    options = options_of("f", {"policy_tokenizer": object()}, URL)
    copy = pickle.loads(pickle.dumps(options))
    assert copy != options
    assert copy.is_same_as(options)
    assert not replace(options, policy_tokenizer=None).is_same_as(options)
    assert not options_of("f", {"policy_tokenizer": object()}, URL).is_same_as(options)
    assert options_of("f", {}, URL).is_same_as(options_of("f", {}, URL))


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ("max_retries", "retry=3"),
        ("modle", "did you mean model="),
        ("pacience", "did you mean patience="),
        ("transport", "f\\(\\) takes no transport="),
    ],
)
def test_an_unknown_option_is_an_error(option: str, hint: str) -> None:
    with pytest.raises(TypeError, match=hint):
        options_of("f", {option: 1})


def test_a_client_takes_several_urls_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with RewardServer() as one, RewardServer() as two:
        monkeypatch.setenv(f"{PREFIX}BASE_URL", f"{one.url}, {two.url}/v1")
        with RewardClient() as client:
            assert [server.url for server in client.servers()] == [one.url, two.url]
