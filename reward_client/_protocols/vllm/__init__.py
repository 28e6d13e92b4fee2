"""The HTTP API of vLLM. Pure: functions build requests and read responses."""

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
