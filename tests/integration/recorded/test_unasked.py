"""What real servers apply to the values by themselves is what the table of versions says."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from reward_client._protocols.strategies import ModelKind
from reward_client._protocols.vllm.versions import version_range_of

from .recording import Recording, names
from .scoring import TOLERANCE

KINDS: Mapping[str, ModelKind] = {
    "seqcls": "sequence",
    "seqcls5": "sequence",
    "token-reward": "token",
    "internlm2": "token",
    "prm": "steps",
    "causal-embed": "hidden",
    "export": "exported",
}


def softmax(row: Sequence[float]) -> list[float]:
    total = math.fsum(map(math.exp, row))
    return [math.exp(value) / total for value in row]


def sigmoid(row: Sequence[float]) -> list[float]:
    """Of one label; several get a softmax in all versions."""
    return softmax(row) if len(row) > 1 else [1 / (1 + math.exp(-value)) for value in row]


def normalized(row: Sequence[float]) -> list[float]:
    return [value / math.hypot(*row) for value in row]


APPLIED = {"none": list, "sigmoid": sigmoid, "softmax": softmax, "normalized": normalized}


def raw_rows(kind: str, reference: Mapping[str, Any]) -> list[list[float]]:
    """The rows that this model has before any activation; of a head at each token, the last."""
    if kind == "prm":
        rows: list[list[float]] = reference["step_logits"]
        return rows
    if kind == "token-reward":
        return [reference["token_rewards"][-1:]]
    return [reference["hidden"] if kind == "causal-embed" else reference["reward"]]


def answered_rows(kind: str, value: list[Any]) -> list[list[float]]:
    rows = value if value and isinstance(value[0], list) else [value] if value else []
    return rows if kind == "prm" else rows[-1:]


def servings() -> Iterator[Any]:
    """Every kind that a server of a version served as it does without further flags."""
    for name in names():
        version, _, kind = name.partition("-")
        if kind in KINDS and KINDS[kind] in version_range_of(version).strategies:
            yield pytest.param(name, version, kind, id=name)


@pytest.mark.parametrize(("name", "version", "kind"), list(servings()))
def test_the_values_are_as_the_table_says(name: str, version: str, kind: str) -> None:
    recording = Recording(name)
    way = version_range_of(version).strategies[KINDS[kind]]
    unswitched = {"task": way.request.task} if way.request.task else {}
    [answer] = [
        answer
        for answer in recording.data["answers"]
        if (answer["path"], answer["input"]) == (way.request.path, way.request.sends)
        and answer["request"] == unswitched
    ]
    exceptional = kind == "internlm2" and "InternLM2" in way.exceptions
    apply = APPLIED["sigmoid" if exceptional else way.default_activation]
    # Where the server puts a BOS before a text that has one, it was asked with two.
    doubled = {
        conversation: {"reward": recording.by_name[conversation]["reward_double_bos"]}
        for conversation in answer.get("doubled_bos", {})
    }
    pairs = [
        (value, references[conversation])
        for values, references in (
            (answer["values"], recording.by_name),
            (answer.get("doubled_bos", {}), doubled),
        )
        for conversation, value in values.items()
    ]
    assert pairs
    for value, reference in pairs:
        expected = [apply(row) for row in raw_rows(kind, reference)]
        got = answered_rows(kind, value)
        assert len(got) == len(expected)
        for row, wanted in zip(got, expected, strict=True):
            assert row == pytest.approx(wanted, abs=TOLERANCE)
