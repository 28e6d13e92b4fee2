"""Ways over the wire from token IDs to pooled output. Pure: a call is built, its reply is read."""

from reward_client._protocols.vllm.pooled_output import (
    Layout,
    PooledOutput,
    UntoldError,
    find_layout,
)
from reward_client._protocols.vllm.scoring_request import Ask, RouteName, Sends

__all__ = ["Ask", "Layout", "PooledOutput", "RouteName", "Sends", "UntoldError", "find_layout"]
