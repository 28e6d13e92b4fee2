"""Manifests of exported checkpoints, as the files that `reward-client export` writes."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reward_client.recipes import Recipe
from reward_client.testing import RewardServer
from reward_client.testing._model.sum_judge import load_sum_judge

SCALAR = {"type": "scalar"}
STEPS = {
    "type": "steps",
    "step_token": RewardServer.step_token,
    "good_label": 1,
    "aggregate": "min",
}


def layer(inputs: int, outputs: int, activation: str = "identity") -> dict[str, Any]:
    return {
        "weight": f"score.{outputs}.weight",
        "bias": None,
        "in_features": inputs,
        "out_features": outputs,
        "activation": activation,
    }


def reference(ids: Sequence[int], expected: Any, tolerance: float = 0.01) -> dict[str, Any]:
    return {
        "token_ids": list(ids),
        "expected": expected,
        "tolerance": tolerance,
        "source": "torch float32",
    }


def manifest(
    *references: dict[str, Any],
    layers: Sequence[dict[str, Any]] = (layer(128, 1),),
    head: dict[str, Any] | None = SCALAR,
    **fields: Any,
) -> dict[str, Any]:
    """One of a backbone with hidden states of 128 numbers, like the test server's."""
    content: dict[str, Any] = {
        "name": "judge, exported",
        "architectures": ["LlamaModel"],
        "output": "vector",
        "activation": "none",
        "head": head,
        "serve": {"today": "vllm serve {model} --runner pooling"},
        "references": references,
        "export": {
            "client_version": "0.1.0",
            "source": "my/judge",
            "architecture": "JudgeForScore",
            "digests": {"config.json": "0" * 64},
            "layers": layers,
            "sign": 1,
            "scale": 1.0,
        },
        **fields,
    }
    return {key: value for key, value in content.items() if value is not None}


def write(folder: Path, content: Any) -> Path:
    """The file that a recipe= names."""
    path = folder / "reward_client.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def recipe(content: dict[str, Any]) -> Recipe:
    """What is read of the file."""
    return Recipe.model_validate_json(json.dumps(content))


def of_sum_judge(server: RewardServer, head: dict[str, Any] = SCALAR, **fields: Any) -> Recipe:
    """The manifest of the test server's model, with two reference values."""
    (step,) = load_sum_judge().tokenizer.encode(server.step_token, add_special_tokens=False)
    lists = [[1, 4, step, 312, 272, step, 227], [1, 312, 227, 24, step]]
    true = [server.reference_values(ids) for ids in lists]
    if head == SCALAR:
        expected: list[Any] = [values.score for values in true]
    else:
        expected = [[_good(*row) for row in values.steps] for values in true]
    layers = [layer(128, 1 if head == SCALAR else 2)]
    references = map(reference, lists, expected)
    return recipe(manifest(*references, head=head, layers=layers, **fields))


def _good(bad: float, good: float) -> float:
    return 1 / (1 + math.exp(bad - good))
