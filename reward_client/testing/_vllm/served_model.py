"""The served model with the options of its server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from reward_client.testing._model.generate import LogprobsMode
    from reward_client.testing._model.heads import Head
    from reward_client.testing._model.sum_judge import SumJudge
    from reward_client.testing._vllm.dialect import Dialect


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A model with the options of its server, as `create_app` takes them.

    Attributes:
        judge: The model itself.
        logprobs: The `--logprobs-mode` of a generating server; None for a pooling server.
        raw: True if the server applies no activation.
        name: The served model name.
        max_model_len: The maximum number of tokens in a sequence.
        values: A function that replaces the model's raw values.
        version: The version that `/version` reports; None removes the route.
        chat_template: The chat template in the place of the model's; None for the model's.
    """

    judge: SumJudge
    dialect: Dialect
    head: Head
    logprobs: LogprobsMode | None
    raw: bool
    name: str
    max_model_len: int
    values: Callable[[list[int]], float] | None
    version: str | None
    owned_by: str
    root: str
    chat_template: str | None

    def effective_route(self, path: str) -> str:
        """Return the route whose rules apply to a request.

        vLLM 0.8 forwards `/v1/embeddings` to `/pooling` for a model that makes no embeddings.
        """
        embeds = self.head in ("embed", "export")
        return "/pooling" if path == "/v1/embeddings" and not embeds else path
