"""What a reward must be, told from the exchanges alone: read by the letter, without the client."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from base64 import b64decode
from collections.abc import Sequence
from typing import Any

from reward_client import Reward

from ...support.fake_vllm import ITEM_KEY, STEP
from .vllm import BIAS, HIDDEN, LABELS, WEIGHT, Case, Exchange

FLOAT32_MAX = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]
NEAR = 1e-9
ROUTES = {"embeddings": "/v1/embeddings", "pooling": "/pooling", "classify": "/classify"}


def check(case: Case, exchanges: Sequence[Exchange], reward: Reward) -> None:
    """Fails where a reward is not what the server's last word on the sample says."""
    path = ROUTES[reward.provenance.route]
    asked = [each for each in exchanges if each.path == path]
    last = [each for each in asked if len(each.asked["input"]) == 1][-1]
    probes = [each for each in asked if _holds_probes(each.asked["input"])]
    probed = [each for each in probes if _switches(each) == _switches(last)][-1]
    turned = [each for each in probes if _switches(each) != _switches(last)]
    ids = _sent_ids(exchanges, last)
    rows, nested = _rows(last, [ids])[0]
    probe_rows = _rows(probed, _probe_ids(exchanges, probed))
    assert _model(last) == _model(probed), "another model's reward"

    activation = reward.provenance.activation
    rows_of_probes = [row for row, _ in probe_rows]
    other = [row for row, _ in _rows(turned[-1], turned[-1].asked["input"])] if turned else None
    _check_activation(case, reward, last, rows_of_probes, other)
    values, steps = _read(case, ids, rows, nested, activation)
    assert reward.scalar is not None
    assert math.isfinite(reward.scalar)
    assert math.isclose(reward.scalar, values, rel_tol=NEAR, abs_tol=NEAR), "another number"
    assert len(reward.steps) == len(steps)
    for step, expected in zip(reward.steps, steps, strict=True):
        assert 0 <= step.value <= 1, "no probability"
        assert math.isclose(step.value, expected, rel_tol=NEAR, abs_tol=NEAR)
    assert reward.token_count == len(ids)
    packed = struct.pack(f"<{len(ids)}I", *ids)
    assert reward.token_digest == hashlib.sha256(packed).hexdigest()


def _holds_probes(inputs: Sequence[Any]) -> bool:
    """Probes are longer and longer; a cross-check begins with another one."""
    return len(inputs) == 8 and len(inputs[0]) < len(inputs[-1])


def _switches(exchange: Exchange) -> dict[str, bool]:
    return {key: value for key, value in exchange.asked.items() if isinstance(value, bool)}


def _json(exchange: Exchange) -> dict[str, Any]:
    """The reply as any JSON reader has it; what is no JSON object gives no reward."""
    assert 200 <= exchange.response.status_code < 300
    payload = json.loads(exchange.body)
    assert isinstance(payload, dict)
    assert not isinstance(payload.get("error"), dict | str) or not payload["error"]
    return payload


def _model(exchange: Exchange) -> str | None:
    model = _json(exchange).get("model")
    return model if isinstance(model, str) else None


def _tokens(exchange: Exchange) -> list[int]:
    response = _json(exchange)
    tokens = response["tokens"]
    assert tokens
    assert all(type(token) is int and 0 <= token < 2**31 for token in tokens), "no token IDs"
    assert response["count"] == len(tokens)
    return list(tokens)


def _sent_ids(exchanges: Sequence[Exchange], scored: Exchange) -> list[int]:
    """The token IDs that were scored, which are those that /tokenize gave for the sample."""
    before = exchanges[: exchanges.index(scored)]
    chats = [each for each in before if each.path == "/tokenize" and "messages" in each.asked]
    ids = _tokens(chats[-1])
    (given,) = scored.asked["input"]
    if isinstance(given, str):
        asked = {"prompt": given, "add_special_tokens": True}
        texts = [
            each
            for each in before
            if each.path == "/tokenize" and asked.items() <= each.asked.items()
        ]
        assert _tokens(texts[-1]) == ids, "a text that becomes other tokens"
    else:
        assert given == ids, "other tokens than /tokenize gave"
    return ids


