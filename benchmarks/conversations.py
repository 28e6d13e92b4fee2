"""The contestants that are given conversations, and have them tokenized here or by the server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.contestants import batcher, ours
from benchmarks.ways import (
    AT_A_TIME,
    PACK,
    PACKS_AT_A_TIME,
    Asking,
    Samples,
    Strategy,
    by_aiohttp,
    by_httpx,
    looped,
)

SERVER = "reward_client, tokenized by the server"
LOCAL = "reward_client, tokenized locally"
BATCHED = "reward_client, Messages()"
SERVER_BY_HAND = "aiohttp by hand, /tokenize, packs"
LOCAL_BY_HAND = "aiohttp by hand, tokenized locally, packs"
BATCHED_BY_HAND = "aiohttp by hand, conversations in packs"
EACH_AIOHTTP = "aiohttp, /tokenize and one request each"
EACH_HTTPX = "httpx + gather, /tokenize and one request each"
EACH_MESSAGES = "aiohttp, messages in one request each"

TEMPLATE = {"add_generation_prompt": False}


async def tokenized_each(asking: Asking, conversations: Samples) -> list[float]:
    """Two requests for each conversation, as RL frameworks do it."""
    slots = asyncio.Semaphore(AT_A_TIME)

    async def score(messages: Any) -> float:
        async with slots:
            (value,) = await asking.score([await asking.tokenize(messages)])
            return value

    return list(await asyncio.gather(*map(score, conversations)))


async def tokenized_each_at_once(asking: Asking, conversations: Samples) -> list[float]:
    """The same, where the library bounds its connections by itself."""

    async def score(messages: Any) -> float:
        (value,) = await asking.score([await asking.tokenize(messages)])
        return value

    return list(await asyncio.gather(*map(score, conversations)))


async def tokenized_packs(asking: Asking, conversations: Samples) -> list[float]:
    """What `/tokenize` and the scoring route allow: a pack is posted as soon as it is full."""
    tokenizing = asyncio.Semaphore(AT_A_TIME)
    scoring = asyncio.Semaphore(PACKS_AT_A_TIME)
    values = [0.0] * len(conversations)
    batch: list[tuple[int, list[int]]] = []

    async def score(full: list[tuple[int, list[int]]]) -> None:
        async with scoring:
            found = await asking.score([ids for _, ids in full])
        for (place, _), value in zip(full, found, strict=True):
            values[place] = value

    async with asyncio.TaskGroup() as group:

        async def tokenize(place: int, messages: Any) -> None:
            nonlocal batch
            async with tokenizing:
                ids = await asking.tokenize(messages)
            batch.append((place, ids))
            if len(batch) == PACK:
                full, batch = batch, []
                group.create_task(score(full))

        await asyncio.gather(*(tokenize(*numbered) for numbered in enumerate(conversations)))
        if batch:
            group.create_task(score(batch))
    return values


class LocalPacks:
    """Tokenizes pack after pack in a thread, while those before are scored."""

    def __init__(self) -> None:
        self._tokenizer: Any = None

    async def __call__(self, asking: Asking, conversations: Samples) -> list[float]:
        from transformers import AutoTokenizer

        if self._tokenizer is None:
            self._tokenizer = AutoTokenizer.from_pretrained(asking.target.tokenizer)
        slots = asyncio.Semaphore(PACKS_AT_A_TIME)
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as thread:

            async def score(batch: Samples) -> list[float]:
                ids = await loop.run_in_executor(thread, self._ids, batch)
                async with slots:
                    return await asking.score(ids)

            values = await asyncio.gather(*map(score, batcher(conversations)))
        return [value for batch in values for value in batch]

    def _ids(self, conversations: Samples) -> list[list[int]]:
        texts = self._tokenizer.apply_chat_template(conversations, tokenize=False, **TEMPLATE)
        ids: list[list[int]] = self._tokenizer(texts, add_special_tokens=False)["input_ids"]
        return ids


async def messages_each(asking: Asking, conversations: Samples) -> list[float]:
    """Messages straight to the scoring route: the server tokenizes them there."""
    slots = asyncio.Semaphore(AT_A_TIME)

    async def score(messages: Any) -> float:
        async with slots:
            (value,) = await asking.score(messages, field="messages")
            return value

    return list(await asyncio.gather(*map(score, conversations)))


async def messages_packs(asking: Asking, conversations: Samples) -> list[float]:
    """Many conversations in a request, which `/v1/embeddings` takes from vLLM 0.24 on."""
    slots = asyncio.Semaphore(PACKS_AT_A_TIME)

    async def score(batch: Samples) -> list[float]:
        async with slots:
            return await asking.score(batch, field="messages")

    values = await asyncio.gather(*map(score, batcher(conversations)))
    return [value for batch in values for value in batch]


def batched() -> Mapping[str, Strategy]:
    """This client's own way to send conversations in packs; nothing where it has none yet."""
    try:
        from reward_client.methods import Messages
    except ImportError:
        return {}
    return {BATCHED: ours(method=Messages())}


FROM_CONVERSATIONS: Mapping[str, Strategy] = {
    LOCAL: ours(tokenizer="local"),
    LOCAL_BY_HAND: looped(by_aiohttp, LocalPacks()),
    SERVER: ours(),
    SERVER_BY_HAND: looped(by_aiohttp, tokenized_packs),
    EACH_MESSAGES: looped(by_aiohttp, messages_each),
    EACH_AIOHTTP: looped(by_aiohttp, tokenized_each),
    EACH_HTTPX: looped(by_httpx, tokenized_each_at_once),
}
IN_PACKS: Mapping[str, Strategy] = {
    **batched(),
    BATCHED_BY_HAND: looped(by_aiohttp, messages_packs),
}
"""On `/v1/embeddings` only."""
