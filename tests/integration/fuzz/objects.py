"""Python objects of all kinds, hostile ones among them, as a caller may pass them by mistake."""

from __future__ import annotations

import array
import sys
from collections import ChainMap, UserDict, UserList, deque, namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, IntEnum
from itertools import count
from types import MappingProxyType, SimpleNamespace
from typing import Any
from uuid import UUID

import numpy as np
from hypothesis import strategies as st

from reward_client import Conversation, FormattedText

from .vllm import PROMPT


class TrapError(Exception):
    """What hostile objects raise."""


def _sprung(*_: object, **__: object) -> Any:
    raise TrapError(PROMPT)


class SpringingSequence(Sequence[Any]):
    __len__ = lambda self: 2  # noqa: E731
    __getitem__ = __repr__ = _sprung


class EndlessTokens(Sequence[Any]):
    """Never raises IndexError, by which iteration would end."""

    __len__ = lambda self: 2  # noqa: E731

    def __getitem__(self, index: Any) -> Any:
        return 7


class EndlessTurns(EndlessTokens):
    def __getitem__(self, index: Any) -> Any:
        return {"role": "user", "content": "x"}


class NoLength(EndlessTokens):
    __len__ = _sprung


class WrongLength(EndlessTokens):
    __len__ = lambda self: -1  # noqa: E731


class HugeLength(EndlessTokens):
    __len__ = lambda self: sys.maxsize  # noqa: E731

    def __getitem__(self, index: Any) -> Any:
        if index > 3:
            raise IndexError
        return 7


class SpringingMapping(Mapping[str, Any]):
    __len__ = lambda self: 2  # noqa: E731
    __iter__ = lambda self: iter(("role", "content"))  # noqa: E731
    __getitem__ = _sprung


class EndlessMapping(Mapping[str, Any]):
    __len__ = lambda self: 2  # noqa: E731
    __iter__ = lambda self: map(str, count())  # noqa: E731

    def __getitem__(self, key: Any) -> Any:
        return "x"


class EndlessDepth(EndlessMapping):
    """Each value is another such mapping."""

    __iter__ = lambda self: iter(("role", "content"))  # noqa: E731

    def __getitem__(self, key: Any) -> Any:
        return "user" if key == "role" else [EndlessDepth()]


class SpringingList(list[Any]):
    __iter__ = __len__ = __getitem__ = __repr__ = _sprung


class LyingList(list[Any]):
    __len__ = lambda self: 10**9  # noqa: E731


class SpringingDict(dict[Any, Any]):
    items = keys = get = __iter__ = __getitem__ = __repr__ = _sprung


class Text(str):
    __slots__ = ()
    __eq__ = __str__ = __repr__ = __len__ = encode = isascii = _sprung
    __hash__ = str.__hash__


class Number(int):
    __repr__ = __str__ = __lt__ = __le__ = __eq__ = __index__ = _sprung
    __hash__ = int.__hash__


class Real(float):
    __repr__ = __str__ = __float__ = _sprung


class Liar:
    """Says that it is of another class."""

    def __init__(self, named: Any) -> None:
        self.named = named

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return self.named() if self.named is _sprung else self.named


class SpringingAttributes:
    __getattr__ = _sprung


class _Meta(type):
    __name__ = property(_sprung)  # type: ignore[assignment]


class Nameless(metaclass=_Meta):
    pass


class SpringingArray:
    tolist = __len__ = __iter__ = __array__ = _sprung


class Role(str, Enum):  # noqa: UP042 - as many callers still write it
    USER = "user"


class Token(IntEnum):
    FIRST = 1


@dataclass
class Turn:
    role: str = "user"
    content: str = "x"


Pair = namedtuple("Pair", "role content")  # noqa: PYI024 - its kind is what counts


def _endless() -> Iterator[int]:
    yield from count()


def recursive_list() -> list[Any]:
    found: list[Any] = [1]
    found.append(found)
    return found


def recursive_dict() -> dict[str, Any]:
    found: dict[str, Any] = {"role": "user"}
    found["content"] = found
    return found


