"""Texts that a generating server writes after conversations."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import partial

from reward_client._base.results import Provenance, TokenizedSample, Usage
from reward_client._base.samples import Conversation
from reward_client._base.token_ids import TokenIds
from reward_client._protocols.http import Caller
from reward_client._protocols.vllm.completions import Written, generation_call, read_written
from reward_client._replicas.pool import Fleet, Server
from reward_client._scoring.base import together
from reward_client._server.requests import reply_of
from reward_client._server.state import Serving
from reward_client._tokenization import Needs, Tokenized, Tokenizer
from reward_client.errors import GenerationError
from reward_client.methods.specs import Writing

__all__ = ["Texts", "Writer"]


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
        fleet: The servers.
        writing: How they write.
        question: What is asked after each conversation, as the user's turn; None where it ends with
            what is asked.
        continues: Whether the model goes on with that turn; else it answers.
        most: How many texts may be under way.
    """

    def __init__(
        self,
        fleet: Fleet,
        writing: Writing,
        question: str | None,
        *,
        continues: bool = False,
        most: int,
    ) -> None:
        self.fleet = fleet
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
            RewardClientError: As `Fleet.at_one`.
        """
        size = self.writing.votes * self.writing.max_tokens
        return await self.fleet.at_one(partial(self._texts, prompt), "scoring", size)

    async def tokenize(self, prompt: Conversation) -> TokenizedSample:
        """The token IDs after which the model writes.

        Raises:
            RewardClientError: As `Fleet.at_one`.
        """
        made = await self.fleet.at_one(partial(self._tokenized, prompt), "tokenizing", 1)
        return made.sample()

    async def provenance(self) -> Provenance:
        """Where texts come from.

        Raises:
            RewardClientError: As `Fleet.assured`.
        """
        return (await self.fleet.assured()).serving.provenance

    async def author(self) -> str:
        """Who writes.

        Raises:
            RewardClientError: As `Fleet.assured`.
        """
        return _author((await self.fleet.assured()).serving)

    async def _tokenized(self, prompt: Conversation, server: Server, serving: Serving) -> Tokenized:
        rules = replace(
            serving.rules,
            question=self._question,
            generation_prompt=not self._continues,
            continues=self._continues,
            append=(),  # tokens that end a conversation
        )
        needs = Needs(serving.profile, rules, serving.profile.max_model_len)
        return await self._tokenizer.tokenize(server.caller, needs, prompt)

    async def _texts(self, prompt: Conversation, server: Server, serving: Serving) -> Texts:
        writing = self.writing
        made = await self._tokenized(prompt, server, serving)
        made.check_length()
        written = await together(
            self._text(server.caller, serving, made.ids, vote) for vote in range(writing.votes)
        )
        usage = Usage(
            prompt_tokens=sum(each.prompt_tokens for each in written),
            generated_tokens=sum(each.generated_tokens for each in written),
        )
        texts = tuple(each.text for each in written)
        return Texts(texts, usage, serving.provenance, _author(serving))

    async def _text(self, caller: Caller, serving: Serving, ids: TokenIds, vote: int) -> Written:
        limit, writing = serving.profile.max_model_len, self.writing
        room = writing.max_tokens
        if limit is not None:
            room = min(room, limit + 1 - len(ids))  # the profile keeps one token free
        call = generation_call(
            serving.profile.model,
            ids,
            max_tokens=room,
            temperature=writing.heat,
            seed=writing.seed + vote,
        )
        reply = await reply_of(caller, serving, call)
        written = read_written(reply, ids)
        if not written.text.strip():
            raise reply.error(GenerationError, "The model wrote nothing.")
        return written


def _author(serving: Serving) -> str:
    profile = serving.profile
    root = f" from {profile.root}" if profile.root else ""
    return f"{profile.model}{root} (vLLM {profile.version})"
