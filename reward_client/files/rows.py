"""Parse rows of the input into samples, and format rewards as lines of results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar, cast

import orjson

from reward_client._base.json_values import as_list, as_mapping
from reward_client._base.results import Reward
from reward_client._base.samples import Conversation, FormattedText, Message, Sample
from reward_client._client.streaming import Outcome
from reward_client.errors import GenerationError, InputError, RewardClientError
from reward_client.files.columns import ALLOWED_WITH, FORMS, read_columns, system_message
from reward_client.files.reader import Line

T = TypeVar("T")

_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class _Shape:
    """The shape of a row's results: one value, a list, or a dict with two keys."""

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
        line: Line of the input file.
        digest: Digest of the row and the settings, which the result contains.
        samples: Samples to score; empty if the row has a result already.
        result: Line of results for a row without samples to score.
        is_kept: True if an earlier run wrote the result.
        shape: Shape of the result.
        id: The row's ``id``, ready for the output; None if the row has no ID.
        unread: The names of the columns that no sample is made of.
    """

    line: Line
    digest: str
    samples: Sequence[Sample] = ()
    result: bytes | None = None
    is_kept: bool = False
    shape: _Shape = _ONE
    id: object = None
    unread: Sequence[str] = ()

    @property
    def keys(self) -> tuple[str, ...] | None:
        """The keys of the samples in a row of chosen and rejected; None for other rows."""
        return self.shape.keys


def row_digest(settings: bytes, line: Line) -> str:
    """Return the digest that binds a result to its row and to the digest of the settings."""
    return hashlib.blake2b(line.content, key=settings, digest_size=_DIGEST_BYTES).hexdigest()


def line_start(position: int) -> bytes:
    """Return the first bytes of a row's result."""
    return b'{"row":%d,' % position


def read_row(line: Line, digest: str) -> Row:
    """Parse a line. The result of an invalid row is an error."""
    given: Mapping[str, object] = {}
    try:
        given = _json_object(line)
        fields, unread = read_columns(given)
        shape, samples = _samples(fields)
        return Row(line, digest, samples, shape=shape, id=_id(given, line), unread=unread)
    except InputError as error:
        row = Row(line, digest, id=_valid_id(given, line))
        return replace(row, result=_format(row, {"error": _error(error)}))


def problem(row: Row) -> str | None:
    """Return the reason why a row that was read cannot be scored; None if it can."""
    return None if row.result is None else str(orjson.loads(row.result)["error"]["message"])


def result_line(row: Row, outcomes: Sequence[Outcome]) -> bytes:
    """Format the result of a scored row, from a reward or an error for each sample."""
    rewards = [outcome if isinstance(outcome, Reward) else None for outcome in outcomes]
    errors = [None if isinstance(outcome, Reward) else _error(outcome) for outcome in outcomes]

    def shaped(value: Callable[[Reward], object]) -> object:
        return row.shape.of([None if reward is None else value(reward) for reward in rewards])

    content: dict[str, object] = {}
    if row.shape is not _ONE or rewards[0] is not None:
        content["reward"] = shaped(lambda reward: reward.scalar)
    if any(reward and reward.objectives for reward in rewards):
        content["objectives"] = shaped(lambda reward: reward.objectives)
    if any(reward and reward.steps for reward in rewards):
        content["steps"] = shaped(lambda reward: [dict(step) for step in reward.steps])
    if any(reward and reward.truncated for reward in rewards):
        content["truncated"] = shaped(lambda reward: reward.truncated)
    if content:
        content["token_count"] = shaped(lambda reward: reward.token_count)
    if any(errors):
        content["error"] = row.shape.of(errors)
    return _format(row, content)


def _format(row: Row, content: Mapping[str, object]) -> bytes:
    start = {} if row.id is None else {"id": row.id}
    rest = orjson.dumps({**start, **content, "digest": row.digest})
    return line_start(row.line.position) + rest[1:] + b"\n"


def _error(error: RewardClientError) -> dict[str, str]:
    """Format an error without the parts that vary between runs, such as the request ID."""
    text = {"text": error.text} if isinstance(error, GenerationError) else {}
    return {"type": type(error).__name__, "message": str(error.args[0]), **text}


