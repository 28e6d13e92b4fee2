"""The competitors that score conversations, tokenized by the client or by the server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.baselines import (
    BATCH_SIZE,
    CONCURRENT_BATCHES,
    CONCURRENT_REQUESTS,
    Competitor,
    Samples,
    TargetClient,
    by_aiohttp,
    by_httpx,
    in_batches,
    on_event_loop,
)
from benchmarks.competitors import ours
from reward_client.methods import Messages

SERVER = "reward_client, tokenized by the server"
LOCAL = "reward_client, tokenized locally"
MESSAGES = "reward_client, Messages()"
SERVER_BY_HAND = "aiohttp by hand, /tokenize, batches"
LOCAL_BY_HAND = "aiohttp by hand, tokenized locally, batches"
MESSAGES_BY_HAND = "aiohttp by hand, conversations in batches"
SINGLE_AIOHTTP = "aiohttp, /tokenize and one request each"
SINGLE_HTTPX = "httpx + gather, /tokenize and one request each"
SINGLE_MESSAGES = "aiohttp, messages in one request each"

TEMPLATE = {"add_generation_prompt": False}


async def tokenized_one_by_one(client: TargetClient, conversations: Samples) -> list[float]:
    """Send two requests for each conversation, as RL frameworks do."""
    slots = asyncio.Semaphore(CONCURRENT_REQUESTS)

    async def score(messages: Any) -> float:
        async with slots:
            (value,) = await client.score([await client.tokenize(messages)])
            return value

    return list(await asyncio.gather(*map(score, conversations)))


async def tokenized_at_once(client: TargetClient, conversations: Samples) -> list[float]:
    """Send two requests for each conversation; the library bounds its connections itself."""

    async def score(messages: Any) -> float:
        (value,) = await client.score([await client.tokenize(messages)])
        return value

    return list(await asyncio.gather(*map(score, conversations)))


async def tokenized_batches(client: TargetClient, conversations: Samples) -> list[float]:
    """Post each batch as soon as `/tokenize` has filled it."""
    tokenizing = asyncio.Semaphore(CONCURRENT_REQUESTS)
    scoring = asyncio.Semaphore(CONCURRENT_BATCHES)
    values = [0.0] * len(conversations)
    batch: list[tuple[int, list[int]]] = []

    async def score(full: list[tuple[int, list[int]]]) -> None:
        async with scoring:
            found = await client.score([ids for _, ids in full])
        for (index, _), value in zip(full, found, strict=True):
            values[index] = value

    async with asyncio.TaskGroup() as group:

        async def tokenize(index: int, messages: Any) -> None:
            nonlocal batch
            async with tokenizing:
                ids = await client.tokenize(messages)
            batch.append((index, ids))
            if len(batch) == BATCH_SIZE:
                full, batch = batch, []
                group.create_task(score(full))

        await asyncio.gather(*(tokenize(*numbered) for numbered in enumerate(conversations)))
        if batch:
            group.create_task(score(batch))
    return values


class LocalBatches:
    """Tokenizes batch after batch in a thread, while the server scores the batches before."""

    def __init__(self) -> None:
        self._tokenizer: Any = None

    async def __call__(self, client: TargetClient, conversations: Samples) -> list[float]:
        from transformers import AutoTokenizer

        if self._tokenizer is None:
            self._tokenizer = AutoTokenizer.from_pretrained(client.target.tokenizer)
        slots = asyncio.Semaphore(CONCURRENT_BATCHES)
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as thread:

            async def score(batch: Samples) -> list[float]:
                ids = await loop.run_in_executor(thread, self._ids, batch)
                async with slots:
                    return await client.score(ids)

            values = await asyncio.gather(*map(score, in_batches(conversations)))
        return [value for batch in values for value in batch]

    def _ids(self, conversations: Samples) -> list[list[int]]:
        texts = self._tokenizer.apply_chat_template(conversations, tokenize=False, **TEMPLATE)
        ids: list[list[int]] = self._tokenizer(texts, add_special_tokens=False)["input_ids"]
        return ids


async def messages_one_by_one(client: TargetClient, conversations: Samples) -> list[float]:
    """Post each conversation to the scoring route, where the server tokenizes it."""
    slots = asyncio.Semaphore(CONCURRENT_REQUESTS)

    async def score(messages: Any) -> float:
        async with slots:
            (value,) = await client.score(messages, field="messages")
            return value

    return list(await asyncio.gather(*map(score, conversations)))


async def messages_batches(client: TargetClient, conversations: Samples) -> list[float]:
    """Post batches of conversations, which `/v1/embeddings` accepts since vLLM 0.24."""
    slots = asyncio.Semaphore(CONCURRENT_BATCHES)

    async def score(batch: Samples) -> list[float]:
        async with slots:
            return await client.score(batch, field="messages")

    values = await asyncio.gather(*map(score, in_batches(conversations)))
    return [value for batch in values for value in batch]


CONVERSATIONS: Mapping[str, Competitor] = {
    LOCAL: ours(tokenizer="local"),
    LOCAL_BY_HAND: on_event_loop(by_aiohttp, LocalBatches()),
    SERVER: ours(),
    SERVER_BY_HAND: on_event_loop(by_aiohttp, tokenized_batches),
    SINGLE_MESSAGES: on_event_loop(by_aiohttp, messages_one_by_one),
    SINGLE_AIOHTTP: on_event_loop(by_aiohttp, tokenized_one_by_one),
    SINGLE_HTTPX: on_event_loop(by_httpx, tokenized_at_once),
}
MESSAGE_BATCHES: Mapping[str, Competitor] = {
    MESSAGES: ours(method=Messages()),
    MESSAGES_BY_HAND: on_event_loop(by_aiohttp, messages_batches),
}
"""For `/v1/embeddings` only."""
