"""The pure readers: any input ends in a result that can be believed, or in what they promise."""

from __future__ import annotations

import contextlib
import json
import math
import struct
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from importlib import resources
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reward_client import InputError, LinearHead, RecipeError
from reward_client._base.safetensors import read_tensor
from reward_client._client.config import verdict_of
from reward_client._protocols import encodings
from reward_client._protocols.pooled_output import Layout, PooledOutput, find_layout
from reward_client._transport.status_errors import error_kind, is_retried, read_error, retry_after
from reward_client.errors import StatusError
from reward_client.methods import Verdict
from reward_client.recipes import Recipe, load_recipe

from .damage import JSON, Edit, edits, error_payloads, written
from .running import KEY, check_error, ended, examples, secrets_in
from .vllm import PROMPT

# Items of a reply

numbers: st.SearchStrategy[Any] = st.one_of(
    st.floats(), st.integers(), st.none(), st.booleans(), st.text(max_size=2)
)
rows = st.lists(st.lists(numbers | st.floats(), max_size=3), max_size=4)


@examples(250, 25_000)
@given(value=JSON | rows | st.lists(numbers) | st.lists(numbers | rows, max_size=3))
def test_float_items(value: Any) -> None:
    output = encodings.read_lists(value)
    nested = isinstance(value, list) and any(isinstance(row, list) for row in value)
    if output is None:
        ended["a refusal"] += 1
        flat = value if isinstance(value, list) and not nested else [object()]
        assert any(type(item) not in (int, float, type(None)) for item in flat) or value is None
        return
    ended["a reading"] += 1
    assert isinstance(value, list)
    if nested:
        assert output.rows == len(value)
        assert list(output.values) == [item for row in value for item in row] or any(
            item != item for row in value for item in row
        )
    else:
        assert output.rows is None or not value
        assert len(output.values) == len(value)


@examples(250, 25_000)
@given(value=JSON | st.text() | st.text("ABCabc019+/= \n-_é", max_size=12))
def test_base64_items(value: Any) -> None:
    output = encodings.read_base64(value)
    if output is None:
        ended["a refusal"] += 1
        return
    ended["a reading"] += 1
    assert isinstance(value, str)
    assert output.rows is None
    assert 3 * len(value) == 4 * (4 * len(output.values) + -4 * len(output.values) % 3)


# Layouts


@st.composite
def served(draw: st.DrawFn) -> tuple[Layout, list[int], list[int], bool]:
    """A true layout, token counts, step counts, and whether the rows can be told (no base64)."""
    count = draw(st.integers(2, 8))
    tokens = draw(st.lists(st.integers(1, 400), min_size=count, max_size=count, unique=True))
    with_steps = draw(st.booleans())
    steps = [draw(st.integers(1, most)) if with_steps else 0 for most in tokens]
    kind = draw(
        st.sampled_from(
            ["vector", "per token", "per step"] if with_steps else ["vector", "per token"]
        )
    )
    width = draw(st.integers(1, 5) | st.sampled_from([64, 128, 1024]))
    told = draw(st.booleans()) if kind != "vector" else False
    # As the function demands of its callers: else a flat list can be read in two ways.
    assume(
        len(
            {
                (tokens[0] * step) == (steps[0] * token)
                for token, step in zip(tokens, steps, strict=True)
            }
        )
        > 1
        or not with_steps
    )
    assume(not with_steps or len(set(steps)) > 1)
    return Layout(kind, width), tokens, steps, told


@examples(250, 25_000)
@given(served())
def test_the_true_layout_is_found(truth: tuple[Layout, list[int], list[int], bool]) -> None:
    layout, tokens, steps, told = truth
    outputs: list[PooledOutput] = []
    for token_count, step_count in zip(tokens, steps, strict=True):
        count = {"vector": 1, "per token": token_count, "per step": step_count}[layout.kind]
        outputs.append(PooledOutput([0.5] * (count * layout.width), count if told else None))
    ended["a reading"] += 1
    assert find_layout(outputs, tokens, steps) == layout


