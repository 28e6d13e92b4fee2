"""Options and addresses: wrong ones are refused at once, secrets are never shown."""

from __future__ import annotations

from typing import Any

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
        ({"headers": {"x-key": 5}}, "x-key"),
        ({"head": "steps"}, "head="),
        ({"route": "classify-me"}, "route="),
        ({"server_activation": "softmax"}, "server_activation="),
        ({"retry": 5}, "retry= must be a RetryPolicy"),
        ({"limits": {"max_concurrency": 5}}, "limits= must be a Limits"),
        ({"timeout": 30}, "timeout= must be a Timeouts"),
        ({"connection": None}, "connection= must be a Connection"),
        ({"model": 5}, "model= must be a str"),
    ],
)
def test_wrong_options(options: Any, hint: str) -> None:
    for client in (RewardClient, AsyncRewardClient):
        with pytest.raises(InputError) as caught:
            client("http://host", **options)
        assert hint in str(caught.value)
        assert "secret" not in str(caught.value)


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
