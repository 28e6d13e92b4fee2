"""One HTTP call as plain data: what the pure parts of the package build and read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from reward_client._base.json_values import as_mapping
from reward_client._base.wording import describe_type
from reward_client.errors import (
    EngineDeadError,
    ProtocolError,
    RewardClientError,
    ServerError,
    TransportError,
)

RESTART_SECONDS = 4.0
"""A vLLM takes longer to start (19.5 s was the quickest recorded: 0.8.5, a tiny model, on a CPU).
So whoever heard from a server within this time is talking to the same process, or has seen it
refuse a connection."""

SERVER_FAILURES = (TransportError, ServerError, EngineDeadError)
"""What says that the server is the trouble: another one may do what this one failed at."""

MAX_DEATHS = 2
"""How many servers may die over one piece of work: at the second death its input is the suspect."""

ErrorT = TypeVar("ErrorT", bound=RewardClientError)


@dataclass(frozen=True, slots=True)
class Request:
    """A request, relative to the server's base URL.

    Attributes:
        method: The HTTP method.
        path: Such as ``"/tokenize"``.
        body: What is sent as JSON; None sends no body.
        prepares: Whether it only prepares a scoring: those that are ready to score go first.
    """

    method: Literal["GET", "POST"]
    path: str
    body: dict[str, object] | None = None
    prepares: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    """A successful answer: its JSON, and where it came from."""

    payload: object
    endpoint: str
    request_id: str

    def fields(self) -> Mapping[str, object]:
        """The JSON object of the reply.

        Raises:
            ProtocolError: It is another kind of JSON.
        """
        fields = as_mapping(self.payload)
        if fields is None:
            raise self.error(
                ProtocolError,
                f"A JSON object was expected, and {describe_type(self.payload)} came. "
                "Does base_url point at a vLLM server?",
            )
        return fields

    @property
    def model(self) -> str | None:
        """The model that the reply says it is of, if it does."""
        model = self.fields().get("model")
        return model if isinstance(model, str) else None

    def error(self, kind: type[ErrorT], message: str) -> ErrorT:
        """An error about this reply, which names its origin."""
        return kind(message, endpoint=self.endpoint, request_id=self.request_id)


class Transport(Protocol):
    """Makes calls to one server."""

    @property
    def url(self) -> str:
        """The server's base URL."""
        ...

    @property
    def epoch(self) -> int:
        """How often the server was seen to be gone; grows when another may have come up."""
        ...

    def mark_lost(self) -> None:
        """Notes that another server may have come up."""
        ...

    async def send(self, request: Request) -> Response:
        """Send a request, with the retries that its failures allow.

        Raises:
            TransportError: No usable reply.
            StatusError: The server answered with an error.
            ProtocolError: The reply is not JSON.
            InputError: The body cannot be written as JSON.
        """
        ...
