"""Whether a server lets a connection be used twice: the doctor's only look below the HTTP API."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

import aiohttp

from reward_client._base.options import Connection
from reward_client._transport.connections import find_proxy

_DEADLINE = aiohttp.ClientTimeout(total=10)
_MOST_BYTES = 2**20


async def keeps_alive(url: str, headers: Mapping[str, str], connection: Connection) -> bool | None:
    """Whether two requests, one after the other, share a connection.

    Returns:
        None where that cannot be seen: through a proxy, which has connections of its own, with
        certificates of the caller's, or if the requests fail.
    """
    own_tls = connection.verify is not True or connection.cert is not None
    if own_tls or find_proxy(url, connection) is not None:
        return None
    opened: list[object] = []

    async def count(_: aiohttp.ClientSession, __: SimpleNamespace, event: object) -> None:
        opened.append(event)

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(count)
    try:
        async with aiohttp.ClientSession(
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=_DEADLINE,
            trace_configs=[trace],
            trust_env=False,
        ) as session:
            for _ in range(2):
                if not await _read_whole(session, f"{url}/v1/models"):
                    return None
    except (aiohttp.ClientError, OSError, ValueError):
        return None
    return len(opened) == 1


async def _read_whole(session: aiohttp.ClientSession, url: str) -> bool:
    """Whether a reply came to its end; only then its connection can be used again."""
    async with session.get(url, allow_redirects=False) as response:
        body = response.content.iter_chunked(_MOST_BYTES)
        size = 0
        async for chunk in body:
            size += len(chunk)
            if size > _MOST_BYTES:
                return False
    return True
