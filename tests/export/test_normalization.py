"""What a model's own code does to the head's number is part of what is served."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reward_client.errors import ExportError
from reward_client.export import ExportReport, export_checkpoint

from .checkpoints import (
    HIDDEN,
    Array,
    Stored,
    backbone,
    checkpoint,
    hidden_states,
    numbers,
    outputs,
    read_weights,
    stored,
)

EPSILON = 1e-8  # of safe-rlhf's Normalizer
FLOAT32 = 1e-6
"""Relative: the computed weights are rounded to float32 once."""


def beaver(tmp_path: Path, tensors: dict[str, Stored] | None = None, **config: Any) -> ExportReport:
    source = checkpoint(
        tmp_path / "source",
        {
            **backbone(),
            "score_head.weight": WEIGHT,
            "score_head.bias": BIAS,
            **(tensors or {}),
        },
        architectures=["LlamaForScore"],
        **{"bias": True, "score_dim": 1, **config},
    )
    return export_checkpoint(source, tmp_path / "exported")


WEIGHT, BIAS = numbers(1, HIDDEN, seed=5), stored([0.75])
BUFFERS = {
    "normalizer.mean": stored([-3.5]),
    "normalizer.var": stored([6.25]),
    "normalizer.count": Stored("I64", (1,), bytes(8)),
}


def score(hidden: Array) -> Array:
    return hidden @ WEIGHT.values.T + BIAS.values


def check(report: ExportReport, expected: Array, sign: int, scale: float) -> None:
    table = report.manifest.export
    assert table is not None
    assert table.sign == sign
    assert table.scale == pytest.approx(scale, rel=1e-12)
    np.testing.assert_allclose(
        outputs(report.destination, hidden_states()), expected, rtol=FLOAT32, atol=FLOAT32
    )
    assert read_weights(report.destination) == backbone()


def test_a_reward_is_served_as_it_is(tmp_path: Path) -> None:
    report = beaver(tmp_path, BUFFERS, score_type="reward", do_normalize=False)
    check(report, score(hidden_states()), 1, 1.0)


def test_a_cost_is_served_as_its_negative(tmp_path: Path) -> None:
    report = beaver(tmp_path, score_type="cost")
    check(report, -score(hidden_states()), -1, 1.0)
    assert "cost" in str(report)


def test_a_normalized_reward_loses_its_mean_and_its_spread(tmp_path: Path) -> None:
    report = beaver(tmp_path, BUFFERS, score_type="reward", do_normalize=True)
    expected = (score(hidden_states()) + 3.5) / (2.5 + EPSILON)
    check(report, expected, 1, 1 / (2.5 + EPSILON))


def test_a_normalized_cost_keeps_its_mean(tmp_path: Path) -> None:
    report = beaver(tmp_path, BUFFERS, score_type="cost", do_normalize=True)
    check(report, -score(hidden_states()) / (2.5 + EPSILON), -1, 1 / (2.5 + EPSILON))


def test_stored_statistics_win_over_those_of_the_configuration(tmp_path: Path) -> None:
    """They are loaded last: config.mean and config.var are those that training began with."""
    report = beaver(tmp_path, BUFFERS, do_normalize=True, mean=[100.0], var=[100.0])
    check(report, (score(hidden_states()) + 3.5) / (2.5 + EPSILON), 1, 1 / (2.5 + EPSILON))


@pytest.mark.parametrize(("mean", "var"), [([2.0], [4.0]), (2, 4.0)])
def test_statistics_of_the_configuration_if_none_are_stored(
    mean: Any, var: Any, tmp_path: Path
) -> None:
    report = beaver(tmp_path, do_normalize=True, mean=mean, var=var)
    check(report, (score(hidden_states()) - 2) / (2 + EPSILON), 1, 1 / (2 + EPSILON))


def test_a_critic_is_not_normalized(tmp_path: Path) -> None:
    report = beaver(tmp_path, BUFFERS, do_normalize=True, score_type="critic")
    check(report, score(hidden_states()), 1, 1.0)


def test_statistics_in_bfloat16_are_read(tmp_path: Path) -> None:
    buffers = {**BUFFERS, "normalizer.var": stored([4.0], "BF16")}
    report = beaver(tmp_path, buffers, do_normalize=True)
    check(report, (score(hidden_states()) + 3.5) / (2 + EPSILON), 1, 1 / (2 + EPSILON))


def test_the_last_of_several_layers_is_scaled(tmp_path: Path) -> None:
    head = {"score.0.weight": numbers(4, HIDDEN), "score.2.weight": numbers(1, 4, seed=3)}
    source = checkpoint(
        tmp_path / "source", {**backbone(), **head}, normalize_reward=True, mean=1.5, std=0.5
    )
    report = export_checkpoint(source, tmp_path / "exported")
    hidden = np.maximum(hidden_states() @ head["score.0.weight"].values.T, 0)
    check(report, (hidden @ head["score.2.weight"].values.T - 1.5) / 0.5, 1, 2.0)


def test_the_negative_of_a_normalized_cost(tmp_path: Path) -> None:
    report = beaver(tmp_path, score_type="cost", normalize_reward=True, mean=1.5, std=0.5)
    check(report, -(score(hidden_states()) - 1.5) / 0.5, -1, 2.0)


def test_a_shift_needs_a_bias_that_the_head_had_not(tmp_path: Path) -> None:
    head = {"score.weight": WEIGHT}
    source = checkpoint(
        tmp_path / "source", {**backbone(), **head}, normalize_reward=True, mean=1.5, std=2.0
    )
    report = export_checkpoint(source, tmp_path / "exported")
    check(report, (hidden_states() @ WEIGHT.values.T - 1.5) / 2.0, 1, 0.5)


def test_statistics_that_are_not_applied_change_nothing(tmp_path: Path) -> None:
    source = checkpoint(
        tmp_path / "source",
        {**backbone(), "score.weight": WEIGHT},
        normalize_reward=False,
        mean=1.5,
        std=2.0,
    )
    report = export_checkpoint(source, tmp_path / "exported")
    check(report, hidden_states() @ WEIGHT.values.T, 1, 1.0)


@pytest.mark.parametrize(
    ("config", "buffers", "said"),
    [
        ({"do_normalize": True}, {}, "mean"),
        ({"do_normalize": True, "mean": [0.0]}, {}, "var"),
        ({"do_normalize": True, "mean": [0.0], "var": [-1.0]}, {}, "variance"),
        ({"do_normalize": True, "mean": [0.0, 1.0], "var": [1.0]}, {}, "mean"),
        ({"do_normalize": True, "mean": "0", "var": [1.0]}, {}, "mean"),
        ({"do_normalize": True, "mean": [math.nan], "var": [1.0]}, {}, "mean"),
        ({"do_normalize": True, "mean": 10**400, "var": [1.0]}, {}, "mean"),
        ({"do_normalize": True, "mean": "9" * 10_000, "var": [1.0]}, {}, "mean"),
        ({"do_normalize": True, "score_type": "risk"}, BUFFERS, "risk"),
        ({"do_normalize": True}, {**BUFFERS, "normalizer.mean": stored([math.nan])}, "mean"),
        ({"do_normalize": True}, {**BUFFERS, "normalizer.var": stored([1.0, 2.0])}, "var"),
        ({"do_normalize": True}, {**BUFFERS, "normalizer.var": stored([-2.0])}, "variance"),
        ({"normalize_reward": True, "mean": 0.0, "std": 0.0}, {}, "std"),
        ({"normalize_reward": True, "mean": 0.0, "std": -1.0}, {}, "std"),
        ({"normalize_reward": True, "mean": 0.0}, {}, "std"),
        ({"normalize_reward": True, "mean": 0.0, "std": 1e-320}, {}, "score_head.weight"),
        ({"normalize_reward": True, "mean": 1e300, "std": 1.0}, {}, "score_head.bias"),
    ],
)
def test_statistics_that_mean_nothing_are_refused(
    config: dict[str, Any], buffers: dict[str, Stored], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=said) as raised:
        beaver(tmp_path, buffers, **config)
    assert len(str(raised.value)) < 600
    assert not (tmp_path / "exported").exists()


def test_one_statistic_cannot_normalize_two_scores(tmp_path: Path) -> None:
    tensors = {**backbone(), "score_head.weight": numbers(2, HIDDEN)}
    buffers = {"normalizer.mean": stored([1.0, 2.0]), "normalizer.var": stored([1.0, 2.0])}
    source = checkpoint(tmp_path / "source", {**tensors, **buffers}, do_normalize=True, score_dim=2)
    with pytest.raises(ExportError, match="normalizer"):
        export_checkpoint(source, tmp_path / "exported")
