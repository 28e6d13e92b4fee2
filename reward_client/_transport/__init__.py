"""One HTTP call: connection, deadline, retries, errors. The only part that knows an HTTP library.

Imported at the first call, so that ``import reward_client`` does not load the HTTP stack.
"""

from reward_client._transport.backends.base import Backend
from reward_client._transport.http_transport import HttpTransport

__all__ = ["Backend", "HttpTransport"]
