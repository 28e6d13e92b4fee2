"""Requests for pooled output over every route, and their responses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, TypeAlias

import orjson

from reward_client._base.token_ids import TokenIds
from reward_client._protocols.http import Request, Response
from reward_client._protocols.vllm import encodings, logprobs
from reward_client._protocols.vllm.pooled_output import PooledOutput
from reward_client._protocols.vllm.response_checks import read_items
from reward_client.errors import ProtocolError

Encoding: TypeAlias = Literal["base64", "float"]
RouteName: TypeAlias = Literal["embeddings", "pooling", "classify", "completions"]
Sends: TypeAlias = Literal["ids", "text"]


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
class ScoringRequest:
    """A form of the request for pooled output; `build` fills in the inputs.

    Attributes:
        route: The route.
        task: The pooling task to name; None to name none.
        switches: The keys that select raw values, exactly those that the version knows.
        raw_by: The reason why the values are raw; None if only the values can show it.
        sends: ``"ids"``, or ``"text"`` if the route takes nothing else.
        tokens: For a generating server: one token, whose number is the output; or two tokens,
            whose difference (first minus second) is; or none, for the most likely token's number.
        names_tokens: True if the server reports the numbers of named tokens. Otherwise the request
            allows only these tokens.
        moved: The path, if a gateway serves the route at another one than vLLM.
        counted: False if the response does not count the tokens: a gateway drops ``usage``.
    """

    route: RouteName
    task: str | None = None
    switches: Mapping[str, bool] = field(default_factory=dict[str, bool])
    raw_by: Literal["request", "task"] | None = None
    sends: Sends = "ids"
    tokens: tuple[int, ...] = ()
    names_tokens: bool = False
    moved: str | None = None
    counted: bool = True

    @property
    def path(self) -> str:
        """The route's path."""
        return self.moved or _ROUTES[self.route].path

    @property
    def encoding(self) -> Encoding:
        """The encoding of the numbers in the response."""
        return _ROUTES[self.route].encoding

    def build(
        self,
        model: str,
        inputs: Sequence[Sequence[int] | str],
        encoding: Encoding | None = None,
    ) -> Request:
        """Build the request for the pooled output of token lists or texts.

        Args:
            model: The model's name.
            inputs: The token lists or texts.
            encoding: An encoding other than the route's usual one.
        """
        key = _ROUTES[self.route].input_key
        return self._build(model, {key: [_written(item) for item in inputs]}, encoding)

    def build_chat(
        self, model: str, conversations: Sequence[bytes], *, generation_prompt: bool
    ) -> Request:
        """Build the request for the pooled output of conversations that the server tokenizes.

        Args:
            model: The model's name.
            conversations: The messages of each conversation, as JSON.
            generation_prompt: True if the template opens another assistant turn at the end.
        """
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

    def read(
        self, response: Response, inputs: Sequence[Sequence[int]], encoding: Encoding | None = None
    ) -> list[PooledOutput]:
        """Read the pooled outputs, in the order of the token lists.

        Raises:
            ResponseMismatchError: If items are missing, doubled or extra, or the server scored
                other tokens.
            NonFiniteRewardError: If a value is NaN, infinite or null.
            ShapeError: If an item is not made of numbers.
        """
        outputs: list[PooledOutput] = []
        for output in self.read_each(response, inputs, encoding):
            if isinstance(output, ProtocolError):
                raise output
            outputs.append(output)
        return outputs

    def read_each(
        self, response: Response, inputs: Sequence[Sequence[int]], encoding: Encoding | None = None
    ) -> list[PooledOutput | ProtocolError]:
        """Read the pooled outputs, with an error in the place of an unusable one.

        Raises:
            ResponseMismatchError: As `read`.
        """
        tokens = sum(map(len, inputs))
        return self._read_items(response, len(inputs), range(tokens, tokens + 1), encoding)

    def read_conversations(
        self, response: Response, count: int, tokens: range
    ) -> list[PooledOutput | ProtocolError]:
        """Read the pooled outputs of conversations, as `read_each`.

        Args:
            response: The response.
            count: The number of conversations.
            tokens: The possible numbers of tokens of all conversations.

        Raises:
            ResponseMismatchError: As `read`.
        """
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
