"""The figures of a report, computed by hand."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from reward_client._base import reservoir
from reward_client._base.moments import Comoments
from reward_client._base.wording import percent
from reward_client._rows.scored import ScoredRow
from reward_client.report.calibration import Calibration

from .conftest import Report, failed, pair, single

PAIRS = [pair(3.0, 1.0), pair(2.0, 2.0), pair(-1.0, 4.0), pair(0.5, 0.0)]


def test_headline_of_pairs(report: Report) -> None:
    words = report(*PAIRS, failed()).words
    assert "rows 5 1 failed (20.0%)" in words
    # 2.5 of 4: (0.625 + z²/8 ± z √(0.625 · 0.375 / 4 + z²/64)) / (1 + z²/4), z² = 3.841459
    assert "accuracy of pairs 62.5% 95% interval 21.9% to 90.8%" in words
    assert "mean margin -0.625 " in words
    assert "pairs 4 1 tie" in words
    assert "median reward 2 " in words  # the value at rank round(0.5 · 7)
    assert "rewards 8 0 samples truncated" in words


def test_quantiles(report: Report) -> None:
    table = report(*(pair(float(n), float(-n)) for n in range(1, 102))).table(
        "Quantiles of the rewards"
    )
    assert table[0] == ["quantile", "all", "chosen", "rejected"]
    names = [row[0] for row in table[1:]]
    assert names == ["number", "min", "5%", "25%", "50%", "75%", "95%", "max"]
    chosen = ["101", "1.000", "6.000", "26.000", "51.000", "76.000", "96.000", "101.000"]
    assert [row[2] for row in table[1:]] == chosen
    assert [row[3] for row in table[1:]] == [
        "101",
        *(f"-{value}" for value in reversed(chosen[1:])),
    ]


def test_the_bins_hold_all_rewards(report: Report) -> None:
    rng = random.Random(1)
    rows = [pair(rng.gauss(1, 2), rng.gauss(-1, 2)) for _ in range(500)]
    for table in report(*rows).tables("Share of each bin"):
        for column in range(2, len(table[0])):
            shares = [float(row[column].rstrip("%")) for row in table[1:]]
            assert sum(shares) == pytest.approx(100, abs=0.05 * len(shares))


def test_accuracy_by_subset(report: Report) -> None:
    rows = [
        pair(3.0, 1.0, subset="chat"),
        pair(1.0, 2.0, subset="chat"),
        pair(5.0, 1.0, subset="math"),
        failed(subset="math"),
    ]
    page = report(*rows)
    assert "By subset" in page.sections
    assert "Rows are grouped by the column subset, which has 2 values." in page.words
    assert page.table("Counts of each group, with the mean margin") == [
        ["subset", "rows", "failed", "pairs", "accuracy", "95% interval", "margin"],
        # z² / (4 + 2 z²) = 0.3289; 0.5 ± z √(1/8 + z²/16) / (1 + z²/2) = 0.5 ± 0.4055
        ["chat", "2", "0", "2", "50.0%", "9.5% to 90.5%", "0.500"],
        # 1 of 1: from 1 / (1 + z²)
        ["math", "2", "1", "1", "100.0%", "20.7% to 100.0%", "4.000"],
    ]
    assert page.table("Accuracy of each group")[1:] == [
        ["chat", "50.0%", "9.5%", "90.5%"],
        ["math", "100.0%", "20.7%", "100.0%"],
    ]


def test_means_by_group_without_pairs(report: Report) -> None:
    page = report(single(1.0, source="a"), single(2.0, source="a"), single(-4.0, source="b"))
    assert page.table("Counts of each group") == [
        ["source", "rows", "failed", "mean reward"],
        ["a", "2", "0", "1.500"],
        ["b", "1", "0", "-4.000"],
    ]


@pytest.mark.parametrize(
    ("columns", "by", "expected"),
    [
        ([{"subset": "a"}, {"subset": "a"}], None, None),  # one value
        ([{"subset": str(n)} for n in range(51)], None, None),
        ([{"subset": str(n)} for n in range(50)], None, "By subset"),
        ([{"subset": str(n)} for n in range(51)], "subset", "By subset"),
        ([{"subset": "a"}, {"subset": "a"}], "subset", "By subset"),
        ([{"language": "a", "category": n} for n in range(3)], None, "By category"),
        ([{"language": n, "category": "a"} for n in range(3)], None, "By language"),
        ([{"subset": "a"}, {}], None, None),
        ([{"colour": n} for n in range(3)], None, None),
        ([{"colour": n} for n in range(3)], "colour", "By colour"),
    ],
)
def test_the_column_of_the_groups(
    report: Report, columns: list[dict[str, Any]], by: str | None, expected: str | None
) -> None:
    page = report(*(single(1.0, **each) for each in columns), by=by)
    assert [name for name in page.sections if name.startswith("By ")] == [expected] * bool(expected)


def test_the_correlation() -> None:
    moments = Comoments()
    for x, y in [(1, 2.0), (2, 1.0), (3, 4.0), (4, 3.0)]:
        moments.add(x, y)
    # Deviations -1.5, -0.5, 0.5, 1.5 and -0.5, -1.5, 1.5, 0.5: 3 / 5.
    assert moments.correlation() == pytest.approx(0.6, abs=1e-15)
    assert Comoments().correlation() is None


def test_the_correlation_far_from_zero() -> None:
    """The sums of squares would cancel: of 1e6² few digits are left for 1."""
    moments = Comoments()
    for x, y in [(1, 2.0), (2, 1.0), (3, 4.0), (4, 3.0)]:
        moments.add(x + 1e6, y + 1e6)
    # Numbers near 1e6 are 1.2e-10 apart.
    assert moments.correlation() == pytest.approx(0.6, abs=1e-9)


def test_length_and_reward(report: Report) -> None:
    rows = [single(float(y), token_count=x) for x, y in [(10, 2), (20, 1), (30, 4), (40, 3)]]
    page = report(*rows)
    assert "with the reward is 0.600, over 4 samples" in page.words
    table = page.table("Mean reward by number of tokens")
    assert [row[2:] for row in table[1:]] == [
        ["1", "2.000"],
        ["1", "1.000"],
        ["1", "4.000"],
        ["1", "3.000"],
    ]


def test_accuracy_by_length(report: Report) -> None:
    def rows() -> list[dict[str, Any]]:
        return [
            pair(2.0, 1.0, token_count={"chosen": 9, "rejected": 5}),
            pair(2.0, 1.0, token_count={"chosen": 7, "rejected": 5}),
            pair(1.0, 2.0, token_count={"chosen": 5, "rejected": 9}),
            pair(1.0, 1.0, token_count={"chosen": 5, "rejected": 5}),
            # Means of 6 and 5 tokens; 2 of 2 comparisons are right.
            pair([3.0, 3.0], [1.0], token_count={"chosen": [5, 7], "rejected": [5]}),
            pair(1.0, 2.0),  # no numbers of tokens
        ]

    table = report(*rows()).table("Accuracy by length")
    assert [row[:3] for row in table[1:]] == [
        ["chosen is longer", "3", "100.0%"],
        ["chosen is shorter", "1", "0.0%"],
        ["same length", "1", "50.0%"],
    ]


def test_lengths_that_never_vary(report: Report) -> None:
    page = report(single(1.0, token_count=5), single(2.0, token_count=5))
    assert "All samples have the same length, or all rewards are equal." in page.words
    assert "Length and reward" in page.sections
    assert "Length and reward" not in report(single(1.0), single(2.0)).sections


SURE = math.log(0.76 / 0.24)
"""A margin that stands for a probability of 0.76."""


def test_calibration(report: Report) -> None:
    rows = [pair(SURE, 0.0), pair(1 + SURE, 1.0), pair(0.0, SURE), pair(1.0, 1.0)]
    page = report(*rows)
    # 3 pairs with 0.76 and 2/3 right, 1 pair with 0.5 and 1/2 right: 3/4 · (0.76 - 2/3).
    assert "The expected calibration error is 7.0%, over 10 bins." in page.words
    table = page.table("Pairs by probability")
    assert [row[:4] for row in table[1:]] == [
        ["50.0% to 55.0%", "1", "50.0%", "50.0%"],
        ["75.0% to 80.0%", "3", "76.0%", "66.7%"],
    ]


def test_the_calibration_error_of_lists() -> None:
    """A row weighs 1: its two comparisons weigh one half each."""
    counts = Calibration()
    counts.add(ScoredRow(pair([2.0], [2.0 - SURE, 2.0])))
    counts.add(ScoredRow(pair(0.0, SURE)))
    # At 0.76: 1.5 pairs, of which 0.5 are right. At 0.5: half a pair, and half of it is right.
    assert counts.error() == pytest.approx(1.5 * (0.76 - 1 / 3) / 2, abs=1e-12)


def test_a_model_that_says_what_it_knows() -> None:
    """Pairs that are drawn from the model's own probabilities have no calibration error."""
    rng = random.Random(3)
    counts = Calibration()
    for _ in range(20_000):
        margin = abs(rng.gauss(0, 2))
        is_right = rng.random() < 1 / (1 + math.exp(-margin))
        counts.add(ScoredRow(pair(margin, 0.0) if is_right else pair(0.0, margin)))
    # Ten bins of 2,000 pairs: a standard error of at most 0.011 each, and a mean far below it.
    assert counts.error() < 0.011


