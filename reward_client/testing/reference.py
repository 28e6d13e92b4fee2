"""What every head makes of a sequence before any activation, for the tests to compare with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reward_client.testing.judge import Judge


@dataclass(frozen=True, slots=True)
class ReferenceValues:
    """The raw values of one sequence, in float32 and without any activation.

    Attributes:
        score: What the heads "sequence" and "export" answer.
        token_scores: One value for each token, the last of which is the score: "token".
        labels: Five values, the first of which is the score: "labels".
        steps: Bad and good for each step token; good is the score at that token: "steps".
        hidden: The last token's hidden state, of which the score is a linear function: "embed".
    """

    score: float
    token_scores: list[float]
    labels: list[float]
    steps: list[list[float]]
    hidden: list[float]


def reference_values(judge: Judge, token_ids: Sequence[int]) -> ReferenceValues:
    """Run the model, and no head's activation."""
    evaluation = judge.evaluate(token_ids)
    return ReferenceValues(
        score=float(evaluation.outputs("sequence")[-1, 0]),
        token_scores=evaluation.outputs("token")[:, 0].tolist(),
        labels=evaluation.outputs("labels")[-1].tolist(),
        steps=evaluation.outputs("steps")[evaluation.step_positions].tolist(),
        hidden=evaluation.outputs("embed")[-1].tolist(),
    )
