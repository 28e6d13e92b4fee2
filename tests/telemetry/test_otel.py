"""Spans and metrics, as the SDK of OpenTelemetry records them."""

from __future__ import annotations

import asyncio
import gc
import itertools
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.metrics import _internal as metrics_internal
from opentelemetry.sdk.metrics import Meter, MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from reward_client import (
    AsyncRewardClient,
    BadRequestError,
    BatchError,
    Conversation,
    Limits,
    RewardClient,
    RewardClientError,
    RewardTimeoutError,
    ServerUnreachableError,
    Timeouts,
)
from reward_client._telemetry import otel
from reward_client._version import __version__
from reward_client.methods import Verdict
from reward_client.testing import RewardServer

from ..docs.pages import DOCS
from ..docs.tables import written
from ..support.either import OPENERS, EitherClient, Kind
from ..support.fake_vllm import BOS, FakeVllm, card
from ..support.raw_server import (
    CONVERSATION,
    RawServer,
    Request,
    answer,
    answering,
    response,
    then_silent,
)
from ..support.scribe import Scribe

PAGE = DOCS / "how-to" / "monitor.md"
BUSY = response({"error": {"message": "overloaded"}}, 503, {"retry-after": "0"})
PAIR = Verdict(
    r"\[\[([AB])\]\]",
    "Q: {conversation}\nA: {response_a}\nB: {response_b}",
    values={"A": 1, "B": -1},
)


SMALL = Limits(max_concurrency=2, max_batch_items=4)


@dataclass(frozen=True)
class Recorded:
    """What a provider of spans and a provider of metrics have recorded."""

    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = field(default_factory=InMemoryMetricReader)

    def spans(self, operation: str | None = None) -> list[ReadableSpan]:
        """Those of a call, or those of all requests."""
        spans = self.exporter.get_finished_spans()
        return [each for each in spans if (each.attributes or {}).get(otel.OPERATION) == operation]

    def call(self, operation: str) -> ReadableSpan:
        (span,) = self.spans(operation)
        return span

    def points(self, metric: str) -> list[tuple[dict[str, Any], Any]]:
        """The attributes and the point of each series of a metric."""
        data = self.reader.get_metrics_data()
        return [
            (dict(point.attributes), point)
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for each in scope.metrics
            if each.name == metric
            for point in each.data.data_points
        ]

    def total(self, metric: str) -> int:
        return sum(point.value for _, point in self.points(metric))


@pytest.fixture
def tracing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    recorded = Recorded()
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(recorded.exporter))
    # A process can set each of them once; these tests need new ones.
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", tracers)
    yield recorded
    tracers.shutdown()


