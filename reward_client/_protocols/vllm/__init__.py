"""Ways over the wire from token IDs to pooled output. Pure: a call is built, its reply is read."""

from reward_client._protocols.vllm.pooled_output import (
    Layout,
    MissingLogprobError,
    PooledOutput,
    find_layout,
)
from reward_client._protocols.vllm.scoring_request import RouteName, ScoringRequest, Sends

__all__ = [
    "Layout",
    "MissingLogprobError",
    "PooledOutput",
    "RouteName",
    "ScoringRequest",
    "Sends",
    "find_layout",
]
