"""Every reply with pooled output is checked before a number in it is believed."""

from __future__ import annotations

import struct
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward_client._protocols.http import Response
from reward_client._protocols.pooled_output import PooledOutput
from reward_client._protocols.token_responses import token_ids
from reward_client._protocols.vllm.scoring_request import VllmRequest
from reward_client._protocols.vllm.tokenize import text_of
from reward_client.errors import (
    NonFiniteRewardError,
    ProtocolError,
    ResponseMismatchError,
    ShapeError,
)

INPUTS = [[1, 2, 3], [4, 5]]
POOLING = VllmRequest("pooling", "classify", {"use_activation": False}, raw_by="request")
EMBEDDINGS = VllmRequest("embeddings")


def response(data: Any, prompt_tokens: Any = 5, **fields: Any) -> Response:
    payload = {"model": "m", "data": data, "usage": {"prompt_tokens": prompt_tokens}, **fields}
    return Response(payload, "POST http://server/pooling", "rc-1")


def items(*values: Any, indices: Any = (0, 1), key: str = "data") -> list[dict[str, Any]]:
    return [{"index": index, key: value} for index, value in zip(indices, values, strict=True)]


def encoded(*numbers: float) -> str:
    return b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def test_what_is_sent() -> None:
    assert POOLING.build("m", INPUTS).body == {
        "model": "m",
        "input": INPUTS,
        "encoding_format": "float",
        "use_activation": False,
        "task": "classify",
    }
    assert EMBEDDINGS.build("m", INPUTS).body == {
        "model": "m",
        "input": INPUTS,
        "encoding_format": "base64",
    }


def test_vectors_and_rows() -> None:
    assert POOLING.read(response(items([0.5], [2])), INPUTS) == [
        PooledOutput([0.5], None),
        PooledOutput([2], None),
    ]
    rows = POOLING.read(response(items([[1.0], [2.0], [3.0]], [[4.0], [5.0]])), INPUTS)
    assert rows == [PooledOutput([1.0, 2.0, 3.0], 3), PooledOutput([4.0, 5.0], 2)]
    data = items(encoded(1.5), encoded(-2.5), key="embedding")
    assert EMBEDDINGS.read(response(data), INPUTS) == [
        PooledOutput((1.5,), None),
        PooledOutput((-2.5,), None),
    ]


def test_items_are_sorted_by_index() -> None:
    outputs = POOLING.read(response(items([1.0], [0.0], indices=(1, 0))), INPUTS)
    assert [output.values for output in outputs] == [[0.0], [1.0]]


@pytest.mark.parametrize(
    "data",
    [
        items([1.0], [2.0], indices=(0, 0)),
        items([1.0], [2.0], indices=(1, 2)),
        items([1.0], [2.0], indices=(0, None)),
        items([1.0], [2.0], indices=(0, True)),
        items([1.0], [2.0], indices=(0, "1")),
        items([1.0], indices=(0,)),
        items([1.0], [2.0], [3.0], indices=(0, 1, 2)),
        items([1.0], [2.0], [3.0], indices=(0, 1, 1)),
        [],
        None,
        "data",
        [None, None],
        [[1.0], [2.0]],
    ],
)
def test_missing_doubled_and_extra_items(data: Any) -> None:
    with pytest.raises(ResponseMismatchError, match=r"2 items were requested|no list"):
        POOLING.read(response(data), INPUTS)


@pytest.mark.parametrize("counted", [4, 6, "6", "five", [5]])
def test_other_tokens_were_scored(counted: Any) -> None:
    with pytest.raises(ResponseMismatchError, match="5 token IDs were sent"):
        POOLING.read(response(items([1.0], [2.0]), counted), INPUTS)


def test_no_usage() -> None:
    for usage in (None, [], "5", {}, {"prompt_tokens": None}):
        with pytest.raises(ResponseMismatchError, match="a gateway drops the count"):
            POOLING.read(response(items([1.0], [2.0]), usage=usage), INPUTS)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), None])
def test_not_finite(value: Any) -> None:
    for item in ([value], [[1.0], [value], [2.0]]):
        with pytest.raises(NonFiniteRewardError):
            POOLING.read(response(items([1.0], item)), INPUTS)


def test_not_finite_in_base64() -> None:
    with pytest.raises(NonFiniteRewardError):
        EMBEDDINGS.read(response(items(encoded(1), encoded(float("nan")), key="embedding")), INPUTS)


@pytest.mark.parametrize(
    "value", [None, "1.0", 1.0, ["1.0"], [True], [[1.0], [1.0, 2.0]], [[1.0], 2.0], {}]
)
def test_no_list_of_numbers(value: Any) -> None:
    with pytest.raises(ShapeError, match="Item 1"):
        POOLING.read(response(items([1.0], value)), INPUTS)


@pytest.mark.parametrize("value", [None, "no base64!", "AAA=", [1.0], 1.0])
def test_no_base64_of_float32(value: Any) -> None:
    with pytest.raises(ShapeError, match="Item 1"):
        EMBEDDINGS.read(response(items(encoded(1.0), value, key="embedding")), INPUTS)


def test_no_object() -> None:
    for payload in ([], "text", 1, None):
        with pytest.raises(ProtocolError, match="JSON object"):
            POOLING.read(Response(payload, "POST http://server/pooling", "rc-1"), INPUTS)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(
    st.lists(
        st.fixed_dictionaries({"index": st.integers(-1, 2) | JSON, "data": JSON, "embedding": JSON})
    )
    | JSON,
    st.sampled_from([POOLING, EMBEDDINGS]),
)
def test_any_reply_is_numbers_or_a_typed_error(data: Any, ask: VllmRequest) -> None:
    try:
        outputs = ask.read(response(data), INPUTS)
    except ProtocolError:
        return
    assert len(outputs) == len(INPUTS)


# What /tokenize and /detokenize answer


def tokenized(tokens: Any, count: Any = None) -> Response:
    length = len(tokens) if isinstance(tokens, list) else None
    payload = {"tokens": tokens, "count": length if count is None else count}
    return Response(payload, "POST http://server/tokenize", "rc-1")


def test_token_ids() -> None:
    assert token_ids(tokenized([0, 5, 2**31 - 1])) == (0, 5, 2**31 - 1)


@pytest.mark.parametrize(
    "tokens", [None, [], "5", [-1], [2**31], [2**70], [5.0], [True], ["5"], [None], [[5]], {"5": 5}]
)
def test_no_token_ids(tokens: Any) -> None:
    with pytest.raises(ProtocolError, match="of /tokenize holds"):
        token_ids(tokenized(tokens))


@pytest.mark.parametrize(
    ("count", "shown"), [(1, "1"), (3, "3"), ("2", "a str"), (False, "a bool"), ("key", "a str")]
)
def test_another_number_of_token_ids(count: Any, shown: str) -> None:
    with pytest.raises(ResponseMismatchError, match=f"counts {shown} tokens and gives 2"):
        token_ids(tokenized([5, 6], count))


def test_the_text_of_token_ids() -> None:
    for text in ("", "<extra_0>"):
        assert text_of(Response({"prompt": text}, "POST http://server/detokenize", "rc-1")) == text
    for wrong in ({}, {"prompt": None}, {"prompt": 5}, {"text": "x"}):
        with pytest.raises(ProtocolError, match="of /detokenize holds no text"):
            text_of(Response(wrong, "POST http://server/detokenize", "rc-1"))
