"""Recorded exchanges, sent to the test server again."""

from __future__ import annotations

import pprint
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import httpx

from reward_client.testing import RewardServer

# A server closes the connection after an exception, maybe while the next request is on its way.
NO_REUSE = httpx.Limits(max_keepalive_connections=0)

Outline = Callable[[Any, Mapping[str, Any]], Any]
"""From a response's JSON and the recorded exchange, to what of it must be the same."""


def expand(value: Any) -> Any:
    """Replace `{"ids": n}` by a list of n token IDs."""
    if isinstance(value, dict) and set(value) == {"ids"}:
        return [10 + i % 200 for i in range(value["ids"])]
    if isinstance(value, list):
        return [expand(item) for item in value]
    return value


def differences(
    serving: Mapping[str, Any],
    exchanges: Iterable[Mapping[str, Any]],
    send: Callable[[httpx.Client, Mapping[str, Any]], httpx.Response],
    outline: Outline,
) -> list[str]:
    """Replay the exchanges on one server, and describe each that it answers differently."""
    with (
        RewardServer(**serving) as server,
        # Loading certificates, which no test needs, takes 20 ms.
        httpx.Client(base_url=server.url, verify=False, limits=NO_REUSE) as client,
    ):
        return [
            f"{exchange['name']}: {problem}"
            for exchange in exchanges
            for problem in _problems(send(client, exchange), exchange, outline)
        ]


def _problems(
    response: httpx.Response, exchange: Mapping[str, Any], outline: Outline
) -> Iterator[str]:
    if response.status_code != exchange["status"]:
        yield f"status {response.status_code}, recorded {exchange['status']}"
    content_type = response.headers.get("content-type")
    if content_type != exchange["type"]:
        yield f"content type {content_type}, recorded {exchange['type']}"
    recorded = exchange["reply"]
    if isinstance(recorded, str) and exchange["type"] != "application/json":
        if response.text != recorded:
            yield f"text {response.text!r}, recorded {recorded!r}"
        return
    try:
        payload = response.json()
    except ValueError:
        yield f"no JSON: {response.text!r}"
        return
    answered, expected = outline(payload, exchange), outline(recorded, exchange)
    if answered != expected:
        yield f"\n{pprint.pformat(answered)}\nrecorded:\n{pprint.pformat(expected)}"
