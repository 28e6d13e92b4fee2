"""Heads: pooled output in, rewards out. Pure."""

from typing import TypeAlias

from reward_client.heads.linear import LinearHead
from reward_client.heads.objectives import ObjectiveHead
from reward_client.heads.scalar import ScalarHead
from reward_client.heads.scores import Rows, Scores
from reward_client.heads.steps import Aggregate, StepHead

__all__ = [
    "Aggregate",
    "Head",
    "LinearHead",
    "ObjectiveHead",
    "Rows",
    "ScalarHead",
    "Scores",
    "StepHead",
]

Head: TypeAlias = ScalarHead | StepHead | ObjectiveHead | LinearHead
