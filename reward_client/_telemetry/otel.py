"""Spans and metrics for OpenTelemetry, under the names of its semantic conventions.

The conventions are those for HTTP clients (stable, read in version 1.45) and for generative AI
(in development, read in version 1.37). Names without a convention begin with ``reward_client``.

Nothing here imports OpenTelemetry by itself: whoever has set up a provider has imported it. Without
a provider there are no spans, no instruments and no headers.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import MutableMapping
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

from reward_client._telemetry.tally import OutcomeCounts
from reward_client._version import __version__

if TYPE_CHECKING:
    from contextvars import Token

    from opentelemetry.context import Context
    from opentelemetry.metrics import Histogram, Meter, MeterProvider
    from opentelemetry.trace import Span, SpanKind, Tracer, TracerProvider

    Attachment: TypeAlias = Token[Context]

Attributes: TypeAlias = dict[str, str | int]

_SCOPE = "reward_client"
_SCHEMA = "https://opentelemetry.io/schemas/1.37.0"

# Attributes of spans and metrics.
METHOD = "http.request.method"
PATH = "url.template"
URL = "url.full"
ADDRESS = "server.address"
PORT = "server.port"
STATUS = "http.response.status_code"
RESENDS = "http.request.resend_count"
ERROR = "error.type"
OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUESTED_MODEL = "gen_ai.request.model"
MODEL = "gen_ai.response.model"
TOKENS_READ = "gen_ai.usage.input_tokens"

# Metrics; the first two are attributes of a call as well.
SCORED = "reward_client.samples.scored"
FAILED = "reward_client.samples.failed"
TOKENS = "reward_client.tokens"
RETRIES = "reward_client.retries"
DURATION = "http.client.request.duration"

_TRACEPARENT = "traceparent"
_DEFAULT_PORTS = {"http": 80, "https": 443}
# The boundaries that the convention of DURATION advises, in seconds. Those of the SDK are for
# milliseconds.
_BOUNDARIES = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)


class _Instruments:
    """The instruments of one provider of metrics."""

    def __init__(self, provider: MeterProvider) -> None:
        self.provider = provider
        meter = provider.get_meter(_SCOPE, __version__, _SCHEMA)
        self.duration = _histogram(meter)
        self.scored = meter.create_counter(SCORED, "{sample}", "Samples with a reward.")
        self.failed = meter.create_counter(FAILED, "{sample}", "Samples with an error.")
        self.tokens = meter.create_counter(TOKENS, "{token}", "Tokens of scored samples.")
        self.retries = meter.create_counter(
            RETRIES, "{request}", "Requests that repeated a failed one."
        )


def _histogram(meter: Meter) -> Histogram:
    """Return the histogram of durations.

    Versions up to 1.29 take no boundaries. The extra ``otel`` refuses them, but a process may have
    installed OpenTelemetry without the extra.
    """
    what = "Duration of HTTP client requests."
    try:
        return meter.create_histogram(
            DURATION, "s", what, explicit_bucket_boundaries_advisory=_BOUNDARIES
        )
    except TypeError:
        return meter.create_histogram(DURATION, "s", what)


class _Tracing:
    """The tracer of one provider of spans."""

    def __init__(self, provider: TracerProvider) -> None:
        self.provider = provider
        self.tracer: Tracer = provider.get_tracer(_SCOPE, __version__, _SCHEMA)


_found_instruments: _Instruments | None = None
_found_tracing: _Tracing | None = None


def start_call(operation: str, model: str | None) -> Span | None:
    """Start the span of a call; None if no provider of spans is set up.

    Args:
        operation: The name of the method.
        model: The model's name, as the caller gave it.
    """
    tracer = _tracer()
    if tracer is None:
        return None
    attributes: Attributes = {OPERATION: operation}
    if model is not None:
        attributes[REQUESTED_MODEL] = model
    name = operation if model is None else f"{operation} {model}"
    return tracer.start_span(name, kind=_client_kind(), attributes=attributes)


def end_call(
    span: Span,
    *,
    scored: int,
    failed: int,
    tokens: int,
    model: str | None,
    engine: str | None,
    error: str | None,
) -> None:
    """End the span of a call.

    Args:
        span: The span.
        scored: The number of samples with a reward.
        failed: The number of samples with an error.
        tokens: The number of tokens of the scored samples.
        model: The model that gave the first reward, if any did.
        engine: The engine that served it.
        error: The class name of the error that ended the call, if one did.
    """
    attributes: Attributes = {SCORED: scored, FAILED: failed, TOKENS_READ: tokens}
    if model is not None:
        attributes[MODEL] = model
    if engine is not None:
        attributes[PROVIDER] = engine
    _end(span, attributes, error)


def attach(span: Span) -> Attachment:
    """Make a span the parent of the spans that begin in the running task and its tasks."""
    from opentelemetry.context import attach
    from opentelemetry.trace import set_span_in_context

    return attach(set_span_in_context(span))


def detach(attachment: Attachment) -> None:
    """End what `attach` did."""
    from opentelemetry.context import detach

    detach(attachment)


def start_request(
    method: str, url: str, path: str, resends: int, headers: MutableMapping[str, str]
) -> Span | None:
    """Start the span of a request; None if no provider of spans is set up.

    Args:
        method: The HTTP method.
        url: The base URL of the server.
        path: The path.
        resends: The number of earlier attempts that failed.
        headers: The headers of the request. They get the trace's headers (W3C Trace Context).
    """
    tracer = _tracer()
    if tracer is None:
        return None
    from opentelemetry.trace import set_span_in_context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    attributes = {**_request(method, url, path), URL: f"{_without_user(url)}{path}"}
    if resends:
        attributes[RESENDS] = resends
    span = tracer.start_span(f"{method} {path}", kind=_client_kind(), attributes=attributes)
    if _TRACEPARENT not in headers:  # the caller's own headers go first
        TraceContextTextMapPropagator().inject(headers, set_span_in_context(span))
    return span


def end_request(span: Span, status: int | None, error: str | None) -> None:
    """End the span of a request.

    Args:
        span: The span.
        status: The HTTP status, if a response came.
        error: The value of ``error.type``; None for a usable response.
    """
    _end(span, {} if status is None else {STATUS: status}, error)


def note_request(
    method: str,
    url: str,
    path: str,
    seconds: float,
    *,
    status: int | None,
    error: str | None,
    is_retry: bool,
) -> None:
    """Record the duration of a request, if a provider of metrics is set up.

    Args:
        method: The HTTP method.
        url: The base URL of the server.
        path: The path.
        seconds: The duration.
        status: The HTTP status, if a response came.
        error: The value of ``error.type``; None for a usable response.
        is_retry: True if an earlier attempt of the same request had failed.
    """
    found = _instruments()
    if found is None:
        return
    if is_retry:
        found.retries.add(1, _request(method, url, path))
    attributes = _request(method, url, path)  # another object: the SDK may keep the first
    if status is not None:
        attributes[STATUS] = status
    if error is not None:
        attributes[ERROR] = error
    found.duration.record(seconds, attributes)


def has_metrics() -> bool:
    """Return True if a provider of metrics is set up."""
    return _instruments() is not None


def note_outcomes(counts: OutcomeCounts, model: str | None) -> None:
    """Count samples, if a provider of metrics is set up.

    Args:
        counts: Their outcomes.
        model: The model that gave the first reward, if any did.
    """
    found = _instruments()
    if found is None:
        return
    if model is not None:
        found.scored.add(counts.scored, {MODEL: model})
        found.tokens.add(counts.tokens, {MODEL: model})
    for name, number in Counter(type(error).__name__ for error in counts.errors).items():
        found.failed.add(number, {ERROR: name})


def _request(method: str, url: str, path: str) -> Attributes:
    """Return the attributes of a request, for its span and its metrics."""
    address, port = _server(url)
    return {METHOD: method, PATH: path, ADDRESS: address, PORT: port}


@lru_cache(maxsize=1024)
def _server(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or _DEFAULT_PORTS[parts.scheme]


def _without_user(url: str) -> str:
    """Return a base URL without user and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _end(span: Span, attributes: Attributes, error: str | None) -> None:
    from opentelemetry.trace import Status, StatusCode

    if error is not None:
        attributes = {**attributes, ERROR: error}
        span.set_status(Status(StatusCode.ERROR))
    span.set_attributes(attributes)
    span.end()


