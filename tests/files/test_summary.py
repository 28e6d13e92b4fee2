"""What the summary of a file says of pairs, groups and the spread of rewards."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from reward_client import InputError, RewardClient
from reward_client._base import reservoir
from reward_client._base.statistics import wilson_interval
from reward_client._rows.scored import ScoredRow
from reward_client.files import ScoreSummary, score_file
from reward_client.files import groups as groups_module
from reward_client.files.results import Stream
from reward_client.files.runner import score_stream
from reward_client.files.tally import Tally
from reward_client.testing import RewardServer

from ..support.fake_vllm import FakeVllm
from .conftest import Connect, read_rows, token_rows, write_rows

QUESTION = {"role": "user", "content": "What is 12 + 30?"}
RIGHT, WRONG = "12 + 30 = 42.", "It is 57."


def summary_of(*rows: dict[str, Any], by: str | None = None) -> ScoreSummary:
    tally = Tally(by)
    for row in rows:
        tally.add(ScoredRow(row), is_kept=True)
    return tally.summary(1.0)


def pair(chosen: object, rejected: object, **columns: object) -> dict[str, Any]:
    return {**columns, "form": "preference", "reward": {"chosen": chosen, "rejected": rejected}}


def test_accuracy_of_pairs() -> None:
    summary = summary_of(pair(3.0, 1.0), pair(2.0, 2.0), pair(-1.0, 4.0), pair(0.5, 0.0))
    pairs = summary.pairs
    assert pairs is not None
    # Two right ones, and half of one: margins 2, 0, -5, 0.5.
    assert (pairs.count, pairs.accuracy, pairs.ties, pairs.margin) == (4, 0.625, 1, -0.625)
    assert pairs.interval == wilson_interval(2.5, 4)
    assert summary.rewards["max"] == 4.0
    assert summary.sides["chosen"] | {} == {
        "min": -1.0,
        "5%": -1.0,
        "25%": 0.5,
        "50%": 2.0,
        "75%": 2.0,
        "95%": 3.0,
        "max": 3.0,
    }
    assert (summary.sides["rejected"]["min"], summary.sides["rejected"]["max"]) == (0.0, 4.0)


def test_sides_of_several_samples_compare_each_with_each() -> None:
    """One row is one pair, however many comparisons it has: they are not independent."""
    summary = summary_of(pair([1.0, 5.0], [0.0, 1.0, 6.0]), pair([2.0], 1.0))
    pairs = summary.pairs
    assert pairs is not None
    # 1 against 0, 1, 6: won, tied, lost. 5 against 0, 1, 6: won, won, lost. So 3.5 of 6.
    assert pairs.accuracy == pytest.approx((3.5 / 6 + 1) / 2, abs=1e-15)
    assert (pairs.count, pairs.ties) == (2, 1)
    # The means of the sides are 3 and 7/3.
    assert pairs.margin == pytest.approx((3 - 7 / 3 + 1) / 2, abs=1e-15)
    assert pairs.interval == wilson_interval(3.5 / 6 + 1, 2)


@pytest.mark.parametrize(
    "row",
    [
        {"reward": 3.0},
        {"reward": [3.0, 1.0]},
        {"reward": {"response_a": 3.0, "response_b": 1.0}},
        pair(3.0, None),
        pair([3.0, None], 1.0),
        pair([], 1.0),
        pair(None, None),
        {"reward": None},
        {"reward": True},
        {"reward": {}},
        {"reward": {"chosen": 1.0}},
        {},
    ],
    ids=json.dumps,
)
def test_rows_that_are_no_pair_of_rewards(row: dict[str, Any]) -> None:
    summary = summary_of(row)
    assert summary.pairs is None
    assert summary.sides == {}
    assert "accuracy" not in str(summary)


def test_errors_and_tokens_of_sides_of_several_samples() -> None:
    tally = Tally()
    failed = {"type": "PromptTooLongError", "message": "long"}
    row = pair([1.0, None], [0.0]) | {
        "token_count": {"chosen": [5, None], "rejected": [7]},
        "error": {"chosen": [None, failed], "rejected": [None]},
    }
    tally.add(ScoredRow(row), is_kept=False)
    summary = tally.summary(1.0)
    assert summary.reasons == {"PromptTooLongError": (0, "long")}
    assert (summary.conversations, summary.tokens) == (2, 12)
    assert (summary.rewards["min"], summary.rewards["max"]) == (0.0, 1.0)


def test_words_for_pairs() -> None:
    lines = str(summary_of(pair(3.0, 1.0), pair(2.0, 2.0))).splitlines()
    assert lines == [
        "2 rows: 2 scored, 0 failed; 2 of them in earlier runs",
        # z² = 3.8415: (0.75 + z²/4 ± z √(0.75·0.25/2 + z²/16)) / (1 + z²/2)
        "2 pairs: accuracy 75.0% (95% interval 19.8% to 97.3%), 1 tie, mean margin 1",
        "rewards: min 1, 5% 1, 25% 2, 50% 2, 75% 2, 95% 3, max 3",
        "chosen: min 2, 5% 2, 25% 2, 50% 2, 75% 3, 95% 3, max 3",
        "rejected: min 1, 5% 1, 25% 1, 50% 1, 75% 2, 95% 2, max 2",
    ]


def test_groups_of_pairs() -> None:
    failed = {"form": "preference", "reward": None, "error": {"type": "InputError", "message": ""}}
    summary = summary_of(
        pair(3.0, 1.0, subset="chat"),
        pair(0.0, 1.0, subset="math"),
        pair(2.0, 0.0, subset="chat"),
        failed | {"subset": "chat"},
        {"reward": 7.0},
        by="subset",
    )
    chat, math, none = summary.groups
    assert (chat.name, chat.rows, chat.failed, chat.mean) == ("chat", 3, 1, 1.5)
    assert chat.pairs is not None
    assert (chat.pairs.count, chat.pairs.accuracy, chat.pairs.margin) == (2, 1.0, 2.0)
    assert math.pairs is not None
    assert math.pairs.accuracy == 0.0
    assert (none.name, none.rows, none.mean, none.pairs) == ("(no value)", 1, 7.0, None)
    table = str(summary).splitlines()[-4:]
    assert table == [
        "by subset   rows  failed  mean  pairs  accuracy     95% interval  ties  mean margin",
        "chat           3       1   1.5      2    100.0%  34.2% to 100.0%     0            2",
        "math           1       0   0.5      1      0.0%    0.0% to 79.3%     0           -1",
        "(no value)     1       0     7",
    ]


def test_a_group_is_named_by_its_value() -> None:
    values = ["a", 1, 1.5, True, None, ["x", 2], {"k": "v"}, "a\nb", "y" * 200, "y" * 201 + "a"]
    values += ["y" * 201 + "b"]
    groups = summary_of(*({"reward": 1.0, "g": value} for value in values), by="g").groups
    names = [group.name for group in groups]
    assert names[:8] == ["a", "1", "1.5", "true", "(no value)", '["x",2]', '{"k":"v"}', "a\nb"]
    assert len({*names}) == len(values)
    assert max(map(len, names)) < 230


def test_the_table_of_groups_is_short() -> None:
    rows = [{"reward": float(n % 3), "g": n % 60 if n % 60 < 50 else n} for n in range(600)]
    summary = summary_of(*rows, by="g")
    assert len(summary.groups) == 51
    assert [group.rows for group in summary.groups] == [*[10] * 50, 100]
    assert summary.groups[-1].name == "(others)"
    assert len(str(summary).splitlines()) < 60


def test_values_without_end_take_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups_module, "_MAX_GROUPS", 5)
    rows = [{"reward": 1.0, "g": n} for n in range(100)]
    groups = summary_of(*rows, by="g").groups
    assert [group.name for group in groups] == ["0", "1", "2", "3", "4", "(others)"]
    assert groups[-1].rows == 95


def test_long_names_of_groups_do_not_break_the_table() -> None:
    summary = summary_of({"reward": 1.0, "g": "x" * 100}, {"reward": 2.0, "g": "a\nb"}, by="g")
    _, first, second = str(summary).splitlines()[-3:]
    assert first.startswith("x" * 39 + "…  ")
    assert second.startswith("a\\nb ")


def test_the_histogram_holds_all_rewards() -> None:
    rewards = [*[n / 10 for n in range(100)], 1e6, -1e6]
    bins = summary_of({"reward": rewards}).histogram
    assert len(bins) <= 10
    assert (bins[0].low, bins[-1].high) == (-1e6, 1e6)
    assert [each.high for each in bins[:-1]] == [each.low for each in bins[1:]]
    assert sum(each.share for each in bins) == pytest.approx(1, abs=1e-12)
    inner = bins[1:-1]
    assert {round(each.high - each.low, 12) for each in inner} == {2.0}
    assert [round(each.share * 102) for each in inner] == [20] * 5


@pytest.mark.parametrize("rewards", [[], [1.0], [2.5] * 9])
def test_equal_rewards_have_no_histogram(rewards: list[float]) -> None:
    assert summary_of({"reward": rewards}).histogram == []


def test_sums_over_more_than_the_sample_are_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reservoir, "SIZE", 10)
    summary = summary_of(*(pair(float(n), 0.0) for n in range(100)))
    assert summary.pairs is not None
    assert (summary.pairs.count, summary.pairs.ties, summary.pairs.margin) == (100, 1, 49.5)
    assert summary.sides["chosen"]["max"] == 99.0


@pytest.fixture(scope="module")
def server() -> Iterator[RewardServer]:
    with RewardServer() as server:
        yield server


def pair_rows() -> list[dict[str, Any]]:
    return [
        {
            "prompt": QUESTION["content"] + " " * n,
            "chosen": RIGHT,
            "rejected": [WRONG, RIGHT] if n % 3 == 0 else WRONG,
            "subset": "math" if n % 2 else "chat",
        }
        for n in range(30)
    ]


def test_a_resumed_run_has_the_same_summary(server: RewardServer, tmp_path: Path) -> None:
    rows = [*pair_rows(), {"text": "", "subset": "chat"}, {"text": 3}, "not a row"]
    source = write_rows(tmp_path / "in.jsonl", rows)
    out = tmp_path / "out.jsonl"
    with RewardClient(server.url) as client:
        whole = score_file(client, source, out, by="subset")
        lines = out.read_bytes().splitlines(keepends=True)
        for kept in (1, 13, 32):
            out.write_bytes(b"".join(lines[:kept]))
            again = score_file(client, source, out, by="subset")
            assert again.kept == kept
            assert facts(again) == facts(whole)
        retried = score_file(client, source, out, by="subset", retry_failed=True)
        assert facts(retried) == facts(whole)
    assert [(group.name, group.rows, group.failed) for group in whole.groups] == [
        ("chat", 16, 1),
        ("math", 15, 0),
        ("(no value)", 2, 2),
    ]
    assert whole.pairs is not None
    assert whole.pairs.ties == 10  # one of the rejected answers is the chosen one
    assert whole.pairs.accuracy == pytest.approx((20 + 10 * 0.75) / 30, abs=1e-12)


def facts(summary: ScoreSummary) -> tuple[object, ...]:
    return (
        summary.rewards,
        summary.sides,
        summary.histogram,
        summary.pairs,
        summary.groups,
        summary.failures,
        summary.reasons,
    )


def test_no_row_has_the_column(connect: Connect, tmp_path: Path) -> None:
    client = connect()
    few = write_rows(tmp_path / "few", token_rows(3))
    many = write_rows(tmp_path / "many", [*token_rows(100), {"x": 1, "token_ids": [100, 7]}])
    with pytest.raises(InputError) as error:
        score_file(client, few, tmp_path / "out", by="x")
    assert str(error.value) == (
        "Cannot group by 'x': no row has the column. There are: id, token_ids."
    )
    with pytest.raises(InputError, match="none of the first 100 rows has the column"):
        score_file(client, many, tmp_path / "out", by="x")
    assert not (tmp_path / "out").exists()
    late = write_rows(tmp_path / "late", [*token_rows(99), {"x": 1, "token_ids": [100, 7]}])
    summary = score_file(client, late, tmp_path / "out", by="x")
    assert [(group.name, group.rows) for group in summary.groups] == [("(no value)", 99), ("1", 1)]


def test_no_column_is_needed_where_there_are_no_rows(client: RewardClient, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "in", [])
    assert score_file(client, source, tmp_path / "out", by="x").groups == []


@pytest.mark.parametrize("by", ["", 3, ["subset"], b"subset"])
def test_a_column_has_a_name(client: RewardClient, source: Path, output: Path, by: Any) -> None:
    with pytest.raises(InputError, match="by= must be the name of a column, not"):
        score_file(client, source, output, by=by)


def test_groups_of_a_stream(server: RewardServer, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "in.gz", pair_rows())
    assert gzip.decompress(source.read_bytes())
    with RewardClient(server.url) as client, (tmp_path / "out").open("wb") as stream:
        summary = score_stream(client, source, Stream(stream), by="subset")
    assert [group.name for group in summary.groups] == ["chat", "math"]
    assert len(read_rows(tmp_path / "out")) == 30


def test_a_retried_run_counts_the_same(
    client: RewardClient, fake: FakeVllm, tmp_path: Path
) -> None:
    rows = [{**row, "subset": n % 3} for n, row in enumerate(token_rows(30))]
    source = write_rows(tmp_path / "in.jsonl", rows)
    client.servers()
    failed = httpx.Response(500, json={"error": {"message": "no", "code": 500}})
    fake.before = lambda request: failed if request.url.path == "/pooling" else None
    summary = score_file(client, source, tmp_path / "out.jsonl", by="subset")
    assert [group.failed for group in summary.groups] == [10, 10, 10]
    fake.before = lambda request: None
    again = score_file(client, source, tmp_path / "out.jsonl", by="subset", retry_failed=True)
    whole = score_file(client, source, tmp_path / "whole.jsonl", by="subset")
    assert facts(again) == facts(whole)
    assert whole.failed == 0
