"""Where the server is, and what must never be shown: base URL, API key, headers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TypeAlias, cast
from urllib.parse import urlsplit

from reward_client._base.options import API_KEY_VARIABLE, BASE_URL_VARIABLE
from reward_client.errors import InputError

BaseUrl: TypeAlias = str | list[str] | tuple[str, ...]
"""A server, or several that serve the same model."""


def server_urls(base_url: BaseUrl | None) -> tuple[str, ...]:
    """The URLs of the replicas without ``/v1``; by default one, from ``REWARD_CLIENT_BASE_URL``.

    Raises:
        InputError: One is missing, there twice, not http(s), or holds a password.
    """
    if not isinstance(base_url, list | tuple):
        url = base_url if base_url is not None else os.environ.get(BASE_URL_VARIABLE)
        return (_server_url(url),)
    if not base_url:
        raise InputError("base_url is an empty list: name at least one server.")
    urls = tuple(map(_server_url, base_url))
    twice = next((url for url in urls if urls.count(url) > 1), None)
    if twice is not None:
        raise InputError(f"base_url names {twice} twice: each replica has a URL of its own.")
    return urls


def _server_url(url: object) -> str:
    if not isinstance(url, str) or not url:
        raise InputError(
            f"base_url (or {BASE_URL_VARIABLE}) must be the server's URL: http://localhost:8000."
        )
    try:
        parts = urlsplit(url.strip())
        _ = parts.port  # raises for a port that is none
    except ValueError as error:
        raise InputError(f"base_url cannot be read as a URL: {error}.") from error
    if parts.username is not None or parts.password is not None:
        raise InputError("base_url must hold no user or password: use api_key= or headers=.")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise InputError(f"base_url must look like http://host:8000, not {url!r}.")
    path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path}"


def environment_key() -> str | None:
    """The API key of ``REWARD_CLIENT_API_KEY``; no other variable is read."""
    return os.environ.get(API_KEY_VARIABLE) or None


def request_headers(api_key: str | None, headers: Mapping[str, str] | None) -> dict[str, str]:
    """The headers of every request: the caller's, and the key as a bearer token.

    Raises:
        InputError: A name or value cannot be a header. It is not shown: it may be a secret.
    """
    sent = {str(name).lower(): value for name, value in headers.items()} if headers else {}
    if api_key:
        sent["authorization"] = f"Bearer {api_key}"  # vLLM up to 0.10.2 wants the capital B
    for name, value in cast("Mapping[str, object]", sent).items():
        if not isinstance(value, str) or not (name + value).isascii() or not value.isprintable():
            what = "api_key" if name == "authorization" and api_key else f"header {name!r}"
            raise InputError(f"The {what} must be printable ASCII text (a line break at its end?).")
    return sent
