"""Raw values of every head, computed without a server, for tests to compare with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reward_client.testing._model.sum_judge import SumJudge


@dataclass(frozen=True, slots=True)
class ReferenceValues:
    """The raw values of one sequence for every head, in float32 and without any activation.

    Attributes:
        score: The value of the heads ``"sequence"`` and ``"export"``.
        token_scores: One value for each token, for ``"token"``; the last value is the score.
        labels: Five values, for ``"labels"``; the first value is the score.
        steps: Two values (bad, good) for each step token, for ``"steps"``; good is the score at
            that token.
        hidden: The hidden state of the last token, for ``"embed"``. The score is a linear function
            of it.
    """

    score: float
    token_scores: list[float]
    labels: list[float]
    steps: list[list[float]]
    hidden: list[float]


def reference_values(judge: SumJudge, token_ids: Sequence[int]) -> ReferenceValues:
    """Run the model on one sequence and collect the raw values of every head."""
    evaluation = judge.evaluate(token_ids)
    return ReferenceValues(
        score=float(evaluation.outputs("sequence")[-1, 0]),
        token_scores=evaluation.outputs("token")[:, 0].tolist(),
        labels=evaluation.outputs("labels")[-1].tolist(),
        steps=evaluation.outputs("steps")[evaluation.step_positions].tolist(),
        hidden=evaluation.outputs("embed")[-1].tolist(),
    )
