"""Requests for pooled output, whatever the engine, and their responses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from reward_client._protocols.http import Request, Response
from reward_client._protocols.pooled_output import PooledOutput
from reward_client.errors import ProtocolError

Encoding: TypeAlias = Literal["base64", "float"]
RouteName: TypeAlias = Literal[
    "embeddings", "pooling", "classify", "completions", "encode", "generate"
]
Sends: TypeAlias = Literal["ids", "text"]


@dataclass(frozen=True, slots=True)
class ScoringRequest(ABC):
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
        moved: The path, if a gateway serves the route at another one than the engine.
        named: False if a gateway refuses the IDs of samples.
        counted: False if the response does not count the tokens: a gateway drops the count.
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
    named: bool = True

    @property
    @abstractmethod
    def path(self) -> str:
        """The route's path."""

    @property
    def reads_tokens(self) -> bool:
        """True if the numbers belong to tokens that a generating server may write next."""
        return self.route in ("completions", "generate")

    @property
    @abstractmethod
    def takes_messages(self) -> bool:
        """True if the route takes conversations, which the server tokenizes rightly."""

    @property
    @abstractmethod
    def encoding(self) -> Encoding:
        """The encoding of the numbers in the response."""

    @abstractmethod
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

    @abstractmethod
    def build_chat(
        self, model: str, conversations: Sequence[bytes], *, generation_prompt: bool
    ) -> Request:
        """Build the request for the pooled output of conversations that the server tokenizes.

        Only for routes that take messages, as `takes_messages` says.

        Args:
            model: The model's name.
            conversations: The messages of each conversation, as JSON.
            generation_prompt: True if the template opens another assistant turn at the end.
        """

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

    @abstractmethod
    def read_each(
        self, response: Response, inputs: Sequence[Sequence[int]], encoding: Encoding | None = None
    ) -> list[PooledOutput | ProtocolError]:
        """Read the pooled outputs, with an error in the place of an unusable one.

        Raises:
            ResponseMismatchError: As `read`.
        """

    @abstractmethod
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
