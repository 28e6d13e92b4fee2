"""slime, with ``--rm-type remote_rm --rm-url http://HOST:PORT/remote_rm``. Pure.

Source: THUDM/slime, ``slime/rollout/rm_hub/__init__.py`` at 0b420f1, ``remote_rm``. It repeats a
failed request nine times, and has no word for a failed sample.
"""

from __future__ import annotations

from collections.abc import Sequence

from reward_client._base.json_values import as_sequence
from reward_client._integrations.policy_text import PolicyText
from reward_client.gateway.contracts.contract import (
    DETAIL,
    MESSAGES,
    Asked,
    Contract,
    Outcome,
    asked_of,
    detail,
    fields_of,
    invalid,
    numbers,
)


def _read(body: object, policy: PolicyText) -> Asked:
    fields = fields_of(body)
    prompt, response = fields.get("prompt"), fields.get("response")
    turns = as_sequence(prompt)
    if not isinstance(response, str) or not (turns or isinstance(prompt, str)):
        raise invalid("'prompt' must be a text or a list of messages, and 'response' a text")
    return asked_of(lambda: policy.answered([prompt], [response]), _answer)


def _answer(outcomes: Sequence[Outcome]) -> object:
    return numbers(outcomes)[0]


SLIME = Contract(
    name="slime",
    path="/remote_rm",
    summary="slime: --rm-type remote_rm --rm-url http://HOST:PORT/remote_rm",
    read=_read,
    refusal=detail,
    error=DETAIL,
    request={
        "type": "object",
        "required": ["prompt", "response"],
        "properties": {
            "prompt": {
                "anyOf": [{"type": "string"}, MESSAGES],
                "description": "A text in the policy's template, or messages.",
            },
            "response": {"type": "string", "description": "The text that the policy wrote."},
            "label": {"description": "Not read."},
        },
    },
    response={"type": "number"},
    example={
        "prompt": "<user>What is 45 + 43?<end><assistant>",
        "response": "88<end>",
        "label": None,
    },
)
