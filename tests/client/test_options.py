"""Options and addresses: wrong ones are refused at once, secrets are never shown."""

from __future__ import annotations

import inspect
import pickle
import re
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from pydantic import ValidationError

from reward_client import (
    AsyncRewardClient,
    Connection,
    InputError,
    Limits,
    RetryPolicy,
    RewardClient,
    ScalarHead,
    Timeouts,
)
from reward_client._client.base_url import server_urls
from reward_client._client.config import Config
from reward_client._client.spelling import SPELLINGS


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://localhost:8000/", "http://localhost:8000"),
        ("http://localhost:8000/v1", "http://localhost:8000"),
        ("http://localhost:8000/v1/", "http://localhost:8000"),
        ("https://host/prefix/v1", "https://host/prefix"),
        ("https://host/prefix/", "https://host/prefix"),
        ("http://[::1]:8000/v1", "http://[::1]:8000"),
        (" http://host:1 ", "http://host:1"),
    ],
)
def test_with_or_without_v1(given: str, url: str) -> None:
    assert server_urls(given) == (url,)


@pytest.mark.parametrize(
    "given",
    [
        *("", "localhost:8000", "ftp://host", "http://", "http://host:port", "http://host:99999"),
        *("http://host?x=1", "http://host#x", "http://[::1", 8000, {"http://host"}, b"http://h"),
    ],
)
def test_what_is_no_server_url(given: Any) -> None:
    with pytest.raises(InputError, match="base_url"):
        server_urls(given)


def test_no_password_in_the_url() -> None:
    for client in (RewardClient, AsyncRewardClient):
        with pytest.raises(InputError, match="api_key=") as caught:
            client("http://user:hunter2@host")
        assert "hunter2" not in str(caught.value)


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REWARD_CLIENT_BASE_URL", raising=False)
    with pytest.raises(InputError, match="REWARD_CLIENT_BASE_URL"):
        server_urls(None)
    monkeypatch.setenv("REWARD_CLIENT_BASE_URL", "http://from-environment:1/v1")
    monkeypatch.setenv("REWARD_CLIENT_API_KEY", "from-environment")
    monkeypatch.setenv("OPENAI_API_KEY", "never-sent")
    monkeypatch.setenv("VLLM_API_KEY", "never-sent")
    config = Config(base_url=None)
    assert config.urls == ("http://from-environment:1",)
    assert config.request_headers == {"authorization": "Bearer from-environment"}
    explicit = Config(base_url="http://host", api_key="explicit")
    assert explicit.request_headers == {"authorization": "Bearer explicit"}
    header = Config(base_url="http://host", headers={"Authorization": "Basic ours"})
    assert header.request_headers == {"authorization": "Basic ours"}


def test_secrets_are_not_shown() -> None:
    secrets = {"api_key": "sk-secret", "headers": {"x-gateway": "gw-secret"}}
    options: dict[str, Any] = {**secrets, "connection": Connection(proxy="http://u:pw-secret@p")}
    for client in (
        RewardClient("http://host", **options),
        AsyncRewardClient("http://h", **options),
    ):
        assert "secret" not in repr(client)
        assert "secret" not in repr(client.__getstate__())


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"api_key": "sk-secret\n"}, "api_key"),
        ({"api_key": "sk-sécret"}, "api_key"),
        ({"headers": {"x-key": "secret\r\nx: y"}}, "x-key"),
        ({"api_key": b"sk-secret"}, "api_key= must be a str or None, not a bytes."),
        ({"api_key": 0}, "api_key= must be a str or None, not an int."),
        ({"api_key": lambda: "sk-secret"}, "api_key= must be a str or None, not a function."),
        ({"headers": {"x-key": 5}}, "headers= must map str to str, and holds an int."),
        ({"headers": {b"x-key": "secret"}}, "headers= must map str to str, and holds a bytes."),
        ({"headers": [("x-key", "secret")]}, "headers= must be a mapping, such as"),
        ({"headers": []}, "or None, not a list."),
        ({"headers": "x-key: secret"}, "or None, not a str."),
        ({"transport": "http"}, "transport= must be an httpx.AsyncBaseTransport"),
        ({"transport": httpx.HTTPTransport()}, "or None, not an httpx.HTTPTransport."),
        ({"transport": httpx.AsyncHTTPTransport}, "not the class AsyncHTTPTransport."),
        ({"transport": httpx.AsyncClient()}, "or None, not an httpx.AsyncClient."),
        ({"head": "steps"}, "head="),
        ({"route": "classify-me"}, "route="),
        ({"server_activation": "softmax"}, "server_activation="),
        ({"limits": {"max_concurrency": 5}}, "limits= must be a Limits, such as"),
        ({"limits": httpx.Limits()}, "not an httpx.Limits."),
        ({"connection": None}, "connection= must be a Connection, such as"),
        ({"model": 5}, "model= must be a str or None, not an int."),
        ({"bos": "yes"}, "bos= must be True, False or None, not 'yes'."),
        ({"tokenizer": None}, "tokenizer= must be a str, a path or a LocalTokenizer, not None."),
        ({"method": "YesNo"}, "not a str."),
    ],
)
def test_wrong_options(options: Any, hint: str) -> None:
    for client in (RewardClient, AsyncRewardClient):
        with pytest.raises(InputError) as caught:
            client("http://host", **options)
        assert hint in str(caught.value)
        assert "secret" not in str(caught.value)


