"""Prompts to token IDs: by the server or locally, with what the model needs, short enough."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from os import PathLike
from typing import NamedTuple, TypeAlias

from reward_client._base.options import OnOverlong
from reward_client._base.results import ServerProfile, TokenizedSample
from reward_client._base.samples import Conversation, FormattedText, Prompt
from reward_client._base.token_ids import TokenIds
from reward_client._protocols.http import Transport
from reward_client._protocols.vllm.tokenize import server_ids
from reward_client._tokenization.local_tokenizer import LocalTokenizer, Proof, is_plain
from reward_client._tokenization.prompt_rules import PromptRules
from reward_client._tokenization.truncation import fit
from reward_client.errors import InputError, PromptTooLongError, TokenizerMismatchError

_logger = logging.getLogger("reward_client")

TokenizerChoice: TypeAlias = str | PathLike[str] | LocalTokenizer
"""``"server"``, ``"local"``, ``"auto"``, or where the tokenizer is to be had."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What token IDs are made for.

    Attributes:
        profile: The server, or the first of several equal ones.
        rules: What its model needs of prompts.
        max_model_len: The most tokens that may be scored, if there is a limit.
    """

    profile: ServerProfile
    rules: PromptRules
    max_model_len: int | None


class Tokenized(NamedTuple):
    """The token IDs that a prompt is scored as.

    Attributes:
        ids: As in `TokenizedSample`, and so are the three that follow.
        text: What the server is sent in their place, if it takes nothing else; it becomes them.
    """

    ids: TokenIds
    bos_count: int
    max_model_len: int | None
    truncated: bool = False
    text: str | None = None

    @classmethod
    def of(cls, needs: Needs, ids: TokenIds, prompt: Prompt) -> Tokenized:
        """The token IDs of a prompt with all that the model needs.

        Raises:
            InputError: They cannot be had so.
        """
        made = needs.rules.finished(ids, prompt)
        return cls(made, needs.rules.bos_count(made), needs.max_model_len)

    @property
    def size(self) -> int:
        """How many tokens there are."""
        return len(self.ids)

    @property
    def key(self) -> str:
        """Equal for equal token IDs."""
        return self.ids.digest

    @property
    def fits(self) -> bool:
        """Whether the server takes as many."""
        return self.max_model_len is None or len(self.ids) <= self.max_model_len

    def check_length(self) -> None:
        """Refuses what the server would refuse, or truncate.

        Raises:
            PromptTooLongError: There are more tokens than `max_model_len`.
        """
        if self.max_model_len is not None and len(self.ids) > self.max_model_len:
            raise PromptTooLongError(
                f"The sample has {len(self.ids)} tokens and the server takes {self.max_model_len} "
                "(max_model_len). Shorten the conversation, or start the server with a larger "
                "--max-model-len."
            )

    def sample(self) -> TokenizedSample:
        """The same, for callers."""
        return TokenizedSample(
            token_ids=tuple(self.ids),
            max_model_len=self.max_model_len,
            bos_count=self.bos_count,
            truncated=self.truncated,
        )


class Tokenizer:
    """Makes token IDs of prompts, for one server or several equal ones.

    Args:
        choice: Who tokenizes.
        on_overlong: What becomes of conversations that are too long.
    """

    def __init__(self, choice: TokenizerChoice, on_overlong: OnOverlong) -> None:
        self._choice = choice
        self._on_overlong: OnOverlong = on_overlong
        self._proof: Proof | None = None
        self._proven_for: ServerProfile | None = None
        self._loading = asyncio.Lock()
        self._rendering = asyncio.Lock()

    async def without_server(
        self, needs: Needs, prompts: Mapping[int, Prompt]
    ) -> dict[int, Tokenized | InputError]:
        """Those prompts, by their keys, whose token IDs are to be had without asking a server.

        Token IDs, that is, and what a local tokenizer makes of prompts for which it is proven.
        """
        made: dict[int, Tokenized | InputError] = {}
        plain: dict[int, Conversation | FormattedText] = {}
        for key, prompt in prompts.items():
            try:
                if isinstance(prompt, TokenIds):
                    made[key] = Tokenized.of(needs, prompt, needs.rules.with_question(prompt))
                elif self._choice != "server":
                    stepped = needs.rules.with_question(needs.rules.with_steps(prompt))
                    if is_plain(stepped):
                        plain[key] = stepped
            except InputError as error:
                made[key] = error
        if plain:
            made |= await self._locally(needs, plain)
        return made

    async def tokenize(self, transport: Transport, needs: Needs, prompt: Prompt) -> Tokenized:
        """The token IDs that a prompt is scored as, by the server; too many are not refused here.

        A local tokenizer is compared with it.

        Args:
            transport: The way to the server.
            needs: What they are made for.
            prompt: The prompt.

        Raises:
            InputError: The prompt cannot be what the model needs, or asks for something that this
                server would silently ignore.
            TokenizerMismatchError: A local tokenizer gives other IDs than the server.
            ImportError: A local tokenizer needs transformers, which is not installed.
            RewardClientError: As `Transport.call`.
        """
        prompt = needs.rules.with_steps(prompt)
        made = await self._tokenized(transport, needs, prompt)
        if made.fits or self._on_overlong == "raise" or not isinstance(prompt, Conversation):
            return made

        async def fitting(shorter: Conversation) -> Tokenized | None:
            quick = await self.without_server(needs, {0: shorter})
            kept = quick.get(0) or await self._tokenized(transport, needs, shorter)
            if isinstance(kept, InputError):
                raise kept
            return kept if kept.fits else None

        kept = await fit(prompt, fitting)
        return made if kept is None else kept._replace(truncated=True)

    async def _tokenized(self, transport: Transport, needs: Needs, prompt: Prompt) -> Tokenized:
        asked = needs.rules.with_question(prompt)
        return Tokenized.of(needs, await self._ids(transport, needs, asked), asked)

    async def _locally(
        self, needs: Needs, prompts: Mapping[int, Conversation | FormattedText]
    ) -> dict[int, Tokenized | InputError]:
        proof = await self._proof_for(needs.profile)
        if proof.failure is not None:
            return {}
        proven = {
            key: prompt for key, prompt in prompts.items() if proof.comparisons.passes(prompt)
        }
        if not proven:
            return {}
        # One group after the other: several at once would all be done late, and keep Python's lock
        # from the event loop, which has the first ones to send.
        async with self._rendering:
            lists = await asyncio.to_thread(
                proof.tokenizer.ids_of_each,
                [*proven.values()],
                generation_prompt=needs.rules.generation_prompt,
            )
        made: dict[int, Tokenized | InputError] = {}
        for (key, prompt), ids in zip(proven.items(), lists, strict=True):
            if ids is None:
                continue
            try:
                tokenized = Tokenized.of(needs, ids, prompt)
            except InputError as error:
                made[key] = error
                continue
            if tokenized.fits or self._on_overlong == "raise":
                made[key] = tokenized
        return made

    async def _ids(self, transport: Transport, needs: Needs, prompt: Prompt) -> TokenIds:
        if self._choice == "server" or not is_plain(prompt):
            return await _server_ids(transport, needs, prompt)
        proof = await self._proof_for(needs.profile)
        if proof.failure is None:
            async with proof.comparisons.turn(prompt) as is_due:
                return await self._local_ids(transport, needs, prompt, proof, is_due=is_due)
        if self._choice == "auto":
            return await _server_ids(transport, needs, prompt)
        raise copy(proof.failure) from proof.failure

    async def _local_ids(
        self,
        transport: Transport,
        needs: Needs,
        prompt: Conversation | FormattedText,
        proof: Proof,
        *,
        is_due: bool,
    ) -> TokenIds:
        opened = needs.rules.generation_prompt
        try:
            local = await asyncio.to_thread(proof.tokenizer.ids, prompt, generation_prompt=opened)
        except InputError:
            if self._choice != "auto":
                raise
            return await _server_ids(transport, needs, prompt)
        if not is_due:
            return local
        server = await _server_ids(transport, needs, prompt)
        is_news = proof.failure is None
        try:
            proof.compare(prompt, local, server)
        except TokenizerMismatchError as error:
            if self._choice != "auto" or proof.comparisons.holds(prompt):
                raise
            if is_news:
                _logger.warning("tokenized by the server from now on: %s", type(error).__name__)
        return server

    async def _proof_for(self, profile: ServerProfile) -> Proof:
        """The proof for this server, begun anew for another."""
        async with self._loading:
            if self._proof is None or self._proven_for is not profile:
                self._proof = await self._begun_proof(profile)
                self._proven_for = profile
            return self._proof

    async def _begun_proof(self, profile: ServerProfile) -> Proof:
        proof = Proof(self._local(profile))
        try:
            await asyncio.to_thread(proof.tokenizer.load)
        except (InputError, ImportError) as error:
            proof.failure = error
            if self._choice == "auto":
                _logger.warning("tokenized by the server: %s", error)
        return proof

    def _local(self, profile: ServerProfile) -> LocalTokenizer:
        if isinstance(self._choice, LocalTokenizer):
            return self._choice
        by_server = self._choice in ("local", "auto")
        return LocalTokenizer(profile.root or "" if by_server else self._choice)


async def _server_ids(transport: Transport, needs: Needs, prompt: Prompt) -> TokenIds:
    return await server_ids(
        transport,
        needs.profile.model,
        needs.profile.version,
        prompt,
        generation_prompt=needs.rules.generation_prompt,
        continues=needs.rules.continues,
    )
