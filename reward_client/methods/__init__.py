"""How a reward is defined, and had from servers."""

from reward_client.methods.choices import Messages, Method

__all__ = ["Messages", "Method"]
