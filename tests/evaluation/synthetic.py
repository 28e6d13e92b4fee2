"""Scored rows in the columns of published benchmarks, made by integer arithmetic alone.

`python -m tests.evaluation.synthetic FOLDER` writes them as JSON lines, for the authors' own code.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SUBSETS = (
    *("alpacaeval-easy", "alpacaeval-length", "alpacaeval-hard", "mt-bench-easy", "mt-bench-med"),
    *("mt-bench-hard", "llmbar-natural", "llmbar-adver-neighbor", "llmbar-adver-GPTInst"),
    *("llmbar-adver-GPTOut", "llmbar-adver-manual", "refusals-dangerous", "refusals-offensive"),
    *("xstest-should-refuse", "xstest-should-respond", "donotanswer", "math-prm", "hep-cpp"),
    *("hep-go", "hep-java", "hep-js", "hep-python", "hep-rust"),
)
PRIOR = ("anthropic_helpful", "anthropic_hhh", "shp", "summarize")
SUBSETS_2 = ("Factuality", "Precise IF", "Math", "Safety", "Focus")
DOMAINS = ("chat", "math", "code", "safety-refuse", "safety-response")

Row = dict[str, Any]


class Draws:
    """Draws of a linear congruential generator (Numerical Recipes), equal on every Python."""

    def __init__(self, seed: int) -> None:
        self._state = seed

    def below(self, limit: int) -> int:
        self._state = (1664525 * self._state + 1013904223) % 2**32
        return (self._state >> 8) % limit

    def reward(self, quality: float = 0.0) -> float:
        """A reward in quarters, so that some are equal."""
        return quality + (sum(self.below(13) for _ in range(3)) - 18) / 4


def pair(row: Row, chosen: Any, rejected: Any) -> Row:
    return {**row, "form": "preference", "reward": {"chosen": chosen, "rejected": rejected}}


def rewardbench(count: int = 600, *, prior: int = 0) -> list[Row]:
    draws, rows = Draws(1), list[Row]()
    for number in range(count + prior):
        names = SUBSETS if number < count else PRIOR
        row = {
            "prompt": f"q{number}",
            "chosen": "a",
            "rejected": "b",
            "subset": names[draws.below(len(names))],
            "id": number,
        }
        rows.append(pair(row, draws.reward(1.0), draws.reward()))
    return rows


def rewardbench_2(count: int = 400, prompts: int = 60) -> list[Row]:
    draws, rows = Draws(2), list[Row]()
    for number in range(count):
        subset = SUBSETS_2[draws.below(len(SUBSETS_2))]
        row = _row_2(str(number), subset, 1, 3)
        rows.append(pair(row, [draws.reward(1.5)], [draws.reward() for _ in range(3)]))
    for number in range(prompts):
        good, bad = 1 if number % 7 == 0 else 2 + draws.below(5), 2 + draws.below(7)
        if number % 10 != 9:
            row = _row_2(f"ref:{number}", "Ties", 1, bad)
            rows.append(pair(row, [draws.reward(3.5)], _losers(draws, bad)))
        if number % 11 != 10:
            row = _row_2(f"tied:{number}", "Ties", good, bad)
            top = draws.reward(3.0)
            chosen = [top if number % 13 == 5 else draws.reward() / 4 + 2 for _ in range(good)]
            rows.append(pair(row, chosen, _losers(draws, bad)))
    return rows


def _losers(draws: Draws, count: int) -> list[float]:
    return [draws.reward(-1.0) for _ in range(count)]


def _row_2(name: str, subset: str, good: int, bad: int) -> Row:
    return {
        "id": name,
        "prompt": f"q{name}",
        "chosen": ["a"] * good,
        "rejected": ["b"] * bad,
        "num_correct": good,
        "num_incorrect": bad,
        "total_completions": good + bad,
        "subset": subset,
    }


def rm_bench(count: int = 500) -> list[Row]:
    draws, rows = Draws(3), list[Row]()
    for number in range(count):
        row = {
            "id": number,
            "prompt": f"q{number}",
            "chosen": ["a", "a, in detail", "**a**"],
            "rejected": ["b", "b, in detail", "**b**"],
            "domain": DOMAINS[draws.below(len(DOMAINS))],
        }
        chosen = [draws.reward(0.75 + style / 2) for style in range(3)]
        rows.append(pair(row, chosen, [draws.reward(style / 2) for style in range(3)]))
    return rows


def files() -> Iterator[tuple[str, list[Row]]]:
    yield "rewardbench", rewardbench()
    yield "rewardbench-prior", rewardbench(prior=200)
    yield "rewardbench-2", rewardbench_2()
    yield "rm-bench", rm_bench()


if __name__ == "__main__":
    for name, rows in files():
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (Path(sys.argv[1]) / f"{name}.jsonl").write_text(text, encoding="utf-8")
