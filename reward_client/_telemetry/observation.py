"""Observers of one request, and of one call of a client: counts, metrics and spans."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, MutableMapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING, Self

from reward_client._base.results import Reward
from reward_client._telemetry import otel
from reward_client._telemetry.tally import OutcomeCounts, Tally, current_tally
from reward_client.errors import BatchError

if TYPE_CHECKING:
    from opentelemetry.trace import Span


class ObservedRequest:
    """One HTTP request, as a context manager: it counts if it was sent, however it ends.

    Args:
        method: The HTTP method.
        url: The base URL of the server.
        path: The path.
        resends: The number of earlier attempts of the same request that failed.

    Attributes:
        error: The error in the place of a usable response, if there is one.
    """

    __slots__ = (
        "_began",
        "_ended",
        "_method",
        "_path",
        "_resends",
        "_span",
        "_status",
        "_url",
        "error",
    )

    def __init__(self, method: str, url: str, path: str, resends: int) -> None:
        self._method = method
        self._url = url
        self._path = path
        self._resends = resends
        self._began: float | None = None
        self._ended: float | None = None
        self._status: int | None = None
        self._span: Span | None = None
        self.error: BaseException | None = None

    def begin(self, headers: MutableMapping[str, str]) -> float:
        """Note that the request is sent now; return the time, a value of `time.monotonic`.

        Args:
            headers: Its headers. If spans are recorded, they get those of the trace.
        """
        self._span = otel.start_request(self._method, self._url, self._path, self._resends, headers)
        self._began = time.monotonic()
        return self._began

    def answered(self, status: int) -> None:
        """Note that the whole response has come now."""
        self._ended = time.monotonic()
        self._status = status

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._began is None:
            return
        ended = time.monotonic() if self._ended is None else self._ended
        failure = error or self.error
        tally = current_tally.get()
        if tally is not None:
            tally.note_request(
                self._url,
                self._path,
                ended - self._began,
                failed=failure is not None,
                is_retry=self._resends > 0,
            )
        name = None if failure is None else self._error_type(failure)
        if self._span is not None:
            otel.end_request(self._span, self._status, name)
        otel.note_request(
            self._method,
            self._url,
            self._path,
            ended - self._began,
            status=self._status,
            error=name,
            is_retry=self._resends > 0,
        )

    def _error_type(self, failure: BaseException) -> str:
        if self._status is not None and self._status >= 400:
            return str(self._status)
        return type(failure).__name__


class ObservedCall:
    """One call of a client that scores samples.

    Args:
        tally: The counts of the client.
        operation: The name of the method.
        model: The model's name, as the caller gave it.
        hide: Takes the client's secrets out of a name, which a server may have chosen.
    """

    def __init__(
        self, tally: Tally, operation: str, model: str | None, hide: Callable[[str], str]
    ) -> None:
        self._tally = tally
        self._hide = hide
        self._span = otel.start_call(operation, model)
        self._scored = self._failed = self._tokens = 0
        self._model: str | None = None
        self._engine: str | None = None

    def active(self) -> AbstractContextManager[None]:
        """Make the requests of the running task, and of each task that it starts, the call's."""
        return Active(self._tally, self._span)

    def note(self, outcomes: Sequence[Reward | Exception]) -> None:
        """Note the final outcomes of samples."""
        counts = OutcomeCounts.of(outcomes)
        self._tally.note_outcomes(counts)
        if self._span is None and not otel.has_metrics():
            return
        model = None if counts.model is None else self._hide(counts.model)
        otel.note_outcomes(counts, model)
        self._scored += counts.scored
        self._failed += len(counts.errors)
        self._tokens += counts.tokens
        self._model = self._model or model
        self._engine = self._engine or counts.engine

    def end(self, error: BaseException | None = None) -> None:
        """Note that the call has ended.

        Args:
            error: The exception that leaves the call, if one does.
        """
        span, self._span = self._span, None
        if span is None:
            return
        cause = error.__cause__ if isinstance(error, BatchError) else None
        name = None if error is None else type(cause or error).__name__
        otel.end_call(
            span,
            scored=self._scored,
            failed=self._failed,
            tokens=self._tokens,
            model=self._model,
            engine=self._engine,
            error=name,
        )

    @contextmanager
    def ending(self) -> Generator[Self]:
        """End the call with the block, and with the exception that leaves it."""
        try:
            yield self
        except BaseException as error:
            self.end(error)
            raise
        self.end()


class Active(AbstractContextManager[None]):
    """The block in which a client sends its requests, for one of its calls or for none.

    Args:
        tally: The counts of the client.
        span: The span of the call, if it is recorded.
    """

    __slots__ = ("_attached", "_counting", "_span", "_tally")

    def __init__(self, tally: Tally, span: Span | None = None) -> None:
        self._tally = tally
        self._span = span

    def __enter__(self) -> None:
        self._counting: Token[Tally | None] = current_tally.set(self._tally)
        self._attached = None if self._span is None else otel.attach(self._span)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is GeneratorExit:  # thrown into a task that was dropped, from any context
            return
        if self._attached is not None:
            otel.detach(self._attached)
        current_tally.reset(self._counting)
