"""The gateway's own contract: rows of any form in, their rewards out. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from reward_client._base.json_values import as_mapping, as_sequence
from reward_client._base.results import Reward
from reward_client._base.samples import Given
from reward_client._client.row_calls import RowsCall
from reward_client._integrations.policy_text import PolicyText
from reward_client._rows.forms import FORMS, Columns
from reward_client.errors import InputError, RewardClientError
from reward_client.gateway.contracts.contract import (
    MESSAGES,
    UNPROCESSABLE,
    Asked,
    Contract,
    Outcome,
    Refusal,
    fields_of,
    in_words_of_the_gateway,
    invalid,
)

_OPTIONS = frozenset({"rows", "form", "columns"})


def _read(body: object, _: PolicyText) -> Asked:
    fields = fields_of(body)
    if "rows" not in fields:
        call, samples = _rows([fields], None, None, refuses_first=True)
        return Asked(samples, lambda outcomes: _one_row(call, outcomes))
    unknown = sorted(fields.keys() - _OPTIONS)
    if unknown:
        raise invalid(f"{unknown[0][:40]!r} stands beside 'rows', and belongs into a row")
    rows = as_sequence(fields["rows"])
    if not rows or not all(as_mapping(row) is not None for row in rows):
        raise invalid("'rows' must be a non-empty list of objects")
    call, samples = _rows(
        cast("Sequence[Mapping[str, object]]", rows),
        cast("str | None", fields.get("form")),
        cast("Columns | None", fields.get("columns")),
        refuses_first=False,
    )
    return Asked(samples, lambda outcomes: {"rows": [*map(_shown, call.added(outcomes))]})


def _rows(
    rows: Sequence[Mapping[str, object]],
    form: str | None,
    columns: Columns | None,
    *,
    refuses_first: bool,
) -> tuple[RowsCall, list[Given]]:
    """Return the call for some rows, and all their samples.

    Raises:
        Refusal: If an option is invalid; with ``refuses_first`` also if the first row is.
    """
    try:
        call = RowsCall(rows, form, columns, compares=False, refuses_first=refuses_first)
        return call, [*call.samples()]
    except InputError as error:
        raise _unprocessable(error) from error


def _one_row(call: RowsCall, outcomes: Sequence[Outcome]) -> object:
    """Return the added columns of the only row.

    Raises:
        Refusal: If none of its samples has a reward.
    """
    errors = [outcome for outcome in outcomes if not isinstance(outcome, Reward)]
    if len(errors) == len(outcomes):
        raise _unprocessable(errors[0])
    return _shown(call.added(outcomes)[0])


def _shown(result: Mapping[str, object]) -> Mapping[str, object]:
    """Return a result whose errors name the options of the gateway."""
    if result["error"] is None:
        return result
    return {**result, "error": _reworded(result["error"])}


def _reworded(errors: object) -> object:
    """Return the errors of a row, in their layout."""
    if (sequence := as_sequence(errors)) is not None:
        return [*map(_reworded, sequence)]
    mapping = as_mapping(errors)
    if mapping is None:
        return None
    if "message" in mapping:
        return {**mapping, "message": in_words_of_the_gateway(mapping["message"])}
    return {side: _reworded(error) for side, error in mapping.items()}


def _unprocessable(error: RewardClientError) -> Refusal:
    return Refusal(UNPROCESSABLE, type(error).__name__, str(error))


def _error(refusal: Refusal) -> object:
    return {"error": {"type": refusal.kind, "message": refusal.reason}}


_ERROR: Mapping[str, object] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["type", "message"],
            "properties": {"type": {"type": "string"}, "message": {"type": "string"}},
        }
    },
}
_TEXT: Mapping[str, object] = {"type": "string"}
_PROMPT: Mapping[str, object] = {"anyOf": [_TEXT, MESSAGES]}
_REWARD: Mapping[str, object] = {
    "description": "A number; a list for several responses; an object for sides such as chosen and "
    "rejected; null in the place of a sample that failed.",
    "anyOf": [
        {"type": "number"},
        {"type": "null"},
        {"type": "array", "items": {"type": ["number", "null"]}},
        {"type": "object"},
    ],
}
_ROW: Mapping[str, object] = {
    "type": "object",
    "description": "A row in one of the forms of rows. The usual columns are listed here.",
    "properties": {
        "messages": {**MESSAGES, "description": "The conversation, which ends with an answer."},
        "prompt": {**_PROMPT, "description": "A text, or the messages before the answer."},
        "response": {**_PROMPT, "description": "The answer to the prompt."},
        "responses": {
            "type": "array",
            "items": _PROMPT,
            "minItems": 1,
            "description": "Several answers to the prompt.",
        },
        "chosen": {**_PROMPT, "description": "The better answer to the prompt."},
        "rejected": {**_PROMPT, "description": "The worse answer to the prompt."},
        "text": {**_TEXT, "description": "The text after the chat template."},
        "token_ids": {
            "type": "array",
            "items": {"type": "integer"},
            "minItems": 1,
            "description": "The token IDs of the whole prompt.",
        },
        "steps": {
            "type": "array",
            "items": _TEXT,
            "minItems": 1,
            "description": "The steps of the answer, for a process reward model.",
        },
    },
}
_RESULT: Mapping[str, object] = {
    "type": "object",
    "required": ["form", "reward", "error"],
    "properties": {
        "form": {"type": ["string", "null"]},
        "reward": _REWARD,
        "error": {"description": "The reason of each failure, in the layout of the rewards."},
        "token_count": {"description": "The tokens of each sample, in the layout of the rewards."},
        "objectives": {"description": "All values of a reward with several objectives."},
        "step_rewards": {"description": "The reward of each step of an answer."},
        "truncated": {"description": "True if the oldest turns were left out."},
    },
}

PLAIN = Contract(
    name="score",
    path="/score",
    summary="rows of any form: messages, prompt and response(s), text, token IDs, pairs, steps",
    read=_read,
    refusal=_error,
    error=_ERROR,
    request={
        "anyOf": [
            _ROW,
            {
                "type": "object",
                "required": ["rows"],
                "additionalProperties": False,
                "properties": {
                    "rows": {
                        "type": "array",
                        "items": _ROW,
                        "minItems": 1,
                        "description": "Several rows, instead of the fields of one.",
                    },
                    "form": {"enum": [*FORMS], "description": "The form of all rows."},
                    "columns": {
                        "description": "The only columns to read: names, or names by the names "
                        "that a form has.",
                        "anyOf": [
                            {"type": "array", "items": _TEXT, "minItems": 1},
                            {"type": "object", "minProperties": 1},
                        ],
                    },
                },
            },
        ]
    },
    response={
        "anyOf": [
            _RESULT,
            {
                "type": "object",
                "required": ["rows"],
                "properties": {"rows": {"type": "array", "items": _RESULT}},
            },
        ]
    },
    example={"prompt": "What is 45 + 43?", "response": "88"},
)