def _json_object(line: Line) -> Mapping[str, object]:
    if not line.is_whole:
        raise InputError(f"Cannot read the line: it is longer than {len(line.content) >> 20} MiB.")
    try:
        given = as_mapping(orjson.loads(line.content))
    except orjson.JSONDecodeError as error:
        raise InputError(f"Cannot read the line: it is not JSON ({error}).") from error
    if given is None:
        raise InputError("Cannot read the line: it is not a JSON object.")
    return given


def _id(given: Mapping[str, object], line: Line) -> object:
    """Return the row's ID without loss: orjson turns integers over 64 bits into floats."""
    found = given.get("id")
    if found is None or isinstance(found, str | int):
        return found
    try:
        return orjson.Fragment(json.dumps(json.loads(line.content)["id"], allow_nan=False))
    except ValueError as error:
        raise InputError(f"Cannot keep the id: {error}.") from error


def _valid_id(given: Mapping[str, object], line: Line) -> object:
    try:
        return _id(given, line)
    except InputError:
        return None


def _samples(row: Mapping[str, object]) -> tuple[_Shape, Sequence[Sample]]:
    forms = [key for key in FORMS if key in row and key != "rejected"]
    if len(forms) != 1 or ("chosen" in row) != ("rejected" in row):
        raise InputError(
            "A row must have exactly one of messages, text, token_ids, prompt with responses, and "
            f"chosen with rejected. This row has {', '.join(row) or 'none of them'}."
        )
    (form,) = forms
    extra = [key for key, forms in ALLOWED_WITH.items() if key in row and form not in forms]
    if extra:
        raise InputError(f"Cannot combine {form} with {', '.join(extra)}.")
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
        cast("Sequence[Message]", _with_system_message(row, messages)),
        tools=cast("Sequence[Mapping[str, object]] | None", row.get("tools")),
        chat_template_kwargs=cast("Mapping[str, object] | None", row.get("chat_template_kwargs")),
        steps=cast("Sequence[str] | None", row.get("steps")),
    )


def _with_system_message(row: Mapping[str, object], messages: object) -> object:
    """Put the row's system message before the messages, unless they begin with the same one."""
    system, turns = system_message(row), as_list(messages)
    if system is None or not turns:
        return messages
    first = as_mapping(turns[0]) or {}
    if first.get("role") not in ("system", "developer"):
        return [{"role": "system", "content": system}, *turns]
    if first.get("content") != system:
        raise InputError(
            "The messages begin with another system message than the row's system field. Write "
            "one of them."
        )
    return messages


def _token_ids(given: object) -> Sequence[int]:
    ids = as_list(given)
    if not ids or not isinstance(ids[0], int):
        raise InputError("token_ids must be a non-empty list of integers.")
    return cast("Sequence[int]", ids)


def _responses(row: Mapping[str, object]) -> Sequence[Sample]:
    if "prompt" not in row:
        raise InputError("responses need a prompt in the same row.")
    responses = as_list(row["responses"])
    if not responses or not all(isinstance(response, str) for response in responses):
        raise InputError("responses must be a non-empty list of strings.")
    return [_answer(row, response) for response in responses]


def _answer(row: Mapping[str, object], answer: object) -> Conversation:
    """Build the conversation that ends with an answer: a text, the last turns, or all turns."""
    prompt = row.get("prompt")
    before = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    if isinstance(answer, str):
        answer = [{"role": "assistant", "content": answer}]
        if before is None:
            raise InputError(
                "chosen and rejected are texts without a prompt. Add a prompt to the row, or write "
                "chosen and rejected as lists of messages."
            )
    if before is None:
        return _conversation(row, answer)
    turns, last = as_list(before), as_list(answer)
    if not turns or not last:
        raise InputError("The prompt and its answers must be strings or lists of messages.")
    if last[: len(turns)] == turns and len(last) > len(turns):
        return _conversation(row, last)
    if (as_mapping(last[0]) or {}).get("role") != "assistant":
        raise InputError(
            "The messages of an answer must start with the prompt's messages, or with an assistant "
            "message."
        )
    return _conversation(row, [*turns, *last])
