"""Text that a generating server writes after conversations."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from reward_client._base.options import OnControlTokens
from reward_client._base.results import Provenance, TokenizedSample, Usage
from reward_client._base.samples import Conversation
from reward_client._base.token_ids import TokenIds
from reward_client._protocols.http import Transport
from reward_client._protocols.tokenizing import detokenize
from reward_client._protocols.written import Position, Sampling, Written
from reward_client._replicas.pool import Replica, ReplicaPool
from reward_client._scoring.base import cleaned_by, gather_or_stop
from reward_client._scoring.label_tokens import LabelTokens
from reward_client._server.requests import send
from reward_client._server.state import ServerState
from reward_client._tokenization import Tokenized, Tokenizer
from reward_client.errors import GenerationError
from reward_client.methods.specs import GeneratingMethod


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts for one conversation.

    Attributes:
        each: The text of each vote.
        usage: The tokens of all votes.
        provenance: The provenance of the server.
        author: The model and the server that wrote them.
        positions: The tokens of each text with their log-probabilities, if the method has labels.
        labels: The tokens of each label.
    """

    each: tuple[str, ...]
    usage: Usage
    provenance: Provenance
    author: str
    positions: tuple[tuple[Position, ...], ...] = ()
    labels: Mapping[str, Collection[int]] = field(default_factory=dict[str, Collection[int]])


class TextGenerator:
    """Generates texts on the servers of one event loop.

    Args:
        pool: The servers.
        writing: The options of the method.
        question: The user's turn after each conversation; None if the conversation ends with it.
        continues: True if the model continues that turn; otherwise it answers.
        max_texts: The most texts in progress.
        on_control_tokens: The treatment of contents that hold control tokens.
    """

    def __init__(
        self,
        pool: ReplicaPool,
        writing: GeneratingMethod,
        question: str | None,
        *,
        continues: bool = False,
        max_texts: int,
        on_control_tokens: OnControlTokens,
    ) -> None:
        self.pool = pool
        self.writing = writing
        self._question = question
        self._continues = continues
        self.slots = asyncio.Semaphore(max(1, max_texts // writing.votes))
        # The server tokenizes text and messages of any form: one request more costs little beside
        # those that generate.
        self._tokenizer = Tokenizer("server", "raise", on_control_tokens)
        self._labels = LabelTokens(writing.labels)
        self._token_texts: dict[str, tuple[ServerState, dict[int, str]]] = {}

    async def generate(self, prompt: Conversation) -> Texts:
        """Return a text for each vote, all by one server: it reads the conversation once.

        Raises:
            GenerationError: If a text is empty, or was cut by its length limit.
            PromptTooLongError: If the server has no room for any text.
            RewardClientError: As `ReplicaPool.run`.
        """

        async def generate_on(replica: Replica, state: ServerState) -> Texts:
            return await self._generate_on(replica, state, prompt)

        size = self.writing.votes * self.writing.max_tokens
        return await self.pool.run(generate_on, "scoring", size)

    async def cleaned(self, prompt: Conversation) -> Conversation:
        """Return a conversation without the control tokens that end its answer.

        Raises:
            RewardClientError: As `Tokenizer.cleaned`.
        """
        return await cleaned_by(self.pool, self._tokenizer, prompt)

    async def tokenize(self, prompt: Conversation) -> TokenizedSample:
        """Return the token IDs after which the model generates.

        Raises:
            RewardClientError: As `ReplicaPool.run`.
        """

        async def tokenize_on(replica: Replica, state: ServerState) -> Tokenized:
            return await self._tokenize_on(replica, state, prompt)

        return (await self.pool.run(tokenize_on, "tokenizing", 1)).sample()

    async def text_of(self, ids: Sequence[int]) -> str:
        """Return the text of generated tokens, special ones included.

        Raises:
            RewardClientError: As `ReplicaPool.run`.
        """

        async def detokenize_on(replica: Replica, state: ServerState) -> str:
            if len(ids) > 1:
                return await detokenize(replica.transport, state.served, ids)
            # Mostly the token that ends texts, asked for after each of them.
            known = self._token_texts.get(replica.transport.url)
            if known is None or known[0] is not state:
                known = self._token_texts[replica.transport.url] = state, {}
            if ids[0] not in known[1]:
                known[1][ids[0]] = await detokenize(replica.transport, state.served, ids)
            return known[1][ids[0]]

        return await self.pool.run(detokenize_on, "tokenizing", 1) if ids else ""

    async def provenance(self) -> Provenance:
        """Return the provenance of the server.

        Raises:
            RewardClientError: As `ReplicaPool.verified_baseline`.
        """
        return (await self.pool.verified_baseline()).provenance

    async def _tokenize_on(
        self, replica: Replica, state: ServerState, prompt: Conversation
    ) -> Tokenized:
        rules = replace(
            state.rules,
            question=self._question,
            generation_prompt=not self._continues,
            continues=self._continues,
            append=(),  # tokens that end a conversation
        )
        return await self._tokenizer.tokenize(replica.transport, state.profile, rules, prompt)

    async def _generate_on(
        self, replica: Replica, state: ServerState, prompt: Conversation
    ) -> Texts:
        tokenized = await self._tokenize_on(replica, state, prompt)
        if not tokenized.fits:
            raise tokenized.too_long(state.engine.length_option)
        labels: Mapping[str, Collection[int]] = {}
        if self.writing.labels:
            labels = await self._labels.of(replica.transport, state)
        written = await gather_or_stop(
            self._generate_vote(replica.transport, state, tokenized.ids, vote)
            for vote in range(self.writing.votes)
        )
        usage = Usage(
            prompt_tokens=sum(each.prompt_tokens for each in written),
            generated_tokens=sum(each.generated_tokens for each in written),
        )
        texts = tuple(each.text for each in written)
        positions = tuple(each.positions for each in written)
        return Texts(texts, usage, state.provenance, author_of(state), positions, labels)

    async def _generate_vote(
        self, transport: Transport, state: ServerState, ids: TokenIds, vote: int
    ) -> Written:
        limit, writing = state.max_model_len, self.writing
        max_tokens = writing.max_tokens
        if limit is not None:
            max_tokens = min(max_tokens, limit + 1 - len(ids))  # the limit keeps one token free
        sampling = Sampling(
            max_tokens=max_tokens,
            temperature=writing.effective_temperature,
            seed=writing.seed + vote,
            top_p=writing.top_p,
            top_k=writing.top_k,
            logprobs=bool(writing.labels),
        )
        request = state.engine.generation_request(state.model, ids, sampling)
        response = await send(transport, request, state)
        written = state.engine.read_written(response, ids, logprobs=bool(writing.labels))
        if not written.text.strip():
            raise response.error(GenerationError, "The model wrote nothing.")
        return written


def author_of(state: ServerState) -> str:
    """Return the model and the server that write."""
    identity = state.identity
    root = f" from {identity.root}" if identity.root else ""
    return f"{identity.model}{root} ({identity.engine.name} {identity.version})"