@examples(250, 25_000)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 12), st.none() | st.integers(0, 6), st.integers(1, 9), st.integers(0, 3)
        ),
        min_size=1,
        max_size=8,
    )
)
def test_a_layout_that_is_found_fits_all(seen: Sequence[tuple[int, int | None, int, int]]) -> None:
    outputs = [PooledOutput([0.5] * size, rows) for size, rows, _, _ in seen]
    layout = find_layout(outputs, [each[2] for each in seen], [each[3] for each in seen])
    if layout is None or layout.width == 0:
        ended["a refusal"] += 1
        return
    ended["a reading"] += 1
    for size, rows, token_count, step_count in seen:
        count = {"vector": 1, "per token": token_count, "per step": step_count}[layout.kind]
        assert size == count * layout.width
        assert rows is None or (layout.kind != "vector" and rows == count)


# Errors

SENT = {"authorization": f"Bearer {KEY}", "x-tenant": KEY[::-1], "accept": "application/json"}


@examples(250, 25_000)
@given(
    body=st.binary(max_size=80)
    | st.builds(written, error_payloads)
    | st.builds(lambda payload, edit: written(edit.made(payload)), error_payloads, edits)
    | st.builds(written, JSON)
    | st.text().map(lambda text: f"<html><title>{text}{KEY}".encode("utf-8", "replace")),
    status=st.integers(100, 999),
)
def test_error_bodies(body: bytes, status: int) -> None:
    try:
        payload = orjson.loads(body)
    except ValueError:
        payload = None
    error = read_error(body, payload, SENT)
    if error is None:
        ended["a reading"] += 1
        assert not isinstance(payload, dict) or not payload.get("error")
        return
    ended["a typed error"] += 1
    assert len(error.message) <= 300
    assert not secrets_in(error.message)
    assert error.code is None or (type(error.code) is int and 400 <= error.code <= 599)
    kind, advice = error_kind(error.code or status, error)
    assert issubclass(kind, StatusError)
    assert advice
    assert type(is_retried(kind, error.code or status)) is bool


NOW = datetime(2025, 1, 1, tzinfo=UTC)
dates = st.builds(
    lambda day, time, zone: f"{day} {time} {zone}",
    st.sampled_from(
        ["Mon, 06 Jan 2025", "06-Jan-25", "Jan 6 2025", "6 Jan 9999", "1 Jan 1", "0 Jan 0", "x"]
    )
    | st.builds(lambda year: f"1 Jan {year}", st.integers()),
    st.sampled_from(["00:00:00", "23:59:60", "99:99:99", "0.0.0", "1:2"])
    | st.builds(lambda hour: f"{hour}:00:00", st.integers()),
    st.sampled_from(["GMT", "", "-0000", "+9999", "-2400", "EST", "Z"]) | st.integers().map(str),
)
waits = st.text(max_size=30) | st.floats().map(str) | st.integers().map(str) | dates


@examples(250, 25_000)
@given(
    headers=st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms"]), waits),
    moment=st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)),  # noqa: DTZ001
)
def test_waits(headers: dict[str, str], moment: datetime) -> None:
    seconds = retry_after(headers, NOW)
    ended["a reading" if seconds is not None else "a refusal"] += 1
    assert seconds is None or (math.isfinite(seconds) and seconds >= 0)
    date = moment.replace(tzinfo=UTC, microsecond=0)
    expected = max(0.0, (date - NOW).total_seconds())
    if date.year >= 1000:  # the format has four digits
        assert retry_after({"retry-after": format_datetime(date, usegmt=True)}, NOW) == expected


# Recipes

CATALOGUE = resources.files("reward_client.recipes") / "catalogue"
FILES = sorted(file.read_text("utf-8") for file in CATALOGUE.iterdir())

toml_values = st.recursive(
    st.sampled_from(
        [
            *(
                '""',
                '"x"',
                "0",
                "1",
                "-1",
                "1.5",
                "nan",
                "inf",
                "-inf",
                "true",
                "2025-01-01",
                "12:00:00",
            ),
            *(
                "9" * 30,
                "9" * 5000,
                "0x10",
                '"""a\nb"""',
                "'\\'",
                '"\\u0000"',
                "1979-05-27T07:32:00Z",
            ),
            *('"vector"', '"per step"', '"scalar"', '"min"', '"none"', "[" * 5000),
        ]
    ),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(st.sampled_from(["a", "type", "names", "x.y"]), inner, max_size=3).map(
            lambda items: "{" + ", ".join(f"{key} = {value}" for key, value in items.items()) + "}"
        )
    ),
    max_leaves=5,
)
KEYS = [
    "name",
    "models",
    "architectures",
    "output",
    "head",
    "head.type",
    "head.aggregate",
    "prompt",
]
KEYS += [
    "prompt.bos",
    "prompt.append_tokens",
    "activation",
    "special_tokens",
    "serve",
    "references",
]
KEYS += ["refusal", "notes", "unknown", '"a b"', "head.good_label", "head.step_token", "head.names"]
toml_lines = st.builds(lambda key, value: f"{key} = {value}", st.sampled_from(KEYS), toml_values)
tables = st.sampled_from(["[head]", "[prompt]", "[[references]]", "[serve]", "[a.b]", "[", "[[x]"])


