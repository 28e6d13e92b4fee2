"""JSON with a key twice is refused, however it is written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward_client._base.unique_keys import RepeatedKeyError, parse_json

TEXTS = st.text(st.sampled_from('ab:"\\ é{}[],/'), max_size=4)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers(0, 10**21) | st.floats(allow_nan=False) | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(st.tuples(TEXTS, inner), max_size=4).map(tuple)
    ),
    max_leaves=12,
)
SPACES = st.sampled_from(["", " ", "\t", "  "])


def written(value: Any, colon: str, *, escapes: bool) -> str:
    """Write a value as JSON, its objects from tuples of pairs."""
    if isinstance(value, tuple):
        pairs = [
            written(name, colon, escapes=escapes) + colon + written(inner, colon, escapes=escapes)
            for name, inner in value
        ]
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(written(inner, colon, escapes=escapes) for inner in value) + "]"
    if isinstance(value, str) and escapes:
        return '"' + "".join(f"\\u{ord(character):04x}" for character in value) + '"'
    return json.dumps(value, ensure_ascii=False)


def repeats(value: Any) -> bool:
    if isinstance(value, tuple):
        names = [name for name, _ in value]
        return len({*names}) < len(names) or any(repeats(inner) for _, inner in value)
    return isinstance(value, list) and any(map(repeats, value))


@given(value=VALUES, before=SPACES, after=SPACES, escapes=st.booleans())
def test_exactly_the_texts_with_a_key_twice(
    value: Any, before: str, after: str, *, escapes: bool
) -> None:
    text = written(value, f"{before}:{after}", escapes=escapes)
    if repeats(value):
        with pytest.raises(RepeatedKeyError, match="twice"):
            parse_json(text.encode())
    else:
        assert parse_json(text.encode()) == json.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 1}',
        '{"a": 1, "\\u0061": 2}',
        '{"a": "\\u003a", "a": 1, "b": 2}',
        '{"a": "x\\u003A\\u003A", "b": {"c": 1, "c": ""}}',
        '{"a": {"b": 1}, "a": 1}',
        '{"a": 100000000000000000000, "a": 1}',
        '{"b": ' + "[" * 300 + "]" * 300 + ', "a": ":", "a": 1}',
    ],
    ids=["equal", "escaped key", "colon", "two colons", "nested", "long number", "deep"],
)
def test_ways_to_write_it(text: str) -> None:
    with pytest.raises(RepeatedKeyError, match=r"an object has the key '[abc]' twice"):
        parse_json(text.encode())


def test_a_long_key_is_cut() -> None:
    with pytest.raises(RepeatedKeyError) as caught:
        parse_json(b'{"%b": 1, "%b": 2}' % (b"x" * 1000, b"x" * 1000))
    assert len(str(caught.value)) < 120
