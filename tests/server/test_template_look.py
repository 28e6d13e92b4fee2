"""What the client learns from the conversations that a server renders, or refuses to."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import httpx
import pytest

from reward_client import ModelChangedError, Reward, RewardClient, Settings
from reward_client._server.template_look import TemplateLook
from reward_client.testing import RewardServer

from ..support.fake_vllm import CHAT, TextVllm, ids_of, is_look, transport_to

TODAY = datetime.now(UTC).date()
GEMMA = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
)
PLAIN = GEMMA.partition("{% endif %}")[2]


def _nothing(body: Any) -> httpx.Response | None:
    return None


@dataclass
class Looked(TextVllm):
    """Renders the client's own conversations too, after a refusal of some of them."""

    refuse: Callable[[Any], httpx.Response | None] = _nothing

    def answer(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content or b"null")
        if not is_look(body):
            return super().answer(request)
        self.requests.append((request.url.path, body))
        refused = self.refuse(body)
        if refused is not None:
            return refused
        status, payload = self.true_answer(request.url.path, body)
        return httpx.Response(status, json=payload)


def settings_of(server: Looked, **options: Any) -> Settings:
    transport = transport_to({"": server})
    with RewardClient("http://fake", transport=transport, **options) as client:
        return client.settings()


def next_of(responses: list[httpx.Response], body: Any) -> httpx.Response | None:
    return responses.pop() if responses else None


def has_system(body: Any) -> bool:
    return bool(body["messages"][0]["role"] == "system")


def test_a_refusal_is_known() -> None:
    found: list[str | None] = []
    for template in (PLAIN, GEMMA):
        with RewardServer(chat_template=template) as server, RewardClient(server.url) as client:
            found.append(client.settings().template_digest)
            assert client.settings().template_digest == found[-1]
    assert None not in found
    assert found[0] != found[1]


def test_a_failure_of_the_moment_is_no_refusal() -> None:
    server = Looked()
    expected = settings_of(server)
    for status in (500, 429, 503):
        failures = [httpx.Response(status) for _ in range(2)]
        server.refuse = partial(next_of, failures)
        assert settings_of(server) == expected
        assert not failures


def test_a_server_that_fails_where_others_refuse() -> None:
    """As vLLM 0.8.5, whose ``/tokenize`` answers 500 if the template raises an exception."""
    failing, refusing, plain = (Looked(version="0.8.5", tasks=(None,)) for _ in range(3))
    failing.refuse = lambda body: httpx.Response(500) if has_system(body) else None
    refusing.refuse = lambda body: httpx.Response(400, json={}) if has_system(body) else None
    found = [settings_of(each).template_digest for each in (failing, refusing, plain)]
    assert None not in found
    assert len({*found}) == 3


def test_a_server_that_renders_nothing() -> None:
    server = Looked()
    server.refuse = lambda body: httpx.Response(400, json={})
    assert settings_of(server).template_digest is None


@pytest.mark.parametrize(("version", "known"), [("0.8.5", 5), ("0.9.1", 6), ("0.32.0", 7)])
def test_no_conversation_that_the_version_would_ignore(version: str, known: int) -> None:
    server = Looked(version=version, tasks=(None, "classify"))
    settings_of(server)
    bodies = [body for path, body in server.requests if path == "/tokenize" and is_look(body)]
    assert len(bodies) == known


@dataclass
class Dated(Looked):
    """Writes the date of a day that tests choose, in one of two templates."""

    day: date = TODAY
    words: str = "Today: "

    def ids(self, body: Any) -> list[int]:
        written = ids_of(f"{self.words}{self.day:%Y-%m-%d}") if "messages" in body else []
        return written + super().ids(body)


@pytest.mark.parametrize(
    ("day", "words", "same"),
    [
        (TODAY, "Today: ", True),
        (TODAY + timedelta(1), "Today: ", True),
        (TODAY, "Now: ", False),
        (TODAY - timedelta(100), "Today: ", False),
    ],
)
def test_another_day_is_no_other_template(day: date, words: str, *, same: bool) -> None:
    server = Dated(serves=("/pooling", "/detokenize"))
    samples = [[*CHAT[:-1], {"role": "assistant", "content": str(n)}] for n in range(300)]
    with RewardClient("http://fake", transport=transport_to({"": server})) as client:
        assert client.settings().prompt_date == TODAY.isoformat()
        server.day, server.words = day, words
        (*_, last) = client.score_many(samples, on_error="return")
    assert isinstance(last, Reward if same else ModelChangedError)


def test_only_what_both_know_can_differ() -> None:
    one = TemplateLook(renderings={"turns": "a", "tools": "b"})
    assert one.differences(TemplateLook(renderings={"turns": "a"})) == []
    assert one.differences(TemplateLook(renderings={"turns": "a", "tools": "refused"})) == ["tools"]
    assert one.digest != TemplateLook(renderings={"turns": "a"}).digest
    assert TemplateLook(renderings={"turns": "refused"}).digest is None
