"""Servers that die, lie and talk nonsense while they are looked at; and other ways to them."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from reward_client import (
    AsyncRewardClient,
    Conversation,
    Diagnosis,
    Finding,
    FormattedText,
    InputError,
    RetryPolicy,
    RewardClient,
    RewardClientError,
)
from reward_client._doctor import prompt_checks as prompts
from reward_client.testing import Fault, RewardServer, create_app

from ..support.altered import ALWAYS
from ..support.either import BlockingAsyncClient, EitherClient
from ..support.fake_vllm import FakeVllm
from .conftest import Connect, Serve
from .situations import ANSWERED, KEY, complaints, tokens

ONCE = RetryPolicy(attempts=1)
OURS = "bug in reward_client"


def found(diagnosis: Diagnosis, check: str) -> Finding:
    return next(finding for finding in diagnosis.findings if finding.check == check)


class Dying(httpx.AsyncBaseTransport):
    """Reaches the server for some requests, and nobody afterwards."""

    def __init__(self, requests: int) -> None:
        self._most = requests
        self._app = httpx.ASGITransport(create_app())
        self.requests = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        if self.requests > self._most:
            raise httpx.ConnectError("refused")
        return await self._app.handle_async_request(request)


@pytest.fixture(scope="module")
def requests() -> int:
    """How many requests a whole look takes."""
    transport = Dying(ALWAYS)
    with RewardClient("http://dying", transport=transport) as client:
        assert client.diagnose().status == 0
    return transport.requests


def test_a_server_that_dies_in_the_middle(requests: int, connect: Connect) -> None:
    for answered in range(requests):
        transport = Dying(answered)
        diagnosis = connect("http://dying", transport=transport).diagnose()
        *before, last = diagnosis.findings
        assert last.verdict == "failed", answered
        assert "onnection refused" in last.detail
        assert "Is the server up" in (last.cure or "")
        assert complaints(tuple(before)) == {}
        assert diagnosis.status == 2
        # Seven at once, with two attempts each, and then a look by each.
        assert transport.requests <= answered + 3 * 7 + 4


NONSENSE = [None, True, 7, "text", [], [None], {}, {"data": 7}, {"data": [7]}, {"data": [{}]}]
NONSENSE += [{"count": 1, "tokens": [value]} for value in (True, -1, "a", 1.5, None)]
NONSENSE += [{"count": 9, "tokens": [1]}, {"prompt": 7}, {"error": "no"}, {"error": {"code": 418}}]
NONSENSE += [{"version": 7}, {"paths": 7}, {"model": "judge", "data": [], "usage": []}]
PATHS = ("/v1/models", "/version", "/openapi.json", "/tokenize", "/detokenize", "/pooling")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("after", [0, 1, 3])
def test_nonsense(path: str, after: int) -> None:
    """Something else than true answers, after some of them."""

    def late(request: httpx.Request) -> httpx.Response | None:
        if request.url.path != path or len(fake.asked(path)) <= after:
            return None
        return httpx.Response(200, json=payload)

    for payload in NONSENSE:
        fake = FakeVllm(before=late)
        with RewardClient("http://fake", transport=fake.transport(), retry=ONCE) as client:
            diagnosis = client.diagnose()
        assert diagnosis.findings
        for finding in diagnosis.findings:
            assert OURS not in (finding.cure or ""), (payload, finding)
            assert bool(finding.cure) == (finding.verdict in ("failed", "warning"))


def test_a_fault_of_ours_is_a_finding(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Finding:
        raise KeyError("nothing")

    monkeypatch.setattr(prompts, "text_path", broken)
    diagnosis = connect(serve().url).diagnose()

    finding = found(diagnosis, "text path")
    assert (finding.verdict, finding.detail) == ("failed", "KeyError: 'nothing'")
    assert OURS in (finding.cure or "")
    assert found(diagnosis, "sample").verdict == "ok"


def test_scoring_that_fails_after_it_was_found(serve: Serve, connect: Connect) -> None:
    server = serve()
    client = connect(server.url)
    client.servers()
    server.inject(Fault.status(500), path="/pooling", times=ALWAYS)
    diagnosis = client.diagnose()

    assert complaints(diagnosis.findings) == {"sample": "failed"}
    assert "HTTP 500" in found(diagnosis, "sample").detail
    assert diagnosis.tokens is not None
    assert diagnosis.reward is None


def test_nothing_is_remembered(serve: Serve, connect: Connect) -> None:
    server = serve()
    client = connect(server.url)
    for path in ("/pooling", "/classify"):
        server.inject(Fault.status(401), path=path)
    assert client.diagnose().status == 2
    assert client.diagnose().status == 0


@pytest.mark.parametrize(
    ("sample", "bos", "prompt"),
    [
        (ANSWERED, "ok", "ok"),
        (Conversation(ANSWERED), "ok", "ok"),
        (FormattedText("<|bos|><|user|>2 + 2?<|end|>"), "ok", "not checked"),
        (FormattedText("<|user|>2 + 2?<|end|>"), "warning", "not checked"),
        ([1, 4, 312, 2], "ok", "not checked"),
        ([1, 1, 4, 312, 2], "failed", "not checked"),
    ],
)
def test_samples(sample: Any, bos: str, prompt: str, serve: Serve, connect: Connect) -> None:
    client = connect(serve().url)
    diagnosis = client.diagnose(sample)

    assert found(diagnosis, "BOS").verdict == bos
    assert found(diagnosis, "generation prompt").verdict == prompt
    assert diagnosis.reward == client.score(sample)
    assert diagnosis.tokens == client.tokenize(sample)
    if bos == "failed":
        assert "Correct the sample" in (found(diagnosis, "BOS").cure or "")


def test_a_sample_that_the_server_cannot_take(serve: Serve, connect: Connect) -> None:
    tools = [{"type": "function", "function": {"name": "add", "parameters": {}}}]
    client = connect(serve(dialect="0.8", raw=True).url)
    diagnosis = client.diagnose(Conversation(ANSWERED, tools=tools))

    assert complaints(diagnosis.findings) == {"tokens": "failed"}
    assert "ignores tools" in found(diagnosis, "tokens").detail
    assert "newer server" in (found(diagnosis, "tokens").cure or "")
    steps = connect(serve().url).diagnose(Conversation(ANSWERED[:1], steps=["82"]))
    assert complaints(steps.findings) == {"tokens": "failed"}


def test_what_is_no_sample_is_raised(serve: Serve, connect: Connect) -> None:
    with pytest.raises(InputError, match="bare string"):
        connect(serve().url).diagnose("What is 2 + 2?")


def test_a_closed_client(serve: Serve, connect: Connect) -> None:
    client = connect(serve().url)
    if isinstance(client, RewardClient):
        client.close()
        with pytest.raises(RewardClientError, match="closed"):
            client.diagnose()


def test_the_result_can_be_sent_on(serve: Serve, connect: Connect) -> None:
    diagnosis = connect(serve().url).diagnose()
    assert Diagnosis.model_validate_json(diagnosis.model_dump_json()) == diagnosis


class TestLocalTokenizer:
    """Where the model's folder is on this machine."""

    ROOT = str(RewardServer.checkpoint)

    def test_the_same_tokens(self, serve: Serve, connect: Connect) -> None:
        pytest.importorskip("transformers")
        finding = found(connect(serve(root=self.ROOT).url).diagnose(), "local tokenizer")
        assert finding.verdict == "ok"
        assert self.ROOT in finding.detail

    def test_other_tokens(self, serve: Serve, connect: Connect) -> None:
        pytest.importorskip("transformers")
        server = serve(root=self.ROOT)
        tokens(lambda ids: [*ids[:-1], 5])(server)
        finding = found(connect(server.url).diagnose(), "local tokenizer")
        assert finding.verdict == "warning"
        assert "first at position 36" in finding.detail
        assert "differ from those of the server" in (finding.cure or "")

    def test_no_transformers(
        self, serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "transformers", None)
        finding = found(connect(serve(root=self.ROOT).url).diagnose(), "local tokenizer")
        assert finding.verdict == "not checked"
        assert "reward-client[local]" in finding.detail

    def test_a_folder_without_a_tokenizer(
        self, serve: Serve, connect: Connect, tmp_path: Any
    ) -> None:
        finding = found(connect(serve(root=str(tmp_path)).url).diagnose(), "local tokenizer")
        assert finding.verdict == "not checked"

    def test_a_sample_that_has_none(self, serve: Serve, connect: Connect) -> None:
        diagnosis = connect(serve(root=self.ROOT).url).diagnose([1, 4, 2])
        assert found(diagnosis, "local tokenizer").verdict == "not checked"