@pytest.fixture
def recorded(tracing: Recorded, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    meters = MeterProvider(metric_readers=[tracing.reader])
    monkeypatch.setattr(metrics_internal, "_METER_PROVIDER", meters)
    yield tracing
    meters.shutdown()


@pytest.fixture
def server() -> Iterator[RawServer]:
    with RawServer(answer) as server:
        yield server


@pytest.fixture(params=OPENERS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


def opened(kind: Kind, url: Any, **options: Any) -> closing[EitherClient]:
    return closing(OPENERS[kind](url, **options))


def parent_of(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.span_id


def trace_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.trace_id


def is_sampled(request: Request) -> bool:
    """The last bit of the flags in the header (W3C Trace Context, section 3.2)."""
    version, _, _, flags = request.headers["traceparent"].split("-")
    assert version == "00"
    return bool(int(flags, 16) & 1)


def test_a_sample_is_a_call_with_its_requests(
    kind: Kind, server: RawServer, recorded: Recorded
) -> None:
    with opened(kind, server.url, model="tiny") as client:
        reward = client.score(CONVERSATION)
    call = recorded.call("score")
    assert call.name == "score tiny"
    assert call.kind is SpanKind.CLIENT
    assert call.status.status_code is StatusCode.UNSET
    assert dict(call.attributes or {}) == {
        "gen_ai.operation.name": "score",
        "gen_ai.provider.name": "vllm",
        "gen_ai.request.model": "tiny",
        "gen_ai.response.model": "tiny",
        "gen_ai.usage.input_tokens": reward.token_count,
        "reward_client.samples.scored": 1,
        "reward_client.samples.failed": 0,
    }
    scope = call.instrumentation_scope
    assert scope is not None
    assert (scope.name, scope.version) == ("reward_client", __version__)
    requests = recorded.spans()
    assert len(requests) == len(server.requests)
    for span in requests:
        assert parent_of(span) == id_of(call)
        assert trace_of(span) == trace_of(call)
        assert span.kind is SpanKind.CLIENT
    last = requests[-1]
    assert last.name == "POST /pooling"
    assert last.status.status_code is StatusCode.UNSET
    assert dict(last.attributes or {}) == {
        "http.request.method": "POST",
        "url.template": "/pooling",
        "url.full": f"{server.url}/pooling",
        "server.address": "127.0.0.1",
        "server.port": server.port,
        "http.response.status_code": 200,
    }
    assert call.start_time is not None
    assert call.end_time is not None
    assert last.end_time is not None
    assert last.end_time <= call.end_time


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_the_provider_is_the_engine(kind: Kind, engine: Any, recorded: Recorded) -> None:
    with RewardServer(engine=engine) as server, opened(kind, server.url) as client:
        client.score(CONVERSATION)
    attributes = recorded.call("score").attributes or {}
    assert attributes["gen_ai.provider.name"] == engine


def test_the_server_gets_the_trace(kind: Kind, server: RawServer, recorded: Recorded) -> None:
    with opened(kind, server.url) as client:
        client.score(CONVERSATION)
    spans = {f"{id_of(span):016x}": f"{trace_of(span):032x}" for span in recorded.spans()}
    sent = [request.headers["traceparent"].split("-") for request in server.requests]
    assert {span: of for _, of, span, _ in sent} == spans
    assert all(is_sampled(request) for request in server.requests)
    assert not any("baggage" in request.headers for request in server.requests)


def test_the_caller_s_own_header_stays(kind: Kind, server: RawServer, recorded: Recorded) -> None:
    own = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with opened(kind, server.url, headers={"traceparent": own}) as client:
        client.score(CONVERSATION)
    assert {request.headers["traceparent"] for request in server.requests} == {own}


@pytest.mark.parametrize(
    ("operation", "work", "samples"),
    [
        ("score", lambda client: client.score(CONVERSATION), 1),
        ("score_many", lambda client: client.score_many([CONVERSATION] * 3), 3),
        ("stream", lambda client: list(client.stream([CONVERSATION] * 3)), 3),
        ("stream", lambda client: list(client.stream_rows([{"messages": CONVERSATION}])), 1),
        ("score_many", lambda client: client.score_rows([{"messages": CONVERSATION}]), 1),
        ("rank", lambda client: client.rank("2+2?", ["4", "5"]), 2),
        ("rank_many", lambda client: client.rank_many(["a", "b"], [["4", "5"], ["6"]]), 3),
    ],
    ids=["score", "score_many", "stream", "stream_rows", "score_rows", "rank", "rank_many"],
)
def test_every_call_is_one_span_below_the_caller_s(
    kind: Kind,
    server: RawServer,
    recorded: Recorded,
    operation: str,
    work: Callable[[Any], Any],
    samples: int,
) -> None:
    """The synchronous client works in another thread."""
    tracer = trace.get_tracer("mine")
    with opened(kind, server.url) as client, tracer.start_as_current_span("mine") as mine:
        work(client)
        assert trace.get_current_span() is mine
    call = recorded.call(operation)
    assert parent_of(call) == mine.get_span_context().span_id
    attributes = call.attributes or {}
    assert attributes["reward_client.samples.scored"] == samples
    assert attributes["reward_client.samples.failed"] == 0
    requests = [span for span in recorded.spans() if span.name != "mine"]
    assert {parent_of(span) for span in requests} == {id_of(call)}
    assert len(requests) == len(server.requests)


@pytest.mark.parametrize("many", [False, True])
def test_a_ranking_by_comparisons(kind: Kind, recorded: Recorded, *, many: bool) -> None:
    scribe = Scribe(lambda prompt, seed: "[[A]]")
    with opened(kind, "http://vllm", transport=scribe.transport(), method=PAIR) as client:
        if many:
            client.rank_many(["2+2?"], [["4", "5", "6"]])
        else:
            client.rank("2+2?", ["4", "5", "6"])
    call = recorded.call("rank_many" if many else "rank")
    assert (call.attributes or {})["reward_client.samples.scored"] == 3
    texts = [span for span in recorded.spans() if span.name == "POST /v1/completions"]
    assert texts
    assert {parent_of(span) for span in texts} == {id_of(call)}


def test_requests_without_a_call_are_below_the_caller_s_span(
    kind: Kind, server: RawServer, recorded: Recorded
) -> None:
    tracer = trace.get_tracer("mine")
    with opened(kind, server.url) as client, tracer.start_as_current_span("mine") as mine:
        client.tokenize(CONVERSATION)
        client.servers()
    requests = [span for span in recorded.spans() if span.name != "mine"]
    assert len(requests) == len(server.requests)
    assert {parent_of(span) for span in requests} == {mine.get_span_context().span_id}


def test_calls_of_several_threads_have_their_own_requests(
    server: RawServer, recorded: Recorded
) -> None:
    tracer = trace.get_tracer("mine")
    with RewardClient(server.url) as client:
        client.servers()
        server.forget()
        recorded.exporter.clear()

        def work(number: int) -> None:
            with tracer.start_as_current_span(f"thread {number}"):
                for index in range(5):
                    client.score([BOS, 5, number, index])

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    mine = {span.name: span for span in recorded.spans() if span.name.startswith("thread")}
    calls = recorded.spans("score")
    assert len(calls) == 20
    for number in range(4):
        below = [call for call in calls if parent_of(call) == id_of(mine[f"thread {number}"])]
        assert len(below) == 5
    # A request is below the call of its first sample; others may share it.
    requests = [span for span in recorded.spans() if span.name == "POST /pooling"]
    assert {parent_of(span) for span in requests} <= {id_of(call) for call in calls}
    assert len(requests) == len(server.requests)


def test_concurrent_calls_of_one_loop(server: RawServer, recorded: Recorded) -> None:
    async def main() -> None:
        tracer = trace.get_tracer("mine")
        async with AsyncRewardClient(server.url) as client:
            await client.servers()

            async def one(name: str, ids: list[int]) -> None:
                with tracer.start_as_current_span(name) as span:
                    await client.score(ids)
                    assert trace.get_current_span() is span

            await asyncio.gather(one("a", [BOS, 5]), one("b", [BOS, 6]))

    asyncio.run(main())
    mine = {span.name: id_of(span) for span in recorded.spans() if span.name in "ab"}
    assert {parent_of(call) for call in recorded.spans("score")} == set(mine.values())


def test_a_retry_and_its_metrics(kind: Kind, server: RawServer, recorded: Recorded) -> None:
    with opened(kind, server.url) as client:
        client.servers()
        recorded.exporter.clear()
        server.plan("/pooling", BUSY)
        client.score([BOS, 5, 6])
    first, second = recorded.spans()
    assert first.status.status_code is StatusCode.ERROR
    assert first.status.description is None
    assert first.events == ()
    assert (first.attributes or {})["error.type"] == "503"
    assert (first.attributes or {})["http.response.status_code"] == 503
    assert "http.request.resend_count" not in (first.attributes or {})
    assert second.status.status_code is StatusCode.UNSET
    assert (second.attributes or {})["http.request.resend_count"] == 1
    assert parent_of(first) == parent_of(second) == id_of(recorded.call("score"))
    assert recorded.total("reward_client.retries") == 1
    ((attributes, _),) = recorded.points("reward_client.retries")
    assert attributes == {
        "http.request.method": "POST",
        "url.template": "/pooling",
        "server.address": "127.0.0.1",
        "server.port": server.port,
    }


def test_metrics_agree_with_stats_and_with_the_server(
    kind: Kind, server: RawServer, recorded: Recorded
) -> None:
    with opened(kind, server.url, retry=1) as client:
        client.score_many([CONVERSATION, [BOS, 5], "2+2?", [-1]], on_error="return")
        server.plan("/tokenize", response({"error": {"message": "no"}}, 500))
        with pytest.raises(RewardClientError):
            client.score([*CONVERSATION[:-1], {"role": "assistant", "content": "five"}])
        stats = client.stats()
    assert recorded.points("reward_client.samples.scored")[0][0] == {
        "gen_ai.response.model": "tiny"
    }
    assert recorded.total("reward_client.samples.scored") == stats.scored == 2
    assert recorded.total("reward_client.tokens") == stats.tokens
    failed = {
        attributes["error.type"]: point.value
        for attributes, point in recorded.points("reward_client.samples.failed")
    }
    assert failed == stats.failures == {"InputError": 2, "ServerError": 1}
    durations = recorded.points("http.client.request.duration")
    by_path: dict[str, int] = {}
    for attributes, point in durations:
        path = attributes["url.template"]
        by_path[path] = by_path.get(path, 0) + point.count
        assert attributes["server.port"] == server.port
        assert point.explicit_bounds[:2] == (0.005, 0.01)
        assert point.explicit_bounds[-1] == 10.0
        ended_well = attributes["http.response.status_code"] == 200
        assert ("error.type" in attributes) != ended_well
    assert by_path == stats.requests_by_path
    assert sum(by_path.values()) == len(server.requests)


def test_an_older_opentelemetry_has_the_histogram_without_its_buckets(
    kind: Kind, server: RawServer, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = Meter.create_histogram

    def as_in_1_29(self: Meter, name: str, unit: str = "", description: str = "") -> Any:
        return create(self, name, unit, description)

    monkeypatch.setattr(Meter, "create_histogram", as_in_1_29)
    with opened(kind, server.url) as client:
        client.score(CONVERSATION)
    assert recorded.points("http.client.request.duration")


def test_a_failed_sample(kind: Kind, server: RawServer, recorded: Recorded) -> None:
    with opened(kind, server.url) as client:
        client.servers()
        server.plan("/pooling", *[response({"error": {"message": "no", "code": 400}}, 400)] * 2)
        with pytest.raises(BadRequestError):
            client.score([BOS, 5])
    call = recorded.call("score")
    assert call.status.status_code is StatusCode.ERROR
    assert (call.attributes or {})["error.type"] == "BadRequestError"
    assert (call.attributes or {})["reward_client.samples.failed"] == 1
    assert "gen_ai.response.model" not in (call.attributes or {})


def test_a_batch_that_stops_has_the_error_of_its_sample(
    kind: Kind, server: RawServer, recorded: Recorded
) -> None:
    with opened(kind, server.url) as client, pytest.raises(BatchError):
        client.score_many(["2+2?"])
    call = recorded.call("score_many")
    assert call.status.status_code is StatusCode.ERROR
    assert (call.attributes or {})["error.type"] == "InputError"


def test_returned_errors_end_no_call(kind: Kind, server: RawServer, recorded: Recorded) -> None:
    with opened(kind, server.url) as client:
        client.score_many(["2+2?"], on_error="return")
        list(client.stream(["2+2?"]))
    for call in (recorded.call("score_many"), recorded.call("stream")):
        assert call.status.status_code is StatusCode.UNSET
        assert (call.attributes or {})["reward_client.samples.failed"] == 1


def test_an_error_that_leaves_a_stream(server: RawServer, recorded: Recorded) -> None:
    def work(client: RewardClient) -> None:
        with client.stream([CONVERSATION]) as results:
            next(results)
            raise KeyError("mine")

    async def work_async(client: AsyncRewardClient) -> None:
        async with client, client.stream([CONVERSATION]) as results:
            await anext(results)
            raise KeyError("mine")

    with RewardClient(server.url) as client, pytest.raises(KeyError):
        work(client)
    with pytest.raises(KeyError):
        asyncio.run(work_async(AsyncRewardClient(server.url)))
    calls = recorded.spans("stream")
    assert [(call.attributes or {})["error.type"] for call in calls] == ["KeyError"] * 2


def test_leaving_a_stream_early_is_no_error(server: RawServer, recorded: Recorded) -> None:
    with RewardClient(server.url) as client:
        with client.stream([CONVERSATION] * 100) as results:
            next(results)
        rows = client.stream_rows({"messages": CONVERSATION} for _ in range(100))
        next(rows)
        rows.close()
    for call in recorded.spans("stream"):
        assert call.status.status_code is StatusCode.UNSET
    assert len(recorded.spans("stream")) == 2


def test_a_stream_of_a_client_that_closes_ends(server: RawServer, recorded: Recorded) -> None:
    client = RewardClient(server.url)
    results = client.stream([CONVERSATION] * 3)
    next(results)
    client.close()
    results.close()
    results.close()
    assert recorded.call("stream").end_time is not None


def endless() -> Iterator[list[int]]:
    return ([BOS, index] for index in itertools.count())


def scored_in(call: ReadableSpan) -> Any:
    return (call.attributes or {})["reward_client.samples.scored"]


def test_a_forgotten_stream_ends_and_its_work_stops(server: RawServer, recorded: Recorded) -> None:
    with RewardClient(server.url, limits=SMALL) as client:
        for result in client.stream(endless()):
            assert result.reward is not None
            break
        client.score([BOS, 5, 5])  # behind the end of the stream, on the client's loop
        scored = scored_in(recorded.call("stream"))
        assert scored > 0
        assert client.stats().scored == scored + 1
        client.score([BOS, 5, 6])
        assert client.stats().scored == scored + 2


def test_a_forgotten_asynchronous_stream_ends_and_its_work_stops(
    server: RawServer, recorded: Recorded
) -> None:
    async def samples() -> AsyncIterator[list[int]]:
        for sample in endless():
            yield sample

    async def main() -> None:
        async with AsyncRewardClient(server.url, limits=SMALL) as client:
            for given in (endless(), samples()):
                before = client.stats().scored
                async for result in client.stream(given):
                    assert result.reward is not None
                    break
                gc.collect()
                await client.score([BOS, 5, 5])
                assert asyncio.all_tasks() == {asyncio.current_task()}
                assert scored_in(recorded.call("stream")) == client.stats().scored - before - 1 > 0
                recorded.exporter.clear()

    asyncio.run(main())


def test_an_asynchronous_stream_that_outlives_its_loop_ends(
    server: RawServer, recorded: Recorded
) -> None:
    kept: list[Any] = []

    async def main() -> None:
        client = AsyncRewardClient(server.url)
        kept.append(client.stream(endless()))
        await anext(kept[0])

    asyncio.run(main())
    assert not recorded.spans("stream")
    kept.clear()
    gc.collect()
    assert scored_in(recorded.call("stream")) > 0


def test_a_stream_that_was_never_read_ends(
    kind: Kind, server: RawServer, recorded: Recorded
) -> None:
    def broken() -> Any:
        class Broken:
            def __iter__(self) -> Iterator[list[int]]:
                raise OSError("no such samples")

        return Broken()

    client: Any = {"sync": RewardClient, "async": AsyncRewardClient}[kind](server.url)
    client.stream(endless())
    gc.collect()
    assert scored_in(recorded.call("stream")) == 0
    recorded.exporter.clear()
    with pytest.raises(OSError, match="no such samples"):
        client.stream(broken())
    assert not recorded.spans("stream")
    asyncio.run(client.aclose()) if kind == "async" else client.close()


def test_a_stream_ends_with_its_client(server: RawServer, recorded: Recorded) -> None:
    kept: list[Any] = []
    for client in (RewardClient(server.url), RewardClient(server.url)):
        with client:
            kept.append(client.stream(endless()))
            next(kept[-1])
        assert scored_in(recorded.call("stream")) == client.stats().scored
        recorded.exporter.clear()

    async def main() -> None:
        async with AsyncRewardClient(server.url) as client:
            kept.append(client.stream(endless()))
            await anext(kept[-1])
        assert scored_in(recorded.call("stream")) == client.stats().scored

    asyncio.run(main())
    recorded.exporter.clear()
    kept.clear()
    gc.collect()
    assert not recorded.spans("stream")  # it has ended before


def test_a_refused_connection(kind: Kind, server: RawServer, recorded: Recorded) -> None:
    server.stop()
    with opened(kind, server.url, retry=1) as client, pytest.raises(ServerUnreachableError):
        client.score(CONVERSATION)
    request = recorded.spans()[0]
    assert request.status.status_code is StatusCode.ERROR
    assert (request.attributes or {})["error.type"] == "ServerUnreachableError"
    assert "http.response.status_code" not in (request.attributes or {})
    ((attributes, _), *_) = recorded.points("http.client.request.duration")
    assert attributes["error.type"] == "ServerUnreachableError"


def test_a_stopped_request_ends(kind: Kind, server: RawServer, recorded: Recorded) -> None:
    with opened(kind, server.url, timeout=Timeouts(total=0.5)) as client:
        client.servers()
        recorded.exporter.clear()
        server.plan("/pooling", then_silent(b""))
        with pytest.raises(RewardTimeoutError):
            client.score([BOS, 5])
    (request,) = recorded.spans()
    assert (request.attributes or {})["error.type"] == "CancelledError"
    assert (recorded.call("score").attributes or {})["error.type"] == "RewardTimeoutError"


SECRETS = ("sk-verysecretkey", "tenant-secret-token", "my private prompt", "private answer")


def texts_of(recorded: Recorded) -> str:
    """Everything that leaves the process."""
    spans = [span.to_json() for span in recorded.exporter.get_finished_spans()]
    data = recorded.reader.get_metrics_data()
    return "".join([*spans, data.to_json() if data else ""])


def test_no_prompt_and_no_key_is_told(kind: Kind, recorded: Recorded) -> None:
    """Even if the server has the key as its name, and repeats the prompt in an error."""
    key, tenant, prompt, reply = SECRETS

    fake = FakeVllm(cards=[card(key)])
    with RawServer(answering(fake)) as server:
        headers = {"x-tenant": tenant}
        chat = [{"role": "user", "content": prompt}, {"role": "assistant", "content": reply}]
        with opened(kind, server.url, api_key=key, headers=headers) as client:
            client.score(chat)
            echo = {"error": {"message": f"refused: {prompt} {key} {tenant}", "code": 400}}
            server.plan("/pooling", *[response(echo, 400)] * 9)
            with pytest.raises(RewardClientError):
                client.score([BOS, 7])
            with pytest.raises(RewardClientError):
                client.score_many([Conversation(chat), [BOS, 8]])
    assert server.requests
    assert all(key in request.headers["authorization"] for request in server.requests)
    told = texts_of(recorded)
    assert "reward_client.samples.failed" in told
    for secret in SECRETS:
        assert secret not in told
    assert (recorded.spans("score")[0].attributes or {})["gen_ai.response.model"] == "***"


def cells(header: str) -> list[list[str]]:
    """The rows of a table of the page about monitoring; names without their quotes."""
    rows = written(PAGE, header)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def names_in(cell: str) -> set[str]:
    return {name.strip().strip("`") for name in cell.split(",")}


def test_the_page_names_all_that_is_told(server: RawServer, recorded: Recorded) -> None:
    with RewardClient(server.url, model="tiny", retry=2) as client:
        client.servers()
        server.plan("/pooling", BUSY)
        client.score([BOS, 5])
        server.plan("/pooling", BUSY, BUSY)
        with pytest.raises(RewardClientError):
            client.score([BOS, 6])
    spans = recorded.exporter.get_finished_spans()
    calls = {key for span in recorded.spans("score") for key in span.attributes or {}}
    of_any = {key for span in spans for key in span.attributes or {}}
    requests = {key for span in recorded.spans() for key in span.attributes or {}}
    told = {name: ["call"] * (name in calls) + ["request"] * (name in requests) for name in of_any}
    shown = {
        name.strip("`"): kinds.split(", ")
        for name, kinds, _ in cells("| Attribute | Span | Meaning |")
    }
    assert shown == told

    data = recorded.reader.get_metrics_data()
    assert data is not None
    metrics = {
        each.name: (
            each.unit,
            type(each.data).__name__.replace("Sum", "Counter"),
            {key for point in each.data.data_points for key in point.attributes or {}},
        )
        for each in data.resource_metrics[0].scope_metrics[0].metrics
    }
    assert metrics == {
        name.strip("`"): (unit.strip("`"), meaning.partition(":")[0], names_in(attributes))
        for name, unit, meaning, attributes in cells("| Metric | Unit | Meaning | Attributes |")
    }


def test_a_url_loses_its_user() -> None:
    assert otel._without_user("http://user:secret@host:8000/base") == "http://host:8000/base"
    assert otel._server("https://user:secret@host") == ("host", 443)
    assert otel._server("http://[::1]:8000") == ("::1", 8000)


def test_only_metrics(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = Recorded()
    meters = MeterProvider(metric_readers=[recorded.reader])
    monkeypatch.setattr(metrics_internal, "_METER_PROVIDER", meters)
    with RewardClient(server.url) as client:
        client.score(CONVERSATION)
    assert recorded.total("reward_client.samples.scored") == 1
    assert not any("traceparent" in request.headers for request in server.requests)
    meters.shutdown()


def test_only_spans(server: RawServer, tracing: Recorded) -> None:
    with RewardClient(server.url) as client:
        client.score(CONVERSATION)
    assert (tracing.call("score").attributes or {})["gen_ai.response.model"] == "tiny"


def test_a_provider_that_is_set_up_later(
    kind: Kind, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(kind, server.url) as client:
        client.score(CONVERSATION)
        recorded = Recorded()
        tracers = TracerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(recorded.exporter))
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", tracers)
        client.score(CONVERSATION)
    assert recorded.call("score").status.status_code is StatusCode.UNSET


def test_a_sampler_that_drops_spans(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    monkeypatch.setattr(trace, "_TRACER_PROVIDER", TracerProvider(sampler=ALWAYS_OFF))
    with RewardClient(server.url) as client:
        client.score(CONVERSATION)
    assert not any(is_sampled(request) for request in server.requests)


def run(script: str) -> str:
    """Run a script in a new process, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_the_package_and_without_a_provider(server: RawServer) -> None:
    """Nothing is imported, nor is any instrument made."""
    script = f"""
import sys
from reward_client import RewardClient
client = RewardClient({server.url!r})
client.score({CONVERSATION!r})
print([name for name in sys.modules if name.startswith("opentelemetry")])
import opentelemetry.trace, opentelemetry.metrics
from reward_client._telemetry import otel
client.score({CONVERSATION!r})
print(otel._found_tracing, otel._found_instruments, otel.has_metrics())
client.close()
"""
    assert run(script).splitlines() == ["[]", "None None False"]
    assert not any("traceparent" in request.headers for request in server.requests)


def test_a_missing_package(server: RawServer) -> None:
    script = f"""
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "opentelemetry":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
from reward_client import RewardClient
with RewardClient({server.url!r}) as client:
    client.score_many([{CONVERSATION!r}] * 2)
    print(client.stats().scored)
"""
    assert run(script).strip() == "2"
