"""HTTP requests: connections, deadlines, retries, errors. Only this package uses HTTP libraries.

It is imported at the first request, so ``import reward_client`` does not load the HTTP stack.
"""

from reward_client._transport.backends.base import Backend
from reward_client._transport.http_transport import HttpTransport

__all__ = ["Backend", "HttpTransport"]
