"""The served model with the options of its server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from reward_client.testing._model.heads import Head
    from reward_client.testing._model.sum_judge import SumJudge
    from reward_client.testing._sglang.dialect import Dialect


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A model with the options of its server, as `create_app` takes them.

    Attributes:
        judge: The model itself.
        generates: True for a server without `--is-embedding`.
        score_bias: The number that the server adds to every value of a classifier.
        name: The served model name.
        path: The model path, which `/v1/embeddings` names as the model.
        max_model_len: The length of the context; a prompt is at least one token shorter.
        values: A function that replaces the model's raw values.
        version: The version that the server's information reports; None leaves it out.
        chat_template: The chat template in the place of the model's; None for the model's.
    """

    judge: SumJudge
    dialect: Dialect
    head: Head
    generates: bool
    score_bias: float
    name: str
    path: str
    max_model_len: int
    values: Callable[[list[int]], float] | None
    version: str | None
    owned_by: str
    chat_template: str | None
