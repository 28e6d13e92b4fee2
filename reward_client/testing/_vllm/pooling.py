"""Pooling: from token IDs to values, as one vLLM version does it."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from reward_client.testing._vllm.errors import VllmError, invalid_parameter, not_implemented

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from reward_client.testing._model.llama import Array
    from reward_client.testing._vllm.dialect import Activation
    from reward_client.testing._vllm.pooling_forms import PoolingForm
    from reward_client.testing._vllm.served_model import ServedModel

# The pooled positions of each task, in every version. "steps" keeps only step tokens of "all".
_POSITIONS: dict[str, Literal["last", "all"]] = {
    "classify": "last",
    "score": "last",
    "embed": "last",
    "encode": "all",
    "token_classify": "all",
    "token_embed": "all",
}
_TASK_OF_ROUTE = {"/classify": "classify", "/v1/embeddings": "embed"}


def pooling_task(served: ServedModel, form: PoolingForm, path: str) -> str:
    """Return the task that a request names, or that its route implies.

    Raises:
        VllmError: If the served head does not support the task, or not with these parameters.
    """
    dialect, head = served.dialect, served.head
    supported = dialect.tasks[head]
    task = _TASK_OF_ROUTE.get(served.effective_route(path)) or form.requested_task
    if task is None:
        task = dialect.default_tasks[head]
    names = {"task": task, "tasks": list(supported)}
    if task is None:
        raise VllmError(dialect.no_task.format(**names))
    if task not in supported:
        raise invalid_parameter(dialect.unsupported_task.format(**names), "task", dialect)
    if task != dialect.default_tasks[head] and path == "/pooling" and not dialect.switches_tasks:
        message = f"Try switching the model's pooling_task via --pooler-config.task {task}."
        raise invalid_parameter(message, "task", dialect)
    _check_parameters(dialect.parameters.get(task), form, task)
    return task


def _check_parameters(known: Sequence[str] | None, form: PoolingForm, task: str) -> None:
    unknown = [
        name for name in form.requested_parameters if known is not None and name not in known
    ]
    if unknown:
        raise VllmError(
            f"Task {task} only supports {list(known or ())} parameters, does not support "
            f"{unknown} parameters"
        )


def pooled_values(
    served: ServedModel, prompt: Sequence[int], form: PoolingForm, task: str
) -> Array:
    """Pool one prompt: return one row of values, or one row for each token or step."""
    # Most versions accept an ID one past the vocabulary, and read the memory that lies there.
    known = [min(token, served.judge.vocabulary_size - 1) for token in prompt]
    evaluation = served.judge.evaluate(known)
    rows = evaluation.outputs(served.head)
    if served.values is not None:
        rows = np.full_like(rows, served.values(list(prompt)))
    if _POSITIONS[task] == "last":
        pooled = rows[-1]
    else:
        pooled = rows[evaluation.step_positions] if served.head == "steps" else rows
    return _activated(served, form, pooled)


def _activated(served: ServedModel, form: PoolingForm, pooled: Array) -> Array:
    activate = form.requested_activation
    if activate is None:
        activate = not (served.raw or served.head in served.dialect.raw_heads)
    return _ACTIVATIONS[served.dialect.activation[served.head]](pooled) if activate else pooled


def encoded(values: Array, encoding_format: str) -> list[Any] | str:
    """Encode values as JSON numbers, or as base64 of their little-endian float32.

    Raises:
        VllmError: If vLLM has the format and this server does not.
    """
    if encoding_format.startswith("bytes"):
        raise not_implemented(
            f"The test server has no encoding_format {encoding_format!r}, though vLLM has."
        )
    if encoding_format == "base64":
        return base64.b64encode(values.astype("<f4").tobytes()).decode()
    numbers: list[Any] = values.tolist()
    return numbers


def _sigmoid(x: Array) -> Array:
    # Written with tanh, which cannot overflow.
    half = np.float32(0.5)
    activated: Array = half * (1 + np.tanh(x * half))
    return activated


def _softmax(x: Array) -> Array:
    exponentials: Array = np.exp(x - x.max(axis=-1, keepdims=True))
    activated: Array = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return activated


def _normalized(x: Array) -> Array:
    unit: Array = x / np.linalg.norm(x, axis=-1, keepdims=True)
    return unit


_ACTIVATIONS: dict[Activation, Callable[[Array], Array]] = {
    "sigmoid": _sigmoid,
    "softmax": _softmax,
    "normalize": _normalized,
}
