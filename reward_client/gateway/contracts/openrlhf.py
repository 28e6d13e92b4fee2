"""OpenRLHF, with ``--reward.remote_url http://HOST:PORT/get_reward``. Pure.

Source: OpenRLHF 0.11.2, ``openrlhf/utils/agent.py``, ``SingleTurnAgentExecutor``. It repeats a
failed request four times, a second apart, and has no word for a failed sample.
"""

from __future__ import annotations

from collections.abc import Sequence

from reward_client._integrations.policy_text import PolicyText
from reward_client.gateway.contracts.contract import (
    DETAIL,
    NUMBERS,
    TEXTS,
    Asked,
    Contract,
    Outcome,
    asked_of,
    detail,
    fields_of,
    invalid,
    numbers,
    texts_of,
)


def _read(body: object, policy: PolicyText) -> Asked:
    # A query is the prompt with the response. The labels are for rules, and not for a model.
    fields = fields_of(body)
    queries, prompts = texts_of(fields, "query"), texts_of(fields, "prompts")
    if len(queries) != len(prompts):
        raise invalid(f"'query' has {len(queries)} texts, and 'prompts' {len(prompts)}")
    return asked_of(lambda: policy.whole(queries, prompts), _answer)


def _answer(outcomes: Sequence[Outcome]) -> object:
    rewards = numbers(outcomes)
    return {"rewards": rewards, "scores": rewards, "extra_logs": {}}


OPENRLHF = Contract(
    name="openrlhf",
    path="/get_reward",
    summary="OpenRLHF: --reward.remote_url http://HOST:PORT/get_reward",
    read=_read,
    refusal=detail,
    error=DETAIL,
    request={
        "type": "object",
        "required": ["query", "prompts"],
        "properties": {
            "query": {**TEXTS, "description": "Prompts with responses, in the policy's template."},
            "prompts": {**TEXTS, "description": "The prompts alone."},
            "labels": {"description": "Not read."},
        },
    },
    response={
        "type": "object",
        "required": ["rewards", "scores", "extra_logs"],
        "properties": {"rewards": NUMBERS, "scores": NUMBERS, "extra_logs": {"type": "object"}},
    },
    example={
        "query": ["<user>What is 45 + 43?<end><assistant>88<end>"],
        "prompts": ["<user>What is 45 + 43?<end><assistant>"],
        "labels": [None],
    },
)
