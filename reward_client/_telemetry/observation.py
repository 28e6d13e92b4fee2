"""Observers of one request, and of one call of a client."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from reward_client._base.results import Reward
from reward_client._telemetry.tally import Tally, current_tally


class ObservedRequest:
    """One HTTP request, as a context manager: it counts if it was sent, however it ends.

    Args:
        url: The base URL of the server.
        path: The path.
        resends: The number of earlier attempts of the same request that failed.

    Attributes:
        failed: False once a usable response has come.
    """

    __slots__ = ("_began", "_ended", "_path", "_resends", "_url", "failed")

    def __init__(self, url: str, path: str, resends: int) -> None:
        self._url = url
        self._path = path
        self._resends = resends
        self._began: float | None = None
        self._ended: float | None = None
        self.failed = True

    def begin(self) -> float:
        """Note that the request is sent now; return the time, a value of `time.monotonic`."""
        self._began = time.monotonic()
        return self._began

    def answered(self) -> None:
        """Note that the whole response has come now."""
        self._ended = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        tally = current_tally.get()
        if self._began is None or tally is None:
            return
        ended = time.monotonic() if self._ended is None else self._ended
        tally.note_request(
            self._url,
            self._path,
            ended - self._began,
            failed=self.failed,
            is_retry=self._resends > 0,
        )


class ObservedCall:
    """One call of a client that scores samples.

    Args:
        tally: The counts of the client.
    """

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    @contextmanager
    def active(self) -> Generator[None]:
        """Make the requests of the running task, and of the tasks that it starts, the call's."""
        with self._tally.counting():
            yield

    def note(self, outcomes: Sequence[Reward | Exception]) -> None:
        """Note the final outcomes of samples."""
        self._tally.note_outcomes(outcomes)