def make_direct(kind: type[RewardClient | AsyncRewardClient], **options: Any) -> Config:
    return kind("http://host", **options).__getstate__()


def make_from_openai(kind: type[RewardClient | AsyncRewardClient], **options: Any) -> Config:
    carrier = openai.AsyncOpenAI(base_url="http://host", api_key="key")
    return kind.from_openai(carrier, **options)._session.config


@pytest.fixture(params=[make_direct, make_from_openai])
def make(request: pytest.FixtureRequest) -> Callable[..., Config]:
    maker: Callable[..., Config] = request.param
    return maker


@pytest.fixture(params=[RewardClient, AsyncRewardClient])
def kind(request: pytest.FixtureRequest) -> type[RewardClient | AsyncRewardClient]:
    client: type[RewardClient | AsyncRewardClient] = request.param
    return client


@pytest.mark.parametrize(
    ("given", "policy"),
    [
        (1, RetryPolicy(attempts=1)),
        (3, RetryPolicy(attempts=3)),
        (RetryPolicy(budget=5), RetryPolicy(budget=5)),
    ],
)
def test_retry_is_a_number_of_attempts_or_a_policy(
    make: Any, kind: Any, given: Any, policy: RetryPolicy
) -> None:
    assert make(kind, retry=given).retry_policy == policy
    assert make(kind).retry_policy == RetryPolicy()


