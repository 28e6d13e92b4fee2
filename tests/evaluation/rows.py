"""Scored rows of a few benchmarks, for tables that can be checked by eye."""

from __future__ import annotations

from typing import Any

from reward_client.evaluation import Evaluation

Row = dict[str, Any]

FAILED = {"type": "PromptTooLongError", "message": "The sample has 5120 tokens."}


def pair(chosen: Any, rejected: Any, **columns: Any) -> Row:
    """A row of RewardBench or of a benchmark with its columns."""
    row = {"prompt": "q", "chosen": "a", "rejected": "b", "subset": "hep-cpp", **columns}
    return {**row, "form": "preference", "reward": {"chosen": chosen, "rejected": rejected}}


def failed_pair(**columns: Any) -> Row:
    return {**pair(1.0, None, **columns), "error": {"chosen": None, "rejected": FAILED}}


def values(evaluation: Evaluation) -> dict[str, float]:
    """The values of a table by path."""
    return {"/".join(measure.path): measure.value for measure in evaluation.measures}


def counts(evaluation: Evaluation) -> dict[str, int]:
    return {"/".join(measure.path): measure.count for measure in evaluation.measures}
