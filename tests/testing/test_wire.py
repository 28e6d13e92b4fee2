"""The test server answers like real vLLM: recorded exchanges, replayed.

`data/exchanges.json` holds what vLLM of each version answered, served with other tiny models;
`make_exchanges.py` made it of the recordings. `{"ids": n}` stands for a list of n IDs.
"""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from reward_client.testing import RewardServer

RECORDED = json.loads((Path(__file__).parent / "data" / "exchanges.json").read_text("utf-8"))
# What another tokenizer and another model answer with other numbers.
COUNTED = {"prompt_tokens", "total_tokens", "count"}
RANDOM = {"created", "root"}
# A set of Python's: in another order at every start of a server.
TASKS = re.compile(r"((?:Supported tasks:|must be one of) )\[(.+?)\]")


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
        if key == "data" and not count and value and isinstance(value[0], list):
            value = value[:1]  # a row for each token
        return [outline(item, key, count=count) for item in value]
    if key in RANDOM or (key in COUNTED and not count):
        return type(value)
    if key == "id" and "-" in value:
        prefix, _, rest = value.rpartition("-")
        return prefix, len(rest)
    if key == "message":
        return TASKS.sub(lambda found: f"{found[1]}{sorted(found[2].split(', '))}", value)
    if key == "label":
        return value.rstrip("0123456789")
    if isinstance(value, float) or key in {"data", "embedding"}:
        return type(value), len(value) if isinstance(value, str) else None
    return value


def cases():
    for recorded in RECORDED:
        serving = recorded["serving"]
        for exchange in recorded["exchanges"]:
            raw = "-raw" if serving["raw"] else ""
            name = f"{recorded['version']}-{serving['head']}{raw}-{exchange['name']}"
            yield pytest.param(serving, exchange, id=name)


@pytest.fixture(scope="module")
def clients():
    """A client for each way of serving; servers are started when they are first asked."""
    made = {}
    with ExitStack() as stack:

        def client(serving):
            key = tuple(serving.items())
            if key not in made:
                server = stack.enter_context(RewardServer(**serving))
                made[key] = stack.enter_context(httpx.Client(base_url=server.url))
            return made[key]

        yield client


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
    response = send(clients(serving), exchange)

    assert response.status_code == exchange["status"]
    assert response.headers.get("content-type") == exchange["type"]
    if not isinstance(exchange["reply"], dict):
        assert response.text == exchange["reply"]
        return
    # The counts of text are the other tokenizer's.
    request = exchange.get("json", {})
    count = "messages" not in request and isinstance(request.get("input"), list)
    count = count and not any(isinstance(item, str) for item in request["input"])
    assert outline(response.json(), count=count) == outline(exchange["reply"], count=count)
