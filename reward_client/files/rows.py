"""From a line of the input to what is scored, and from its rewards to a line of results. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar, cast

import orjson

from reward_client._base.json_values import as_list, as_mapping
from reward_client._base.results import Reward
from reward_client._base.samples import Conversation, FormattedText, Message, Sample
from reward_client.errors import InputError, RewardClientError
from reward_client.files.reader import Line

T = TypeVar("T")

Outcome: TypeAlias = Reward | RewardClientError

_FORMS = ("messages", "text", "token_ids", "responses", "chosen", "rejected")
# What belongs to some forms only: elsewhere it would be ignored in silence.
_WITH = {
    "tools": ("messages", "responses", "chosen"),
    "chat_template_kwargs": ("messages", "responses", "chosen"),
    "steps": ("messages",),
    "prompt": ("responses", "chosen"),
}
_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class _Shape:
    """How the values of a row's samples are laid out: one value, a list, or a dict of two."""

    keys: tuple[str, ...] | None = None
    is_list: bool = False

    def of(self, values: Sequence[T]) -> object:
        if self.keys is not None:
            return dict(zip(self.keys, values, strict=True))
        return list(values) if self.is_list else values[0]


_ONE = _Shape()
_LIST = _Shape(is_list=True)
_PAIR = _Shape(keys=("chosen", "rejected"))


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the input.

    Attributes:
        line: Where it is from.
        digest: What its result is known by.
        samples: What is scored for it; none where the result is there already.
        result: The line of the result, where nothing is scored.
        is_kept: Whether an earlier run wrote it.
        shape: How the results are laid out.
        id: The row's ``id``, as it is written out; None if it has none.
    """

    line: Line
    digest: str
    samples: Sequence[Sample] = ()
    result: bytes | None = None
    is_kept: bool = False
    shape: _Shape = _ONE
    id: object = None


def row_digest(settings: bytes, line: Line) -> str:
    """What says that a result is of this row under these settings.

    Args:
        settings: Their digest.
        line: The row.
    """
    return hashlib.blake2b(line.content, key=settings, digest_size=_DIGEST_BYTES).hexdigest()


def line_start(position: int) -> bytes:
    """How the result of a row starts."""
    return b'{"row":%d,' % position


def read_row(line: Line, digest: str) -> Row:
    """The row that a line holds; if it is none, it has an error for a result."""
    given: Mapping[str, object] = {}
    try:
        given = _json_object(line)
        shape, samples = _samples(given)
        return Row(line, digest, samples, shape=shape, id=_id(given, line))
    except InputError as error:
        row = Row(line, digest, id=_id_if_any(given, line))
        return replace(row, result=_written(row, {"error": _error(error)}))


def result_line(row: Row, outcomes: Sequence[Outcome]) -> bytes:
    """The result of a row that was scored.

    Args:
        row: The row.
        outcomes: A reward or an error for each of its samples.
    """
    rewards = [each if isinstance(each, Reward) else None for each in outcomes]
    errors = [None if isinstance(each, Reward) else _error(each) for each in outcomes]

    def laid_out(value: Callable[[Reward], object]) -> object:
        return row.shape.of([None if each is None else value(each) for each in rewards])

    content: dict[str, object] = {}
    if row.shape is not _ONE or rewards[0] is not None:
        content["reward"] = laid_out(lambda reward: reward.scalar)
    if any(reward and reward.objectives for reward in rewards):
        content["objectives"] = laid_out(lambda reward: reward.objectives)
    if any(reward and reward.steps for reward in rewards):
        content["steps"] = laid_out(lambda reward: [dict(step) for step in reward.steps])
    if any(reward and reward.truncated for reward in rewards):
        content["truncated"] = laid_out(lambda reward: reward.truncated)
    if content:
        content["token_count"] = laid_out(lambda reward: reward.token_count)
    if any(errors):
        content["error"] = row.shape.of(errors)
    return _written(row, content)


def _written(row: Row, content: Mapping[str, object]) -> bytes:
    start = {} if row.id is None else {"id": row.id}
    rest = orjson.dumps({**start, **content, "digest": row.digest})
    return line_start(row.line.position) + rest[1:] + b"\n"


def _error(error: RewardClientError) -> dict[str, str]:
    """An error without what differs between two runs that meet the same one."""
    return {"type": type(error).__name__, "message": str(error.args[0])}


def _json_object(line: Line) -> Mapping[str, object]:
    if not line.is_whole:
        raise InputError(f"The line is longer than {len(line.content) >> 20} MiB.")
    try:
        given = as_mapping(orjson.loads(line.content))
    except orjson.JSONDecodeError as error:
        raise InputError(f"The line is not JSON: {error}.") from error
    if given is None:
        raise InputError("The line is not a JSON object.")
    return given


def _id(given: Mapping[str, object], line: Line) -> object:
    """The row's ID, to the last digit: orjson makes floats of integers of more than 64 bits."""
    found = given.get("id")
    if found is None or isinstance(found, str | int):
        return found
    try:
        return orjson.Fragment(json.dumps(json.loads(line.content)["id"], allow_nan=False))
    except ValueError as error:
        raise InputError(f"The id cannot be kept: {error}.") from error


