"""The test server answers like real vLLM: recorded exchanges, replayed.

`data/exchanges.json` holds what vLLM of each version answered, served with other tiny models;
`make_exchanges.py` made it of the recordings. `{"ids": n}` stands for a list of n IDs.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from .replay import differences, expand

RECORDED = json.loads((Path(__file__).parent / "data" / "exchanges.json").read_text("utf-8"))
# What another tokenizer and another model answer with other numbers.
COUNTED = {"prompt_tokens", "total_tokens", "count"}
RANDOM = {"created", "root"}
# A set of Python's: in another order at every start of a server.
TASKS = re.compile(r"((?:Supported tasks:|must be one of) )\[(.+?)\]")


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


def compared(payload, exchange):
    """What of a response must be as recorded; the counts of text are the other tokenizer's."""
    request = exchange.get("json", {})
    count = "messages" not in request and isinstance(request.get("input"), list)
    count = count and not any(isinstance(item, str) for item in request["input"])
    return outline(payload, count=count)


def name(recorded):
    serving = recorded["serving"]
    return f"{recorded['version']}-{serving['head']}{'-raw' if serving['raw'] else ''}"


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


@pytest.mark.parametrize("recorded", RECORDED, ids=name)
def test_recorded_exchanges(recorded):
    different = differences(recorded["serving"], recorded["exchanges"], send, compared)
    assert not different, "\n".join(different)
