"""The request bodies of a generating server."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from reward_client.testing._vllm.forms import Form


class Completion(Form, extra="allow"):
    """`POST /v1/completions`; extra keys stay, so that unsupported ones can be refused."""

    prompt: list[int] | list[list[int]] | str | list[str]
    max_tokens: int = 16
    min_tokens: int = 0
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool = False
    skip_special_tokens: bool = True
    logprobs: int | None = None
    logprob_token_ids: list[int] | None = None
    allowed_token_ids: list[int] | None = None
    return_tokens_as_token_ids: bool | None = None
    return_token_ids: bool | None = None

    @property
    def stop_texts(self) -> list[str]:
        """The texts that end a generation."""
        return [self.stop] if isinstance(self.stop, str) else self.stop or []


_TokenId = Annotated[int, Field(ge=0)]


class CompletionChecked(Completion):
    """`POST /v1/completions` since 0.20.2, which refuses negative token IDs."""

    prompt: list[_TokenId] | list[list[_TokenId]] | str | list[str]


class GenerativeScoring(Form):
    """`POST /generative_scoring`."""

    query: str | list[int]
    items: list[str] | list[list[int]]
    label_token_ids: list[int]
    apply_softmax: bool = True
    item_first: bool = False
    add_special_tokens: bool = True