@pytest.mark.parametrize(
    ("given", "timeouts"),
    [
        (30, Timeouts(total=30)),
        (0.5, Timeouts(total=0.5)),
        (np.float64(2), Timeouts(total=2)),
        (Timeouts(read=5), Timeouts(read=5)),
    ],
)
def test_timeout_is_seconds_for_one_sample_or_deadlines(
    make: Any, kind: Any, given: Any, timeouts: Timeouts
) -> None:
    assert make(kind, timeout=given).timeouts == timeouts
    assert make(kind).timeouts == Timeouts()


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"retry": 0}, "retry=0 is no number of attempts, the first one included. Write retry=1"),
        ({"retry": -1}, "retry=-1 is no number of attempts"),
        ({"retry": True}, "RetryPolicy(attempts=3, budget=60), not a bool."),
        ({"retry": 3.0}, "retry= must be a number of attempts, such as retry=3"),
        ({"retry": None}, "not None."),
        ({"timeout": 0}, "timeout=0 is no number of seconds above 0."),
        ({"timeout": -0.5}, "timeout=-0.5 is no number of seconds above 0."),
        ({"timeout": float("nan")}, "timeout=nan is no number of seconds above 0."),
        ({"timeout": float("inf")}, "Leave timeout= out for no limit."),
        ({"timeout": 10**400}, "is no number of seconds above 0."),
        ({"timeout": True}, "Timeouts(connect=5, read=60), not a bool."),
        ({"timeout": None}, "not None."),
        ({"timeout": (5, 60)}, "not a tuple."),
        ({"timeout": "30"}, "timeout= must be seconds for one sample, such as timeout=30"),
        # Old versions of openai give it their own name.
        (
            {"timeout": httpx.Timeout(10)},
            f"Timeouts(connect=5, read=60), not an {httpx.Timeout.__module__}.Timeout.",
        ),
    ],
)
def test_wrong_simple_spellings(make: Any, kind: Any, options: Any, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        make(kind, **options)
    assert hint in str(caught.value)


def test_a_client_with_simple_spellings_pickles(kind: Any) -> None:
    twin = pickle.loads(pickle.dumps(kind("http://host", retry=3, timeout=30)))
    assert twin.__getstate__() == make_direct(kind, retry=3, timeout=30)
    assert twin.__getstate__().timeouts == Timeouts(total=30)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("max_retries", ": write retry=3 (attempts, the first one included)."),
        ("max_workers", ": write limits=Limits(max_concurrency=8)."),
        ("concurrency", ": write limits=Limits(max_concurrency=8)."),
        ("batch_size", ": write limits=Limits(max_batch_items=32)."),
        ("timeouts", ": did you mean timeout=?"),
        ("unheard_of", "."),
    ],
)
def test_an_unknown_option_names_the_known_one(make: Any, kind: Any, name: str, hint: str) -> None:
    with pytest.raises(TypeError) as caught:
        make(kind, **{name: 3})
    where = kind.__name__ if make is make_direct else f"{kind.__name__}.from_openai"
    assert str(caught.value) == f"{where}() takes no {name}={hint}"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("verify", "connection=Connection(verify=…)"),
        ("proxy", 'connection=Connection(proxy="http://…")'),
        ("proxies", 'connection=Connection(proxy="http://…")'),
        ("http_client", "transport=httpx.AsyncHTTPTransport(…)"),
        ("default_headers", "headers={…}"),
        ("organization", 'headers={"openai-organization": "…"}'),
        ("url", 'base_url="http://localhost:8000"'),
    ],
)
def test_the_openai_client_brings_the_connection(kind: Any, name: str, hint: str) -> None:
    with pytest.raises(TypeError, match=re.escape(f"takes no {name}=: write {hint}.")):
        make_direct(kind, **{name: 3})
    with pytest.raises(TypeError, match=f"takes no {name}=: set it on the OpenAI client."):
        make_from_openai(kind, **{name: 3})


def test_every_spelling_is_of_an_option(kind: Any) -> None:
    known = inspect.signature(kind).parameters
    for name, spelling in SPELLINGS.items():
        assert name not in known
        assert spelling.split("=")[0] in known


@pytest.mark.parametrize(
    ("kind", "name", "hint"),
    [
        (Limits, "max_pack_items", "Limits takes no max_pack_items=: write max_batch_items=."),
        (Limits, "max_pack_tokens", "write max_batch_tokens=."),
        (Limits, "max_connections", "write max_concurrency=."),
        (RetryPolicy, "max_retries", "write attempts= (the first one included)."),
        (Timeouts, "write", "write read=."),
        (Timeouts, "pool", "write total=."),
        (Connection, "proxies", "write proxy=."),
        (Connection, "write", "Extra inputs are not permitted"),
    ],
)
def test_an_unknown_value_names_the_known_one(kind: Any, name: str, hint: str) -> None:
    with pytest.raises(ValidationError) as caught:
        kind(**{name: 3})
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Timeouts, {"connect": 0}),
        (Timeouts, {"read": -1}),
        (Timeouts, {"total": float("nan")}),
        (Timeouts, {"total": float("inf")}),
        (Timeouts, {"reed": 1}),
        (RetryPolicy, {"attempts": 0}),
        (RetryPolicy, {"budget": -1}),
        (RetryPolicy, {"max_wait": "soon"}),
        (Limits, {"max_concurrency": 0}),
        (Limits, {"max_response_bytes": 1.5}),
    ],
)
def test_wrong_values(kind: Any, values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        kind(**values)


def test_options_are_frozen() -> None:
    timeouts: Any = Timeouts()
    with pytest.raises(ValidationError):
        timeouts.read = 1
    assert ScalarHead() == ScalarHead()
