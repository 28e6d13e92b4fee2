"""One client per process and equal options. Each waits for its server as long as they say."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar, cast

from reward_client._base.contest import errors_of
from reward_client._base.results import Reward, Settings
from reward_client._base.samples import Sample
from reward_client._client.async_client import AsyncRewardClient
from reward_client._client.async_client import known_settings as known_settings_async
from reward_client._client.equal_settings import difference
from reward_client._client.sync_client import RewardClient, compares, known_settings
from reward_client._integrations.environment import Options
from reward_client._integrations.outcomes import (
    BatchRewards,
    Transform,
    batch_rewards,
    raise_faults_of_the_server,
)
from reward_client._integrations.policy_text import PolicyText, Rollout
from reward_client.errors import InputError, ModelChangedError, RewardClientError

T = TypeVar("T")
ClientT = TypeVar("ClientT", RewardClient, AsyncRewardClient)


class _OfProcess(Generic[T]):
    """Keeps what is made of options, for the life of the process: hooks come and go."""

    def __init__(self, make: Callable[[Options], T]) -> None:
        self._make = make
        self._made: list[tuple[Options, T]] = []
        self._lock = threading.Lock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew_lock)

    def __call__(self, options: Options) -> T:
        with self._lock:
            for known, made in self._made:
                if known.is_same_as(options):
                    return made
            made = self._make(options)
            self._made.append((options, made))
            return made

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()  # another thread may have held it


def grading(client: ClientT) -> ClientT:
    """Return a client that has a reward for a single conversation.

    Raises:
        InputError: If its method only compares responses.
    """
    if compares(client):
        raise InputError(
            "Cannot give each answer a reward: the method is a judge that compares two answers. "
            "Take one that grades a single answer, such as a Verdict with {response}."
        )
    return client


client_of = _OfProcess(lambda options: grading(RewardClient(**cast("Any", options.client))))
"""Return the client of this process for the options. It connects at the first call."""

rows_client_of = _OfProcess(lambda options: AsyncRewardClient(**cast("Any", options.client)))
"""Return the asynchronous client of this process for rows, whose judge may compare responses."""

async_client_of = _OfProcess(lambda options: grading(rows_client_of(options)))
"""Return the asynchronous client of this process for single answers."""

policy_text_of = _OfProcess(
    lambda options: PolicyText(
        options.policy_tokenizer,
        options.strip_reasoning,
        keeps_ends=options.client.get("on_control_tokens") == "allow",
    )
)
"""Return the reader of what a policy wrote, with its tokenizer loaded once."""


class _SameModel:
    """Checks that one model gives all rewards of a process: another one has another scale."""

    def __init__(self) -> None:
        self._first: Settings | None = None

    def check(self, settings: Settings) -> None:
        """Compare with the model of the first batch.

        Raises:
            ModelChangedError: If it is another one.
        """
        self._first = self._first or settings
        refuse_other_model(self._first, settings)


def refuse_other_model(
    first: Settings,
    settings: Settings,
    *,
    start: str = "at the first batch of this run",
    remedy: str = "begin another run",
) -> None:
    """Compare the model that answers with that of the first batch of a run.

    Args:
        first: The settings of the first batch.
        settings: The settings now.
        start: The time of the first batch, for the error.
        remedy: What to do if the other model is meant, for the error.

    Raises:
        ModelChangedError: If it is another one.
    """
    if settings is first:
        return
    is_dated = first.prompt_date is not None
    may_change = (*_MAY_CHANGE, "template_digest") if is_dated else _MAY_CHANGE
    changed = difference(first, settings, besides=may_change)
    if changed is not None:
        raise ModelChangedError(
            f"Another model answers than {start}: {changed}. Serve the model of the start, or "
            f"{remedy}."
        )


_model_of = _OfProcess(lambda _: _SameModel())

# A new day, and a server of another version that gives the same rewards, are no reason to stop.
_MAY_CHANGE = ("prompt_date", "server_version", "route", "activation_known_by")


def score(
    options: Options, rollouts: Sequence[Rollout], transform: Transform | None = None
) -> BatchRewards:
    """Score a batch, and wait for the server if it is away.

    Raises:
        RewardTimeoutError: If the server is not ready within ``options.patience``.
        ModelChangedError: If another model answers than at the first batch of this process.
        RewardClientError: If a sample has no reward by a fault of the server.
    """
    began = time.monotonic()
    client = client_of(options)
    if not rollouts:
        return _rewards(options, rollouts, [], transform, began)
    client.wait_until_ready(timeout=options.patience)
    outcomes = client.score_many(_samples(rollouts), on_error="return")
    rewards = _rewards(options, rollouts, outcomes, transform, began)
    _model_of(options).check(known_settings(client))
    return rewards


async def score_async(
    options: Options, rollouts: Sequence[Rollout], transform: Transform | None = None
) -> BatchRewards:
    """Score a batch as `score` does."""
    began = time.monotonic()
    client = async_client_of(options)
    if not rollouts:
        return _rewards(options, rollouts, [], transform, began)
    await client.wait_until_ready(timeout=options.patience)
    outcomes = await client.score_many(_samples(rollouts), on_error="return")
    rewards = _rewards(options, rollouts, outcomes, transform, began)
    _model_of(options).check(await known_settings_async(client))
    return rewards


async def outcomes_async(
    options: Options, samples: Sequence[Sample]
) -> tuple[list[Reward | RewardClientError], Settings]:
    """Score the samples of rows as `score` does.

    Returns:
        The outcome of each sample, an error only if it is its own fault; and the settings.
    """
    client = rows_client_of(options)
    await client.wait_until_ready(timeout=options.patience)
    outcomes = await client.score_many(samples, on_error="return")
    raise_faults_of_the_server(
        [
            next((error for error in errors_of(each) if error.fault == "server"), None)
            for each in outcomes
        ]
    )
    settings = await known_settings_async(client)
    _model_of(options).check(settings)
    return outcomes, settings


def _samples(rollouts: Sequence[Rollout]) -> list[Sample]:
    # The client takes the errors of samples that were checked as they were read.
    return cast("list[Sample]", [rollout.sample for rollout in rollouts])


def _rewards(
    options: Options,
    rollouts: Sequence[Rollout],
    outcomes: Sequence[Reward | RewardClientError],
    transform: Transform | None,
    began: float,
) -> BatchRewards:
    return batch_rewards(
        outcomes,
        failed=options.failed,
        transform=transform,
        stripped=[rollout.stripped for rollout in rollouts],
        seconds=time.monotonic() - began,
    )
