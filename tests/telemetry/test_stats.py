"""What `stats` counts, against hand-counted work and what the servers saw."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import os
import pickle
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from reward_client import (
    AsyncRewardClient,
    BadRequestError,
    BatchError,
    ClientStats,
    InputError,
    Latency,
    Limits,
    RewardClient,
    RewardClientError,
    RewardTimeoutError,
    ServerStats,
    ServerUnreachableError,
    Timeouts,
)
from reward_client._telemetry.observation import Active
from reward_client._telemetry.tally import Tally, current_tally
from reward_client.methods import Verdict
from reward_client.testing import RewardServer

from ..support.either import OPENERS, EitherClient, Kind
from ..support.fake_vllm import BOS, ids_of, rendered
from ..support.raw_server import (
    CONVERSATION,
    Action,
    RawServer,
    Request,
    answer,
    response,
    then_reset,
    then_silent,
)
from ..support.scribe import Scribe

TOKENS = len(ids_of(rendered(CONVERSATION))) + 1
"""The tokens of the conversation, with BOS."""
CHAT = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
BUSY = response({"error": {"message": "overloaded"}}, 503, {"retry-after": "0"})


@contextmanager
def opened(kind: Kind, url: Any, **options: Any) -> Iterator[EitherClient]:
    client = OPENERS[kind](url, **options)
    try:
        yield client
    finally:
        client.close()


@pytest.fixture
def server() -> Iterator[RawServer]:
    with RawServer(answer) as server:
        yield server


@pytest.fixture(params=OPENERS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


def seen(*servers: RawServer) -> Counter[str]:
    """The requests that the servers saw, by path."""
    return Counter(request.path for server in servers for request in server.requests)


def failed(stats: ClientStats, server: RawServer) -> int:
    """The requests to a server that failed."""
    return stats.servers[server.url].failed_requests


def check_sums(stats: ClientStats) -> None:
    """Each total is the sum of its parts."""
    assert stats.failed == sum(stats.failures.values()) == sum(stats.faults.values())
    assert stats.requests == sum(stats.requests_by_path.values())
    assert stats.requests == sum(each.requests for each in stats.servers.values())
    assert stats.retries == sum(each.retries for each in stats.servers.values())
    assert stats.samples_per_second == stats.scored / stats.elapsed
    assert stats.tokens_per_second == stats.tokens / stats.elapsed
    if stats.latency is not None:
        latency = stats.latency
        assert 0 < latency.p50 <= latency.p90 <= latency.p99 <= latency.max < stats.elapsed


def test_a_new_client_has_done_nothing(kind: Kind, server: RawServer) -> None:
    before = datetime.now(UTC)
    with opened(kind, server.url) as client:
        stats = client.stats()
    assert before <= stats.started_at <= datetime.now(UTC)
    assert stats.elapsed > 0
    zero = dataclasses.replace(stats, started_at=before, elapsed=1.0)
    assert zero == ClientStats(
        started_at=before,
        elapsed=1.0,
        scored=0,
        failed=0,
        failures={},
        faults={},
        tokens=0,
        requests=0,
        requests_by_path={},
        retries=0,
        latency=None,
        servers={},
        samples_per_second=0.0,
        tokens_per_second=0.0,
    )
    assert server.requests == []  # asking sends nothing


def test_a_sample_and_the_requests_for_it(kind: Kind, server: RawServer) -> None:
    with opened(kind, server.url) as client:
        client.score(CONVERSATION)
        stats = client.stats()
    assert (stats.scored, stats.failed, stats.tokens, stats.retries) == (1, 0, TOKENS, 0)
    assert stats.requests_by_path == seen(server)  # those of the examination too
    assert stats.requests_by_path["/pooling"] > 1
    assert list(stats.servers) == [server.url]
    assert stats.servers[server.url].latency == stats.latency
    check_sums(stats)


def test_a_retry_is_a_request_and_no_sample(kind: Kind, server: RawServer) -> None:
    with opened(kind, server.url) as client:
        client.score(CONVERSATION)
        before = client.stats()
        server.forget()
        server.plan("/pooling", BUSY)
        client.score([*CONVERSATION[:-1], {"role": "assistant", "content": "five"}])
        stats = client.stats()
    assert stats.scored - before.scored == 1
    assert stats.failed == 0
    assert stats.retries - before.retries == 1
    assert seen(server) == {"/tokenize": 1, "/pooling": 2}
    assert stats.requests - before.requests == 3
    assert failed(stats, server) - failed(before, server) == 1
    check_sums(stats)


def test_a_repeat_after_a_reset_is_a_retry(kind: Kind, server: RawServer) -> None:
    with opened(kind, server.url) as client:
        client.score(CONVERSATION)
        server.plan("/tokenize", then_reset(b""))
        before = client.stats()
        client.score([*CONVERSATION[:-1], {"role": "assistant", "content": "five"}])
        stats = client.stats()
    assert (stats.scored, stats.retries - before.retries) == (2, 1)
    assert stats.requests_by_path == seen(server)


def test_failed_samples_by_kind_and_fault(kind: Kind, server: RawServer) -> None:
    with opened(kind, server.url, retry=1) as client:
        client.score(CONVERSATION)
        server.plan("/pooling", response({"error": {"message": "broken"}}, 500))
        with pytest.raises(RewardClientError):
            client.score([7, 8, 9])
        outcomes = client.score_many([CONVERSATION, "2+2?", [-1], CONVERSATION], on_error="return")
        stats = client.stats()
    assert [isinstance(each, Exception) for each in outcomes] == [False, True, True, False]
    assert (stats.scored, stats.failed, stats.tokens) == (3, 3, 3 * TOKENS)
    assert stats.failures == {"InputError": 2, "ServerError": 1}
    assert stats.faults == {"sample": 2, "server": 1}
    check_sums(stats)


def test_the_parts_of_a_refused_batch(kind: Kind, server: RawServer) -> None:
    lists = [[BOS, 5 + index] for index in range(8)]
    sizes: list[int] = []

    def refusing(request: Request) -> Action:
        given = (request.json or {}).get("input", [])
        if request.path == "/pooling":
            sizes.append(len(given))
            if lists[7] in given:
                return response({"error": {"message": "one is refused", "code": 400}}, 400)
        return answer(request)

    with opened(kind, server.url, limits=Limits(max_batch_items=8)) as client:
        client.servers()
        before = client.stats()
        server.answer = refusing
        outcomes = client.score_many(lists, on_error="return")
        stats = client.stats()
    assert [isinstance(each, BadRequestError) for each in outcomes] == [False] * 7 + [True]
    assert (stats.scored, stats.failed, stats.tokens) == (7, 1, 14)
    # All; the probe; the first half; of the second half two, one, and the culprit.
    assert sizes == [8, 1, 4, 2, 1, 1]
    assert stats.requests - before.requests == len(sizes)
    assert failed(stats, server) - failed(before, server) == 2
    assert stats.retries == 0
    check_sums(stats)


def test_equal_samples_count_each(kind: Kind, server: RawServer) -> None:
    with opened(kind, server.url) as client:
        client.servers()
        server.forget()
        client.score_many([[BOS, 5]] * 10)
        stats = client.stats()
    assert (stats.scored, stats.tokens) == (10, 20)
    assert seen(server) == {"/pooling": 1}


def test_two_replicas_of_which_one_dies(kind: Kind) -> None:
    lists = [[BOS, 5, index] for index in range(40)]
    with RawServer(answer) as one, RawServer(answer) as two:
        limits = Limits(max_batch_items=4, max_concurrency=2)
        with opened(kind, [one.url, two.url], limits=limits) as client:
            client.score_many(lists)
            both = client.stats()
            assert both.requests_by_path == seen(one, two)
            two.stop()
            client.score_many([[*each, 6] for each in lists])
            stats = client.stats()
    assert (both.scored, both.tokens) == (40, 120)
    assert (stats.scored, stats.failed, stats.tokens) == (80, 0, 120 + 160)
    assert stats.servers.keys() == {one.url, two.url}
    assert stats.servers[one.url].requests == len(one.requests)
    assert failed(stats, one) == failed(both, one)
    assert both.servers[two.url].requests == len(two.requests)
    # The dead one is tried, and the other takes the work over.
    assert failed(stats, two) > failed(both, two)
    assert str(stats).splitlines()[-2].startswith(f"{min(one.url, two.url)}: ")
    check_sums(stats)


def test_a_dead_server(kind: Kind, server: RawServer) -> None:
    server.stop()
    with opened(kind, server.url, retry=1) as client:
        with pytest.raises(ServerUnreachableError):
            client.score(CONVERSATION)
        stats = client.stats()
    assert (stats.scored, stats.failures) == (0, {"ServerUnreachableError": 1})
    assert stats.requests == stats.servers[server.url].failed_requests > 0
    check_sums(stats)


def test_a_batch_that_stops_at_its_first_failure(kind: Kind, server: RawServer) -> None:
    with opened(kind, server.url) as client:
        with pytest.raises(BatchError):
            client.score_many([CONVERSATION, "2+2?"])
        stats = client.stats()
    assert stats.failures == {"InputError": 1}
    assert stats.scored + stats.failed <= 2  # the other may have been stopped


def test_a_deadline_ends_a_sample_and_its_request(kind: Kind, server: RawServer) -> None:
    with opened(kind, server.url, timeout=Timeouts(total=0.5)) as client:
        client.servers()
        before = client.stats()
        server.forget()
        server.plan("/pooling", then_silent(b""))
        with pytest.raises(RewardTimeoutError):
            client.score([BOS, 5])
        stats = client.stats()
    assert (stats.scored, stats.failures) == (0, {"RewardTimeoutError": 1})
    assert stats.requests - before.requests == len(server.requests) == 1
    assert failed(stats, server) - failed(before, server) == 1


@pytest.mark.parametrize(
    ("call", "samples"),
    [
        (lambda client: client.score(CHAT), 1),
        (lambda client: client.score_many([CHAT] * 3), 3),
        (lambda client: list(client.stream([CHAT] * 3)), 3),
        (lambda client: list(client.stream([CHAT] * 3, ordered=False)), 3),
        (lambda client: client.score_rows([{"messages": CHAT}] * 3), 3),
        (
            lambda client: list(
                client.stream_rows([{"prompt": "2+2?", "chosen": "4", "rejected": "5"}] * 2)
            ),
            4,
        ),
        (lambda client: client.rank("2+2?", ["4", "5", "6"]), 3),
        (lambda client: client.rank_many(["2+2?", "3+3?"], [["4", "5"], ["6"]]), 3),
        (lambda client: client.tokenize(CHAT), 0),
        (lambda client: client.servers(), 0),
        (lambda client: client.diagnose(), 0),
        (lambda client: client.wait_until_ready(), 0),
    ],
    ids=[
        "score",
        "score_many",
        "stream",
        "stream out of order",
        "score_rows",
        "stream_rows",
        "rank",
        "rank_many",
        "tokenize",
        "servers",
        "diagnose",
        "wait_until_ready",
    ],
)
def test_every_call_counts_its_samples(
    kind: Kind, call: Callable[[Any], Any], samples: int
) -> None:
    with RewardServer() as server, opened(kind, server.url) as client:
        call(client)
        stats = client.stats()
    assert (stats.scored, stats.failed) == (samples, 0)
    assert stats.requests > 0
    check_sums(stats)


PAIR = Verdict(
    r"\[\[([AB])\]\]",
    "Q: {conversation}\nA: {response_a}\nB: {response_b}",
    values={"A": 1, "B": -1},
)


@pytest.mark.parametrize(
    ("text", "scored", "failures"), [("[[A]]", 3, {}), ("?", 0, {"BatchError": 3})]
)
def test_a_ranking_by_comparisons(kind: Kind, text: str, scored: int, failures: Any) -> None:
    scribe = Scribe(lambda prompt, seed: text)
    with opened(kind, "http://vllm", transport=scribe.transport(), method=PAIR) as client:
        if scored:
            client.rank("2+2?", ["4", "5", "6"])
        else:
            with pytest.raises(BatchError):
                client.rank("2+2?", ["4", "5", "6"])
        stats = client.stats()
    assert (stats.scored, stats.failures, stats.tokens) == (scored, failures, 0)
    check_sums(stats)


def test_rankings_of_many_prompts_by_comparisons(kind: Kind) -> None:
    scribe = Scribe(lambda prompt, seed: "?" if "bad" in prompt else "[[A]]")
    with opened(kind, "http://vllm", transport=scribe.transport(), method=PAIR) as client:
        client.rank_many(
            ["2+2?", "3+3?", "bad", []],
            [["4", "5", "6"], ["7", "8", "bad"], ["9", "10"], ["11"]],
            on_error="return",
        )
        stats = client.stats()
    # Of the second prompt, both comparisons of one response fail. The last prompt is none.
    assert stats.scored == 3 + 2
    assert stats.failures == {"GenerationError": 3, "InputError": 1}
    check_sums(stats)


def test_responses_to_a_prompt_that_is_none(kind: Kind, server: RawServer) -> None:
    with opened(kind, server.url) as client:
        with pytest.raises(InputError):
            client.rank([], ["4", "5"])
        client.rank_many(["2+2?", []], [["4", "5"], ["6", "7", "8"]], on_error="return")
        stats = client.stats()
    assert (stats.scored, stats.failures) == (2, {"InputError": 5})


def test_threads_count_exactly(server: RawServer) -> None:
    threads, each = 8, 200
    with RewardClient(server.url) as client:

        def work(number: int) -> None:
            samples = [[BOS, 5 + number, index] for index in range(each)]
            for sample in samples[:20]:
                client.score(sample)
            client.score_many(samples[20:150])
            with client.stream(samples[150:]) as results:
                for _ in results:
                    client.stats()

        running = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        stats = client.stats()
    assert (stats.scored, stats.failed) == (threads * each, 0)
    assert stats.tokens == threads * each * 3
    assert stats.requests_by_path == seen(server)
    check_sums(stats)


def test_tasks_of_one_loop_count_exactly(server: RawServer) -> None:
    async def main() -> ClientStats:
        async with AsyncRewardClient(server.url) as client:
            samples = [[BOS, 5, index] for index in range(300)]
            await asyncio.gather(
                client.score_many(samples[:100]),
                client.score_many(samples[100:200]),
                *map(client.score, samples[200:]),
            )
            return client.stats()

    stats = asyncio.run(main())
    assert (stats.scored, stats.failed, stats.tokens) == (300, 0, 900)
    assert stats.requests_by_path == seen(server)
    check_sums(stats)


def test_clients_of_equal_options_count_apart(kind: Kind, server: RawServer) -> None:
    """They share connections and batches; each request belongs to one of them."""
    with opened(kind, server.url) as one, opened(kind, server.url) as two:
        one.score_many([[BOS, 5], [BOS, 6]])
        assert two.stats().requests == 0
        two.score_many([[BOS, 7, 8]])
        of_one, of_two = one.stats(), two.stats()
    assert (of_one.scored, of_one.tokens) == (2, 4)
    assert (of_two.scored, of_two.tokens) == (1, 3)
    assert of_two.requests_by_path == {"/pooling": 1} if kind == "sync" else of_two.requests
    if kind == "sync":
        assert Counter(of_one.requests_by_path) + Counter(of_two.requests_by_path) == seen(server)


def test_a_shared_batch_counts_once(server: RawServer) -> None:
    async def main() -> tuple[ClientStats, ClientStats]:
        async with AsyncRewardClient(server.url) as one, AsyncRewardClient(server.url) as two:
            await one.servers()
            await asyncio.gather(two.score([BOS, 5]), one.score([BOS, 6]), two.score([BOS, 7]))
            return one.stats(), two.stats()

    one, two = asyncio.run(main())
    assert (one.scored, two.scored) == (1, 2)
    assert two.requests_by_path == {"/pooling": 1}  # all three in one request, its sample first
    assert Counter(one.requests_by_path) + Counter(two.requests_by_path) == seen(server)


def test_a_request_in_the_batch_of_an_ended_call_is_the_later_caller_s(server: RawServer) -> None:
    """A batch that waited leaves from the task of an earlier one."""
    limits = Limits(max_batch_items=1, max_concurrency=1)

    async def main() -> tuple[ClientStats, ClientStats]:
        async with (
            AsyncRewardClient(server.url, limits=limits) as one,
            AsyncRewardClient(server.url, limits=limits) as two,
        ):
            await one.servers()
            before = one.stats().requests
            await asyncio.gather(
                one.score([BOS, 5]), *(two.score([BOS, 6 + index]) for index in range(5))
            )
            assert one.stats().requests - before == 1
            return one.stats(), two.stats()

    one, two = asyncio.run(main())
    assert (one.scored, two.scored) == (1, 5)
    assert two.requests_by_path == {"/pooling": 5}


def test_a_dropped_task_ends_in_another_context() -> None:
    """The garbage collector throws GeneratorExit into it, wherever it runs."""

    def work() -> Generator[None]:
        with Active(Tally()):
            yield

    working = work()
    contextvars.copy_context().run(next, working)
    working.close()
    assert current_tally.get() is None


def test_a_closed_client_still_tells(kind: Kind, server: RawServer) -> None:
    with opened(kind, server.url) as client:
        client.score(CONVERSATION)
    stats = client.stats()
    assert stats.scored == 1
    assert stats.requests_by_path == seen(server)


def test_the_next_client_counts_from_zero(kind: Kind, server: RawServer) -> None:
    with opened(kind, server.url) as client:
        client.score(CONVERSATION)
        with opened(kind, server.url) as later:
            assert later.stats().scored == later.stats().requests == 0
            assert later.stats().started_at > client.stats().started_at


def test_an_unpickled_client_counts_from_zero(server: RawServer) -> None:
    with RewardClient(server.url) as client:
        client.score(CONVERSATION)
        with pickle.loads(pickle.dumps(client)) as twin:
            assert twin.stats().scored == twin.stats().requests == 0
            twin.score([BOS, 5])
            assert twin.stats().scored == 1
        assert client.stats().scored == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_counts_from_zero(server: RawServer) -> None:
    with RewardClient(server.url) as client:
        client.score(CONVERSATION)
        child = os.fork()
        if child == 0:
            told = 1
            try:
                first = client.stats()
                client.score(CONVERSATION)
                second = client.stats()
                told = 0 if (first.scored, first.requests, second.scored) == (0, 0, 1) else 2
            finally:
                os._exit(told)
        assert os.waitpid(child, 0)[1] == 0
        assert client.stats().scored == 1


def test_a_fork_under_a_held_lock(server: RawServer) -> None:
    """Another thread may count at the moment of the fork."""
    with RewardClient(server.url) as client:
        tally = client._session.tally
        with tally._lock:
            tally.reset()  # as in the child
            assert client.stats().scored == 0


def test_stats_are_plain_data(kind: Kind, server: RawServer) -> None:
    with opened(kind, server.url) as client:
        client.score_many([CONVERSATION, "2+2?"], on_error="return")
        stats = client.stats()
    assert pickle.loads(pickle.dumps(stats)) == stats
    assert dataclasses.asdict(stats)["servers"][server.url]["latency"]["max"] > 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        stats.scored = 2  # type: ignore[misc]
    assert isinstance(stats.servers[server.url], ServerStats)


def test_later_work_does_not_change_stats(kind: Kind, server: RawServer) -> None:
    with opened(kind, server.url) as client:
        client.score(CONVERSATION)
        stats = client.stats()
        copy = pickle.loads(pickle.dumps(stats))
        client.score_many([[BOS, 5], "2+2?"], on_error="return")
    assert stats == copy


LATENCY = Latency(p50=0.0123, p90=0.99951, p99=61.0, max=1234.5)


def test_stats_in_words() -> None:
    stats = ClientStats(
        started_at=datetime(2026, 1, 2, tzinfo=UTC),
        elapsed=12.5,
        scored=12_000,
        failed=3,
        failures={"InputError": 2, "ServerError": 1},
        faults={"sample": 2, "server": 1},
        tokens=1_500_000,
        requests=387,
        requests_by_path={"/pooling": 375, "/tokenize": 12},
        retries=1,
        latency=LATENCY,
        servers={
            "http://a": ServerStats(requests=386, failed_requests=0, retries=0, latency=LATENCY),
            "http://b": ServerStats(requests=1, failed_requests=1, retries=2, latency=None),
        },
        samples_per_second=960.0,
        tokens_per_second=120_000.0,
    )
    latency = "12.3 ms (50 %), 1.00 s (90 %), 61.00 s (99 %), 1,234.50 s (longest)"
    assert str(stats).splitlines() == [
        "scored:   12,000 samples in 12.5 s (960.0 samples/s, 120,000 tokens/s)",
        "failed:   3 samples (2 InputError, 1 ServerError)",
        "requests: 387 (375 /pooling, 12 /tokenize), 1 retry",
        f"latency:  {latency}",
        f"http://a: 386 requests, 0 failed, 0 retries; {latency}",
        "http://b: 1 request, 1 failed, 2 retries",
    ]


def test_stats_of_nothing_in_words() -> None:
    with RewardClient("http://localhost:1") as client:
        scored, requests = str(client.stats()).splitlines()
    assert scored.startswith("scored:   0 samples in ")
    assert requests == "requests: 0, 0 retries"


def test_urls_hold_no_credentials() -> None:
    with pytest.raises(RewardClientError, match="no user or password"):
        RewardClient("http://user:secret@localhost:1")
