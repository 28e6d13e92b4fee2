"""Heads: pooled output in, reward out. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from reward_client.routes.pooled import PooledOutput

__all__ = ["ScalarHead"]


@dataclass(frozen=True, slots=True)
class ScalarHead:
    """One number for a conversation.

    A sequence-classification head with one label gives it directly; of a head that scores every
    token (``Qwen2ForRewardModel``) it is the last token's value, as vLLM's LAST pooling and the
    models' own code take it.
    """

    def value(self, output: PooledOutput) -> float:
        """The reward in an output of width 1."""
        return float(output.values[-1])