def _damaged(text: str, place: int, line: str | None, cut: int) -> str:
    """A recipe with a line replaced, taken away, or some characters cut out."""
    lines = text.splitlines()
    place %= len(lines)
    if line is not None:
        lines[place] = (
            line if cut % 2 else f"{lines[place].partition('=')[0]}= {line.partition('=')[2]}"
        )
    else:
        lines[place] = lines[place][:cut] + lines[place][cut + 1 + cut % 5 :]
    return "\n".join(lines)


toml_documents = st.one_of(
    st.binary(max_size=60),
    st.lists(toml_lines | tables | st.text(max_size=12), max_size=6).map(
        lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass")
    ),
    st.builds(
        lambda *edit: _damaged(*edit).encode("utf-8", "surrogatepass"),
        st.sampled_from(FILES),
        st.integers(0, 500),
        st.none() | toml_lines,
        st.integers(0, 60),
    ),
)


@examples(200, 20_000)
@given(document=toml_documents)
def test_recipes(tmp_path_factory: pytest.TempPathFactory, document: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.toml"
    path.write_bytes(document)
    try:
        recipe = load_recipe(path)
    except RecipeError as error:
        ended["a typed error"] += 1
        check_error(error)
        return
    ended["a reading"] += 1
    assert isinstance(recipe, Recipe)
    ways = (recipe.head, recipe.verdict, recipe.refusal)
    assert sum(way is not None for way in ways) == 1
    with contextlib.suppress(RecipeError):
        assert isinstance(verdict_of(recipe), Verdict | None)
    assert len(recipe.digest) == 64
    assert recipe.for_model("x").models == ("x",)


# Weights


def tensor_file(path: Path, header: bytes, data: bytes, size: int | None) -> Path:
    path.write_bytes(struct.pack("<Q", len(header) if size is None else size) + header + data)
    return path


ENTRY = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
HEADER = {"__metadata__": {"format": "pt"}, "w": ENTRY}
DATA = struct.pack("<4f", 1, 2, 3, 4)


@examples(200, 20_000)
@given(
    header=st.binary(max_size=60)
    | JSON.map(written)
    | st.lists(edits, max_size=2).map(lambda found: written(_edited(HEADER, found))),
    data=st.just(DATA) | st.binary(max_size=40),
    size=st.none() | st.none() | st.integers(0, 2**64 - 1) | st.integers(0, 80),
)
def test_tensors(
    tmp_path_factory: pytest.TempPathFactory, header: bytes, data: bytes, size: int | None
) -> None:
    assume(not secrets_in(header.decode(errors="replace")))  # the file's own text is shown
    path = tensor_file(tmp_path_factory.getbasetemp() / "fuzzed", header, data, size)
    try:
        values = read_tensor(path, "w")
        head = LinearHead.load(path, "w")
    except InputError as error:
        ended["a typed error"] += 1
        check_error(error)
        return
    ended["a reading"] += 1
    entry = json.loads(header if size is None else header[:size])["w"]
    flat = [x for row in values for x in (row if isinstance(row, list) else [row])]
    start, end = entry["data_offsets"]
    rest = (header + data)[size:] if size is not None else data
    form = {"F64": "d", "F32": "f", "F16": "e"}[entry["dtype"]]
    assert flat == list(struct.unpack(f"<{math.prod(entry['shape'])}{form}", rest[start:end]))
    assert sum(map(len, head.weight)) == len(flat)


def _edited(payload: Any, found: Sequence[Edit]) -> Any:
    payload = json.loads(json.dumps(payload))
    for edit in found:
        payload = edit.made(payload)
    return payload


assert PROMPT  # what `secrets_in` looks for stands in the payloads
