"""A head that reads one number for a conversation."""

from __future__ import annotations

from dataclasses import dataclass

from reward_client._base.activation import Activation
from reward_client._protocols.pooled_output import Layout, not_a_reward
from reward_client.errors import ProtocolError, ShapeError
from reward_client.heads.scores import STEP_HEAD, Rows, Scores, needs_step_head


@dataclass(frozen=True, slots=True)
class ScalarHead:
    """One number for a conversation.

    A sequence-classification head with one label returns this number directly. For a head that
    scores every token (``Qwen2ForRewardModel``), it is the value of the last token. vLLM's LAST
    pooling and the models' own code do the same.
    """

    def problem(self, layout: Layout) -> ProtocolError | None:
        """Return the error if this head cannot read outputs of this layout, else None."""
        if layout.kind == "per step":
            return needs_step_head()
        if layout.width == 1:
            return None
        return not_a_reward(layout) or ShapeError(_TOO_WIDE[layout.kind].format(width=layout.width))

    def describe(self, layout: Layout) -> str:
        """Describe the head for `Provenance`."""
        return "scalar (last token)" if layout.kind == "per token" else "scalar"

    def read(self, rows: Rows, activation: Activation) -> Scores:
        """Read the reward from rows of width 1.

        Raises:
            ActivationError: If the raw value cannot be recovered; see `Activation.raw`.
        """
        return Scores(activation.raw(rows.values[-1][0]))


_SEVERAL = (
    "Cannot read a scalar reward: the model returns {width} values for %s, and the client cannot "
    "guess which of them is the reward. "
)
_TOO_WIDE = {
    "vector": _SEVERAL
    % "a conversation"
    + "For a classifier with several labels, pass head=ObjectiveHead({width}) or "
    "head=ObjectiveHead(names).",
    "per token": _SEVERAL
    % "each token"
    + f"For a process reward model, pass {STEP_HEAD}. For several labels of the last token, pass "
    "head=ObjectiveHead({width}).",
}
