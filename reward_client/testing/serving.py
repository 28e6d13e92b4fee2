"""What is served, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from reward_client.testing.dialect import Dialect
    from reward_client.testing.generating import LogprobsMode
    from reward_client.testing.heads import Head
    from reward_client.testing.judge import Judge


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """A served model.

    Attributes:
        judge: The model.
        dialect: The vLLM version.
        head: What the model answers with.
        logprobs: It generates, and its numbers are these; None for a pooling server.
        raw: The server was told to apply no activation.
        model_name: The served name.
        max_model_len: The most tokens of a sequence.
        values: The raw number of a prompt in place of the model's.
        version: What `/version` says, if there is one.
        owned_by: Whose the model is.
        root: What the model was loaded from.
    """

    judge: Judge
    dialect: Dialect
    head: Head
    logprobs: LogprobsMode | None
    raw: bool
    model_name: str
    max_model_len: int
    values: Callable[[list[int]], float] | None
    version: str | None
    owned_by: str
    root: str

    def acts_as(self, path: str) -> str:
        """The route whose rules count: 0.8 passes what is no embedding model's on to `/pooling`."""
        embeds = self.head in ("embed", "export")
        return "/pooling" if path == "/v1/embeddings" and not embeds else path
