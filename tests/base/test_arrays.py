"""Arrays and columns of other libraries are samples, without an import of these libraries.

The stand-ins offer the methods of their library. The tests at the end take the library itself.
"""

from __future__ import annotations

import array
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from reward_client import Conversation, InputError
from reward_client._base.samples import (
    parse,
    parse_sample,
    parse_token_ids,
    refuse_single_sample,
    response_texts,
    responses_to,
)

TURNS = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
IDS = [1, 312, 272]


class Series:
    """A pandas Series: ``tolist``."""

    def __init__(self, values: list[Any]) -> None:
        self._values = values

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def tolist(self) -> list[Any]:
        return self._values


class ChunkedArray:
    """A pyarrow ChunkedArray: ``to_pylist``; iteration gives scalars."""

    def __init__(self, values: list[Any]) -> None:
        self._values = values

    def __iter__(self) -> Iterator[Any]:
        return map(Scalar, self._values)

    def to_pylist(self) -> list[Any]:
        return self._values


class Scalar:
    """A pyarrow Scalar: ``as_py``."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def as_py(self) -> Any:
        return self._value


class Column:
    """A polars Series: ``to_list``."""

    def __init__(self, values: list[Any]) -> None:
        self._values = values

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def to_list(self) -> list[Any]:
        return self._values


class Tensor:
    """A TensorFlow EagerTensor: ``__array__``."""

    def __init__(self, values: list[Any]) -> None:
        self._values = values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.asarray(self._values, dtype=dtype)


def objects(values: list[Any]) -> Any:
    """An array of objects, as pandas reads lists from Parquet."""
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made


MAKERS = [objects, Series, ChunkedArray, Column, tuple]


@pytest.mark.parametrize("make", MAKERS)
def test_messages(make: Callable[[list[Any]], Any]) -> None:
    assert parse_sample(make(TURNS)) == Conversation(TURNS)
    parts = [{"role": "user", "content": make([{"type": "text", "text": "2+2?"}])}]
    assert parse_sample(parts) == Conversation(
        [{"role": "user", "content": [{"type": "text", "text": "2+2?"}]}]
    )
    with_tools = Conversation(TURNS, tools=make([{"type": "function"}]), steps=None)
    assert with_tools == Conversation(TURNS, tools=[{"type": "function"}])
    assert Conversation(TURNS[:1], steps=make(["a", "b"])).steps == ["a", "b"]


@pytest.mark.parametrize("make", [*MAKERS, Tensor, np.array, lambda i: array.array("q", i)])
def test_token_ids(make: Callable[[list[int]], Any]) -> None:
    assert parse_sample(make(IDS)) == tuple(IDS)
    assert parse_token_ids(make(IDS)) == tuple(IDS)


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint16, np.uint8, Scalar])
def test_integers_of_other_libraries(kind: Callable[[int], Any]) -> None:
    ids = [1, 7, 200]
    for sample in ([kind(i) for i in ids], [1, *map(kind, ids[1:])], (kind(1), 7, 200)):
        assert parse_sample(sample) == (1, 7, 200)


@pytest.mark.parametrize(
    ("sample", "hint"),
    [
        (np.array([True, False]), "Position 0 holds True"),
        ([np.True_], "Position 0 holds True"),
        ([1, np.bool_(1)], "Position 1 holds True"),
        (np.array([1.0]), "Position 0 holds 1.0"),
        ([1, np.float32(2)], "Position 1 holds 2.0"),
        (np.array([1, -1]), "Position 1 holds -1"),
        (np.array([IDS]), "write score_many(samples)"),
        ([np.array(IDS)], "write score_many(samples)"),
        ([TURNS[0], objects(TURNS)], "Message 1 is a numpy.ndarray"),
        (np.array(["2+2?", "4"]), "A text needs a role"),
        (np.array([]), "empty sample"),
        ([Scalar(None)], "not a dict with a role"),
        ([Scalar(TURNS)], "write score_many(samples)"),
        (np.array(1), "not a numpy.ndarray"),
        (np.array(["2+2?"])[0], "bare string"),
        (memoryview(b"2+2?"), "not a memoryview"),
        (bytearray(b"2+2?"), "not a bytearray"),
    ],
)
def test_what_is_refused(sample: Any, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_sample(sample)
    assert hint in str(caught.value)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("sample", [TURNS, IDS])
def test_columns_of_samples(make: Callable[[list[Any]], Any], sample: Any) -> None:
    column = make([make(sample), make(sample)])
    refuse_single_sample(column)
    assert [*map(parse, column)] == [parse_sample(sample)] * 2


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("sample", [TURNS, IDS])
def test_a_single_sample_where_many_belong(make: Callable[[list[Any]], Any], sample: Any) -> None:
    with pytest.raises(InputError, match="this is a single one"):
        refuse_single_sample(make(sample))


@pytest.mark.parametrize("make", [*MAKERS, np.array])
def test_responses(make: Callable[[list[Any]], Any]) -> None:
    four, five = responses_to("2+2?", response_texts(make(["4", "5"])))
    assert four == Conversation(TURNS)
    assert five.messages[-1]["content"] == "5"
    assert responses_to(objects(TURNS[:1]), ["4"]) == (four,)


def test_an_array_that_fails() -> None:
    class Failing:
        def tolist(self) -> list[int]:
            raise RuntimeError("secret")

    sample: Any = Failing()
    for read in (parse_sample, parse_token_ids):
        with pytest.raises(InputError, match="RuntimeError") as caught:
            read(sample)
        assert "secret" not in str(caught.value)


def test_pandas() -> None:
    pandas = import_module("pandas")
    table = pandas.DataFrame({"messages": [objects(TURNS)] * 2, "ids": [np.array(IDS)] * 2})
    assert [*map(parse, table["messages"])] == [Conversation(TURNS)] * 2
    assert [*map(parse, table["ids"])] == [tuple(IDS)] * 2
    with pytest.raises(InputError, match="a cell of one of its columns"):
        refuse_single_sample(table)


def test_polars() -> None:
    polars = import_module("polars")
    table = polars.DataFrame({"messages": [TURNS] * 2, "ids": [IDS] * 2})
    assert [*map(parse, table["messages"])] == [Conversation(TURNS)] * 2
    assert [*map(parse, table["ids"])] == [tuple(IDS)] * 2
    with pytest.raises(InputError, match="a cell of one of its columns"):
        refuse_single_sample(table)


def test_pyarrow() -> None:
    pyarrow = import_module("pyarrow")
    table = pyarrow.table({"messages": [TURNS] * 2, "ids": [IDS] * 2})
    assert [*map(parse, table["messages"])] == [Conversation(TURNS)] * 2
    assert [*map(parse, table["ids"].chunk(0))] == [tuple(IDS)] * 2
    with pytest.raises(InputError, match="a cell of one of its columns"):
        refuse_single_sample(table)
