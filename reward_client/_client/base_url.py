"""Base URLs, API key and headers, from the arguments and the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import chain
from typing import TypeAlias, cast
from urllib.parse import urlsplit

from reward_client._base.options import API_KEY_VARIABLE, BASE_URL_VARIABLE
from reward_client._base.wording import describe_type
from reward_client.errors import InputError

AUTHORIZATION = "authorization"
"""The header with the key."""

BaseUrl: TypeAlias = str | list[str] | tuple[str, ...]
"""The URL of a server, or of replicas that serve the same model."""


def server_urls(base_url: BaseUrl | None) -> tuple[str, ...]:
    """Return the URLs of the replicas without ``/v1``; by default ``REWARD_CLIENT_BASE_URL``.

    Only the variable may hold several URLs in one text, with commas between them.

    Raises:
        InputError: If a URL is missing, doubled, not http(s), or holds a password.
    """
    if base_url is None:
        named = os.environ.get(BASE_URL_VARIABLE, "")
        base_url = named.split(",") if "," in named else named
    if not isinstance(base_url, list | tuple):
        return (_server_url(base_url),)
    if not base_url:
        raise InputError("base_url is an empty list. Name at least one server.")
    urls = tuple(map(_server_url, base_url))
    twice = next((url for url in urls if urls.count(url) > 1), None)
    if twice is not None:
        raise InputError(f"base_url names {twice} twice. Give each replica its own URL.")
    return urls


def _server_url(url: object) -> str:
    if not isinstance(url, str) or not url:
        raise InputError(
            f"base_url (or {BASE_URL_VARIABLE}) must be the server's URL: http://localhost:8000."
        )
    try:
        parts = urlsplit(url.strip())
        _ = parts.port  # raises if the port is invalid
    except ValueError as error:
        raise InputError(f"Cannot read base_url as a URL: {error}.") from error
    if parts.username is not None or parts.password is not None:
        raise InputError("base_url must hold no user or password. Use api_key= or headers=.")
    if "unix" in parts.scheme or parts.netloc.startswith("unix:"):
        raise InputError(
            "Cannot read a Unix socket as base_url. Give base_url='http://localhost' and "
            "transport=httpx.AsyncHTTPTransport(uds='/path/of/the.sock')."
        )
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise InputError(f"base_url must look like http://host:8000, not {url!r}.")
    path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path}"


def environment_key() -> str | None:
    """Return the API key of ``REWARD_CLIENT_API_KEY``; no other variable counts."""
    return os.environ.get(API_KEY_VARIABLE) or None


def request_headers(api_key: str | None, headers: Mapping[str, str] | None) -> dict[str, str]:
    """Return the headers of every request: the caller's, and the key as a bearer token.

    Raises:
        InputError: If a header is invalid. The error does not show it: it may be a secret.
    """
    if not isinstance(cast("object", api_key), str | None):
        raise InputError(f"api_key= must be a str or None, not {describe_type(api_key)}.")
    if not isinstance(cast("object", headers), Mapping | None):
        raise InputError(
            'headers= must be a mapping, such as {"x-tenant": "a"}, or None, not '
            f"{describe_type(headers)}."
        )
    for each in chain.from_iterable((headers or {}).items()):
        if not isinstance(cast("object", each), str):
            raise InputError(f"headers= must map str to str, and holds {describe_type(each)}.")
    sent = {name.lower(): value for name, value in (headers or {}).items()}
    if api_key:
        sent[AUTHORIZATION] = f"Bearer {api_key}"  # vLLM up to 0.10.2 requires the capital B
    for name, value in sent.items():
        if not (name + value).isascii() or not value.isprintable():
            what = "api_key" if name == AUTHORIZATION and api_key else f"header {name!r}"
            raise InputError(
                f"The {what} must be printable ASCII text. Does it end with a line break?"
            )
    return sent
