"""What changes nothing in the meaning of a reply changes nothing in the reward."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import httpx
from hypothesis import given
from hypothesis import strategies as st

from reward_client import Reward

from .running import Running, count, examples
from .vllm import CASES, SCORING, Case, Vllm

NEW_KEYS = {
    "x-gateway": {"node": 7, "took": 0.25},
    "system_fingerprint": None,
    "warnings": [],
    "error": None,
    "metadata": {"error": "none", "detail": "of the gateway's own"},
}


class Rewriting:
    """A gateway that writes each reply anew: other order, spaces and keys, the same meaning."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def __call__(self, path: str, times: int, payload: Any) -> httpx.Response:
        text = json.dumps(
            self._written(payload, path),
            indent=self._random.choice([None, 1, "\t"]),
            ensure_ascii=self._random.random() < 0.5,
        )
        blank = self._random.choice(["", " ", "\r\n\t"])
        body = f"{blank}{text}{blank}".encode()
        status = self._random.choice([200, 200, 201, 203])
        return httpx.Response(status, content=body, extensions={"body": body})

    def _written(self, value: Any, path: str, depth: int = 0) -> Any:
        if isinstance(value, list):
            items = [self._written(item, path, depth + 1) for item in value]
            if path in SCORING and depth == 1:  # the items, which say their place themselves
                self._random.shuffle(items)
            return items
        if isinstance(value, dict):
            keys = list(value)
            self._random.shuffle(keys)
            written = {key: self._written(value[key], path, depth + 1) for key in keys}
            if path != "/openapi.json":
                name = self._random.choice(sorted(NEW_KEYS))
                written.setdefault(name, NEW_KEYS[name])
            return written
        if isinstance(value, float) and value.is_integer() and self._random.random() < 0.5:
            return int(value)
        return value


@examples(150, 15_000)
@given(case=st.sampled_from(CASES), seed=st.integers(0, 2**32))
def test_neutral_changes(runner: Running, case: Case, seed: int) -> None:
    plain = runner.score(Vllm(case), case.sample)
    rewritten = runner.score(Vllm(case, Rewriting(seed)), case.sample)
    assert isinstance(plain, Reward)
    assert rewritten == plain
    count(rewritten)
