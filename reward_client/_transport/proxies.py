"""The proxy to a server: the caller's, or that of the environment."""

from __future__ import annotations

import ipaddress
import socket
from base64 import b64encode
from dataclasses import dataclass
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from reward_client._base.options import Connection
from reward_client.errors import InputError


@dataclass(frozen=True, slots=True)
class FoundProxy:
    """A proxy.

    Attributes:
        address: Its URL, with user and password as a header.
        shown: Its URL without user and password, and its origin, for messages.
    """

    address: httpx.Proxy
    shown: str


def find_proxy(base_url: str, connection: Connection) -> FoundProxy | None:
    """Return the proxy; None for a direct connection.

    Raises:
        InputError: If the proxy's address is unreadable.
    """
    url, origin = connection.proxy, "of Connection(proxy=…)"
    if not url and connection.trust_env:
        url, origin = environment_proxy(base_url), "of the environment"
    if not url:
        return None
    try:
        # HTTP_PROXY=host:port without a scheme means http, by convention.
        proxy = httpx.Proxy(url if "://" in url else f"http://{url}")
    except (ValueError, httpx.InvalidURL):  # the text of these errors holds the password
        proxy = None
    if proxy is None or proxy.url.scheme not in {"http", "https"}:
        raise InputError(
            "A proxy must look like http://host:port or https://host:port. Give it as "
            "Connection(proxy=…), or ignore the environment with Connection(trust_env=False)."
        )
    shown = f"{proxy.url.scheme}://{proxy.url.netloc.decode()} {origin}"
    if proxy.auth is None:
        return FoundProxy(proxy, shown)
    token = b64encode(":".join(proxy.auth).encode()).decode()
    headers = {"proxy-authorization": f"Basic {token}"}
    return FoundProxy(httpx.Proxy(proxy.url, headers=headers), shown)


def environment_proxy(base_url: str) -> str | None:
    """Return the proxy of the environment for a server; None for a server on this machine.

    No proxy reaches the loopback addresses of this machine, whatever ``NO_PROXY`` says.
    """
    parts = urlsplit(base_url)
    if parts.hostname is None or is_loopback(parts.hostname) or proxy_bypass(parts.netloc):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")


def is_loopback(host: str) -> bool:
    """Return True for a name or an address of this machine itself, in any spelling."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = _address(name)
    except (ValueError, OSError):
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback or address.is_unspecified


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    if ":" in name:
        return ipaddress.IPv6Address(name.partition("%")[0])
    # It reads 127.1 and 2130706433 as the resolvers of most systems do.
    return ipaddress.IPv4Address(socket.inet_aton(name))
