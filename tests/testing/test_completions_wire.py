"""A generating server answers like real vLLM of five versions: recorded exchanges, replayed.

`data/completions.json` is made of recordings by `make_completions.py`. Those servers had another
tiny model: what it generates, and its numbers, are compared by their types.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .replay import differences, expand

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


def compared(payload, exchange):
    """What of a response must be as recorded."""
    kept = outline(payload)
    prompt = exchange["json"].get("prompt")
    if prompt and isinstance(prompt, str) and "usage" in kept:
        # How many tokens a text has is the tokenizer's.
        del kept["usage"]["prompt_tokens"], kept["usage"]["total_tokens"]
    return kept


def name(recorded):
    return f"{recorded['version']}-{recorded['serving']['logprobs']}"


def send(client, exchange):
    body = exchange["json"]
    if "prompt" in body:
        body = {**body, "prompt": expand(body["prompt"])}
    return client.post(exchange["path"], json=body)


@pytest.mark.parametrize("recorded", RECORDED, ids=name)
def test_recorded_exchanges(recorded):
    different = differences(recorded["serving"], recorded["exchanges"], send, compared)
    assert not different, "\n".join(different)
