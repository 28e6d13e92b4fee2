"""Error bodies and statuses: what each becomes, and that no reply of any kind breaks the reader."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward_client import (
    AuthenticationError,
    BadRequestError,
    EngineDeadError,
    ModelNotFoundError,
    RateLimitedError,
    RouteNotFoundError,
    ServerError,
    StatusError,
)
from reward_client._transport.status_errors import (
    ErrorBody,
    error_kind,
    is_retried,
    read_error,
    retry_after,
)

DEATHS = json.loads((Path(__file__).parent / "data" / "engine-deaths.json").read_text("utf-8"))
# Of /v1/embeddings of 0.33.0, asked for base64, where the model embeds each token.
ROWS_ONLY = (
    "1 validation error: {'type': 'literal_error', 'loc': 'body.encoding_format', 'msg': "
    "\"Input should be 'float'\", 'input': 'base64'"
)
NOW = datetime(2025, 1, 1, tzinfo=UTC)
LONGEST = 300


def read(body: bytes) -> ErrorBody | None:
    """As the caller reads a reply."""
    try:
        payload = orjson.loads(body)
    except ValueError:
        payload = None
    return read_error(body, payload)


def read_json(payload: object) -> ErrorBody | None:
    return read(json.dumps(payload).encode())


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (
            {"object": "error", "message": "m", "type": "BadRequestError", "code": 400},
            ErrorBody("m", "BadRequestError", 400, kinds=("BadRequestError",)),
        ),
        (
            {"error": {"message": "m", "type": "NotFoundError", "param": None, "code": 404}},
            ErrorBody("m", "NotFoundError", 404, kinds=("NotFoundError",)),
        ),
        ({"error": "Unauthorized"}, ErrorBody("Unauthorized", kinds=("Unauthorized",))),
        ({"detail": "Not Found"}, ErrorBody("Not Found")),
        ({"detail": [{"msg": "m", "input": "a prompt"}]}, ErrorBody('[{"msg":"m",')),
        ({"error": {"message": None}}, ErrorBody("")),
        ({"error": {"message": {"a": 1}}}, ErrorBody('{"a":1}')),
        ({"error": {"message": "m", "code": "400"}}, ErrorBody("m", kinds=("400",))),
        ({"error": {"message": "m", "code": 200}}, ErrorBody("m")),
        ({"error": {"message": "m", "code": True, "type": 5}}, ErrorBody("m")),
        ({"error": {"message": "a\n  b\tc"}}, ErrorBody("a b c")),
        ({"object": "list", "data": []}, None),
        ({"object": "list", "error": None, "data": []}, None),
        ({}, None),
        ([], None),
        ([1, 2], None),
        ("Internal Server Error", None),
        (5, None),
    ],
)
def test_json_bodies(payload, expected):
    assert read_json(payload) == expected


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", ""),
        (b"null", "null"),
        (b"Internal Server Error", "Internal Server Error"),
        (b'{"error": {"mess', '{"error": {"mess'),
        (b"\xff\xfe\x00", "\ufffd\ufffd\x00"),
        (b"<html><title> 502\nBad </title></html>", "an HTML page titled '502\\nBad'"),
        (b"<!DOCTYPE html><p>hello", "an HTML page"),
    ],
)
def test_bodies_that_are_no_json(body, message):
    error = read(body)

    assert error == ErrorBody(message)


def test_an_echoed_input_is_left_out():
    prompt = "the secret prompt " * 10_000
    for payload in (
        {"error": {"message": f"[{{'msg': 'too bad', 'input': {prompt!r}}}]", "code": 400}},
        {"detail": [{"msg": "too bad", "input": prompt}]},
    ):
        error = read_json(payload)

        assert error is not None
        assert "too bad" in error.message
        assert "secret" not in error.message


def test_a_long_body_is_cut():
    assert len(read(b"a" * 200_000).message) == LONGEST


@pytest.mark.parametrize("depth", [100, 300, 900, 100_000])
@pytest.mark.parametrize("key", ["detail", "error"])
def test_deep_nesting(depth, key):
    body = f'{{"{key}": '.encode() + b'{"message": [' + b"[" * depth + b"]" * depth + b"]}}"

    error = read(body)

    assert error is not None
    assert len(error.message) <= LONGEST


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", [b"<html><title>", b"<html><title", b"'input'", b" \n"])
def test_a_hostile_body_takes_no_time(piece):
    error = read(piece * (4_000_000 // len(piece)))

    assert error is not None
    assert len(error.message) <= LONGEST


leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
json_values = st.recursive(
    leaves,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
error_fields = st.dictionaries(
    st.sampled_from(["message", "type", "code", "object", "error", "detail", "param"]),
    json_values | st.sampled_from(["error", 400, 404, 500]),
)
error_like = st.dictionaries(
    st.sampled_from(["error", "detail", "object", "message", "code", "type"]),
    error_fields | json_values | st.just("error"),
)


def check(body: bytes, status: int) -> None:
    error = read(body)
    if error is None:
        return
    assert len(error.message) <= LONGEST
    assert error.code is None or 400 <= error.code <= 599
    kind, advice = error_kind(error.code or status, error)
    assert issubclass(kind, StatusError)
    assert advice
    assert isinstance(is_retried(kind, error.code or status), bool)


@given(st.binary(), st.integers(100, 999))
def test_any_bytes(body, status):
    check(body, status)


@given(json_values | error_like, st.integers(100, 999))
def test_any_json(payload, status):
    check(json.dumps(payload).encode(), status)


@pytest.mark.parametrize(
    ("status", "error", "kind", "retried"),
    [
        (400, ErrorBody("m"), BadRequestError, False),
        (401, ErrorBody("Unauthorized"), AuthenticationError, False),
        (403, ErrorBody(""), AuthenticationError, False),
        (404, ErrorBody("Not Found"), RouteNotFoundError, False),
        (404, ErrorBody("m", "NotFoundError"), ModelNotFoundError, False),
        (404, ErrorBody("The model `x` does not exist."), ModelNotFoundError, False),
        (405, ErrorBody("Method Not Allowed"), RouteNotFoundError, False),
        (408, ErrorBody(""), ServerError, True),
        (413, ErrorBody(""), BadRequestError, False),
        (422, ErrorBody("m"), BadRequestError, False),
        (425, ErrorBody(""), ServerError, True),
        (429, ErrorBody(""), RateLimitedError, True),
        (500, ErrorBody("Internal Server Error"), ServerError, True),
        (501, ErrorBody(""), RouteNotFoundError, False),
        (502, ErrorBody(""), ServerError, True),
        (503, ErrorBody(""), ServerError, True),
        (504, ErrorBody(""), ServerError, True),
        (505, ErrorBody(""), ServerError, False),
        (302, ErrorBody(""), StatusError, False),
        (400, ErrorBody("The model does not support Pooling API"), RouteNotFoundError, False),
        (500, ErrorBody("Unsupported task: 'classify'"), RouteNotFoundError, False),
        (400, ErrorBody(ROWS_ONLY), RouteNotFoundError, False),
        (400, ErrorBody(ROWS_ONLY.replace("'float'", "'bytes'")), BadRequestError, False),
        # Another server's, which says so of anything.
        (500, ErrorBody(f"{DEATHS[-1]['json']['error']['message']} Sorry!"), ServerError, True),
    ],
)
def test_statuses(status, error, kind, retried):
    found, advice = error_kind(status, error)

    assert found is kind
    assert is_retried(found, status) is retried
    assert advice


@pytest.mark.parametrize("death", DEATHS, ids=lambda death: f"{death['version']}-{death['status']}")
def test_recorded_deaths(death):
    error = read_json(death["json"])

    assert error is not None
    status = error.code or death["status"]
    kind, advice = error_kind(status, error)
    assert kind is EngineDeadError
    assert is_retried(kind, status)
    assert "restart it" in advice


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "Wed, 01 Jan 2025 00:00:30 GMT"}, 30.0),
        ({"retry-after": "Wed, 01 Jan 2025 00:00:30"}, 30.0),
        ({"retry-after": "Wed, 01 Jan 2025 01:00:30 +0100"}, 30.0),
        ({"retry-after": "Tue, 31 Dec 2024 00:00:00 GMT"}, 0.0),
    ],
)
def test_retry_after(headers, seconds):
    assert retry_after(headers, NOW) == seconds


@given(st.text() | st.from_regex(r"\w{3}, \d+ \w{3} \d+ \d+:\d+:\d+ [+-]?\w+"))
def test_any_retry_after(value):
    seconds = retry_after({"retry-after": value}, NOW)

    assert seconds is None or seconds >= 0


@given(st.integers(0, 10**10))
def test_any_date(seconds):
    date = NOW + timedelta(seconds=seconds)

    assert retry_after({"retry-after": format_datetime(date, usegmt=True)}, NOW) == seconds
