"""The test server answers like real vLLM: recorded exchanges, replayed.

`data/exchanges.json` holds what vLLM 0.8.5 and 0.32.0 answered, served with another tiny model:
its name and its vocabulary size are replaced, and `{"ids": n}` stands for a list of n IDs.
"""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from reward_client.testing import RewardServer

RECORDED = json.loads((Path(__file__).parent / "data" / "exchanges.json").read_text("utf-8"))
# What another tokenizer and another model answer with other numbers.
COUNTED = {"prompt_tokens", "total_tokens", "count"}
RANDOM = {"created", "root"}


def expand(value):
    if isinstance(value, dict) and set(value) == {"ids"}:
        return [10 + i % 200 for i in range(value["ids"])]
    if isinstance(value, list):
        return [expand(item) for item in value]
    return value


def outline(value, key=None, *, count):
    """A reply without what is random in it: values become their types."""
    if key == "paths":
        return {path: sorted(methods) for path, methods in value.items()}
    if isinstance(value, dict):
        return {
            k: outline(v, k, count=count)
            for k, v in value.items()
            if k not in {"note", "openapi", "info"}
        }
    if isinstance(value, list):
        if key == "tokens":
            return [int]
        return [outline(item, key, count=count) for item in value]
    if key in RANDOM or (key in COUNTED and not count):
        return type(value)
    if key == "id" and "-" in value:
        prefix, _, rest = value.rpartition("-")
        return prefix, len(rest)
    if isinstance(value, float) or key in {"data", "embedding"}:
        return type(value), len(value) if isinstance(value, str) else None
    return value


def cases():
    for recorded in RECORDED:
        serving = recorded["serving"]
        for exchange in recorded["exchanges"]:
            name = f"{recorded['version']}-{serving['head']}-{serving['raw']}-{exchange['name']}"
            yield pytest.param(serving, exchange, id=name)


@pytest.fixture(scope="module")
def clients():
    with (
        RewardServer(dialect="0.8") as old,
        RewardServer(dialect="0.8", raw=True) as raw,
        RewardServer(dialect="0.8", head="token") as old_token,
        RewardServer(dialect="0.32") as new,
        RewardServer(dialect="0.32", head="token") as new_token,
    ):
        servers = {
            ("0.8", "sequence", False): old,
            ("0.8", "sequence", True): raw,
            ("0.8", "token", False): old_token,
            ("0.32", "sequence", False): new,
            ("0.32", "token", False): new_token,
        }
        made = {key: httpx.Client(base_url=server.url) for key, server in servers.items()}
        yield made
        for client in made.values():
            client.close()


def send(client, exchange):
    body = exchange.get("body")
    if body is None and "json" in exchange:
        request = dict(exchange["json"])
        if "input" in request:
            request["input"] = expand(request["input"])
        body = json.dumps(request)
    headers = {"content-type": "application/json"} if body is not None else {}
    headers |= {k.lower(): v for k, v in exchange.get("headers", {}).items()}
    return client.request(exchange["method"], exchange["path"], content=body, headers=headers)


@pytest.mark.parametrize(("serving", "exchange"), list(cases()))
def test_recorded_exchange(clients, serving, exchange):
    reply = send(clients[serving["dialect"], serving["head"], serving["raw"]], exchange)

    assert reply.status_code == exchange["status"]
    assert reply.headers.get("content-type") == exchange["type"]
    if not isinstance(exchange["reply"], dict):
        assert reply.text == exchange["reply"]
        return
    # The counts of text are the other tokenizer's.
    count = isinstance(exchange.get("json", {}).get("input"), list)
    assert outline(reply.json(), count=count) == outline(exchange["reply"], count=count)