def test_rewards_of_steps_are_no_logits(report: Report) -> None:
    page = report(pair(1.0, 0.0, step_rewards={"chosen": [], "rejected": []}))
    assert "they come from probabilities of steps" in page.words
    assert page.tables("Pairs by probability") == []
    assert "Margins and calibration" in page.sections


def test_the_worst_pairs_come_first(report: Report) -> None:
    rows = [pair(0.0, float(n), chosen=f"good {n}", rejected=f"bad {n}") for n in range(40)]
    words = report(*rows).words
    margins = [f"margin {-n}" for n in range(39, 19, -1)]
    places = [words.index(f"{margin} ") for margin in margins]
    assert places == sorted(places)
    assert words.count("margin -") == 20 + words.count("mean margin -")
    assert "user 2 + 2? chosen: assistant good 39 rejected: assistant bad 39" in words


def test_equal_margins_show_the_first_rows(report: Report) -> None:
    words = report(*(pair(0.0, 1.0) for _ in range(30))).words
    assert "Row 0: margin" in words
    assert "Row 19: margin" in words
    assert "Row 20: margin" not in words


def test_no_wrong_pair(report: Report) -> None:
    assert "No pair has a negative margin." in report(pair(1.0, 0.0), pair(1.0, 1.0)).words


def test_the_lowest_and_highest_single_rewards(report: Report) -> None:
    words = report(*(single(float(n), response=f"text {n}") for n in range(50))).words
    low, high = words.split("Highest rewards:")
    assert "Row 0: reward 0 " in low
    assert "Row 9: reward 9 " in low
    assert "Row 10: reward" not in words
    assert high.index("Row 49: reward 49") < high.index("Row 40: reward 40")
    assert "assistant text 49" in high.replace("answer: ", "")