def _probe_ids(exchanges: Sequence[Exchange], probed: Exchange) -> list[list[int]]:
    inputs = probed.asked["input"]
    if isinstance(inputs[0], list):
        return inputs
    by_text = {
        each.asked["prompt"]: each
        for each in exchanges[: exchanges.index(probed)]
        if each.path == "/tokenize" and each.asked.get("add_special_tokens")
    }
    return [_tokens(by_text[text]) for text in inputs]


def _rows(
    exchange: Exchange, inputs: Sequence[Sequence[int]]
) -> list[tuple[list[float], int | None]]:
    """The numbers of each input in a reply, and in how many rows they came if it says so."""
    response = _json(exchange)
    usage = response.get("usage")
    counted = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    if counted:  # a gateway may drop it, or write it as a text
        assert type(counted) is not bool
        assert float(counted) == sum(map(len, inputs)), "the server scored other tokens"
    assert len(response["data"]) == len(inputs)
    items = {item["index"]: item for item in response["data"] if type(item["index"]) is int}
    assert set(items) == set(range(len(inputs))), "items of another request"
    return [_numbers(exchange.path, items[index]) for index in range(len(inputs))]


def _numbers(path: str, item: dict[str, Any]) -> tuple[list[float], int | None]:
    given = item[ITEM_KEY[path]]
    if path == "/v1/embeddings":
        data = b64decode(given, validate=True)
        assert len(data) % 4 == 0
        values, nested = list(struct.unpack(f"<{len(data) // 4}f", data)), None
    elif given and isinstance(given[0], list):
        assert len({len(row) for row in given}) == 1
        values, nested = [value for row in given for value in row], len(given)
    else:
        values, nested = given, None
    assert all(type(value) in (int, float) for value in values)
    assert all(abs(value) <= FLOAT32_MAX for value in values), "no finite float32"
    return values, nested


def _check_activation(
    case: Case,
    reward: Reward,
    scored: Exchange,
    probes: Sequence[list[float]],
    turned: Sequence[list[float]] | None,
) -> None:
    """A value counts as raw only if it was asked for so, or if the probes show it."""
    name, known_by = reward.provenance.activation, reward.provenance.activation_known_by
    within = all(0 <= value <= 1 for values in probes for value in values)
    switches = _switches(scored)
    if name == "softmax":
        assert case.kind == "steps"
        assert known_by == "probe"
        assert within, "values that are no probabilities"
        return
    assert name == "none"
    if known_by == "request":
        assert list(switches.values()) == [False], "not exactly one switch"
        assert reward.provenance.server_version is not None
        assert not within or case.text or turned not in (None, probes), "a switch without effect"
    elif known_by == "task":
        assert scored.path == "/v1/embeddings"
    else:
        assert known_by == "probe"
        assert not within, "values that may have been squashed"


def _read(
    case: Case, ids: Sequence[int], values: list[float], nested: int | None, activation: str
) -> tuple[float, list[float]]:
    """The reward in the numbers for a sample, and its steps."""
    if case.kind == "steps":
        places = [place for place, token in enumerate(ids) if token == STEP]
        assert places
        if nested == len(ids) or (nested is None and len(values) == 2 * len(ids)):
            rows = [values[2 * place : 2 * place + 2] for place in places]
        else:
            assert nested in (None, len(places))
            rows = [values[start : start + 2] for start in range(0, len(values), 2)]
        assert len(rows) == len(places)
        assert all(len(row) == 2 for row in rows)
        good = [row[1] if activation == "softmax" else _second(row) for row in rows]
        if activation == "softmax":
            assert all(abs(sum(row) - 1) < 2**-8 for row in rows), "no probability"
        return min(good), good
    width = {"scalar": 1, "token": 1, "labels": LABELS, "states": HIDDEN}[case.kind]
    assert len(values) in (width, width * len(ids)), "another shape"
    assert nested in (None, len(ids)), "rows of something else"
    if nested is not None:
        assert len(values) == nested * width
    row = values[-width:]
    if case.kind == "labels":
        return row[0] - 2 * row[2], []
    if case.kind == "states":
        return math.fsum(a * b for a, b in zip(WEIGHT, row, strict=True)) + BIAS, []
    return row[0], []


def _second(row: Sequence[float]) -> float:
    """The softmax of two numbers, at the second one."""
    difference = row[0] - row[1]
    if difference > 0:
        return math.exp(-difference) / (1 + math.exp(-difference))
    return 1 / (1 + math.exp(difference))
