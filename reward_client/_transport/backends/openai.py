"""The backend over a caller's OpenAI client: its key, proxies, TLS and headers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Literal, Protocol, cast
from urllib.parse import urlsplit

import httpx
import openai
import orjson

from reward_client._base.options import Connection, Timeouts
from reward_client._base.wording import describe_type
from reward_client._transport.backends.base import ENCODINGS, RawResponse
from reward_client._transport.backends.httpx import BoundedReader
from reward_client._transport.network_errors import NetworkError
from reward_client._transport.proxies import find_proxy, is_loopback
from reward_client.errors import InputError

_RAW = "reward_client"
"""The key of a `RawResponse` among the extensions of a response."""

_AROUND = (
    ". The server is on this machine: give the OpenAI client "
    "http_client=DefaultAsyncHttpxClient(trust_env=False)"
)


class AsyncOpenAI(openai.AsyncOpenAI):
    """A copy of a synchronous client's settings; it uses the backend's connections."""


class _HttpClient(Protocol):
    """The method that clients of httpx and httpx2 share."""

    @property
    def send(self) -> Callable[..., Awaitable[httpx.Response]]: ...


class _BoundedClient:
    """The HTTP client of an OpenAI client, except that it reads responses within limits.

    openai itself reads every response whole. It gets a response without a body from here, which
    holds the `RawResponse` among its extensions.

    Args:
        client: The HTTP client.
        reader: Reads the responses.
    """

    def __init__(self, client: _HttpClient, reader: BoundedReader) -> None:
        self._client = client
        self._reader = reader

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride]
        return type(self._client)  # openai checks it

    def __getattr__(self, name: str) -> object:
        return getattr(self._client, name)

    async def send(self, request: httpx.Request, **options: object) -> httpx.Response:
        """Send a request, and read its response within limits."""
        send = partial(self._client.send, **{**options, "stream": True, "follow_redirects": False})
        raw = await self._reader.read(request, send, closed=lambda: False)
        return httpx.Response(raw.status, request=request, extensions={_RAW: raw})


class OpenAIBackend:
    """Sends every request through an `openai.AsyncOpenAI`, which only the caller closes.

    Args:
        client: The OpenAI client.
        base_url: The server's URL, without ``/v1``.
        timeouts: The deadlines for connecting and reading.
        max_response_bytes: The limit for one response, decompressed.
    """

    def __init__(
        self,
        client: openai.AsyncOpenAI,
        base_url: str,
        timeouts: Timeouts,
        max_response_bytes: int,
    ) -> None:
        self._owned = isinstance(client, AsyncOpenAI)
        # Connections belong to one event loop, like this object.
        own = _own_connections(base_url) if self._owned else None
        self.proxy = _environment_proxy(base_url) if self._owned else _proxy_of(client, base_url)
        self._client = client.with_options(http_client=own) if self._owned else client
        self._timeout = openai.Timeout(timeouts.read, connect=timeouts.connect)
        self._base_url = base_url
        http_client = cast("_HttpClient", self._client._client)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        reader = BoundedReader(base_url, timeouts, max_response_bytes)
        self._http_client = cast("Any", _BoundedClient(http_client, reader))

    async def send(
        self,
        method: Literal["GET", "POST"],
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> RawResponse:
        """See `Backend`."""
        url = self._base_url + path
        options: openai.RequestOptions = {"headers": {"accept-encoding": ENCODINGS, **headers}}
        try:
            # For each request, since the caller may change the client's key.
            client = self._client.with_options(
                max_retries=0, timeout=self._timeout, http_client=self._http_client
            )
            # The only public type that returns the response itself, in openai 1.x to 3.x.
            cast_to = openai.HttpxBinaryResponseContent
            if method == "GET":
                content = await client.get(url, cast_to=cast_to, options=options)
            else:
                payload = orjson.loads(body or b"{}")
                content = await client.post(url, cast_to=cast_to, body=payload, options=options)
            response = content.response
        except openai.APIStatusError as error:
            response = error.response
        except (openai.APIConnectionError, RuntimeError) as error:
            cause = error.__cause__ or error
            if isinstance(cause, RuntimeError):
                raise InputError(
                    f"Cannot use the OpenAI client: {cause}. It must be open, and its connections "
                    "belong to one event loop. Make one for each event loop, or use RewardClient, "
                    "which keeps one event loop."
                ) from error
            if isinstance(cause, NetworkError):
                raise cause from error
            raise
        return cast("RawResponse", response.extensions[_RAW])

    def is_connected_since(self, moment: float) -> bool:
        """See `Backend`."""
        return True

    async def aclose(self) -> None:
        """Close the connections, unless they are the caller's."""
        if self._owned:
            await self._client.close()

    def drop(self) -> None:
        """Close nothing: httpx does so without a word when it is collected."""


def _own_connections(base_url: str) -> openai.DefaultAsyncHttpxClient:
    host = urlsplit(base_url).hostname or ""
    if not is_loopback(host):
        return openai.DefaultAsyncHttpxClient()
    # No proxy of the environment reaches this machine itself.
    shown = f"[{host}]" if ":" in host else host
    return openai.DefaultAsyncHttpxClient(mounts={f"all://{shown}": None})


def _environment_proxy(base_url: str) -> str | None:
    found = find_proxy(base_url, Connection())
    return found.shown if found else None


def _proxy_of(client: openai.AsyncOpenAI, base_url: str) -> str | None:
    """Return the proxy of a caller's client, without its password; None if it names none.

    No public name of httpx or httpx2 tells it.
    """
    http_client = cast("Any", client._client)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    try:
        url = type(http_client.base_url)(base_url)
        proxy = http_client._transport_for_url(url)._pool._proxy_url  # noqa: SLF001
        host = proxy.host.decode()
        shown = f"[{host}]" if ":" in host else host
        port = "" if proxy.port is None else f":{proxy.port}"
        address = f"{proxy.scheme.decode()}://{shown}{port}"
    except AttributeError:  # a direct connection, or another kind of transport
        return None
    around = _AROUND if is_loopback(urlsplit(base_url).hostname or "") else ""
    return f"{address} of the OpenAI client{around}"


def as_async(client: openai.OpenAI | openai.AsyncOpenAI) -> openai.AsyncOpenAI:
    """Return an asynchronous client with the settings of the given one.

    Raises:
        InputError: If an asynchronous client cannot take over the settings.
    """
    given = cast("object", client)
    if isinstance(given, openai.AsyncOpenAI):
        return given
    if not isinstance(given, openai.OpenAI):
        raise InputError(f"from_openai needs an OpenAI client, not {describe_type(given)}.")
    custom = type(given._client).__name__ != "SyncHttpxClientWrapper"  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    if custom or type(given) is not openai.OpenAI or not given.api_key:
        raise InputError(
            "Cannot take over this OpenAI client: it has its own http_client, subclass or key "
            "function, which asynchronous requests cannot use. Pass an openai.AsyncOpenAI with the "
            "asynchronous counterpart, such as AsyncOpenAI(http_client=DefaultAsyncHttpxClient(…))."
        )
    return AsyncOpenAI(
        api_key=given.api_key,
        organization=given.organization,
        project=given.project,
        base_url=given.base_url,
        # The public default_headers also holds openai's own headers.
        default_headers=given._custom_headers,  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        default_query=given.default_query,
    )
