"""The reward is what the head makes of the server's pooled output of token IDs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial

from reward_client._base.results import Reward, TokenizedSample
from reward_client._base.samples import Prompt
from reward_client._replicas.pool import Baseline, Replica, ReplicaPool
from reward_client._scoring.base import MAX_BASELINES, Scorer, Settle, always_another
from reward_client._scoring.batcher import Batcher, Scored
from reward_client._server.requests import prepared, reward_of
from reward_client._server.state import ServerState
from reward_client._tokenization import Needs, Tokenized, Tokenizer
from reward_client.errors import InputError


class PooledScorer(Scorer):
    """Has prompts tokenized and scored.

    Args:
        pool: The servers.
        batcher: Has token lists scored by them.
        tokenizer: Makes token IDs for them.
    """

    def __init__(
        self, pool: ReplicaPool, batcher: Batcher[Tokenized], tokenizer: Tokenizer
    ) -> None:
        self.pool = pool
        self._batcher = batcher
        self._tokenizer = tokenizer

    async def tokenize(self, prompt: Prompt) -> TokenizedSample:
        """See `Scorer`."""
        baseline = await self.pool.assured()
        made = (await self._tokenizer.without_server(_needs(baseline), {0: prompt})).get(0)
        if made is None:
            made = await self.pool.at_one(partial(self._tokenized, prompt), "tokenizing", 1)
        if isinstance(made, InputError):
            raise made
        return made.sample()

    async def score_each(self, prompts: Mapping[int, Prompt], settle: Settle) -> None:
        """See `Scorer`."""
        left = prompts
        for _ in range(MAX_BASELINES):
            left = await self._tried(left, settle)
            if not left:
                return
        raise always_another(self.pool)

    async def aclose(self) -> None:
        """See `Scorer`."""
        await self._batcher.aclose()

    async def _tried(self, prompts: Mapping[int, Prompt], settle: Settle) -> Mapping[int, Prompt]:
        """Has prompts scored; returns those that must be done again, for another model."""
        again: dict[int, Prompt] = {}
        tokenized: dict[int, Tokenized] = {}

        def hear(outcomes: Mapping[int, Scored | Exception | None]) -> None:
            settled: dict[int, Reward | Exception] = {}
            for number, outcome in outcomes.items():
                if outcome is None:
                    again[number] = prompts[number]
                elif isinstance(outcome, Exception):
                    settled[number] = outcome
                else:
                    serving, scores = outcome
                    settled[number] = reward_of(serving, tokenized[number], scores)
            settle(settled)

        async def by_server(number: int) -> None:
            try:
                made = await self.pool.at_one(
                    partial(self._prepared, prompts[number]), "tokenizing", 1
                )
            except Exception as error:  # noqa: BLE001 - a caller's transport may raise anything
                settle({number: error})
                return
            tokenized[number] = made
            await self._batcher.score(self.pool.baseline, {number: made}, hear)

        baseline = await self.pool.assured()
        quick: Mapping[int, Tokenized | InputError] = {}
        if baseline.serving.ask.sends == "ids":
            quick = await self._tokenizer.without_server(_needs(baseline), prompts)
        for number, made in quick.items():
            try:
                tokenized[number] = _fitting(made)
            except InputError as error:
                settle({number: error})
        ready = tokenized.copy()
        async with asyncio.TaskGroup() as group:
            for number in prompts:
                if number not in quick:
                    group.create_task(by_server(number))
            await self._batcher.score(baseline, ready, hear)
        return again

    async def _prepared(self, prompt: Prompt, server: Replica, serving: ServerState) -> Tokenized:
        made = _fitting(await self._tokenized(prompt, server, serving))
        return await prepared(server.transport, serving, made)

    async def _tokenized(self, prompt: Prompt, server: Replica, serving: ServerState) -> Tokenized:
        needs = _needs(self.pool.baseline)  # as for its equals: a tokenizer is proven for all
        return await self._tokenizer.tokenize(server.transport, needs, prompt)


def _needs(baseline: Baseline) -> Needs:
    serving = baseline.serving
    return Needs(serving.profile, serving.rules, baseline.max_model_len)


def _fitting(made: Tokenized | InputError) -> Tokenized:
    if isinstance(made, InputError):
        raise made
    made.check_length()
    return made
