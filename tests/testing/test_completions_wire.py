"""A generating server answers like real vLLM of five versions: recorded exchanges, replayed.

`data/completions.json` is made of recordings by `make_completions.py`. Those servers had another
tiny model: what it generates, and its numbers, are compared by their types.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from reward_client.testing import RewardServer

from .test_wire import expand

RECORDED = json.loads((Path(__file__).parent / "data" / "completions.json").read_text("utf-8"))


def outline(value, key=None):
    """A reply without what the model and the time decide."""
    if key == "top_logprobs" and value:
        # By the text of tokens there may be fewer, as several have the same.
        named = next(iter(value[0])).startswith("token_id:")
        return [len(told) if named else dict for told in value]
    if isinstance(value, dict):
        return {k: outline(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [outline(item, key) for item in value]
    if key == "id":
        prefix, _, rest = value.rpartition("-")
        return prefix, len(rest)
    if key == "tokens":
        return value.startswith("token_id:")
    if key == "token_ids" and value is not None:
        return type(value)
    if isinstance(value, float) or key in {"created", "text"}:
        return type(value)
    return value


def cases():
    for recorded in RECORDED:
        serving = recorded["serving"]
        for exchange in recorded["exchanges"]:
            name = f"{recorded['version']}-{serving['logprobs']}-{exchange['name']}"
            yield pytest.param(serving, exchange, id=name)


@pytest.fixture(scope="module")
def clients():
    made = {}
    with ExitStack() as stack:

        def client(serving):
            key = tuple(serving.items())
            if key not in made:
                server = stack.enter_context(RewardServer(**serving))
                made[key] = stack.enter_context(httpx.Client(base_url=server.url))
            return made[key]

        yield client


@pytest.mark.parametrize(("serving", "exchange"), list(cases()))
def test_recorded_exchange(clients, serving, exchange):
    body = exchange["json"]
    if "prompt" in body:
        body = {**body, "prompt": expand(body["prompt"])}
    response = clients(serving).post(exchange["path"], json=body)

    assert response.status_code == exchange["status"]
    assert response.headers.get("content-type") == exchange["type"]
    if isinstance(exchange["reply"], str):
        assert response.text == exchange["reply"]
        return
    expected, answered = outline(exchange["reply"]), outline(response.json())
    if body.get("prompt") and isinstance(body["prompt"], str) and "usage" in expected:
        # How many tokens a text has is the tokenizer's.
        for counted in (expected, answered):
            del counted["usage"]["prompt_tokens"], counted["usage"]["total_tokens"]
    assert answered == expected