def _tracer() -> Tracer | None:
    """Return the tracer of the provider of spans; None if none is set up."""
    global _found_tracing  # noqa: PLW0603 - there is one provider in a process
    if "opentelemetry.trace" not in sys.modules:
        return None
    from opentelemetry.trace import get_tracer_provider

    provider = get_tracer_provider()
    if _is_of_api(provider):
        return None
    if _found_tracing is None or _found_tracing.provider is not provider:
        _found_tracing = _Tracing(provider)
    return _found_tracing.tracer


def _instruments() -> _Instruments | None:
    """Return the instruments of the provider of metrics; None if none is set up."""
    global _found_instruments  # noqa: PLW0603 - there is one provider in a process
    if "opentelemetry.metrics" not in sys.modules:
        return None
    from opentelemetry.metrics import get_meter_provider

    provider = get_meter_provider()
    if _is_of_api(provider):
        return None
    if _found_instruments is None or _found_instruments.provider is not provider:
        _found_instruments = _Instruments(provider)
    return _found_instruments


def _client_kind() -> SpanKind:
    from opentelemetry.trace import SpanKind

    return SpanKind.CLIENT


def _is_of_api(provider: TracerProvider | MeterProvider) -> bool:
    """Return True for the stand-ins of the API package, which do nothing."""
    return type(provider).__module__.startswith(("opentelemetry.trace", "opentelemetry.metrics"))
