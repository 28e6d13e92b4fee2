"""One way to ask a server for pooled output, over any route."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, TypeAlias

import orjson

from reward_client._base.token_ids import TokenIds
from reward_client._protocols.http import Request, Response
from reward_client._protocols.vllm import classify, embeddings, pooling
from reward_client._protocols.vllm import logprobs as completions
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
    "embeddings": _Route(embeddings.PATH, embeddings.ITEM_KEY, embeddings.FORMAT),
    "pooling": _Route(pooling.PATH, pooling.ITEM_KEY, pooling.FORMAT),
    "classify": _Route(classify.PATH, classify.ITEM_KEY, pooling.FORMAT, names_encoding=False),
    "completions": _Route(
        completions.PATH,
        completions.ITEM_KEY,
        pooling.FORMAT,
        names_encoding=False,
        input_key="prompt",
        list_key="choices",
    ),
}
_READ_ITEM: Mapping[Encoding, Callable[[object], PooledOutput | str | None]] = {
    "base64": embeddings.read_item,
    "float": pooling.read_item,
}


@dataclass(frozen=True, slots=True)
class ScoringRequest:
    """One way to ask a server for pooled output.

    Attributes:
        route: The route.
        task: The pooling task to name, None to name none.
        switches: Keys that ask for the raw value; exactly those that the version knows.
        raw_by: Why the values are known to be raw, None where only the values can tell.
        sends: ``"ids"``, or ``"text"`` where the route takes nothing else.
        tokens: The token whose number a generating server is asked for, or two of which the first
            one's less the second one's is; none for the number of the likeliest one.
        names_tokens: Whether the server tells the numbers of any tokens that it is given the names
            of; else only these tokens are allowed to come.
    """

    route: RouteName
    task: str | None = None
    switches: Mapping[str, bool] = field(default_factory=dict[str, bool])
    raw_by: Literal["request", "task"] | None = None
    sends: Sends = "ids"
    tokens: tuple[int, ...] = ()
    names_tokens: bool = False

    @property
    def path(self) -> str:
        """The route's path."""
        return _ROUTES[self.route].path

    @property
    def encoding(self) -> Encoding:
        """What the numbers are asked for as."""
        return _ROUTES[self.route].encoding

    def call(
        self,
        model: str,
        inputs: Sequence[Sequence[int] | str],
        encoding: Encoding | None = None,
    ) -> Request:
        """The request for the pooled output of several token lists, or of their texts.

        Args:
            model: The model's name.
            inputs: The token lists or texts.
            encoding: Another encoding than the route's usual one.
        """
        key = _ROUTES[self.route].input_key
        return self._call(model, {key: [_written(each) for each in inputs]}, encoding)

    def chat_call(
        self, model: str, conversations: Sequence[bytes], *, generation_prompt: bool
    ) -> Request:
        """The request for the pooled output of conversations, which the server tokenizes.

        Args:
            model: The model's name.
            conversations: The messages of each, as JSON.
            generation_prompt: Whether the template opens another assistant turn at the end.
        """
        written = [orjson.Fragment(each) for each in conversations]
        content = {
            "messages": written[0] if len(written) == 1 else written,
            "add_generation_prompt": generation_prompt,
        }
        return self._call(model, content)

    def _call(
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
            body |= completions.options(self.tokens, by_name=self.names_tokens)
        return Request("POST", self.path, body)

    def read(
        self, response: Response, inputs: Sequence[Sequence[int]], encoding: Encoding | None = None
    ) -> list[PooledOutput]:
        """The pooled outputs, in the order of the token lists.

        Raises:
            ResponseMismatchError: Items are missing, doubled or extra, or other tokens were scored.
            NonFiniteRewardError: A value is NaN, infinite or null.
            ShapeError: An item is not made of numbers.
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
        """The same, with an error in the place of an output that is of no use.

        Raises:
            ResponseMismatchError: Items are missing, doubled or extra, or other tokens were scored.
        """
        tokens = sum(map(len, inputs))
        return self._read_items(response, len(inputs), range(tokens, tokens + 1), encoding)

    def read_conversations(
        self, response: Response, count: int, tokens: range
    ) -> list[PooledOutput | ProtocolError]:
        """The same for conversations that the server tokenized.

        Args:
            response: The reply.
            count: How many there were.
            tokens: How many tokens they may have had.

        Raises:
            ResponseMismatchError: Items are missing, doubled or extra, or there were more tokens or
                fewer.
        """
        return self._read_items(response, count, tokens)

    def _read_items(
        self, response: Response, count: int, tokens: range, encoding: Encoding | None = None
    ) -> list[PooledOutput | ProtocolError]:
        route = _ROUTES[self.route]
        read_item = _READ_ITEM[encoding or self.encoding]
        if self.route == "completions":
            read_item = partial(completions.number_of, self.tokens)
        return read_items(response, count, tokens, route.list_key, route.item_key, read_item)


def _written(given: Sequence[int] | str) -> Sequence[int] | str | orjson.Fragment:
    return orjson.Fragment(given.written) if isinstance(given, TokenIds) else given
