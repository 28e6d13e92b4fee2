"""The keys of what `RewardServer` tells its app about a connection, in an ASGI scope's state."""

from __future__ import annotations

TRANSPORT = "reward_client.transport"
"""The transport of the connection."""
KILL = "reward_client.kill"
"""A function that ends the server as the end of a process does."""
