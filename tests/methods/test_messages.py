"""`Messages` with what no token ID stands for: images, sent as they are."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import httpx
import pytest

from reward_client import (
    BadRequestError,
    Conversation,
    InputError,
    NonFiniteRewardError,
    ResponseMismatchError,
    Reward,
    RewardClient,
)
from reward_client.methods import Messages, YesNo
from reward_client.testing import RewardServer

from ..support.either import OPENERS, Kind
from ..support.fake_vllm import rendered
from ..support.scribe import Scribe

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
SEEN = [
    {"role": "user", "content": [{"type": "text", "text": "What is this?"}, IMAGE]},
    {"role": "assistant", "content": "A cat."},
]
READ = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]


def pooled(text: str) -> float:
    return len(text) - 40.25


def outcomes(kind: Kind, scribe: Scribe, samples: list[Any], **options: Any) -> list[Any]:
    with closing(OPENERS[kind]("http://vllm", transport=scribe.transport(), **options)) as client:
        return client.score_many(samples, on_error="return")


@pytest.mark.parametrize("kind", OPENERS)
def test_an_image_is_sent_as_it_is(kind: Kind) -> None:
    scribe = Scribe(pools=pooled)
    found = outcomes(kind, scribe, [SEEN, READ] * 10, method=Messages())
    expected = [pooled(rendered(SEEN)), pooled(rendered(READ))] * 10
    assert [reward.value for reward in found] == pytest.approx(expected)
    assert {reward.token_count for reward in found[::2]} == {None}
    assert {reward.provenance.method for reward in found} == {"messages"}
    sent = [body["messages"] for body in scribe.asked("/pooling") if "messages" in body]
    assert SEEN in sent
    asked = [body.get("messages") for body in scribe.asked("/tokenize")]
    assert SEEN not in asked
    assert READ in asked  # what has token IDs is compared


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("method", [None, YesNo()])
def test_by_token_ids_it_would_be_lost(kind: Kind, method: Any) -> None:
    scribe = Scribe() if method else Scribe(pools=pooled)
    image, other = outcomes(kind, scribe, [SEEN, READ], method=method)
    assert isinstance(other, Reward)
    assert isinstance(image, InputError)
    assert "image_url" in str(image)
    assert "method=Messages()" in str(image)
    assert all(SEEN[0] not in (body.get("messages") or []) for body in scribe.asked("/tokenize"))


@pytest.mark.parametrize(
    "extras", [{"tools": [{"type": "function"}]}, {"chat_template_kwargs": {"a": 1}}]
)
def test_with_what_messages_alone_cannot_say(extras: dict[str, Any]) -> None:
    scribe = Scribe(pools=pooled)
    (found,) = outcomes("sync", scribe, [Conversation(SEEN, **extras)], method=Messages())
    assert isinstance(found, InputError)


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda payload: payload["data"][0].update(data=[None]), NonFiniteRewardError),
        (lambda payload: payload["data"].clear(), ResponseMismatchError),
        (lambda payload: payload["usage"].update(prompt_tokens=0), ResponseMismatchError),
    ],
)
def test_the_checks_that_apply(kind: Kind, change: Any, error: type[Exception]) -> None:
    def changed(request: httpx.Request, payload: Any) -> None:
        if request.url.path == "/pooling" and b'"messages"' in request.content:
            change(payload)

    scribe = Scribe(pools=pooled, after=changed)
    options: dict[str, Any] = {"transport": scribe.transport(), "method": Messages()}
    with closing(OPENERS[kind]("http://vllm", **options)) as client, pytest.raises(error):
        client.score(SEEN)


@pytest.mark.parametrize("kind", OPENERS)
def test_a_model_of_text_refuses_an_image(kind: Kind) -> None:
    with RewardServer() as server, closing(OPENERS[kind](server.url, method=Messages())) as client:
        error, reward = client.score_many([SEEN, READ], on_error="return")
    assert isinstance(error, BadRequestError)
    assert "not a multimodal model" in str(error)
    assert isinstance(reward, Reward)


@pytest.mark.parametrize("method", ["yes", YesNo, 5])
def test_what_is_no_method(method: Any) -> None:
    with pytest.raises(InputError, match=r"such as YesNo\(\)"):
        RewardClient("http://vllm", method=method)
