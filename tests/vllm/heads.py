"""Heads on models that vLLM serves."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from reward_client import LinearHead, ObjectiveHead, ScalarHead, StepHead

from ..real.checkpoints import BIAS, LAYER
from ..real.conversations import STEP_TOKEN, judged_conversations, judgements, step_samples
from ..real.heads import (
    LABELS,
    WEIGHTS,
    Setup,
    last,
    linear,
    objectives,
    value,
    weighted,
    yes_minus_no,
)

if TYPE_CHECKING:
    from reward_client import Reward

    from ..real.torch_process import Reference


def steps(reward: Reward) -> list[float]:
    """All numbers of a reward with steps."""
    rows = [number for step in reward.steps for number in (step.value, *(step.logits or ()))]
    return [reward.value, *rows]


def probability(row: list[float]) -> float:
    """Of the second label, or of the only one."""
    bad, good = row if len(row) == 2 else (0.0, row[0])
    return 1 / (1 + math.exp(bad - good))


AGGREGATES: dict[str, Callable[[list[float]], float]] = {
    "min": min,
    "product": math.prod,
    "mean": lambda values: sum(values) / len(values),
    "last": lambda values: values[-1],
    "logit_sum": lambda values: sum(math.log(each / (1 - each)) for each in values),
}


def aggregated(aggregate: str) -> Callable[[Reference], list[float]]:
    def expected(reference: Reference) -> list[float]:
        values = [probability(row) for row in reference.steps]
        pairs = zip(values, reference.steps, strict=True)
        return [
            AGGREGATES[aggregate](values),
            *(number for p, row in pairs for number in (p, *row)),
        ]

    return expected


SEQUENCE = ("auto", "pooling", "classify")
TOKENS = ("auto", "pooling")
HIDDEN = ("auto", "embeddings", "pooling")

NO_AND_YES = ObjectiveHead(["No", "Yes"])

SETUPS = {
    "one label": Setup("llama", ScalarHead(), SEQUENCE, value, last),
    "one of one": Setup("llama", ObjectiveHead(["reward"]), SEQUENCE, objectives, last),
    "every token": Setup("qwen2-reward", ScalarHead(), TOKENS, value, last, cell="each token"),
    "linear": Setup(
        "hidden states", LinearHead(LAYER, BIAS), HIDDEN, objectives, linear, cell="hidden states"
    ),
    "five labels": Setup(
        "labels", ObjectiveHead(5), SEQUENCE, objectives, last, cell="several labels"
    ),
    "weighted": Setup(
        "labels", ObjectiveHead(LABELS, WEIGHTS), SEQUENCE, value, weighted, cell="several labels"
    ),
    **{
        f"steps of {labels}, {aggregate}": Setup(
            model,
            StepHead(step_token=STEP_TOKEN, good_label=good_label, aggregate=aggregate),
            TOKENS,
            steps,
            aggregated(aggregate),
            step_samples,
            cell="steps",
        )
        for labels, model, good_label in (("one", "qwen2-reward", None), ("two", "prm", 1))
        for aggregate in AGGREGATES
    },
    "no and yes": Setup(
        "yes and no",
        NO_AND_YES,
        SEQUENCE,
        objectives,
        last,
        judged_conversations,
        cell="several labels",
    ),
    # Not the conversations: there, torch's own bfloat16 is up to 3e-2 away from its float32.
    "no and yes, bfloat16": Setup(
        "yes and no, bfloat16",
        NO_AND_YES,
        SEQUENCE,
        objectives,
        last,
        judgements,
        cell="several labels",
    ),
    "yes minus no": Setup(
        "yes minus no", ScalarHead(), SEQUENCE, value, yes_minus_no, judged_conversations
    ),
}
