"""A generated text is whole, that of this request, and has its log-probabilities."""

from __future__ import annotations

from typing import Any

import pytest

from reward_client._protocols.engines import ENGINES
from reward_client._protocols.http import Response
from reward_client.errors import GenerationError, ResponseMismatchError

IDS = [5, 6, 7]
TEXT = "82"
VLLM = {
    "choices": [
        {
            "text": TEXT,
            "finish_reason": "stop",
            "logprobs": {
                "tokens": ["token_id:8"],
                "token_logprobs": [-0.5],
                "top_logprobs": [{"token_id:9": -1.5}],
            },
        }
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1},
}
SGLANG = {
    "text": TEXT,
    "meta_info": {
        "prompt_tokens": 3,
        "completion_tokens": 1,
        "finish_reason": {"type": "stop"},
        "output_token_logprobs": [[-0.5, 8, None]],
        "output_top_logprobs": [[[-1.5, 9, None]]],
    },
}
# The places of what each answer says.
CHOICE = ("choices", 0)
INFO = ("meta_info",)


def response(answer: Any, *places: tuple[Any, Any]) -> Response:
    """The answer with other values in these places."""
    for path, value in places:
        answer = changed(answer, path, value)
    return Response(answer, "POST http://server/path", "rc-1")


def changed(answer: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copied = answer.copy()
    copied[path[0]] = changed(answer[path[0]], path[1:], value)
    return copied


@pytest.mark.parametrize(("engine", "answer"), [("vllm", VLLM), ("sglang", SGLANG)])
def test_a_whole_text(engine: Any, answer: Any) -> None:
    read = ENGINES[engine].read_written
    plain = read(response(answer), IDS)
    assert plain == (TEXT, 3, 1, ())
    told = read(response(answer), IDS, logprobs=True)
    assert told[:3] == plain[:3]
    assert told.positions == ((8, {8: -0.5, 9: -1.5}),)


@pytest.mark.parametrize(
    ("engine", "answer", "place", "length", "option"),
    [
        ("vllm", VLLM, (*CHOICE, "finish_reason"), "length", "--max-model-len"),
        ("sglang", SGLANG, (*INFO, "finish_reason", "type"), "length", "--context-length"),
    ],
)
def test_a_text_that_is_not_whole(
    engine: Any, answer: Any, place: Any, length: str, option: str
) -> None:
    read = ENGINES[engine].read_written
    with pytest.raises(
        GenerationError, match=f"raise max_tokens=, or the server's {option}"
    ) as cut:
        read(response(answer, (place, length)), IDS)
    assert cut.value.text == TEXT
    for reason in ("abort", None):
        with pytest.raises(GenerationError, match="was not finished by the server"):
            read(response(answer, (place, reason)), IDS)


@pytest.mark.parametrize(
    ("engine", "answer", "place", "value", "holds"),
    [
        ("vllm", VLLM, ("usage", "prompt_tokens"), 4, "1 texts and counts 4"),
        ("vllm", VLLM, ("usage",), None, "1 texts and counts no"),
        ("vllm", VLLM, ("usage", "completion_tokens"), None, "1 texts and counts 3"),
        ("vllm", VLLM, ("choices",), [*VLLM["choices"]] * 2, "2 texts and counts 3"),
        ("vllm", VLLM, ("choices",), None, "0 texts and counts 3"),
        ("vllm", VLLM, (*CHOICE, "text"), None, "1 texts and counts 3"),
        ("sglang", SGLANG, (*INFO, "prompt_tokens"), 4, "1 texts and counts 4"),
        ("sglang", SGLANG, INFO, None, "1 texts and counts no"),
        ("sglang", SGLANG, (*INFO, "completion_tokens"), None, "1 texts and counts 3"),
        ("sglang", SGLANG, ("text",), None, "1 texts and counts 3"),
    ],
)
def test_another_answer(engine: Any, answer: Any, place: Any, value: Any, holds: str) -> None:
    with pytest.raises(ResponseMismatchError, match=f"3 token IDs for one text: it holds {holds} "):
        ENGINES[engine].read_written(response(answer, (place, value)), IDS)


@pytest.mark.parametrize(
    ("engine", "answer", "place", "key"),
    [
        ("vllm", VLLM, (*CHOICE, "logprobs"), "logprobs"),
        ("vllm", VLLM, (*CHOICE, "logprobs", "tokens"), "logprobs"),
        ("sglang", SGLANG, (*INFO, "output_token_logprobs"), "return_logprob"),
        ("sglang", SGLANG, (*INFO, "output_top_logprobs"), "return_logprob"),
    ],
)
def test_no_log_probabilities(engine: Any, answer: Any, place: Any, key: str) -> None:
    read = ENGINES[engine].read_written
    bare = response(answer, (place, None))
    assert read(bare, IDS).text == TEXT
    with pytest.raises(ResponseMismatchError, match=f"Check whether a gateway drops {key}"):
        read(bare, IDS, logprobs=True)
