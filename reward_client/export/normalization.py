"""What a model's own code does to the head's number, where that is a straight line."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping

from reward_client._base.json_values import as_list
from reward_client.errors import ExportError
from reward_client.export.checkpoint import Checkpoint, clipped

NORMALIZER = "normalizer"
"""The module in which safe-rlhf keeps the statistics of its training rewards."""

_EPSILON = 1e-8  # added to the standard deviation, not to the variance
_SCALE_ONLY = "cost"
_IDENTITY = "critic"
_LARGEST = sys.float_info.max


def normalization(checkpoint: Checkpoint) -> tuple[float, float]:
    """Scale and shift of what the model's own code does after the head."""
    config = checkpoint.config
    if config.get("do_normalize") is True:
        return _of_safe_rlhf(checkpoint)
    if config.get("normalize_reward") is True:  # OpenRLHF, openrlhf/models/model.py
        mean, std = _number(config, "mean"), _number(config, "std")
        if std <= 0:
            raise ExportError(f"config.json: normalize_reward needs a std above 0, not {std}.")
        return 1 / std, -mean / std
    return 1.0, 0.0


def _of_safe_rlhf(checkpoint: Checkpoint) -> tuple[float, float]:
    """(score - mean) / std of a reward, score / std of a cost (reward-bench, models/beaver.py)."""
    kind = checkpoint.config.get("score_type", "reward")
    if kind == _IDENTITY:
        return 1.0, 0.0
    if kind not in ("reward", _SCALE_ONLY):
        raise ExportError(
            f"config.json: how a score of type {clipped(repr(kind))} is normalized is unknown "
            "(score_type, do_normalize)."
        )
    mean, variance = _statistic(checkpoint, "mean"), _statistic(checkpoint, "var")
    if variance < 0:
        raise ExportError(f"The normalizer's variance is {variance}.")
    scale = 1 / (math.sqrt(variance) + _EPSILON)
    return scale, 0.0 if kind == _SCALE_ONLY else -mean * scale


def _statistic(checkpoint: Checkpoint, name: str) -> float:
    """One number; those beside the head count, and replace those in the configuration."""
    tensor = checkpoint.tensors.get(f"{NORMALIZER}.{name}")
    if tensor is None:
        return _number(checkpoint.config, name)
    numbers = [number for part in tensor.chunks() for number in part]
    if len(numbers) != 1 or not math.isfinite(numbers[0]):
        raise ExportError(f"{tensor.name} holds {numbers[:3]}, and one number is needed.")
    return numbers[0]


def _number(config: Mapping[str, object], key: str) -> float:
    value = config.get(key)
    values = as_list(value) or [value]
    number = values[0]
    if len(values) != 1 or not isinstance(number, int | float) or not abs(number) <= _LARGEST:
        raise ExportError(f"config.json: {key} must be one number, not {clipped(repr(value))}.")
    return float(number)
