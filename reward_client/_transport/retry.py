"""The retry policy as tenacity objects."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_result,
    stop_after_attempt,
    stop_any,
    stop_before_delay,
    stop_never,
    wait_random_exponential,
)

from reward_client._base.options import RetryPolicy
from reward_client._protocols.http import Response
from reward_client._transport.network_errors import NetworkErrorKind
from reward_client.errors import RewardClientError, StatusError

_logger = logging.getLogger("reward_client")

_FIRST_WAIT = 0.5
"""The upper end of the first wait in seconds; it doubles with each further wait."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The failure of an attempt.

    Attributes:
        error: The error to raise if no attempt follows.
        summary: One line without any text of the server, for logs and `error.attempts`.
        retried: True if another attempt can help.
        network_error: The kind of network error, if the attempt failed by one.
        away: True if this failure says that the server is away or busy.
        only_time_helps: True if no request can be the reason: the server is busy, or was not
            reached.
        may_hide_refusal: True if a gateway may have put this failure in the place of a refusal.
        may_be_anyones: True if somebody else may have answered in the place of the server.
    """

    error: RewardClientError
    summary: str
    retried: bool
    network_error: NetworkErrorKind | None = None
    away: bool = False
    only_time_helps: bool = False
    may_hide_refusal: bool = False
    may_be_anyones: bool = False

    @property
    def is_doubtful(self) -> bool:
        """True if the request may be the reason, or the server is away."""
        return self.retried and not self.only_time_helps


def retrying(policy: RetryPolicy, spent: float) -> AsyncRetrying:
    """Build a retry loop for a coroutine function that returns a response or a `Failure`.

    It waits with full jitter, or exactly as long as the server asks. It returns the last failure
    when attempts or budget are used up. Exceptions pass, so a cancellation is never retried.

    Args:
        policy: The retry policy.
        spent: The seconds of the budget that are already spent.
    """
    left = policy.budget - spent
    attempts = stop_never if policy.attempts is None else stop_after_attempt(policy.attempts)
    return AsyncRetrying(
        retry=retry_if_result(_is_worth_another_attempt),
        stop=stop_any(attempts, stop_before_delay(left)),
        wait=_Wait(policy.max_wait),
        before_sleep=_log_retry,
        retry_error_callback=_last_failure,
    )


def _is_worth_another_attempt(outcome: Response | Failure) -> bool:
    return isinstance(outcome, Failure) and outcome.retried


class _Wait:
    def __init__(self, max_wait: float) -> None:
        self._jitter = wait_random_exponential(multiplier=_FIRST_WAIT, max=max_wait)

    def __call__(self, state: RetryCallState) -> float:
        error = _last_failure(state).error
        if isinstance(error, StatusError) and error.retry_after is not None:
            return error.retry_after
        return self._jitter(state)


def _last_failure(state: RetryCallState) -> Failure:
    outcome = state.outcome.result() if state.outcome else None
    if not isinstance(outcome, Failure):
        raise TypeError("only failures are retried")
    return outcome


def _log_retry(state: RetryCallState) -> None:
    _logger.debug(
        "attempt %d: %s; next in %.2f s",
        state.attempt_number,
        _last_failure(state).summary,
        state.upcoming_sleep,
    )
