"""Linear normalization that a model's own code applies to the output of the head."""

from __future__ import annotations

import math
from collections.abc import Mapping

from reward_client._base.json_values import as_list
from reward_client._base.numeric import is_finite_number
from reward_client.errors import ExportError
from reward_client.export.checkpoint import Checkpoint, sanitize

NORMALIZER = "normalizer"
"""The module where safe-rlhf stores the statistics of its training rewards."""

_EPSILON = 1e-8  # added to the standard deviation, not to the variance
_SCALE_ONLY = "cost"
_IDENTITY = "critic"


def normalization(checkpoint: Checkpoint) -> tuple[float, float]:
    """Return scale and shift of the normalization; (1, 0) if there is none."""
    config = checkpoint.config
    if config.get("do_normalize") is True:
        return _of_safe_rlhf(checkpoint)
    if config.get("normalize_reward") is True:  # OpenRLHF, openrlhf/models/model.py
        mean, std = _number(config, "mean"), _number(config, "std")
        if std <= 0:
            raise ExportError(
                f"Cannot read config.json: std must be above 0, not {std} (normalize_reward)."
            )
        return 1 / std, -mean / std
    return 1.0, 0.0


def _of_safe_rlhf(checkpoint: Checkpoint) -> tuple[float, float]:
    """Return scale and shift of safe-rlhf (source: reward-bench, models/beaver.py).

    A reward is (score - mean) / std, and a cost is score / std.
    """
    score_type = checkpoint.config.get("score_type", "reward")
    if score_type == _IDENTITY:
        return 1.0, 0.0
    if score_type not in ("reward", _SCALE_ONLY):
        raise ExportError(
            f"Cannot export this normalization: the score type {sanitize(repr(score_type))} is "
            "unknown (config.json: score_type, do_normalize)."
        )
    mean, variance = _statistic(checkpoint, "mean"), _statistic(checkpoint, "var")
    if variance < 0:
        raise ExportError(f"Cannot use the normalizer: its variance is negative ({variance}).")
    scale = 1 / (math.sqrt(variance) + _EPSILON)
    return scale, 0.0 if score_type == _SCALE_ONLY else -mean * scale


def _statistic(checkpoint: Checkpoint, name: str) -> float:
    """Read a statistic from its tensor, or from the configuration if there is no tensor."""
    tensor = checkpoint.tensors.get(f"{NORMALIZER}.{name}")
    if tensor is None:
        return _number(checkpoint.config, name)
    numbers = [number for part in tensor.chunks() for number in part]
    if len(numbers) != 1 or not math.isfinite(numbers[0]):
        raise ExportError(
            f"Cannot use {tensor.name}: it must contain one finite number, not {numbers[:3]}."
        )
    return numbers[0]


def _number(config: Mapping[str, object], key: str) -> float:
    value = config.get(key)
    values = as_list(value) or [value]
    number = values[0]
    if len(values) != 1 or not is_finite_number(number):
        raise ExportError(
            f"Cannot read config.json: {key} must be one number, not {sanitize(repr(value))}."
        )
    return float(number)
