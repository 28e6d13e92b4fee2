"""The backend over a caller's OpenAI client: its key, proxies, TLS and headers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, cast
from urllib.parse import urlsplit

import openai
import orjson

from reward_client._base.options import Connection, Timeouts
from reward_client._base.wording import describe_type
from reward_client._transport.backends.base import RawResponse
from reward_client._transport.network_errors import NetworkError, NetworkErrorKind, classify
from reward_client._transport.proxies import find_proxy, is_loopback
from reward_client.errors import InputError


class AsyncOpenAI(openai.AsyncOpenAI):
    """A copy of a synchronous client's settings; it uses the backend's connections."""


class OpenAIBackend:
    """Sends every request through an `openai.AsyncOpenAI`, which only the caller closes.

    Args:
        client: The OpenAI client.
        base_url: The server's URL, without ``/v1``.
        timeouts: The deadlines for connecting and reading.
        max_response_bytes: The limit for one response.
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
        self.proxy = _environment_proxy(base_url) if self._owned else None
        self._client = client.with_options(http_client=own) if self._owned else client
        self._timeout = openai.Timeout(timeouts.read, connect=timeouts.connect)
        self._base_url = base_url
        self._max_response_bytes = max_response_bytes

    async def send(
        self,
        method: Literal["GET", "POST"],
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> RawResponse:
        """See `Backend`."""
        url = self._base_url + path
        options: openai.RequestOptions = {"headers": headers, "follow_redirects": False}
        try:
            # For each request, since the caller may change the client's key.
            client = self._client.with_options(max_retries=0, timeout=self._timeout)
            # The only public type that returns the raw response, in openai 1.x to 3.x.
            raw = openai.HttpxBinaryResponseContent
            if method == "GET":
                content = await client.get(url, cast_to=raw, options=options)
            else:
                payload = orjson.loads(body or b"{}")
                content = await client.post(url, cast_to=raw, body=payload, options=options)
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
            kind = classify(error, reading=False)
            if kind is None:
                raise
            raise NetworkError(kind, type(cause).__name__) from error
        # openai before 1.83 always follows redirects.
        response = response.history[0] if response.history else response
        if len(response.content) > self._max_response_bytes:
            raise NetworkError(
                NetworkErrorKind.TOO_LARGE, f"more than {self._max_response_bytes} bytes"
            )
        sent = response.request.headers
        return RawResponse(response.status_code, response.headers, response.content, sent)

    async def aclose(self) -> None:
        """Close the connections, unless they are the caller's."""
        if self._owned:
            await self._client.close()


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
