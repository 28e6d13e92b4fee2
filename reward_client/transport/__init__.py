"""One HTTP call: connection, deadline, retries, errors. The only part that knows an HTTP library.

Imported at the first call, so that ``import reward_client`` does not load the HTTP stack.
"""

from reward_client.transport.caller import HttpCaller
from reward_client.transport.wire import Wire

__all__ = ["HttpCaller", "Wire"]
