"""LLaMA-Factory, with ``reward_model_type: api``. Pure.

Source: LLaMA-Factory 0.9.5, ``train/ppo/ppo_utils.py``, ``get_rewards_from_server``. It looks at no
status and repeats nothing: an answer without ``scores`` ends the run with a ``KeyError``. Its own
server has this path, ``api/app.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

from reward_client._integrations.policy_text import PolicyText
from reward_client.gateway.contracts.contract import (
    DETAIL,
    MODEL,
    NUMBERS,
    TEXTS,
    Asked,
    Contract,
    Outcome,
    asked_of,
    detail,
    fields_of,
    numbers,
    texts_of,
)


def _read(body: object, policy: PolicyText) -> Asked:
    # Each of the messages is a whole text, prompt and response.
    fields = fields_of(body)
    texts = texts_of(fields, "messages")
    model = fields.get("model")

    def answer(outcomes: Sequence[Outcome]) -> object:
        return {"object": "score.evaluation", "model": model, "scores": numbers(outcomes)}

    return asked_of(lambda: policy.unsplit(texts), answer)


LLAMA_FACTORY = Contract(
    name="llama_factory",
    path="/v1/score/evaluation",
    summary="LLaMA-Factory: reward_model: http://HOST:PORT/v1/score/evaluation",
    read=_read,
    refusal=detail,
    error=DETAIL,
    request={
        "type": "object",
        "required": ["messages"],
        "properties": {
            "model": MODEL,
            "messages": {
                **TEXTS,
                "description": "Prompts with responses, in the policy's template.",
            },
        },
    },
    response={
        "type": "object",
        "required": ["scores"],
        "properties": {
            "object": {"const": "score.evaluation"},
            "model": {"description": "The model of the request."},
            "scores": NUMBERS,
        },
    },
    example={
        "model": "model",
        "messages": ["<user>What is 45 + 43?<end><assistant>88<end>"],
    },
)
