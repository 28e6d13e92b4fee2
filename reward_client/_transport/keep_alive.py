"""The check whether a server reuses connections, for the doctor."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

import aiohttp

from reward_client._base.options import Connection
from reward_client._transport.proxies import find_proxy

_DEADLINE = aiohttp.ClientTimeout(total=10)
_MAX_BYTES = 2**20


async def keeps_alive(url: str, headers: Mapping[str, str], connection: Connection) -> bool | None:
    """Return whether two requests, one after the other, share a connection.

    Returns:
        None if the check is impossible: behind a proxy, which has its own connections; with
        certificates of the caller; or if the requests fail.
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
    """Read a response; return whether it ended, since only then its connection can be reused."""
    async with session.get(url, allow_redirects=False) as response:
        body = response.content.iter_chunked(_MAX_BYTES)
        size = 0
        async for chunk in body:
            size += len(chunk)
            if size > _MAX_BYTES:
                return False
    return True
