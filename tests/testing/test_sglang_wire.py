"""The test server answers like real SGLang of three versions: recorded exchanges, replayed.

`make_sglang.py` made a part of `data/sglang.json` of recordings with other tiny models. The blocks
with `model` are of servers of the shipped model, so that their values and texts are compared too.
"""

from __future__ import annotations

import base64
import json
import re
import struct
from functools import partial
from pathlib import Path

import httpx
import pytest

from reward_client.testing import RewardServer
from reward_client.testing._model.sum_judge import load_sum_judge

from .replay import differences, expand
from .sglang_renderings import named

RECORDED = json.loads((Path(__file__).parent / "data" / "sglang.json").read_text("utf-8"))
ENDED = [
    pytest.param(block["serving"], exchange, id=f"{block['version']} {exchange['name']}")
    for block in RECORDED
    for exchange in block["exchanges"]
    if exchange["status"] == "died"
]
# What another tokenizer and another model answer with other numbers.
COUNTED = {"prompt_tokens", "total_tokens", "count"}
RANDOM = {"created", "e2e_latency", "response_sent_to_client_ts"}
WRITTEN = {"text", "tokens", "output_ids"}
# The test server has no cache of prefixes, and describes no path.
LACKING = {"cached_tokens", "cached_tokens_details", "openapi", "info"}
LENGTH = re.compile(r"\(\d+ tokens\) is longer")
VALUES = re.compile(r"input_value=\[.*?\]")


def outline(value, key=None, *, count, number=type):
    """A reply without what the model and the time decide: values become their types.

    Recordings with the shipped model keep what it decides; `number` makes numbers comparable.
    """
    own = number is not type
    if key == "paths":
        return {path: sorted(methods) for path, methods in value.items()}
    if key == "top_logprobs" and not own:
        return [len(told) for told in value]
    if isinstance(value, dict):
        kept = {
            k: outline(v, k, count=count, number=number)
            for k, v in value.items()
            if k not in LACKING
        }
        # Which documents are the best is the model's.
        return {**kept, "index": int, "document": str} if "score" in kept and not own else kept
    if isinstance(value, list):
        if key in {"embedding", "scores"} and value and isinstance(value[0], float) and not own:
            return [float]
        return [outline(item, key, count=count, number=number) for item in value]
    if key in RANDOM or (key in COUNTED and not count):
        return type(value)
    if key == "id" and isinstance(value, str):
        return re.sub(r"[0-9a-f]{32}$", "random", value)
    if key in {"message", "label"}:
        shown = VALUES.sub("input_value=", value)
        shown = shown if count else LENGTH.sub("is longer", shown)
        return shown if key == "message" else shown.rstrip("0123456789")
    if isinstance(value, float):
        return number(value)
    if key == "embedding" and own:
        return [number(one) for (one,) in struct.iter_unpack("<f", base64.b64decode(value))]
    if own:
        return value
    if key in WRITTEN or key == "embedding":
        return type(value)
    if key in {"output_token_logprobs", "output_top_logprobs"} and isinstance(value, int):
        return type(value)
    return value


def compared(payload, exchange, *, own):
    """What of a response must be as recorded; the counts of text are the other tokenizer's."""
    request = exchange.get("json", {})
    is_recorded = payload is exchange["reply"]
    tokens = None
    if isinstance(payload, dict) and "tokens" in payload:
        recorded = tokens = exchange["reply"]["tokens"]
        if not is_recorded:
            tokens = one_of(named(load_sum_judge().tokenizer, request, payload["tokens"]), recorded)
        payload = {**payload, "tokens": None}
    if own:
        return outline(payload, count=True, number=rounded if is_recorded else float), tokens
    texts = {"text", "prompt", "query", "messages", "tokens"} & {*request}
    return outline(payload, count=not texts and not has_text(request.get("input"))), tokens


def rounded(value):
    """A number of a recording, which has one digit."""
    return pytest.approx(value, abs=0.051)


def has_text(given):
    """Whether an input has a text."""
    return isinstance(given, str) or (isinstance(given, list) and any(map(has_text, given)))


def one_of(names, recorded):
    """The recorded names of a rendering, if the answer is by one of them."""
    if names and isinstance(names[0], list):
        return [one_of(*each) for each in zip(names, recorded, strict=True)]
    return recorded if {*names} & {*recorded} else names


def name(recorded):
    serving = {k: v for k, v in recorded["serving"].items() if k not in {"engine", "dialect"}}
    kind = "-".join(map(str, serving.values()))
    return f"{recorded['version']}-{kind}{'-own' if 'model' in recorded else ''}"


def send(client, exchange):
    body = exchange.get("body")
    if body is None and "json" in exchange:
        body = json.dumps({key: expand(value) for key, value in exchange["json"].items()})
    headers = {"content-type": exchange.get("sent", "application/json")} if body else {}
    return client.request(exchange["method"], exchange["path"], content=body, headers=headers)


@pytest.mark.parametrize("recorded", RECORDED, ids=name)
def test_recorded_exchanges(recorded):
    exchanges = [each for each in recorded["exchanges"] if each["status"] != "died"]
    same = partial(compared, own="model" in recorded)
    different = differences(recorded["serving"], exchanges, send, same)
    assert not different, "\n".join(different)


@pytest.mark.parametrize(("serving", "exchange"), ENDED)
def test_recorded_deaths(serving, exchange):
    with RewardServer(**serving) as server, httpx.Client(base_url=server.url) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            send(client, exchange)
        with pytest.raises(httpx.ConnectError):
            client.get("/health")
