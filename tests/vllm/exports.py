"""How the rewards of exported checkpoints are read, and what they have to be."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reward_client import ObjectiveHead, ScalarHead, StepHead

from ..real.checkpoints import LANGUAGE_MODEL, PROBE, Export
from ..real.conversations import STEP_TOKEN, judged_conversations, step_samples
from ..real.heads import LABELS, Setup, last, linear, objectives, value, yes_minus_no
from .heads import aggregated, steps
from .models import EXPORTS, YES_NO

if TYPE_CHECKING:
    from ..real.torch_process import Reference


def negative(reference: Reference) -> list[float]:
    """Of a cost."""
    return [-cost for cost in reference.last]


def probe(reference: Reference) -> list[float]:
    return linear(reference)[:1]


def _in_steps(setup: Setup, good_label: int | None) -> Setup:
    return replace(
        setup,
        head=StepHead(step_token=STEP_TOKEN, good_label=good_label, aggregate="min"),
        routes=("auto", "pooling"),
        numbers=steps,
        expected=aggregated("min"),
        samples=step_samples,
        cell="exported steps",
    )


def _setup(model: str, export: Export) -> Setup:
    routes = ("auto", "pooling", "embeddings")
    setup = Setup(model, ScalarHead(), routes, value, last, cell="exported")
    if export.source == "prm, sharded":
        return _in_steps(setup, good_label=1)
    if export.source == "skywork-o1":
        return _in_steps(setup, good_label=None)
    if export.source == "named labels":
        return replace(setup, head=ObjectiveHead(LABELS), numbers=objectives)
    if export.source == LANGUAGE_MODEL:
        return replace(setup, expected=yes_minus_no, samples=judged_conversations)
    if export.tokens == YES_NO:
        return replace(setup, expected=yes_minus_no)
    if export.head == PROBE:
        return replace(setup, expected=probe)
    return replace(setup, expected=negative) if "cost" in export.source else setup


EXPORTED = {model: _setup(model, export) for model, export in EXPORTS.items()}
