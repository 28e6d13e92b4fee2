"""Running many examples: one event loop, what is logged, and how many ended how."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, Self, TypeAlias, TypeVar

from hypothesis import HealthCheck, settings

from reward_client import AsyncRewardClient, Limits, RetryPolicy, Reward, RewardClientError

from .vllm import PROMPT, Vllm

T = TypeVar("T")
Outcome: TypeAlias = Reward | RewardClientError

KEY = "sk-fuzz-Zm9v+YmFy/Lw=="
FULL, LONG = "full", "long"
SECONDS = 20
"""What one example may take at most: many times what any of them needs."""
LONGEST_MESSAGE = 4_000
ROUND = 4_000

ended: Counter[str] = Counter()
"""How many examples ended how, over all tests."""

settings.register_profile(LONG, settings())


def is_full() -> bool:
    """Whether as many examples are asked for as the tests name."""
    return os.environ.get("REWARD_CLIENT_FUZZ") == FULL


def is_long() -> bool:
    """Whether the long run is asked for."""
    by_profile = settings.default is settings.get_profile(LONG)
    return by_profile or os.environ.get("REWARD_CLIENT_FUZZ") == LONG


def examples(full: int, long: int) -> Callable[[Any], Any]:
    """Set how many examples a test tries: a quarter of `full` in the default run.

    Outside the long run they are the same ones each time: a change that has nothing to do with a
    find must not fail by it. The long run goes in rounds: hypothesis remembers all examples of one.
    """
    rounds = -(-long // ROUND) if is_long() else 1

    def decorated(test: Any) -> Any:
        test = settings(
            max_examples=-(-long // rounds) if is_long() else full if is_full() else -(-full // 4),
            derandomize=not is_long(),
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )(test)
        test.rounds = rounds
        return test

    return decorated


class Running:
    """An event loop that is used again, and a logger that is listened to."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._logged = _Listener()
        self._logger = logging.getLogger("reward_client")

    def __enter__(self) -> Self:
        self._before = self._logger.level, self._logger.propagate
        self._logger.addHandler(self._logged)
        self._logger.setLevel(logging.DEBUG)
        self._logger.propagate = False  # pytest would keep all of it
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self._logged)
        level, self._logger.propagate = self._before
        self._logger.setLevel(level)
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The work's result; it leaves nothing behind."""
        self._logged.lines.clear()

        async def in_time() -> T:
            async with asyncio.timeout(SECONDS):
                result = await work
            for _ in range(5):
                await asyncio.sleep(0)  # what was left half-read is closed
            return result

        result = self._loop.run_until_complete(in_time())
        assert not asyncio.all_tasks(self._loop)
        for line in self._logged.lines:
            assert not secrets_in(line), f"logged: {line}"
        return result

    def score(self, server: Vllm, sample: Any, **options: Any) -> Outcome:
        """How scoring a sample ends; anything but a reward or a typed error passes through."""
        return self.run(_score(server, sample, {**server.case.options, **options}))


class _Listener(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


async def _score(server: Vllm, sample: Any, options: dict[str, Any]) -> Outcome:
    client = AsyncRewardClient(
        "http://fuzz",
        api_key=KEY,
        transport=server.transport(),
        retry=RetryPolicy(attempts=1),
        limits=Limits(max_response_bytes=2**22),
        **options,
    )
    async with client:
        try:
            reward = await client.score(sample)
        except RewardClientError as error:
            check_error(error)
            return error
    return reward


def count(outcome: Outcome) -> None:
    """Counts an example."""
    ended["a reward" if isinstance(outcome, Reward) else "a typed error"] += 1


def check_error(error: RewardClientError, longest: int = LONGEST_MESSAGE) -> None:
    """What holds for every error: it is short, pickles, and gives nothing away."""
    shown = str(error)
    assert len(shown) <= longest, f"a message without end: {shown[:60]}"
    assert str(pickle.loads(pickle.dumps(error))) == shown
    for text in (shown, repr(error), repr(vars(error))):
        assert not secrets_in(text), f"shown: {text}"


def secrets_in(text: str) -> list[str]:
    """Pieces of the key, and the prompt, that a text holds."""
    pieces = [KEY[start : start + 8] for start in range(len(KEY) - 7)]
    return [piece for piece in [*pieces, PROMPT] if piece in text]
