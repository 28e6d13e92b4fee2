"""The version table: which row holds for which version string."""

from __future__ import annotations

import pytest

from reward_client.server.versions import NEWEST, UNKNOWN, era_of, template_keys


@pytest.mark.parametrize(
    ("version", "since"),
    [
        ("0.6.3", (0, 6, 3)),
        ("0.6.4.post1", (0, 6, 3)),
        ("0.6.5", (0, 6, 5)),
        ("0.6.6.post1", (0, 6, 6)),
        ("0.8.5", (0, 6, 6)),
        ("0.9.0.1", (0, 6, 6)),
        ("0.9.1", (0, 9, 1)),
        ("0.10.0", (0, 10, 0)),
        ("0.10.2", (0, 10, 0)),
        ("0.11.0", (0, 10, 0)),
        ("0.11.1", (0, 11, 1)),
        ("0.32.0", (0, 11, 1)),
        ("0.32.0+cpu", (0, 11, 1)),
        ("0.33.0rc1", (0, 11, 1)),
    ],
)
def test_known_versions(version: str, since: tuple[int, int, int]) -> None:
    assert era_of(version).since == since


@pytest.mark.parametrize(
    "version",
    [
        *(None, "", "abc", "v1", "0.1.dev1+g1234567", "0.11.2.dev3+gabc", "0.6.2", "0.5.5"),
        *("1.0.0", f"{NEWEST[0]}.{NEWEST[1] + 1}.0"),
    ],
)
def test_unknown_versions(version: str | None) -> None:
    assert era_of(version) is UNKNOWN


def test_only_one_switch_is_ever_sent() -> None:
    # Two keys turn the activation on in 0.11.1 to 0.13; older versions get none they don't know.
    for version in ("0.6.6", "0.8.5", "0.9.0.1", "0.9.2", "0.10.2", "0.11.0"):
        assert all(not ask.switches and ask.task is None for ask in era_of(version).asks)
    for version in ("0.11.1", "0.12.0", "0.13.0", "0.32.0"):
        pooling = [ask for ask in era_of(version).asks if ask.route == "pooling"]
        assert [ask.task for ask in pooling] == ["classify", "token_classify"]
        assert all(dict(ask.switches) == {"use_activation": False} for ask in pooling)


def test_rewards_of_any_model_come_from_embeddings_up_to_0_9_0() -> None:
    assert [ask.route for ask in era_of("0.6.4").asks] == ["embeddings"]
    assert [ask.route for ask in era_of("0.9.0").asks] == ["embeddings"]
    assert [ask.route for ask in era_of("0.9.0").by_name] == ["pooling"]
    assert "embeddings" not in {ask.route for ask in era_of("0.9.1").asks}


def test_template_keys() -> None:
    assert template_keys("0.6.3") == frozenset()
    assert template_keys("0.8.5") == {"chat_template_kwargs"}
    assert template_keys("0.9.1") == {"chat_template_kwargs", "tools"}
    assert template_keys(None) == {"chat_template_kwargs", "tools"}