def deep(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


def bomb(doublings: int) -> list[Any]:
    """A few objects, and endlessly many when written out."""
    found: list[Any] = ["x"]
    for _ in range(doublings):
        found = [found, found]
    return found


_TURN = {"role": "user", "content": PROMPT}

ODDITIES: dict[str, Callable[[], Any]] = {
    # Sequences
    "sequence that raises": SpringingSequence,
    "endless tokens": EndlessTokens,
    "endless turns": EndlessTurns,
    "sequence whose length raises": NoLength,
    "sequence of negative length": WrongLength,
    "sequence of huge length": HugeLength,
    "list that raises": lambda: SpringingList([1, 2]),
    "list of turns that raises": lambda: SpringingList([_TURN]),
    "list of tokens with a wrong length": lambda: LyingList([1, 2]),
    "list of turns with a wrong length": lambda: LyingList([_TURN]),
    "list in itself": recursive_list,
    "lists 100 deep": lambda: deep(100),
    "lists 300 deep": lambda: deep(300),
    "lists 20,000 deep": lambda: deep(20_000),
    "a few lists that make a trillion": lambda: bomb(40),
    "user list": lambda: UserList([1, 2]),
    "deque": lambda: deque([1, 2]),
    "range": lambda: range(3),
    "array of integers": lambda: array.array("i", [1, 2]),
    "array of floats": lambda: array.array("d", [1.0]),
    "memory view": lambda: memoryview(b"abc"),
    "named tuple": lambda: Pair("user", "x"),
    # Mappings
    "mapping that raises": SpringingMapping,
    "endless mapping": EndlessMapping,
    "mappings of endless depth": EndlessDepth,
    "dict that raises": lambda: SpringingDict(_TURN),
    "dict in itself": recursive_dict,
    "mapping proxy": lambda: MappingProxyType({"role": "user", "content": "x"}),
    "user dict": lambda: UserDict(_TURN),
    "chain map": lambda: ChainMap({"role": "user"}, {"content": "x"}),
    # NumPy
    "numpy tokens": lambda: np.arange(3),
    "numpy matrix": lambda: np.array([[1, 2]]),
    "numpy texts": lambda: np.array(["x"]),
    "numpy tokens in a list": lambda: list(np.arange(3)),
    "numpy int64": lambda: np.int64(3),
    "numpy float32": lambda: np.float32(1.5),
    "numpy float64": lambda: np.float64(1.5),
    "numpy text": lambda: np.str_("x"),
    "numpy bool": lambda: np.bool_(1),
    "array that raises": SpringingArray,
    # Texts and numbers
    "text that raises": lambda: Text("trap"),
    "integer that raises": lambda: Number(7),
    "float that raises": lambda: Real(1.5),
    "half a character": lambda: "\ud800",
    "long text": lambda: "a" * 100_000,
    "integer of 5,000 digits": lambda: 10**5000,
    "NaN": lambda: float("nan"),
    "infinity": lambda: float("inf"),
    "complex": lambda: 1j,
    "decimal": lambda: Decimal(1),
    "text of an enumeration": lambda: Role.USER,
    "number of an enumeration": lambda: Token.FIRST,
    "bytes": lambda: b"abc",
    "bytearray": lambda: bytearray(b"abc"),
    # Others
    "attributes that raise": SpringingAttributes,
    "no name": Nameless,
    "dataclass": Turn,
    "namespace": lambda: SimpleNamespace(role="user", content="x"),
    "object": object,
    "endless generator": _endless,
    "iterator": lambda: iter([1, 2]),
    "so-called list": lambda: Liar(list),
    "so-called dict": lambda: Liar(dict),
    "so-called text": lambda: Liar(str),
    "so-called integer": lambda: Liar(int),
    "so-called conversation": lambda: Liar(Conversation),
    "so-called formatted text": lambda: Liar(FormattedText),
    "class that raises": lambda: Liar(_sprung),
    "set": lambda: {1, 2},
    "frozen set": frozenset,
    "date": lambda: datetime(2025, 1, 1, tzinfo=UTC),
    "UUID": lambda: UUID(int=1),
    "ellipsis": lambda: Ellipsis,
    "type": lambda: type,
    "function": lambda: len,
    "module": lambda: np,
    "exception": lambda: TrapError(PROMPT),
    "tuple": lambda: (1, 2),
}


@dataclass(frozen=True)
class Odd:
    """Stands for an object until `made`: what shows examples must not trip over it."""

    name: str


def made(tree: Any) -> Any:
    """The objects that a tree of lists, tuples, dicts and `Odd` stands for."""
    if isinstance(tree, Odd):
        return ODDITIES[tree.name]()
    if isinstance(tree, dict):
        return {made(key): made(value) for key, value in tree.items()}
    return type(tree)(map(made, tree)) if isinstance(tree, list | tuple) else tree


_HASHABLE = ["half a character", "integer of 5,000 digits", "NaN", "bytes", "tuple", "object"]
_HASHABLE += ["text of an enumeration", "text that raises", "numpy text", "no name"]

odd = st.sampled_from(sorted(ODDITIES)).map(Odd)
atoms = (
    st.sampled_from(
        [
            *(
                None,
                True,
                False,
                0,
                1,
                -1,
                2**31 - 1,
                2**31,
                2**63,
                2**64 - 1,
                2**64,
                -(2**70),
                5.0,
            ),
            *("", "x", "user", "assistant", "system", "text", PROMPT, "\x00", "é"),
        ]
    )
    | st.integers()
    | st.floats()
    | st.text(max_size=10)
)
keys: st.SearchStrategy[Any] = (
    st.sampled_from(
        ["role", "content", "name", "type", "text", "tool_calls", 1, None, True, 1.5, ""]
    )
    | st.text(max_size=3)
    | st.sampled_from(_HASHABLE).map(Odd)
)
anything: st.SearchStrategy[Any] = st.recursive(
    atoms | odd,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(keys, inner, max_size=3)
    ),
    max_leaves=6,
)

# Samples that are nearly right

texts = st.sampled_from(["x", "2+2?", "é😀", PROMPT]) | st.text(max_size=10)
_parts = st.lists(
    st.fixed_dictionaries(
        {"type": st.just("text"), "text": texts}, optional={"cache_control": atoms}
    )
    | st.dictionaries(st.sampled_from(["type", "text", "image_url"]), anything, max_size=3)
    | anything,
    max_size=3,
)
turns: st.SearchStrategy[Any] = st.one_of(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant", "tool"]), "content": texts}
    ),
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant"]) | anything},
        optional={"content": texts | _parts | anything, "name": anything, "tool_calls": anything},
    ),
)
conversations = st.lists(turns | turns | anything, max_size=4) | st.lists(turns, max_size=3).map(
    tuple
)
token_lists: st.SearchStrategy[Any] = st.one_of(
    st.lists(st.integers(0, 2**31), min_size=1, max_size=6),
    st.lists(st.integers(0, 300) | atoms | odd, max_size=4),
    st.lists(st.integers(0, 300), min_size=1, max_size=6).map(tuple),
)