def over_openai(
    server: RewardServer, kind: str, key: str
) -> tuple[EitherClient, Callable[[], Any]]:
    openai = pytest.importorskip("openai")
    options = {"base_url": f"{server.url}/v1", "api_key": key}
    if kind == "sync":
        return RewardClient.from_openai(openai.OpenAI(**options)), lambda: None
    carrier = openai.AsyncOpenAI(**options)
    client = BlockingAsyncClient(AsyncRewardClient.from_openai(carrier))
    return client, lambda: client.run(carrier.close())


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_over_an_openai_client(kind: str, serve: Serve) -> None:
    server = serve(api_key=KEY)
    for key, expected in ((KEY, {}), ("sk-another-0123456789", {"key": "failed"})):
        client, close = over_openai(server, kind, key)
        try:
            diagnosis = client.diagnose()
        finally:
            close()
            client.close()
        assert complaints(diagnosis.findings) == expected
        if not expected:
            assert found(diagnosis, "keep-alive").verdict == "not checked"
            assert found(diagnosis, "sample").verdict == "ok"


def test_a_prompt_is_in_no_log(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    private = [{"role": "assistant", "content": "my very private question"}]
    server = serve(api_key=KEY)
    diagnosis = connect(server.url, api_key=KEY).diagnose(private)

    assert "private" in found(diagnosis, "tokens").detail  # the caller's own terminal
    assert "private" not in caplog.text
    for secret in (KEY, json.dumps(private)[20:40]):
        assert secret not in caplog.text


def test_cancelled(serve: Serve) -> None:
    server = serve()
    server.inject(Fault.delay(30), path="/pooling")

    async def look() -> None:
        async with AsyncRewardClient(server.url) as client:
            async with asyncio.timeout(0.3):
                await client.diagnose()

    with pytest.raises(TimeoutError):
        asyncio.run(look())
