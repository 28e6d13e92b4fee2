"""Requests for pooled output over every route of vLLM, and their responses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import orjson

from reward_client._base.token_ids import TokenIds
from reward_client._protocols import encodings
from reward_client._protocols.http import Request, Response
from reward_client._protocols.pooled_output import PooledOutput
from reward_client._protocols.response_checks import read_items
from reward_client._protocols.scoring_request import Encoding, RouteName, ScoringRequest
from reward_client._protocols.vllm import logprobs
from reward_client.errors import ProtocolError


@dataclass(frozen=True, slots=True)
class _Route:
    path: str
    item_key: str
    encoding: Encoding
    names_encoding: bool = True
    input_key: str = "input"
    list_key: str = "data"


_ROUTES: Mapping[RouteName, _Route] = {
    "embeddings": _Route("/v1/embeddings", "embedding", "base64"),
    "pooling": _Route("/pooling", "data", "float"),
    # Texts only from vLLM 0.9.0 on, token IDs from 0.15.0. Raw values are called "probs" there too.
    "classify": _Route("/classify", "probs", "float", names_encoding=False),
    "completions": _Route(
        logprobs.PATH,
        logprobs.ITEM_KEY,
        "float",
        names_encoding=False,
        input_key="prompt",
        list_key="choices",
    ),
}
_READ_ITEM: Mapping[Encoding, Callable[[object], PooledOutput | str | None]] = {
    "base64": encodings.read_base64,
    "float": encodings.read_lists,
}


@dataclass(frozen=True, slots=True)
class VllmRequest(ScoringRequest):
    """A scoring request to vLLM."""

    @property
    def path(self) -> str:
        """See `ScoringRequest`."""
        return self.moved or _ROUTES[self.route].path

    @property
    def takes_messages(self) -> bool:
        """See `ScoringRequest`."""
        return not self.reads_tokens

    @property
    def encoding(self) -> Encoding:
        """See `ScoringRequest`."""
        return _ROUTES[self.route].encoding

    def build(
        self,
        model: str,
        inputs: Sequence[Sequence[int] | str],
        encoding: Encoding | None = None,
    ) -> Request:
        """See `ScoringRequest`."""
        key = _ROUTES[self.route].input_key
        return self._build(model, {key: [_written(item) for item in inputs]}, encoding)

    def build_chat(
        self, model: str, conversations: Sequence[bytes], *, generation_prompt: bool
    ) -> Request:
        """See `ScoringRequest`."""
        written = [orjson.Fragment(messages) for messages in conversations]
        content = {
            "messages": written[0] if len(written) == 1 else written,
            "add_generation_prompt": generation_prompt,
        }
        return self._build(model, content)

    def _build(
        self, model: str, content: Mapping[str, object], encoding: Encoding | None = None
    ) -> Request:
        body: dict[str, object] = {
            "model": model,
            **content,
            **self.switches,
        }
        if self.task is not None:
            body["task"] = self.task
        if _ROUTES[self.route].names_encoding:
            body["encoding_format"] = encoding or self.encoding
        if self.route == "completions":
            body |= logprobs.options(self.tokens, by_name=self.names_tokens)
        return Request("POST", self.path, body)

    def read_each(
        self, response: Response, inputs: Sequence[Sequence[int]], encoding: Encoding | None = None
    ) -> list[PooledOutput | ProtocolError]:
        """See `ScoringRequest`."""
        tokens = sum(map(len, inputs))
        return self._read_items(response, len(inputs), range(tokens, tokens + 1), encoding)

    def read_conversations(
        self, response: Response, count: int, tokens: range
    ) -> list[PooledOutput | ProtocolError]:
        """See `ScoringRequest`."""
        return self._read_items(response, count, tokens)

    def _read_items(
        self, response: Response, count: int, tokens: range, encoding: Encoding | None = None
    ) -> list[PooledOutput | ProtocolError]:
        route = _ROUTES[self.route]
        read_item = _READ_ITEM[encoding or self.encoding]
        if self.route == "completions":
            read_item = partial(logprobs.number_of, self.tokens)
        counted = tokens if self.counted else None
        return read_items(response, count, counted, route.list_key, route.item_key, read_item)


def _written(item: Sequence[int] | str) -> Sequence[int] | str | orjson.Fragment:
    return orjson.Fragment(item.written) if isinstance(item, TokenIds) else item
