"""Requests and responses as plain data, and the interface of a transport."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, TypeVar

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
"""vLLM takes longer to start (19.5 s was the quickest recorded: 0.8.5, a tiny model, on a CPU).
Two responses within this time come from the same process, unless a connection was refused between
them."""

SERVER_FAILURES = (TransportError, ServerError, EngineDeadError)
"""Errors that blame the server: another replica may succeed."""

IF_STARTING = " If it is starting, call wait_until_ready() first (--wait in commands)."
"""The advice at the first contact with a server."""

MAX_DEATHS = 2
"""How many servers may die over one piece of work: at the second death its input is the suspect."""

ErrorT = TypeVar("ErrorT", bound=RewardClientError)


@dataclass(frozen=True, slots=True)
class Request:
    """A request, relative to the server's base URL.

    Attributes:
        method: The HTTP method.
        path: The path, such as ``"/tokenize"``.
        body: The JSON body; None sends no body.
        prepares: True for a request that only prepares a scoring request. Scoring goes first.
        optional: True if rewards are possible without a response: such a request gets one attempt,
            and its failure does not make the server unreachable.
        id_key: The key of the body that names the request, for engines that answer it; None if only
            a header does.
        id_count: The number of items to name, each by its place; None for a request of one.
        may_kill: True if the server may die of it, as engines without a check of their input do.
    """

    method: Literal["GET", "POST"]
    path: str
    body: dict[str, object] | None = None
    prepares: bool = False
    optional: bool = False
    id_key: str | None = None
    id_count: int | None = None
    may_kill: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    """A successful response: its JSON and its origin.

    Attributes:
        payload: The JSON.
        endpoint: The method and the URL of the request.
        request_id: The ID of the request.
        fingerprint: The hash of its content; 0 if it names its request, which proves more.
    """

    payload: object
    endpoint: str
    request_id: str
    fingerprint: int = 0

    @property
    def is_named(self) -> bool:
        """True if the response names its request."""
        return not self.fingerprint

    def fields(self) -> Mapping[str, object]:
        """Return the JSON object of the response.

        Raises:
            ProtocolError: If it is another kind of JSON.
        """
        fields = as_mapping(self.payload)
        if fields is None:
            raise self.error(
                ProtocolError,
                f"A JSON object was expected, but {describe_type(self.payload)} came. "
                "Does base_url point at the model's server?",
            )
        return fields

    @property
    def model(self) -> str | None:
        """The model that the response names, if any."""
        model = (as_mapping(self.payload) or {}).get("model")
        return model if isinstance(model, str) else None

    def error(self, kind: type[ErrorT], message: str) -> ErrorT:
        """Build an error about this response that names its origin."""
        return kind(message, endpoint=self.endpoint, request_id=self.request_id)


def item_id(request_id: str, place: int) -> str:
    """Return the ID of an item of a request."""
    return f"{request_id}-{place}"


Receipt: TypeAlias = Callable[[], Awaitable[bool]]
"""Returns False if a response that somebody took may turn out to be another request's."""

receipts: ContextVar[list[Receipt] | None] = ContextVar("receipts", default=None)
"""Collects the receipts of the running task, and of the tasks that it starts, if it is a list."""


class Transport(Protocol):
    """Sends requests to one server."""

    @property
    def url(self) -> str:
        """The server's base URL."""
        ...

    @property
    def proxy(self) -> str | None:
        """The proxy to the server, without its password; None if none is known."""
        ...

    @property
    def lost_at(self) -> float:
        """When the last loss of the server began; another one may have come up since.

        A value of `time.monotonic`, and minus infinity before the first loss.
        """
        ...

    def mark_lost(self, began: float | None = None) -> None:
        """Note that the server was lost: another one may have come up.

        Args:
            began: When the loss began, as a value of `time.monotonic`; None for now.
        """
        ...

    def is_connected_since(self, moment: float) -> bool:
        """Return False if every connection to the server was opened after a moment, or is closed.

        Args:
            moment: A value of `time.monotonic`.
        """
        ...

    async def send(self, request: Request) -> Response:
        """Send a request, with the retries that its failures allow.

        Raises:
            TransportError: If no usable response arrives.
            StatusError: If the server answers with an error.
            ProtocolError: If the response is not JSON.
            InputError: If JSON cannot hold the body.
        """
        ...
