"""Heads read rewards from a server's pooled output. They compute, and send nothing."""

import dataclasses
import hashlib
import json
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
    "head_digest",
]

Head: TypeAlias = ScalarHead | StepHead | ObjectiveHead | LinearHead


def head_digest(head: Head) -> str:
    """Return the SHA-256 (hex) of a head's type and parameters."""
    content = json.dumps([type(head).__name__, dataclasses.asdict(head)], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()
