"""One number for a conversation."""

from __future__ import annotations

from dataclasses import dataclass

from reward_client._base.activation import Activation
from reward_client._protocols.vllm.pooled_output import Layout, not_a_reward
from reward_client.errors import ProtocolError, ShapeError
from reward_client.heads.scores import STEP_HEAD, Rows, Scores, rows_of_steps


@dataclass(frozen=True, slots=True)
class ScalarHead:
    """One number for a conversation.

    A sequence-classification head with one label gives it directly; of a head that scores every
    token (``Qwen2ForRewardModel``) it is the last token's value, as vLLM's LAST pooling and the
    models' own code take it.
    """

    def problem(self, layout: Layout) -> ProtocolError | None:
        """Why this head cannot read what the server sends, or None if it can."""
        if layout.kind == "per step":
            return rows_of_steps()
        if layout.width == 1:
            return None
        return not_a_reward(layout) or ShapeError(_CHOOSE[layout.kind].format(width=layout.width))

    def describe(self, layout: Layout) -> str:
        """The head in words, for `Provenance`."""
        return "scalar (last token)" if layout.kind == "per token" else "scalar"

    def read(self, rows: Rows, activation: Activation) -> Scores:
        """The reward in rows of width 1.

        Raises:
            ActivationError: As `Activation.raw`.
        """
        return Scores(activation.raw(rows.values[-1][0]))


_SEVERAL = (
    "The model answers with {width} values for %s, and a scalar reward is one; which of them is "
    "the reward cannot be guessed. "
)
_CHOOSE = {
    "vector": _SEVERAL % "a conversation"
    + "For a classifier with several labels give head=ObjectiveHead({width}) or with their names.",
    "per token": _SEVERAL
    % "each token"
    + f"For a process reward model give {STEP_HEAD}, for several labels of the last token "
    "head=ObjectiveHead({width}).",
}