def test_a_response_of_a_list(report: Report) -> None:
    row = {"prompt": "2 + 2?", "responses": ["four", "five"], "form": "responses"}
    words = report(row | {"reward": [3.0, None]}).words
    assert "Row 0, [0]: reward 3" in words
    assert "four" in words
    assert "five" not in words


def test_objectives(report: Report) -> None:
    rows = [single(None, objectives={"help": float(n), "harm": -2.0}) for n in range(5)]
    page = report(*rows)
    assert page.table("Quantiles of the objectives") == [
        ["objective", "number", "min", "5%", "25%", "50%", "75%", "95%", "max"],
        ["help", "5", "0.000", "0.000", "1.000", "2.000", "3.000", "4.000", "4.000"],
        ["harm", "5", *["-2.000"] * 7],
    ]
    assert "Distribution of the objective harm: all values are -2." in page.words
    assert "samples with objectives 5 2 objectives" in page.words


def test_objectives_of_pairs(report: Report) -> None:
    laid = {"chosen": {"a": 1.0}, "rejected": [{"a": 2.0}, None]}
    page = report(pair(1.0, [0.0, None], objectives=laid))
    assert page.table("Quantiles of the objectives")[1][:2] == ["a", "2"]


def test_failures_by_kind(report: Report) -> None:
    rows = [
        single(1.0),
        failed(message="first"),
        failed(message="second"),
        failed("ServerError", "down"),
    ]
    page = report(*rows)
    table = page.table("Failed rows by the type of their error")
    assert table[1:] == [["InputError", "sample", "2"], ["ServerError", "server", "1"]]
    assert "The first InputError, in row 1 message first" in page.words
    assert "The first ServerError, in row 3 message down" in page.words
    assert "second" not in page.words
    assert "--retry-failed" in page.words
    assert "--retry-failed" not in report(single(1.0), failed()).words
    assert "Failures" not in report(single(1.0)).sections


def test_all_failed(report: Report) -> None:
    page = report(failed(), failed())
    assert page.sections == ["Overview", "Failures", "Settings and provenance"]
    assert "rows 2 2 failed (100.0%)" in page.words


def test_truncated_samples(report: Report) -> None:
    laid = {"chosen": True, "rejected": [False, True]}
    words = report(pair(1.0, [0.0, 0.5], truncated=laid), single(2.0, truncated=True)).words
    assert "3 samples truncated" in words
    assert "3 samples had too many tokens" in words


def test_one_row(report: Report) -> None:
    page = report(single(2.5, token_count=7))
    assert "Distribution of the rewards: all values are 2.5." in page.words
    assert page.drawings == []


def test_many_rows_are_sampled_and_counted(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reservoir, "SIZE", 50)
    page = report(*(pair(float(n % 7), 3.0) for n in range(700)))
    assert page.table("Quantiles of the rewards")[1] == ["number", "1,400", "700", "700"]
    # 3 of 7 values lie above, and one is equal.
    assert f"accuracy of pairs {percent(3.5 / 7)}" in page.words
    assert "come from a random sample" in page.words


@pytest.mark.parametrize("kind", ["pairs", "single", "lists", "lists of pairs", "mixed"])
def test_no_number_is_missing(report: Report, kind: str) -> None:
    rng = random.Random(2)

    def number() -> float:
        return rng.choice([0.0, 1e-12, -1e9, 1e300, rng.gauss(0, 5)])

    rows = {
        "pairs": lambda: pair(number(), number()),
        "single": lambda: single(number(), token_count=rng.randrange(5)),
        "lists": lambda: single([number(), None, number()]),
        "lists of pairs": lambda: pair([number(), number()], [number()]),
    }
    kinds = [*rows] if kind == "mixed" else [kind]
    page = report(*(rows[rng.choice(kinds)]() for _ in range(60)))
    assert not {"nan", "inf", "-inf", "None"} & {*page.words.lower().split()}
    for drawing in page.drawings:
        for shape in drawing:
            for name, value in shape.attrib.items():
                if name not in {"class", "text-anchor", "id"}:
                    assert "nan" not in value
                    assert "inf" not in value
