"""Replies that are not what they should be: edits of a true reply, errors, and anything else."""

from __future__ import annotations

import copy
import gzip
import json
import math
import struct
import zlib
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import httpx
from hypothesis import strategies as st

from .running import KEY
from .vllm import PROMPT, SCORING

Payload: TypeAlias = Any


@dataclass(frozen=True, repr=False)
class Raw:
    """JSON text that no Python value is written as."""

    text: str

    def __repr__(self) -> str:
        return f"Raw({self.text[:40]!r}, length {len(self.text)})"


class _Again(str):
    """A key that an object can hold twice."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


def written(payload: Payload, indent: int | None = None) -> bytes:
    """The payload as JSON text; NaN and the like as Python writes them."""
    raws: list[str] = []

    def mark(value: Any) -> Any:
        if isinstance(value, Raw):
            raws.append(value.text)
            return f"@raw{len(raws) - 1}@"
        if isinstance(value, dict):
            return {key: mark(inner) for key, inner in value.items()}
        return [mark(inner) for inner in value] if isinstance(value, list) else value

    text = json.dumps(mark(payload), indent=indent)
    for number, raw in enumerate(raws):
        text = text.replace(f'"@raw{number}@"', raw)
    return text.encode()


# Values in the wrong place


def _nested(depth: int) -> Raw:
    return Raw("[" * depth + "1" + "]" * depth)


def _nested_objects(depth: int) -> Raw:
    return Raw('{"data":' * depth + "1" + "}" * depth)


NUMBERS = st.sampled_from(
    [
        *(0, -0.0, 1, -1, 2, 0.5, 1.5, 5.0, 1e-45, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63),
        *(2**64, 3.5e38, -3.5e38, 1e300, -1e308, float("nan"), float("inf"), -float("inf")),
    ]
) | st.sampled_from(
    [Raw("1e400"), Raw("-1e400"), Raw("1" * 30), Raw("9" * 400), Raw("9" * 5000), Raw("1.0e0")]
)
TEXTS = st.sampled_from(
    [
        *("", "0", "1", "1.5", "NaN", "null", "error", "judge", "other", "0.8.5", "sglang", "\x00"),
        *("\ud800", "é", "AAA", "AACAPw==", "AACAPw", "zzz", "<step>", "٣.٣", "9" * 5000 + ".1"),
        *("does not support Embeddings API", "EngineCore encountered an issue", f"Bearer {KEY}"),
    ]
) | st.text(max_size=8)
STRUCTURES = st.sampled_from(
    [
        *([], {}, [[]], [None], [1], [1.5], [[1.5]], [[1.5], [2.5]], ["a"], {"": 1}, {"data": []}),
        *(
            {"error": "x"},
            {"message": "x"},
            _nested(200),
            _nested(900),
            _nested(1020),
            _nested(5000),
        ),
        *(_nested_objects(300), _nested_objects(1020), _nested_objects(5000)),
    ]
)
ODD: st.SearchStrategy[Any] = st.none() | st.booleans() | NUMBERS | TEXTS | STRUCTURES
HUGE = st.sampled_from([Raw(f'"{"a" * 2**20}"'), Raw(f'"{"é" * 2**19}"'), _nested(100_000)])
JSON: st.SearchStrategy[Any] = st.recursive(
    ODD,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)

# Edits


@dataclass(frozen=True)
class Edit:
    """One change of a payload, at one of its places.

    Attributes:
        how: Its name in `_EDITS`.
        place: Which of the places, in document order, modulo their number.
        value: What the edit needs.
        key: Only places whose nearest key is this one, where there are such.
    """

    how: str
    place: int
    value: Any = None
    key: str | None = None

    def made(self, payload: Payload) -> Payload:
        """The payload with this change."""
        box = [payload]
        places = _places(box)
        named = [place for place in places if place[2] == self.key]
        holder, key, _ = (named or places)[self.place % len(named or places)]
        _EDITS[self.how](holder, key, copy.deepcopy(self.value))  # further edits change it
        return box[0] if box else None


def _places(value: list[Any]) -> list[tuple[Any, Any, str | None]]:
    """Each (list or object, index or key, nearest key), outermost first; long lists in samples."""
    found: list[tuple[Any, Any, str | None]] = []
    waiting: list[tuple[Any, str | None]] = [(value, None)]
    while waiting:
        holder, nearest = waiting.pop(0)
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        for key in keys if len(keys) <= 12 else [*keys[:6], *keys[-6:]]:
            named = key if isinstance(key, str) else nearest
            found.append((holder, key, named))
            if isinstance(holder[key], dict | list):
                waiting.append((holder[key], named))
    return found


def _replace(holder: Any, key: Any, value: Any) -> None:
    holder[key] = value


def _delete(holder: Any, key: Any, value: Any) -> None:
    del holder[key]


def _double(holder: Any, key: Any, value: Any) -> None:
    """An element twice; of an object, a key twice, the second time with another value."""
    if isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    else:
        holder[_Again(key)] = value


def _insert(holder: Any, key: Any, value: Any) -> None:
    if isinstance(holder, list):
        holder.insert(key, value)
    else:
        holder[f"{key}s"] = value


def _rename(holder: Any, key: Any, value: Any) -> None:
    if isinstance(holder, dict):
        holder[str(value)] = holder.pop(key)


def _wrap(holder: Any, key: Any, value: Any) -> None:
    holder[key] = [holder[key]]


def _unwrap(holder: Any, key: Any, value: Any) -> None:
    inner = holder[key]
    if isinstance(inner, dict):
        inner = list(inner.values())
    holder[key] = inner[0] if isinstance(inner, list) and inner else inner


def _as_text(holder: Any, key: Any, value: Any) -> None:
    holder[key] = (
        holder[key] if isinstance(holder[key], str) else json.dumps(holder[key], default=str)
    )


def _is_secret(value: Any) -> bool:
    """Whether a text holds what must not be shown: half of it is no secret any more."""
    return isinstance(value, str) and (KEY in value or PROMPT in value)


def _reverse(holder: Any, key: Any, value: Any) -> None:
    if isinstance(holder[key], list | str) and not _is_secret(holder[key]):
        holder[key] = holder[key][::-1]


def _cut(holder: Any, key: Any, value: Any) -> None:
    if isinstance(holder[key], list | str) and not _is_secret(holder[key]):
        holder[key] = holder[key][:-1]


def _shift(holder: Any, key: Any, value: Any) -> None:
    """Another number, by a little; another text, by a character."""
    inner = holder[key]
    if isinstance(inner, bool | int | float):
        holder[key] = inner + 1
    elif isinstance(inner, str) and inner and not _is_secret(inner):
        place = len(inner) // 2
        holder[key] = inner[:place] + "A" + inner[place + 1 :]


def _negate(holder: Any, key: Any, value: Any) -> None:
    if isinstance(holder[key], int | float):
        holder[key] = -holder[key]


def _as_float(holder: Any, key: Any, value: Any) -> None:
    if isinstance(holder[key], int):
        holder[key] = float(holder[key])


def _not_base64(holder: Any, key: Any, value: Any) -> None:
    """The floats of a base64 text with one of them another, or a byte too many."""
    if not isinstance(holder[key], str):
        return
    try:
        data = b64decode(holder[key], validate=True)
    except ValueError:
        return
    odd = {0: data + b"\0", 1: b"\0\0\xc0\x7f" + data[4:], 2: data[:-4], 3: data + b"\0\0\x80\x7f"}
    holder[key] = b64encode(odd[len(str(value)) % 4]).decode()


def _squash(holder: Any, key: Any, value: Any) -> None:
    """A sigmoid over all numbers."""

    def squashed(inner: Any) -> Any:
        if isinstance(inner, list):
            return [squashed(each) for each in inner]
        if isinstance(inner, dict):
            return {
                name: squashed(each) if name in ("data", "probs", "embedding") else each
                for name, each in inner.items()
            }
        if isinstance(inner, str):
            try:
                data = b64decode(inner, validate=True)
                numbers = squashed(list(struct.unpack(f"<{len(data) // 4}f", data)))
            except (ValueError, struct.error):
                return inner
            return b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
        return 0.5 * (1 + math.tanh(inner / 2)) if isinstance(inner, float) else inner

    holder[key] = squashed(holder[key])


def _swap(holder: Any, key: Any, value: Any) -> None:
    """Trades places with the next one."""
    if isinstance(holder, list) and key + 1 < len(holder):
        holder[key], holder[key + 1] = holder[key + 1], holder[key]


_EDITS: dict[str, Callable[[Any, Any, Any], None]] = {
    "replace": _replace,
    "delete": _delete,
    "double": _double,
    "insert": _insert,
    "rename": _rename,
    "wrap": _wrap,
    "unwrap": _unwrap,
    "as text": _as_text,
    "reverse": _reverse,
    "cut": _cut,
    "shift": _shift,
    "negate": _negate,
    "as float": _as_float,
    "not base64": _not_base64,
    "swap": _swap,
    "squash": _squash,
}

NAMES = st.sampled_from(
    [
        *(None, "data", "data", "embedding", "probs", "usage", "prompt_tokens", "index", "tokens"),
        *("count", "prompt", "id", "root", "version", "max_model_len", "paths"),
    ]
)
edits = st.builds(
    Edit,
    st.sampled_from(sorted(_EDITS)) | st.just("replace"),
    st.integers(0, 60),
    ODD,
    NAMES,
)


def score_edits(item_key: str) -> st.SearchStrategy[Edit]:
    """Changes of pooled output mostly, and of what else counts in a reply."""
    keys = [item_key] * 5 + ["prompt_tokens", "index", "usage", "model", None]
    hows = st.sampled_from(sorted(_EDITS)) | st.just("replace")
    return st.builds(
        Edit, hows, st.integers(0, 12), NUMBERS | st.none() | ODD, st.sampled_from(keys)
    )


huge_edits = st.builds(Edit, st.just("replace"), st.integers(0, 30), HUGE)
squashing = Edit("squash", 0, key="data")

# Errors in all forms that are known

_ECHO = {"messages": [{"role": "user", "content": PROMPT}]}
_SAID = st.sampled_from(
    [
        *("", "Internal Server Error", "The model `judge` does not exist.", "Unauthorized"),
        *("The model does not support Embeddings API", "Unsupported task: 'classify'"),
        *("EngineCore encountered an issue. See stack trace", "list index out of range"),
        *("This model's maximum context length is 1024 tokens.", f"wrong key: Bearer {KEY}", KEY),
        *(f"x{KEY} {KEY}y", "y" * 290 + KEY, "z" * 4090 + KEY),
        f"[{{'type': 'string_type', 'msg': 'bad', 'input': {_ECHO!r}}}]",
        f"1 validation error: bad [type=x, input_value={_ECHO!r}, input_type=dict]",
        f'[{{"loc": ["body"], "msg": "bad", "input": {json.dumps(_ECHO)}}}]',
    ]
) | st.text(max_size=20)


def _error_forms(said: str, code: Any, kind: Any) -> list[Payload]:
    inner = {"message": said, "type": kind, "param": None, "code": code}
    return [
        {"error": inner},
        {"object": "error", **inner},
        {"error": said},
        {"detail": said},
        {"detail": [{"type": kind, "loc": ["body"], "msg": said, "input": _ECHO}]},
        {"detail": {"msg": said, "headers": {"authorization": f"Bearer {KEY}"}}},
        {"error": {"message": {"text": said}, "code": str(code)}},
        {"error": [inner]},
        {"error": True, "message": said},
        {"message": said},
        said,
        [said],
        None,
    ]


error_payloads: st.SearchStrategy[Payload] = st.builds(
    lambda said, code, kind, form: copy.deepcopy(_error_forms(said, code, kind)[form % 13]),
    _SAID,
    st.sampled_from([400, 401, 404, 422, 429, 500, 503, 200, 0, -1, True, 2**70, "400", None]),
    st.sampled_from(["BadRequestError", "NotFoundError", "InternalServerError", "", None, 5]),
    st.integers(0, 12),
)

# Replies

STATUSES = st.sampled_from(
    [
        *(
            200,
            200,
            200,
            200,
            201,
            204,
            206,
            226,
            301,
            304,
            307,
            400,
            401,
            403,
            404,
            405,
            407,
            408,
            413,
        ),
        *(415, 418, 422, 425, 429, 500, 501, 502, 503, 504, 511, 599, 600, 999, 100, 199),
    ]
)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["retry-after", "retry-after-ms", "content-type", "content-length", "location", "x-other"]
    ),
    st.sampled_from(
        [
            *(
                "",
                "0",
                "1",
                "-1",
                "1e9",
                "nan",
                "inf",
                "soon",
                "text/html; charset=utf-7",
                "utf-16",
            ),
            *("application/json; charset=no-such", "Mon, 01 Jan 2024 00:00:00 GMT", "http://[::1"),
            *("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "9" * 400),
            *("Mon, 01 Jan 2024 00:00:00 +99999999999999", "Fri, 31 Dec 9999 23:59:59 -2359", KEY),
        ]
    )
    | st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=20),
    max_size=2,
)


class _Stream(httpx.AsyncByteStream):
    """A body in pieces, as from a socket."""

    def __init__(self, body: bytes, piece: int) -> None:
        self._body, self._piece = body, piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), self._piece):
            yield self._body[start : start + self._piece]


@dataclass(frozen=True)
class Answer:
    """Another reply than the true one.

    Attributes:
        edits: Changes of the true payload.
        instead: What comes in its place: bytes or, in a tuple of one, JSON; None for the payload.
        status: The HTTP status.
        headers: Besides those of the encoding.
        encoding: What content-encoding says.
        indent: How the JSON is written.
    """

    edits: tuple[Edit, ...] = ()
    instead: bytes | tuple[Payload] | None = None
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    encoding: str | None = None
    indent: int | None = None

    def response(self, payload: Payload) -> httpx.Response:
        """The reply; its body as a reader should have it is among the extensions."""
        if isinstance(self.instead, bytes):
            body = self.instead
        else:
            payload = copy.deepcopy(payload if self.instead is None else self.instead[0])
            for edit in self.edits:
                payload = edit.made(payload)
            body = written(payload, self.indent)
        headers = [(name, value.encode("latin-1")) for name, value in self.headers]
        sent = body
        if self.encoding is not None:
            headers.append(("content-encoding", self.encoding.encode()))
            sent = _PACKED[self.encoding](body)
        stream = _Stream(sent, 16384)
        return httpx.Response(
            self.status,
            headers=[(name.encode(), value) for name, value in headers],
            stream=stream,
            extensions={"body": body},
        )


_PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "identity": bytes,
    "GZIP": gzip.compress,
    "gzip, gzip": lambda body: gzip.compress(gzip.compress(body)),
    "gzip ": lambda body: body,  # the blank goes on the way: a lie
    "x-unknown": bytes,
    "br": bytes,
    "zstd": bytes,
}


def edited(
    some: st.SearchStrategy[Edit], most: int, statuses: st.SearchStrategy[int] = STATUSES
) -> st.SearchStrategy[Answer]:
    """The true reply with some edits."""
    return st.builds(
        Answer,
        edits=st.lists(some, min_size=1, max_size=most).map(tuple),
        status=st.just(200) | statuses,
    )


headers_of_replies = HEADERS.map(lambda headers: tuple(headers.items()))
any_bytes = st.builds(
    Answer,
    instead=st.binary(max_size=64)
    | st.text(max_size=64).map(lambda text: text.encode("utf-8", "replace")),
    status=STATUSES,
    headers=headers_of_replies,
)
any_json = st.builds(Answer, instead=st.tuples(JSON), status=STATUSES, headers=headers_of_replies)
any_error = st.builds(
    Answer, instead=st.tuples(error_payloads), status=STATUSES, headers=headers_of_replies
)
edited_error = st.builds(
    Answer,
    instead=st.tuples(error_payloads),
    edits=st.lists(edits, max_size=2).map(tuple),
    status=STATUSES,
)
encoded = st.builds(
    Answer, encoding=st.sampled_from(sorted(_PACKED)), headers=headers_of_replies
) | st.builds(
    Answer,
    instead=st.binary(max_size=40),
    encoding=st.sampled_from(sorted(_PACKED)),
    status=STATUSES,
)
answers = st.one_of(
    edited(edits, 1), edited(edits, 3), any_json, any_error, edited_error, any_bytes, encoded
)


@dataclass(frozen=True)
class Plan:
    """Which replies are damaged.

    Attributes:
        answers: For each, the path, from which request to it on (None: only that one), the reply.
    """

    answers: tuple[tuple[str, int, bool, Answer], ...]

    def __call__(self, path: str, times: int, payload: Payload) -> httpx.Response | None:
        for wanted, first, onwards, answer in self.answers:
            if path == wanted and (times == first or (onwards and times > first)):
                return answer.response(payload)
        return None


@dataclass(frozen=True)
class ScorePlan:
    """The replies with scores are damaged: those of the probes, or those of the sample."""

    answer: Answer
    probes: bool

    def __call__(self, path: str, times: int, payload: Payload) -> httpx.Response | None:
        if path in SCORING and (len(payload["data"]) > 1) == self.probes:
            return self.answer.response(payload)
        return None


def plans(
    paths: Sequence[str],
    some: st.SearchStrategy[Answer],
    first: st.SearchStrategy[int],
    most: int = 2,
) -> st.SearchStrategy[Plan]:
    """Damage to replies of some paths."""
    one = st.tuples(st.sampled_from(paths), first, st.booleans(), some)
    return st.lists(one, min_size=1, max_size=most).map(lambda found: Plan(tuple(found)))
