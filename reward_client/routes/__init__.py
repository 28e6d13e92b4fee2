"""Ways over the wire from token IDs to pooled output. Pure: a call is built, its reply is read."""

from reward_client.routes.ask import Ask, RouteName, Sends
from reward_client.routes.pooled import Layout, PooledOutput, UntoldError, find_layout

__all__ = ["Ask", "Layout", "PooledOutput", "RouteName", "Sends", "UntoldError", "find_layout"]
