"""The wire: one request's bytes to the server, and its reply's bytes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import httpx

from reward_client._transport.network_errors import Fault, WireFaultError
from reward_client.errors import InputError

# Enough for any message; vLLM was seen to echo 184 kB of input.
MAX_ERROR_BYTES = 65_536
# Of these, a piece of a reply unpacks to a thousand times its size at most, and is counted then.
ENCODINGS = "gzip, deflate"


@dataclass(frozen=True, slots=True)
class RawResponse:
    """A reply as it came; header names in any case.

    Attributes:
        status: The HTTP status.
        headers: Of the reply.
        body: Unpacked.
        sent: The headers of the request.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    sent: Mapping[str, str]

    @property
    def succeeded(self) -> bool:
        """Whether the status says so."""
        return 200 <= self.status < 300


class Backend(Protocol):
    """Sends one request, once."""

    async def send(
        self,
        method: Literal["GET", "POST"],
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> RawResponse:
        """Sends one request and reads its reply.

        Raises:
            WireFaultError: No reply, or not a whole one.
            InputError: The options cannot make a request.
        """
        ...

    async def aclose(self) -> None:
        """Closes every connection."""
        ...


def request_url(base_url: str, path: str) -> httpx.URL:
    """The URL of a route.

    Raises:
        InputError: The base URL makes none.
    """
    try:
        return httpx.URL(base_url + path)
    except httpx.InvalidURL as error:
        raise InputError(f"base_url cannot be read as a URL: {error}.") from error


def check_encoding(encoding: str) -> None:
    """Refuses what was not asked for: packed twice, a few bytes unpack to gigabytes in one go."""
    if encoding.strip().lower() not in {"", "identity", *ENCODINGS.split(", ")}:
        raise WireFaultError(Fault.NOT_HTTP, f"an answer in the content encoding {encoding!r}")


def reason(error: BaseException) -> str:
    """The innermost cause that says something: it names the system's error."""
    said = error
    while error.__cause__ is not None:
        error = error.__cause__
        said = error if str(error) else said
    return f"{type(said).__name__}: {said}"
