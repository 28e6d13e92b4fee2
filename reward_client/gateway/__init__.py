"""One HTTP server in front of reward servers, for trainers that cannot install this package."""

from reward_client.gateway.app import create_app
from reward_client.gateway.limits import GatewayLimits

__all__ = ["GatewayLimits", "create_app"]
