"""The interface of an engine: how its servers are asked, and how their answers are read. Pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, TypeAlias

from reward_client._base.samples import Conversation
from reward_client._base.token_ids import TokenIds
from reward_client._protocols.http import Request, Response
from reward_client._protocols.strategies import ModelKind, Rendering, VersionRange
from reward_client._protocols.written import Generated, Sampling, Written
from reward_client.errors import GenerationError, ResponseMismatchError

EngineName: TypeAlias = Literal["vllm", "sglang"]


@dataclass(frozen=True, slots=True)
class MessageKey:
    """A key of a message besides role and content.

    Attributes:
        roles: The roles of the messages whose key is read; None for all.
        since: The first version that reads it.
    """

    roles: tuple[str, ...] | None = None
    since: tuple[int, int, int] = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class Advice:
    """The words of an engine about models, and how each kind of model is served with it.

    Attributes:
        unserved: Words of the error for a model that the server does not serve.
        other_mode: Words of the error for a route of a server that was started for another purpose.
        text: A model that generates text.
        exported: A checkpoint with an exported head.
        exported_steps: The same for a process reward model.
        logit: A model that is read by a token's logit.
        difference: A model that is read by the difference of two.
        hidden: A backbone whose hidden states are read.
        steps: A process reward model.
        gateway: What a gateway must forward.
        shifted: The cure for rewards with a random constant.
    """

    unserved: str
    text: str
    exported: str
    exported_steps: str
    logit: str
    difference: str
    hidden: str
    steps: str
    gateway: str
    other_mode: str | None = None
    shifted: str = ""


class Engine(ABC):
    """A kind of server.

    Attributes:
        key: Its key in results.
        name: Its name in messages.
        ranges: The requests of each range of versions, the oldest first.
        unknown: The requests to try if the version is unknown.
        tokenize_path: The route of token IDs.
        advice: How each kind of model is served.
        version_paths: The routes that name the version, in turn.
        info_path: The route that names the paths of model and tokenizer, where ``/v1/models`` does
            not; else None.
        length_option: The option of the server that sets the limit.
        logprobs_key: The key of a request that asks for the log-probabilities of a text.
        id_key: The key of a request that names its samples, if there is one.
        spare_tokens: How many tokens less than its limit the server takes.
        spare_to_write: How many less, further, if it generates.
        shifted: The classes of models to whose rewards the engine adds a constant, another one at
            each start.
        dies_of_requests: True if requests end the server, such as one with a token ID past the
            vocabulary.
    """

    key: EngineName
    name: str
    ranges: tuple[VersionRange, ...]
    unknown: VersionRange
    tokenize_path: str
    advice: Advice
    version_paths: tuple[str, ...]
    info_path: str | None
    length_option: str
    logprobs_key: str
    id_key: str | None
    spare_tokens: int
    spare_to_write: int
    shifted: frozenset[str]
    dies_of_requests: bool

    @abstractmethod
    def range_of(self, version: str | None) -> VersionRange:
        """Return the requests of a version; `unknown` for one that the table does not cover."""

    def first_version_with(self, kind: ModelKind) -> str | None:
        """Return the first version with a strategy for a kind; None if there is none."""
        since = [each.since for each in self.ranges if kind in each.strategies]
        return ".".join(map(str, since[0])) if since else None

    @abstractmethod
    def template_keys(self, version: str | None) -> frozenset[str]:
        """Return the optional keys that the route of token IDs understands."""

    @abstractmethod
    def message_keys(self, version: str | None) -> Mapping[str, MessageKey]:
        """Return the keys of a message that a version reads, besides role and content."""

    @abstractmethod
    def moved_paths(self, path: str) -> tuple[str, ...]:
        """Return the other paths at which gateways serve a path of the engine."""

    @abstractmethod
    def text_request(self, model: str, text: str, *, add_special_tokens: bool) -> Request:
        """Build the request for the token IDs of plain text."""

    @abstractmethod
    def chat_request(
        self,
        model: str,
        version: str | None,
        conversation: Conversation,
        *,
        generation_prompt: bool,
        continues: bool = False,
    ) -> Request:
        """Build the request for the token IDs of a conversation.

        Args:
            model: The model's name.
            version: The server's version.
            conversation: The conversation.
            generation_prompt: True if the template opens another assistant turn at the end.
            continues: True if the last turn is left open.

        Raises:
            InputError: If the conversation holds something that this server would silently ignore,
                or content that no token ID stands for.
        """

    @abstractmethod
    def detokenize_request(self, model: str, ids: Sequence[int]) -> Request:
        """Build the request for the text of token IDs."""

    @abstractmethod
    def token_ids(self, response: Response) -> TokenIds:
        """Read the token IDs of a response.

        Raises:
            ProtocolError: If the response holds no token IDs.
            ResponseMismatchError: If their number is not the one that the response names.
        """

    @abstractmethod
    def text_of(self, response: Response) -> str:
        """Read the text of a response.

        Raises:
            ProtocolError: If the response holds no text.
        """

    @abstractmethod
    def generation_request(self, model: str, ids: TokenIds, sampling: Sampling) -> Request:
        """Build the request for a text that continues token IDs."""

    @abstractmethod
    def read_generated(self, response: Response) -> Generated:
        """Read the generated text of a response, unchecked."""

    def read_written(
        self, response: Response, ids: Sequence[int], *, logprobs: bool = False
    ) -> Written:
        """Read the generated text of a response, with the log-probabilities if they were requested.

        Raises:
            GenerationError: If the length limit cut the text, or the server did not finish it.
            ResponseMismatchError: If the response answers another request, or lacks the
                log-probabilities.
        """
        texts, read, wrote, reason, positions = self.read_generated(response)
        text = texts[0] if len(texts) == 1 else None
        if read != len(ids) or type(wrote) is not int or not isinstance(text, str):
            raise response.error(
                ResponseMismatchError,
                f"The response does not fit the request, which sent {len(ids)} token IDs for one "
                f"text: it holds {len(texts)} texts and counts "
                f"{read if isinstance(read, int) else 'no'} prompt tokens.",
            )
        if reason != "stop":
            cut = (
                f"reached its length limit: raise max_tokens=, or the server's {self.length_option}"
                if reason == "length"
                else "was not finished by the server"
            )
            raise GenerationError(
                f"The generated text ({wrote} tokens) {cut}. The text is in error.text.",
                text=text,
                endpoint=response.endpoint,
                request_id=response.request_id,
            )
        if not logprobs:
            return Written(text, len(ids), wrote)
        if positions is None:
            raise response.error(
                ResponseMismatchError,
                "The response holds no log-probabilities for its text, although the request asks "
                f"for them. Check whether a gateway drops {self.logprobs_key}.",
            )
        return Written(text, len(ids), wrote, positions)


class Renderer(Protocol):
    """Renders the chat template on the client."""

    def rendered(self, conversation: Conversation, *, generation_prompt: bool) -> str:
        """Return the text of a conversation.

        Raises:
            InputError: If the template refuses the conversation, or only a server can render it.
        """
        ...


class Served(NamedTuple):
    """A model on a server, as requests for its tokens name it.

    Attributes:
        engine: The kind of server.
        model: The model's name.
        version: The version of the engine; None if it is unknown.
        renderer: Renders conversations of which the server makes wrong token IDs, if there is one.
    """

    engine: Engine
    model: str
    version: str | None
    renderer: Renderer | None = None

    @property
    def renders(self) -> Rendering:
        """The conversations of which the server makes the right token IDs."""
        return self.engine.range_of(self.version).renders

    @property
    def renders_answers(self) -> bool:
        """True if the server makes the right token IDs of conversations that end with an answer."""
        return self.renders in ("all", "unproven")

    @property
    def way(self) -> tuple[str, Rendering]:
        """The way to token IDs: where it is the same, the same requests are right."""
        return self.engine.key, self.renders

    def __str__(self) -> str:
        return f"{self.engine.name} {self.version}" if self.version else self.engine.name
