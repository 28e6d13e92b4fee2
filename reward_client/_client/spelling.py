"""Names of options that other libraries use, and how this client spells them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_RETRY = "retry=3 (attempts, the first one included)"
_CONCURRENCY = "limits=Limits(max_concurrency=8)"
_BATCH = "limits=Limits(max_batch_items=32)"
_PROXY = 'connection=Connection(proxy="http://…")'
_URL = 'base_url="http://localhost:8000"'

# From httpx, aiohttp, requests, openai and the clients of inference services.
SPELLINGS: Mapping[str, str] = {
    "auth": 'api_key="…", or headers={"authorization": "…"}',
    "base": _URL,
    "batch_size": _BATCH,
    "ca_bundle": 'connection=Connection(verify="ca.pem")',
    "cert": 'connection=Connection(cert="client.pem")',
    "concurrency": _CONCURRENCY,
    "connect_timeout": "timeout=Timeouts(connect=5)",
    "default_headers": "headers={…}",
    "endpoint": _URL,
    "extra_headers": "headers={…}",
    "host": _URL,
    "http_client": "transport=httpx.AsyncHTTPTransport(…)",
    "max_attempts": _RETRY,
    "max_batch_items": _BATCH,
    "max_concurrency": _CONCURRENCY,
    "max_connections": _CONCURRENCY,
    "max_retries": _RETRY,
    "max_workers": _CONCURRENCY,
    "model_name": 'model="…"',
    "mounts": _PROXY,
    "num_retries": _RETRY,
    "organization": 'headers={"openai-organization": "…"}',
    "project": 'headers={"openai-project": "…"}',
    "proxies": _PROXY,
    "proxy": _PROXY,
    "read_timeout": "timeout=Timeouts(read=60)",
    "retries": _RETRY,
    "ssl": 'connection=Connection(verify="ca.pem")',
    "token": 'api_key="…"',
    "trust_env": "connection=Connection(trust_env=False)",
    "url": _URL,
    "urls": 'base_url=["http://…", "http://…"]',
    "verify": "connection=Connection(verify=…)",
}

# The OpenAI client given to `from_openai` brings these.
_OF_THE_CONNECTION = frozenset({"base_url", "api_key", "headers", "connection", "transport"})


def checks_spelling(function: Callable[P, T]) -> Callable[P, T]:
    """Wrap a function so that an unknown keyword raises an error with the right spelling.

    Type checkers, `inspect.signature` and the documentation see the function's own signature.
    """
    known = inspect.signature(function).parameters.keys()
    name = function.__qualname__.removesuffix(".__init__")

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        refuse_unknown(name, kwargs, known)
        return function(*args, **kwargs)

    return checked


def refuse_unknown(name: str, options: Collection[str], known: Collection[str]) -> None:
    """Check the names of the options in a call.

    Args:
        name: The name of the called function, for the message.
        options: The names of the options given.
        known: The names of the options that the function takes.

    Raises:
        TypeError: If an option is unknown.
    """
    for option in options:
        if option not in known:
            raise TypeError(f"{name}() takes no {option}={_hint(option, known)}")


def _hint(option: str, known: Collection[str]) -> str:
    spelling = SPELLINGS.get(option)
    target = spelling.split("=")[0] if spelling else option
    if target in _OF_THE_CONNECTION and target not in known:
        return ": set it on the OpenAI client."
    if spelling is not None:
        return f": write {spelling}."
    close = get_close_matches(option, known, n=1)
    return f": did you mean {close[0]}=?" if close else "."
