"""From token IDs to pooled output, as one vLLM version does it."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from reward_client.testing.refusals import Refusal, refused_parameter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from reward_client.testing.dialect import Activation
    from reward_client.testing.llama import Array
    from reward_client.testing.pooled_forms import Pooled
    from reward_client.testing.serving import Serving

# Of a task, in any version; the steps head keeps only its steps of "all".
_POSITIONS: dict[str, Literal["last", "all"]] = {
    "classify": "last",
    "score": "last",
    "embed": "last",
    "encode": "all",
    "token_classify": "all",
    "token_embed": "all",
}
_TASK_OF_ROUTE = {"/classify": "classify", "/v1/embeddings": "embed"}


def task(serving: Serving, form: Pooled, path: str) -> str:
    """The task that a request asks for, by name or by its route.

    Raises:
        Refusal: The served head does not do it, or not with these parameters.
    """
    dialect, head = serving.dialect, serving.head
    supported = dialect.tasks[head]
    wanted = _TASK_OF_ROUTE.get(serving.acts_as(path)) or form.asked_task
    if wanted is None:
        wanted = dialect.default_tasks[head]
    names = {"task": wanted, "tasks": list(supported)}
    if wanted is None:
        raise Refusal(dialect.no_task.format(**names))
    if wanted not in supported:
        raise refused_parameter(dialect.wrong_task.format(**names), "task", dialect)
    if wanted != dialect.default_tasks[head] and path == "/pooling" and not dialect.switches_tasks:
        message = f"Try switching the model's pooling_task via --pooler-config.task {wanted}."
        raise refused_parameter(message, "task", dialect)
    _check_parameters(dialect.parameters.get(wanted), form, wanted)
    return wanted


def _check_parameters(known: Sequence[str] | None, form: Pooled, wanted: str) -> None:
    unknown = [name for name in form.asked_parameters if known is not None and name not in known]
    if unknown:
        raise Refusal(
            f"Task {wanted} only supports {list(known or ())} parameters, does not support "
            f"{unknown} parameters"
        )


def values(serving: Serving, prompt: Sequence[int], form: Pooled, wanted: str) -> Array:
    """The pooled output of one prompt: a row, or a row for each token or step."""
    # An ID one past the vocabulary passes the check of most versions and reads what lies there.
    known = [min(token, serving.judge.vocabulary_size - 1) for token in prompt]
    evaluation = serving.judge.evaluate(known)
    rows = evaluation.outputs(serving.head)
    if serving.values is not None:
        rows = np.full_like(rows, serving.values(list(prompt)))
    if _POSITIONS[wanted] == "last":
        pooled = rows[-1]
    else:
        pooled = rows[evaluation.step_positions] if serving.head == "steps" else rows
    return _activated(serving, form, pooled)


def _activated(serving: Serving, form: Pooled, pooled: Array) -> Array:
    on = form.asked_activation
    if on is None:
        on = not (serving.raw or serving.head in serving.dialect.raw_heads)
    return _ACTIVATIONS[serving.dialect.activation[serving.head]](pooled) if on else pooled


def encoded(values: Array, encoding_format: str) -> list[Any] | str:
    """The pooled output as JSON numbers, or as base64 of its little-endian float32."""
    if encoding_format.startswith("bytes"):
        raise Refusal(
            f"The test server has no encoding_format {encoding_format!r}, though vLLM has.",
            status=501,
            kind="NotImplementedError",
        )
    if encoding_format == "base64":
        return base64.b64encode(values.astype("<f4").tobytes()).decode()
    numbers: list[Any] = values.tolist()
    return numbers


def _sigmoid(x: Array) -> Array:
    # Written with tanh, which cannot overflow.
    half = np.float32(0.5)
    squashed: Array = half * (1 + np.tanh(x * half))
    return squashed


def _softmax(x: Array) -> Array:
    raised: Array = np.exp(x - x.max(axis=-1, keepdims=True))
    normal: Array = raised / raised.sum(axis=-1, keepdims=True)
    return normal


def _normalized(x: Array) -> Array:
    unit: Array = x / np.linalg.norm(x, axis=-1, keepdims=True)
    return unit


_ACTIVATIONS: dict[Activation, Callable[[Array], Array]] = {
    "sigmoid": _sigmoid,
    "softmax": _softmax,
    "normalize": _normalized,
}
