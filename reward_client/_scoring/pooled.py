"""The default method: the head reads the reward from the pooled output of token IDs."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Sequence
from copy import copy

from reward_client._base.results import TokenizedSample
from reward_client._base.samples import Conversation, Prompt
from reward_client._protocols.http import Receipt, receipts
from reward_client._replicas.pool import Replica, ReplicaPool
from reward_client._scoring.base import Outcome, Scorer, cleaned_by
from reward_client._scoring.batcher import Batcher
from reward_client._server.requests import fit_to_server
from reward_client._server.state import MAX_CHANGES, ServerState, keeps_changing
from reward_client._tokenization import Tokenized, Tokenizer
from reward_client.errors import InputError


class BatchScorer(Scorer):
    """A scorer whose samples share requests; it scores them again after a change of the model."""

    def __init__(self, pool: ReplicaPool) -> None:
        self.pool = pool

    async def score(self, prompts: Sequence[Prompt]) -> list[Outcome]:
        """See `Scorer`."""
        outcomes: list[Outcome | None] = [None] * len(prompts)
        for _ in range(MAX_CHANGES):
            waiting = [index for index, outcome in enumerate(outcomes) if outcome is None]
            try:
                baseline = await self.pool.verified_baseline()
                scored = await self._score_once(baseline, [prompts[index] for index in waiting])
            except Exception as error:  # noqa: BLE001 - must not cost what is scored already
                return _fill(outcomes, error)
            for index, outcome in zip(waiting, scored, strict=True):
                outcomes[index] = outcome
            done = [outcome for outcome in outcomes if outcome is not None]
            if len(done) == len(outcomes):
                return done
        return _fill(outcomes, keeps_changing(self.pool.baseline.url))

    @abstractmethod
    async def _score_once(
        self, baseline: ServerState, prompts: Sequence[Prompt]
    ) -> list[Outcome | None]:
        """Return the outcome of each prompt; None if the model is no longer the baseline's."""


class PooledScorer(BatchScorer):
    """Tokenizes prompts and scores their token IDs.

    Args:
        pool: The servers.
        batcher: Scores token IDs on them.
        tokenizer: Makes token IDs for them.
    """

    def __init__(self, pool: ReplicaPool, batcher: Batcher, tokenizer: Tokenizer) -> None:
        super().__init__(pool)
        self._batcher = batcher
        self._tokenizer = tokenizer

    async def tokenize(self, prompt: Prompt) -> TokenizedSample:
        """See `Scorer`."""
        state = await self.pool.verified_baseline()
        (tokenized,) = await self._tokenizer.tokenize_locally(state.profile, state.rules, [prompt])
        if isinstance(tokenized, InputError):
            raise tokenized
        return (tokenized or await self._tokenize_on_server(prompt)).sample()

    async def cleaned(self, conversation: Conversation) -> Conversation:
        """Return a conversation without the control tokens that end its answer.

        Raises:
            RewardClientError: As `Tokenizer.cleaned`.
        """
        return await cleaned_by(self.pool, self._tokenizer, conversation)

    async def aclose(self) -> None:
        """See `Scorer`."""
        await self._batcher.aclose()

    async def _score_once(
        self, baseline: ServerState, prompts: Sequence[Prompt]
    ) -> list[Outcome | None]:
        taken: list[Receipt] = []
        token = receipts.set(taken)
        try:
            tokenized = await self._tokenize(baseline, prompts)
        finally:
            receipts.reset(token)
        ready = [each for each in tokenized if isinstance(each, Tokenized)]
        scored = await self._batcher.score(baseline, ready)
        if not all([await holds() for holds in taken]):
            return [None] * len(prompts)  # a response with token IDs was somebody else's
        if len(ready) == len(tokenized):
            return scored
        outcomes = iter(scored)
        return [each if isinstance(each, Exception) else next(outcomes) for each in tokenized]

    async def _tokenize(
        self, state: ServerState, prompts: Sequence[Prompt]
    ) -> list[Tokenized | Exception]:
        """Return the token IDs of each prompt, or the error in their place."""
        local: Sequence[Tokenized | InputError | None] = [None] * len(prompts)
        if state.request.sends == "ids":
            local = await self._tokenizer.tokenize_locally(state.profile, state.rules, prompts)
        missing = [prompt for prompt, each in zip(prompts, local, strict=True) if each is None]
        prepared = iter(await asyncio.gather(*map(self._prepare_on_server, missing)))
        option = state.engine.length_option
        return [next(prepared) if each is None else _checked(each, option) for each in local]

    async def _prepare_on_server(self, prompt: Prompt) -> Tokenized | Exception:
        async def prepare(replica: Replica, state: ServerState) -> Tokenized:
            tokenized = await self._tokenize_on(prompt, replica, state)
            if not tokenized.fits:
                raise tokenized.too_long(state.engine.length_option)
            return await fit_to_server(replica.transport, state, tokenized)

        try:
            return await self.pool.run(prepare, "tokenizing", 1)
        except Exception as error:  # noqa: BLE001 - a caller's transport may raise anything
            return error

    async def _tokenize_on_server(self, prompt: Prompt) -> Tokenized:
        async def tokenize(replica: Replica, state: ServerState) -> Tokenized:
            return await self._tokenize_on(prompt, replica, state)

        return await self.pool.run(tokenize, "tokenizing", 1)

    async def _tokenize_on(self, prompt: Prompt, replica: Replica, own: ServerState) -> Tokenized:
        state = self.pool.rules_for(own)
        return await self._tokenizer.tokenize(replica.transport, state.profile, state.rules, prompt)


def _checked(tokenized: Tokenized | InputError, length_option: str) -> Tokenized | Exception:
    if isinstance(tokenized, Tokenized) and not tokenized.fits:
        return tokenized.too_long(length_option)
    return tokenized


def _fill(outcomes: Sequence[Outcome | None], error: Exception) -> list[Outcome]:
    """Put a copy of the error in each empty place."""
    return [copy(error) if outcome is None else outcome for outcome in outcomes]
