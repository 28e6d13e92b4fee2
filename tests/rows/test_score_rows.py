"""Rows in, rows out, by both clients: columns pass through, and tables come back as tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from datasets import Dataset, DatasetDict

from reward_client import InputError
from reward_client.testing import RewardServer

from ..support.either import OPENERS, EitherClient

Q = {"role": "user", "content": "What is 12 + 30?"}
QUESTION, RIGHT, WRONG = Q["content"], "12 + 30 = 42.", "It is 57."
LONG = "1" * 3000
PAIRS = [
    {"subset": "a", "prompt": QUESTION, "chosen": RIGHT, "rejected": WRONG},
    {"subset": "b", "prompt": QUESTION, "chosen": RIGHT, "rejected": LONG},
]


@pytest.fixture(scope="module")
def server() -> Iterator[RewardServer]:
    with RewardServer() as server:
        yield server


@pytest.fixture(params=OPENERS)
def client(request: pytest.FixtureRequest, server: RewardServer) -> Iterator[EitherClient]:
    client = OPENERS[request.param](server.url)
    yield client
    client.close()


def value(client: EitherClient, answer: str) -> float:
    return client.score([Q, {"role": "assistant", "content": answer}]).value


def test_rows_come_back_with_rewards(client: EitherClient) -> None:
    results = client.score_rows(PAIRS)
    right, wrong = value(client, RIGHT), value(client, WRONG)
    assert [{key: row[key] for key in PAIRS[0]} for row in results] == PAIRS
    assert [row["form"] for row in results] == ["preference", "preference"]
    assert results[0]["reward"] == pytest.approx({"chosen": right, "rejected": wrong}, abs=1e-4)
    assert results[0]["error"] is None
    assert results[1]["reward"]["rejected"] is None
    assert results[1]["error"]["chosen"] is None
    assert results[1]["error"]["rejected"]["type"] == "PromptTooLongError"
    assert results == [*client.stream_rows(iter(PAIRS))]
    assert PAIRS[0].keys() == {"subset", "prompt", "chosen", "rejected"}


def test_rows_of_several_forms_and_without_one(client: EitherClient) -> None:
    rows = [
        {"prompt": QUESTION, "response": RIGHT},
        {"prompt": QUESTION},
        {"prompt": QUESTION, "responses": [RIGHT, WRONG]},
        {"prompt": QUESTION, "response": 5},
        "text",
    ]
    for results in (client.score_rows(rows), [*client.stream_rows(rows)]):
        assert [row["form"] for row in results] == ["response", None, "responses", None, None]
        assert results[2]["reward"] == pytest.approx(
            [value(client, RIGHT), value(client, WRONG)], abs=1e-4
        )
        assert [row["error"] and row["error"]["type"] for row in results] == [
            None,
            *["InputError", None, "InputError", "InputError"],
        ]


def test_rows_keep_their_columns_if_the_caller_changes_them(client: EitherClient) -> None:
    def changing() -> Iterator[dict[str, Any]]:
        row: dict[str, Any] = {"prompt": QUESTION}
        for number in range(20):
            row |= {"n": number, "response": RIGHT if number % 2 else WRONG}
            yield row

    expected = [value(client, RIGHT if number % 2 else WRONG) for number in range(20)]
    for results in (client.score_rows(changing()), [*client.stream_rows(changing())]):
        assert [row["n"] for row in results] == [*range(20)]
        assert [row["reward"] for row in results] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"a": 1}, *PAIRS], "no form has these"),
        ([{**PAIRS[0], "reward": 1}], "Cannot add the column 'reward'"),
        ([{**PAIRS[0], "form": "x"}], "Cannot add the column 'form'"),
        (PAIRS[0], "this is a single one. Write [row]"),
        ("rows.jsonl", "not a path"),
        (5, "An iterable of rows"),
        (pl.LazyFrame(PAIRS), "collect()"),
        (DatasetDict({"train": Dataset.from_list(PAIRS)}), 'data["train"]'),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns 'a'"),
        (pd.DataFrame([[1, 2]], columns=[1, "1"]), "two columns '1'"),
    ],
    ids=lambda value: str(value)[:30].partition("\n")[0],
)
def test_what_is_refused_at_once(
    client: EitherClient, server: RewardServer, rows: Any, says: str
) -> None:
    client.servers()
    before = len(server.requests)
    for score in (client.score_rows, lambda rows: [*client.stream_rows(rows)]):
        with pytest.raises(InputError) as caught:
            score(rows)
        assert says in str(caught.value)
    assert len(server.requests) == before


@pytest.mark.parametrize(
    "options",
    [{"form": "pairs"}, {"form": 1}, {"columns": []}, {"columns": "prompt"}, {"columns": {"a": 1}}],
    ids=str,
)
def test_invalid_options(client: EitherClient, options: dict[str, Any]) -> None:
    for score in (client.score_rows, lambda *a, **k: [*client.stream_rows(*a, **k)]):
        with pytest.raises(InputError, match=f"^{next(iter(options))}= must be"):
            score(PAIRS, **options)


def test_named_form_and_columns(client: EitherClient) -> None:
    row = {"frage": QUESTION, "antworten": [RIGHT, WRONG], "labels": [True, False]}
    names = {"prompt": "frage", "responses": "antworten"}
    (result,) = client.score_rows([row], form="responses", columns=names)
    assert result["reward"] == pytest.approx([value(client, RIGHT), value(client, WRONG)], abs=1e-4)
    assert result["frage"] == QUESTION


Make = Callable[[list[dict[str, Any]]], Any]
TABLES: dict[str, tuple[Make, Callable[[Any], list[dict[str, Any]]]]] = {
    "pandas": (
        lambda rows: pd.DataFrame(rows, index=[f"i{n}" for n in range(len(rows))]),
        lambda frame: frame.to_dict("records"),
    ),
    "polars": (pl.DataFrame, lambda frame: frame.to_dicts()),
    "pyarrow": (pa.Table.from_pylist, lambda table: table.to_pylist()),
    "datasets": (Dataset.from_list, list),
}
ROWS = {
    "pairs": PAIRS,
    "single": [
        {"prompt": QUESTION, "response": RIGHT, "n": 1},
        {"prompt": QUESTION, "response": None, "n": 2},
    ],
    "several": [{"prompt": [Q], "responses": [RIGHT, WRONG]}],
    "messages": [{"messages": [Q, {"role": "assistant", "content": RIGHT}]}] * 3,
}


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("library", TABLES)
def test_tables_come_back_as_they_were(client: EitherClient, library: str, rows: str) -> None:
    make, read = TABLES[library]
    table = make(ROWS[rows])
    scored = client.score_rows(table)
    assert type(scored) is type(table)
    plain = client.score_rows(ROWS[rows])
    for row, expected in zip(read(scored), plain, strict=True):
        for name in ("form", "error"):
            assert without_nulls(row[name]) == without_nulls(expected[name])
        assert without_nulls(row["reward"]) == approximately(expected["reward"])
        assert {*row} == {*table_columns(table), *("form", "reward", "error", "token_count")}
    assert without_nulls(next(iter(client.stream_rows(table)))["form"]) == plain[0]["form"]
    if library == "pandas":
        assert [*scored.index] == [*table.index]
    assert "reward" not in table_columns(table)


MIXED = [
    {"prompt": QUESTION, "chosen": RIGHT, "rejected": WRONG, "response": None},
    {"prompt": QUESTION, "chosen": None, "rejected": None, "response": RIGHT},
    {"prompt": None, "chosen": RIGHT, "rejected": WRONG, "response": None},
]


@pytest.mark.parametrize("library", ["polars", "pyarrow", "datasets"])
def test_one_layout_in_a_table_with_types(client: EitherClient, library: str) -> None:
    make, read = TABLES[library]
    pair, other, unreadable = read(client.score_rows(make(MIXED)))
    right, wrong = value(client, RIGHT), value(client, WRONG)
    assert pair["reward"] == approximately({"chosen": right, "rejected": wrong})
    assert (other["form"], without_nulls(other["reward"] or {})) == (None, {})
    for row, says in ((other, "Cannot write the rewards of this row"), (unreadable, "a prompt")):
        assert {*row["error"]} == {"chosen", "rejected"}
        for side in row["error"].values():
            assert (side["type"], says in side["message"]) == ("InputError", True)


def test_several_layouts_in_pandas(client: EitherClient) -> None:
    scored = client.score_rows(pd.DataFrame(MIXED))
    plain = client.score_rows(MIXED)
    assert [without_nulls(each) for each in scored.reward] == [
        approximately(row["reward"]) for row in plain
    ]


def table_columns(table: Any) -> list[str]:
    return [*getattr(table, "column_names", getattr(table, "columns", []))]


def without_nulls(value: Any) -> Any:
    """A table writes null for a key that other rows have, and pandas NaN for a number."""
    if isinstance(value, dict):
        kept = {key: without_nulls(inner) for key, inner in value.items()}
        return {key: inner for key, inner in kept.items() if inner is not None}
    if isinstance(value, list):
        return [without_nulls(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def approximately(value: Any) -> Any:
    return None if value is None else pytest.approx(without_nulls(value), abs=1e-4)


def test_rewards_of_a_frame_are_numbers(client: EitherClient) -> None:
    frame = pd.DataFrame(ROWS["single"])
    scored = client.score_rows(frame)
    assert (scored.reward.dtype, str(scored.token_count.dtype)) == ("float64", "Int64")
    assert scored.reward.mean() == pytest.approx(value(client, RIGHT), abs=1e-4)
    assert frame.columns.tolist() == ["prompt", "response", "n"]


def test_cells_of_parquet_are_conversations(client: EitherClient, tmp_path: Any) -> None:
    pd.DataFrame(ROWS["messages"]).to_parquet(tmp_path / "in.parquet")
    scored = client.score_rows(pd.read_parquet(tmp_path / "in.parquet"))
    assert scored.reward.tolist() == pytest.approx([value(client, RIGHT)] * 3, abs=1e-4)


def test_many_rows_without_samples_keep_their_places(
    client: EitherClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reward_client._rows.grouping._MAX_WAITING", 3)
    good, bad = {"prompt": QUESTION, "response": RIGHT}, {"prompt": QUESTION}
    rows = [good, *[bad] * 10, good, bad, bad, good, *[bad] * 4]
    for results in (client.score_rows(rows), [*client.stream_rows(rows)]):
        assert [row["form"] for row in results] == [
            "response" if row is good else None for row in rows
        ]


def test_an_empty_table_and_no_rows(client: EitherClient) -> None:
    assert client.score_rows([]) == []
    scored = client.score_rows(pd.DataFrame({"prompt": [], "response": []}))
    assert scored.columns.tolist() == ["prompt", "response", "form", "reward", "error"]
