"""The API key goes with every call, and shows up nowhere else."""

from __future__ import annotations

import copy
import logging
import pickle
import traceback
from urllib.parse import quote

import pytest

from reward_client import AsyncRewardClient, Connection, RetryPolicy, RewardClient
from reward_client.errors import RewardClientError

from ...support.fake_vllm import FakeVllm, card
from ...support.raw_server import CONVERSATION, http, response, sending, then_closed

KEY = "sk-Zm9v+YmFy/Lw=="
OTHER = "tenant-secret-0123456789"
FORMS = (KEY, quote(KEY), quote(KEY, safe=""), OTHER)
HEADERS = {"X-Tenant": OTHER}


def held_by(text: str) -> list[str]:
    """The forms of the secrets in a text, or any long piece of them."""
    pieces = {secret[start : start + 8] for secret in FORMS for start in range(len(secret) - 7)}
    return [piece for piece in pieces if piece in text]


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG)
    for name in ("reward_client", "httpx", "httpcore", "aiohttp", "aiohttp.client", "asyncio"):
        caplog.set_level(logging.DEBUG, name)
    return caplog


def test_the_key_goes_with_every_call(server, connect):
    connect(server.url, api_key=KEY, headers=HEADERS).score(CONVERSATION)

    paths = {request.path for request in server.requests}
    tokens = {"/tokenize", "/detokenize"}
    assert paths == {"/v1/models", "/version", "/openapi.json", "/pooling", *tokens}
    for request in server.requests:
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.headers["x-tenant"] == OTHER


def test_no_other_key_is_sent(server, connect, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")

    connect(server.url).score(CONVERSATION)

    assert not any("authorization" in request.headers for request in server.requests)


def test_the_key_of_the_environment(server, connect, monkeypatch):
    monkeypatch.setenv("REWARD_CLIENT_API_KEY", "sk-environment")

    connect(server.url).score(CONVERSATION)

    assert {r.headers["authorization"] for r in server.requests} == {"Bearer sk-environment"}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("before", ["", "x" * 285, " " * 4090])
@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(lambda text: response({"error": {"message": text}}, 401), id="nested"),
        pytest.param(lambda text: response({"error": text}, 401), id="bare"),
        pytest.param(lambda text: response({"detail": {"headers": text}}, 400), id="detail"),
        pytest.param(lambda text: sending(http(text.encode(), 500)), id="text"),
        pytest.param(lambda text: sending(http(text.encode(), 200)), id="text as 200"),
        pytest.param(
            lambda text: sending(http(f"<html><title>{text}</title>".encode(), 502)), id="HTML"
        ),
        pytest.param(lambda text: then_closed(f"HTTP/1.1 {text}\r\n\r\n".encode()), id="no HTTP"),
    ],
)
def test_an_error_that_repeats_the_key(server, connect, logged, form, before, wrap):
    client = connect(server.url, api_key=KEY, headers=HEADERS, retry=RetryPolicy(attempts=2))
    client.servers()
    server.plan("/pooling", *[wrap(f"{before}{form} is wrong")] * 4)

    with pytest.raises(RewardClientError) as caught:
        client.score(CONVERSATION)

    error = caught.value
    shown = (
        str(error),
        repr(error),
        repr(vars(error)),
        "".join(traceback.format_exception(error)),
        str(pickle.loads(pickle.dumps(error))),
        repr(vars(copy.deepcopy(error))),
        repr(pickle.dumps(error)),
        logged.text,
        repr([vars(record) for record in logged.records]),
    )
    for text in shown:
        assert not held_by(text)


@pytest.mark.parametrize("make", [RewardClient, AsyncRewardClient])
def test_no_repr_holds_a_key(make):
    proxy = f"http://user:{OTHER}@proxy.example:3128"
    client = make(
        "http://server.example", api_key=KEY, headers=HEADERS, connection=Connection(proxy=proxy)
    )

    assert not held_by(repr(client) + str(client))
    assert not held_by(repr(client._session.config))


def test_nothing_of_a_prompt_is_logged(server, connect, logged):
    prompt = "my very private question"
    client = connect(server.url)
    client.servers()
    echo = {"error": {"message": f"[{{'msg': 'bad', 'input': {{'messages': '{prompt}'}}}}]"}}
    server.plan("/tokenize", response(echo, 500), response(echo, 400))

    with pytest.raises(RewardClientError) as caught:
        client.score([{"role": "user", "content": prompt}])

    assert "private" not in logged.text
    assert "private" not in str(caught.value)


def test_a_server_that_is_called_like_the_key_is_not_logged_so(logged, connect):
    fake = FakeVllm(cards=[card(f"Bearer {KEY}")])
    connect("http://vllm", api_key=KEY, transport=fake.transport()).score(CONVERSATION)
    assert "server profile" in logged.text
    assert not held_by(logged.text)