def _id_if_any(given: Mapping[str, object], line: Line) -> object:
    try:
        return _id(given, line)
    except InputError:
        return None


def _samples(given: Mapping[str, object]) -> tuple[_Shape, Sequence[Sample]]:
    # Files made from tables have null where a row has no such field.
    row = {key: given[key] for key in (*_FORMS, *_WITH) if given.get(key) is not None}
    forms = [key for key in _FORMS if key in row and key != "rejected"]
    if len(forms) != 1 or ("chosen" in row) != ("rejected" in row):
        raise InputError(
            "A row holds one of messages, text, token_ids, prompt with responses, and chosen with "
            f"rejected. This one holds {', '.join(row) or 'none of them'}."
        )
    (form,) = forms
    misplaced = [key for key in _WITH if key in row and form not in _WITH[key]]
    if misplaced:
        raise InputError(f"{form} cannot go with {', '.join(misplaced)}.")
    match form:
        case "messages":
            return _ONE, [_conversation(row, row["messages"])]
        case "text":
            return _ONE, [FormattedText(cast("str", row["text"]))]
        case "token_ids":
            return _ONE, [_token_ids(row["token_ids"])]
        case "responses":
            return _LIST, _responses(row)
        case _:
            return _PAIR, [_answer(row, row["chosen"]), _answer(row, row["rejected"])]


def _conversation(row: Mapping[str, object], messages: object) -> Conversation:
    return Conversation(
        cast("Sequence[Message]", messages),
        tools=cast("Sequence[Mapping[str, object]] | None", row.get("tools")),
        chat_template_kwargs=cast("Mapping[str, object] | None", row.get("chat_template_kwargs")),
        steps=cast("Sequence[str] | None", row.get("steps")),
    )


def _token_ids(given: object) -> Sequence[int]:
    ids = as_list(given)
    if not ids or not isinstance(ids[0], int):
        raise InputError("token_ids must be a non-empty list of integers.")
    return cast("Sequence[int]", ids)


def _responses(row: Mapping[str, object]) -> Sequence[Sample]:
    if "prompt" not in row:
        raise InputError("responses need the prompt that they answer.")
    responses = as_list(row["responses"])
    if not responses or not all(isinstance(response, str) for response in responses):
        raise InputError("responses must be a non-empty list of texts.")
    return [_answer(row, response) for response in responses]


def _answer(row: Mapping[str, object], answer: object) -> Conversation:
    """The conversation that an answer ends: a text, the last turns, or all of them."""
    prompt = row.get("prompt")
    before = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    if isinstance(answer, str):
        answer = [{"role": "assistant", "content": answer}]
        if before is None:
            raise InputError(
                "A text as chosen or rejected needs the prompt that it answers. A conversation "
                "is written as a list of messages."
            )
    if before is None:
        return _conversation(row, answer)
    turns, last = as_list(before), as_list(answer)
    if not turns or not last:
        raise InputError("The prompt and its answers must be texts or lists of messages.")
    if last[: len(turns)] == turns and len(last) > len(turns):
        return _conversation(row, last)
    if (as_mapping(last[0]) or {}).get("role") != "assistant":
        raise InputError(
            "Messages that answer a prompt start with the prompt's own, or with the assistant's."
        )
    return _conversation(row, [*turns, *last])
