"""The bounds of a gateway, and the samples in flight."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt, model_validator

from reward_client._base.wording import count
from reward_client._integrations.environment import PATIENCE
from reward_client.gateway.contracts.contract import Refusal

_TOO_LARGE = 413
_BUSY = 503
"""Not 429: verl and others ask again after a status of 5xx only."""
_BODIES = 16
"""The bodies of all requests may hold as many times the bytes of the largest one."""
_PAUSE = 1
"""Seconds after which a busy gateway is asked again."""


class GatewayLimits(BaseModel):
    """The bounds of a gateway.

    Attributes:
        max_body_bytes: The largest body of a request; a larger one gets the status 413. All bodies
            that are in flight may have 16 times as many bytes; further ones get the status 503.
        max_samples: The most samples in one request; more get the status 413.
        max_in_flight: The most samples in flight over all requests. A request that would exceed it
            gets the status 503, with ``Retry-After``.
        patience: The seconds that a request waits for reward servers that have never answered. For
            servers that are away later, it waits as the client's `reward_client.RetryPolicy` says.
        grace: The seconds in which requests in flight may end after a signal to stop.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    max_body_bytes: PositiveInt = 64 * 1024 * 1024
    max_samples: PositiveInt = 8192
    max_in_flight: PositiveInt = 65536
    patience: PositiveFloat = PATIENCE
    grace: PositiveInt = 30

    @model_validator(mode="after")
    def _let_the_largest_request_in(self) -> GatewayLimits:
        if self.max_samples > self.max_in_flight:
            raise ValueError(
                f"max_samples={self.max_samples} exceeds max_in_flight={self.max_in_flight}: such "
                "a request would be refused for ever. Lower the first, or raise the second."
            )
        return self


class InFlight:
    """The samples and the bodies in flight. Belongs to one event loop.

    Args:
        limits: The bounds.

    Attributes:
        samples: The number of samples.
    """

    def __init__(self, limits: GatewayLimits) -> None:
        self._limits = limits
        self.samples = 0
        self._bytes = 0

    @contextmanager
    def body(self) -> Generator[Callable[[int], None]]:
        """Yield a function that counts bytes of a body as in flight, until its request ends.

        The function raises `Refusal` if all bodies are too large together.
        """
        counted = 0

        def add(size: int) -> None:
            nonlocal counted
            if self._bytes + size > _BODIES * self._limits.max_body_bytes:
                raise Refusal(
                    _BUSY,
                    "Busy",
                    f"Cannot read the body now: {self._bytes:,} bytes are in flight. Ask again "
                    "later.",
                    retry_after=_PAUSE,
                )
            self._bytes += size
            counted += size

        try:
            yield add
        finally:
            self._bytes -= counted

    @contextmanager
    def admitted(self, samples: int) -> Generator[None]:
        """Count the samples of a request as in flight, until it ends.

        Raises:
            Refusal: If they are too many.
        """
        limits = self._limits
        if samples > limits.max_samples:
            raise Refusal(
                _TOO_LARGE,
                "TooManySamples",
                f"Cannot score {count(samples, 'sample')} in one request: the gateway takes "
                f"{limits.max_samples:,}. Send several requests, or raise --max-samples.",
            )
        if self.samples + samples > limits.max_in_flight:
            raise Refusal(
                _BUSY,
                "Busy",
                f"Cannot score {count(samples, 'sample')} now: {self.samples:,} are in flight, of "
                f"at most {limits.max_in_flight:,}. Ask again later.",
                retry_after=_PAUSE,
            )
        self.samples += samples
        try:
            yield
        finally:
            self.samples -= samples
