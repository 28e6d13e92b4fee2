"""verl's reward loop, with the gateway in the place of its reward router. Pure.

Source: verl 0.9.1, ``experimental/reward_loop/reward_loop.py``, ``compute_score_disrm``. It
renders the reward model's template itself, removes the BOS token, and sends the text to
``/classify`` (vLLM) or ``/v1/embeddings`` (SGLang). It repeats a request after a status of 5xx, and
ends after one of 4xx.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias, cast

from reward_client._base.json_values import as_sequence
from reward_client._base.results import Reward
from reward_client._base.samples import OpenedText, Sample, parse_token_ids
from reward_client._integrations.policy_text import PolicyText
from reward_client.errors import InputError
from reward_client.gateway.contracts.contract import (
    MODEL,
    NUMBERS,
    Asked,
    Contract,
    Outcome,
    Refusal,
    fields_of,
    invalid,
    numbers,
    unscored,
)

_Item: TypeAlias = Callable[[int, float], Mapping[str, object]]


def _read_classify(body: object, _: PolicyText) -> Asked:
    fields = fields_of(body)
    if fields.get("use_activation", fields.get("activation")) is not False:
        raise invalid(
            "it asks for a value after an activation, and the gateway gives raw rewards. Send "
            '"use_activation": false'
        )
    return Asked(_samples(fields), _answer_with(_classification))


def _read_embeddings(body: object, _: PolicyText) -> Asked:
    fields = fields_of(body)
    if fields.get("encoding_format", "float") != "float":
        raise invalid("'encoding_format' must be \"float\"")
    return Asked(_samples(fields), _answer_with(_embedding))


def _samples(fields: Mapping[str, object]) -> list[Sample]:
    """Read ``input``: a text, token IDs, or a list of either."""
    given = fields.get("input")
    many = as_sequence(given)
    items = [given] if many is None or (many and isinstance(many[0], int)) else many
    if not items or "" in items:
        raise invalid("'input' is empty")
    return [_sample(index, item) for index, item in enumerate(items)]


def _sample(index: int, item: object) -> Sample:
    try:
        if isinstance(item, str):
            return OpenedText(item)
        if as_sequence(item):
            return cast("Sequence[int]", parse_token_ids(item))
    except InputError as error:
        raise unscored(index, error) from error
    raise invalid("'input' must be a text, a list of token IDs, or a list of either")


def _answer_with(item: _Item) -> Callable[[Sequence[Outcome]], object]:
    def answer(outcomes: Sequence[Outcome]) -> object:
        rewards = numbers(outcomes)
        scored = [each for each in outcomes if isinstance(each, Reward)]
        tokens = sum(each.token_count or 0 for each in scored)
        return {
            "object": "list",
            "model": scored[0].provenance.model,
            "data": [item(index, reward) for index, reward in enumerate(rewards)],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0},
        }

    return answer


def _classification(index: int, reward: float) -> Mapping[str, object]:
    return {"index": index, "label": None, "probs": [reward], "num_classes": 1}


def _embedding(index: int, reward: float) -> Mapping[str, object]:
    return {"index": index, "object": "embedding", "embedding": [reward]}


def openai_error(refusal: Refusal) -> object:
    """Return a refusal as OpenAI's servers and vLLM word it."""
    said = {"message": refusal.reason, "type": refusal.kind, "param": None, "code": refusal.status}
    return {"error": said}


_ERROR: Mapping[str, object] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": "null"},
                "code": {"type": "integer"},
            },
        }
    },
}
_IDS: Mapping[str, object] = {"type": "array", "items": {"type": "integer"}, "minItems": 1}
_PROMPT: Mapping[str, object] = {"type": "string", "minLength": 1}
_INPUT: Mapping[str, object] = {
    "description": "Text in the reward model's template, with or without its BOS; or token IDs.",
    "anyOf": [
        _PROMPT,
        _IDS,
        {"type": "array", "items": {"anyOf": [_PROMPT, _IDS]}, "minItems": 1},
    ],
}
_TEXT = "<user>What is 45 + 43?<end><assistant>88<end>"


def _response(key: str) -> Mapping[str, object]:
    item = {
        "type": "object",
        "required": ["index", key],
        "properties": {
            "index": {"type": "integer"},
            key: {**NUMBERS, "maxItems": 1},
        },
    }
    return {
        "type": "object",
        "required": ["data", "model", "usage"],
        "properties": {
            "object": {"const": "list"},
            "model": {"type": "string"},
            "data": {"type": "array", "items": item},
            "usage": {"type": "object"},
        },
    }


CLASSIFY = Contract(
    name="classify",
    path="/classify",
    summary="verl's reward loop with rollout.name=vllm, and vLLM's /classify",
    read=_read_classify,
    refusal=openai_error,
    error=_ERROR,
    request={
        "type": "object",
        "required": ["input", "use_activation"],
        "properties": {
            "model": MODEL,
            "input": _INPUT,
            "use_activation": {"const": False, "description": "The rewards are raw."},
        },
    },
    response=_response("probs"),
    example={"model": "reward-model", "input": _TEXT, "use_activation": False},
)

EMBEDDINGS = Contract(
    name="embeddings",
    path="/v1/embeddings",
    summary="verl's reward loop with rollout.name=sglang",
    read=_read_embeddings,
    refusal=openai_error,
    error=_ERROR,
    request={
        "type": "object",
        "required": ["input"],
        "properties": {
            "model": MODEL,
            "input": _INPUT,
            "encoding_format": {"const": "float", "description": "Numbers, and no base64."},
        },
    },
    response=_response("embedding"),
    example={"model": "reward-model", "input": _TEXT},
)
