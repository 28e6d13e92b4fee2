"""Texts that a generating server writes after conversations."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import partial

from reward_client._base.results import Provenance, TokenizedSample, Usage
from reward_client._base.samples import Conversation
from reward_client._base.token_ids import TokenIds
from reward_client._protocols.http import Transport
from reward_client._protocols.vllm.completions import Written, generation_call, read_written
from reward_client._replicas.pool import Replica, ReplicaPool
from reward_client._scoring.base import together
from reward_client._server.requests import response_of
from reward_client._server.state import ServerState
from reward_client._tokenization import Needs, Tokenized, Tokenizer
from reward_client.errors import GenerationError
from reward_client.methods.specs import Writing


@dataclass(frozen=True, slots=True)
class Texts:
    """What was written for one conversation.

    Attributes:
        each: The text of each vote.
        usage: What they cost.
        provenance: Where they come from.
        author: Who wrote them.
    """

    each: tuple[str, ...]
    usage: Usage
    provenance: Provenance
    author: str


class Writer:
    """Has texts written by the servers of one event loop.

    Args:
        pool: The servers.
        writing: How they write.
        question: What is asked after each conversation, as the user's turn; None where it ends with
            what is asked.
        continues: Whether the model goes on with that turn; else it answers.
        most: How many texts may be under way.
    """

    def __init__(
        self,
        pool: ReplicaPool,
        writing: Writing,
        question: str | None,
        *,
        continues: bool = False,
        most: int,
    ) -> None:
        self.pool = pool
        self.writing = writing
        self._question = question
        self._continues = continues
        self.places = asyncio.Semaphore(max(1, most // writing.votes))
        # Text and messages of any form are the server's to tokenize: a request more costs little
        # beside those that write.
        self._tokenizer = Tokenizer("server", "raise")

    async def written(self, prompt: Conversation) -> Texts:
        """A text for each vote, by one server, so that it reads the conversation once.

        Raises:
            GenerationError: One is empty, or was cut by its length limit.
            PromptTooLongError: The server has no room for any text.
            RewardClientError: As `ReplicaPool.at_one`.
        """
        size = self.writing.votes * self.writing.max_tokens
        return await self.pool.at_one(partial(self._texts, prompt), "scoring", size)

    async def tokenize(self, prompt: Conversation) -> TokenizedSample:
        """The token IDs after which the model writes.

        Raises:
            RewardClientError: As `ReplicaPool.at_one`.
        """
        made = await self.pool.at_one(partial(self._tokenized, prompt), "tokenizing", 1)
        return made.sample()

    async def provenance(self) -> Provenance:
        """Where texts come from.

        Raises:
            RewardClientError: As `ReplicaPool.assured`.
        """
        return (await self.pool.assured()).serving.provenance

    async def author(self) -> str:
        """Who writes.

        Raises:
            RewardClientError: As `ReplicaPool.assured`.
        """
        return _author((await self.pool.assured()).serving)

    async def _tokenized(
        self, prompt: Conversation, server: Replica, serving: ServerState
    ) -> Tokenized:
        rules = replace(
            serving.rules,
            question=self._question,
            generation_prompt=not self._continues,
            continues=self._continues,
            append=(),  # tokens that end a conversation
        )
        needs = Needs(serving.profile, rules, serving.profile.max_model_len)
        return await self._tokenizer.tokenize(server.transport, needs, prompt)

    async def _texts(self, prompt: Conversation, server: Replica, serving: ServerState) -> Texts:
        writing = self.writing
        made = await self._tokenized(prompt, server, serving)
        made.check_length()
        written = await together(
            self._text(server.transport, serving, made.ids, vote) for vote in range(writing.votes)
        )
        usage = Usage(
            prompt_tokens=sum(each.prompt_tokens for each in written),
            generated_tokens=sum(each.generated_tokens for each in written),
        )
        texts = tuple(each.text for each in written)
        return Texts(texts, usage, serving.provenance, _author(serving))

    async def _text(
        self, transport: Transport, serving: ServerState, ids: TokenIds, vote: int
    ) -> Written:
        limit, writing = serving.profile.max_model_len, self.writing
        room = writing.max_tokens
        if limit is not None:
            room = min(room, limit + 1 - len(ids))  # the profile keeps one token free
        call = generation_call(
            serving.profile.model,
            ids,
            max_tokens=room,
            temperature=writing.sent_temperature,
            seed=writing.seed + vote,
        )
        response = await response_of(transport, serving, call)
        written = read_written(response, ids)
        if not written.text.strip():
            raise response.error(GenerationError, "The model wrote nothing.")
        return written


def _author(serving: ServerState) -> str:
    profile = serving.profile
    root = f" from {profile.root}" if profile.root else ""
    return f"{profile.model}{root} (vLLM {profile.version})"
