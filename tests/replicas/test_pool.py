"""Several replicas behind one client: who is taken in, who gets the work, and who takes over."""

from __future__ import annotations

import asyncio
import itertools
import pickle
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import httpx
import pytest

from reward_client import (
    AsyncRewardClient,
    AuthenticationError,
    BadRequestError,
    BatchError,
    InputError,
    Limits,
    PromptTooLongError,
    ReplicaMismatchError,
    RetryPolicy,
    RewardClient,
    ServerUnreachableError,
    StepHead,
)
from reward_client._client import watch
from reward_client._replicas import pool as fleet_module

from ..support.either import OPENERS, EitherClient
from ..support.fake_vllm import CHAT, CHAT_TOKENS, FakeVllm, card

ONCE = RetryPolicy(attempts=1)
QUICK = RetryPolicy(attempts=3, max_wait=0.01)
RAW = len(CHAT_TOKENS) - 5.5

Before = Callable[[httpx.Request], httpx.Response | None]
Connect = Callable[..., EitherClient]


def refused(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


def cut(request: httpx.Request) -> httpx.Response:
    raise httpx.RemoteProtocolError("peer closed connection", request=request)


def saying(status: int, message: str) -> Before:
    error = {"error": {"message": message, "type": "Error", "code": status}}
    return lambda request: httpx.Response(status, json=error)


def scoring(then: Before) -> Before:
    """What happens to requests of token lists that are no probes."""

    def before(request: httpx.Request) -> httpx.Response | None:
        is_scored = request.url.path == "/pooling" and b"[1000," in request.content
        return then(request) if is_scored else None

    return before


def first(ids: list[int]) -> list[float]:
    return [ids[1] - 5.5 if ids[0] == 1000 else len(ids) - 5.5]


def lists(number: int) -> list[list[int]]:
    return [[1000, place, 7] for place in range(number)]


def replica(**changes: Any) -> FakeVllm:
    return FakeVllm(**{"pool": first, **changes})


def urls(servers: tuple[FakeVllm, ...]) -> list[str]:
    return [f"http://{name}" for name in "abcdef"[: len(servers)]]


def transport(servers: tuple[FakeVllm, ...]) -> httpx.AsyncBaseTransport:
    async def answer(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0)
        return servers["abcdef".index(request.url.host)].answer(request)

    return httpx.MockTransport(answer)


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    with ExitStack() as opened:

        def open_client(*servers: FakeVllm, **options: Any) -> EitherClient:
            options = {"retry": QUICK, "transport": transport(servers), **options}
            return opened.enter_context(closing(OPENERS[request.param](urls(servers), **options)))

        yield open_client


@pytest.fixture
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_module, "RESTART_SECONDS", 0.0)


def until_left_out(client: EitherClient, server: FakeVllm, trouble: Before = refused) -> None:
    server.before = trouble
    for sample in lists(60):
        client.score(sample)


def sent(*servers: FakeVllm) -> Counter[int]:
    """How often each of `lists` was sent."""
    return Counter(
        ids[1]
        for server in servers
        for body in server.asked("/pooling")
        for ids in body["input"]
        if ids[0] == 1000
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cards": [card("judge", root="another")]}, "root and another|another and root"),
        ({"version": "0.31.2"}, "vLLM"),
        (
            {"chat_tokens": [1, 10, 99, 12]},
            "different token IDs for the same sample, from position 2",
        ),
        ({"pool": lambda ids: [len(ids) - 5.4]}, "-1.5 and -1.4|-1.4 and -1.5"),
    ],
    ids=["model", "version", "template", "reward"],
)
@pytest.mark.parametrize("place", [0, 1])
def test_what_tells_them_apart_at_the_start(
    connect: Connect, changes: Any, said: str, place: int
) -> None:
    servers = [replica(), replica(), replica()]
    servers[place] = replica(**changes)
    client = connect(*servers)
    for ask in (lambda: client.score([1000, 3, 7]), client.servers, lambda: client.tokenize(CHAT)):
        with pytest.raises(ReplicaMismatchError, match=said) as caught:
            ask()
        named = [url for url in urls(tuple(servers)) if url in str(caught.value)]
        assert len(named) == 2
        assert urls(tuple(servers))[place] in named
    assert not sent(*servers)


def test_another_patch_version_is_a_warning(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    client = connect(replica(), replica(version="0.32.1"))
    assert client.score(CHAT).value == RAW
    assert "Run the same version on both" in caplog.text
    assert {profile.version for profile in client.servers()} == {"0.32.0", "0.32.1"}


def test_the_tolerance_is_the_callers(connect: Connect) -> None:
    others = (replica(), replica(pool=lambda ids: [len(ids) - 5.4]))
    assert len(connect(*others, limits=Limits(replica_tolerance=0.11)).servers()) == 2
    with pytest.raises(ReplicaMismatchError):
        connect(*others).servers()
    close = (replica(), replica(pool=lambda ids: [len(ids) - 5.481]))
    assert len(connect(*close).servers()) == 2
    with pytest.raises(ReplicaMismatchError):
        connect(*close, limits=Limits(replica_tolerance=0.001)).servers()


def test_a_model_without_chat_template_is_compared_by_ids(connect: Connect) -> None:
    def before(request: httpx.Request) -> httpx.Response | None:
        if b"messages" in request.content:
            return saying(400, "no chat template")(request)
        return None

    same = [replica(before=before) for _ in range(2)]
    assert connect(*same).score([1000, 3, 7]).value == -2.5
    other = replica(before=before, pool=lambda ids: [9.0 - len(ids)])
    with pytest.raises(ReplicaMismatchError):
        connect(replica(before=before), other).score([1000, 3, 7])


def test_replicas_that_score_steps(connect: Connect) -> None:
    step = 77

    def before(request: httpx.Request) -> httpx.Response | None:
        if request.url.path == "/detokenize":
            return httpx.Response(200, json={"prompt": "<s>"})
        return None

    def rows(shift: float) -> Callable[[list[int]], Any]:
        return lambda ids: [[place - 2.0, shift - place] for place, _ in enumerate(ids)]

    def server(shift: float) -> FakeVllm:
        tokens = [1, step, 12, step]
        tasks = ("token_classify",)
        return FakeVllm(before=before, chat_tokens=tokens, pool=rows(shift), tasks=tasks)

    head = StepHead(step_token=step, good_label=0, aggregate="min")
    assert len(connect(server(1.0), server(1.0), head=head).servers()) == 2
    with pytest.raises(ReplicaMismatchError, match="for the same sample"):
        connect(server(1.0), server(1.5), head=head).servers()


def test_one_that_is_not_there_at_the_start_is_left_out(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    client = connect(replica(before=refused), replica())
    assert client.score(CHAT).value == RAW
    assert [profile.url for profile in client.servers()] == ["http://b"]
    assert "http://a is out of rotation: ServerUnreachableError" in caplog.text


def test_none_is_there(connect: Connect) -> None:
    servers = [replica(before=refused) for _ in range(3)]
    outcomes = connect(*servers).score_many(lists(200), on_error="return")
    assert {type(outcome) for outcome in outcomes} == {ServerUnreachableError}
    assert sum(len(server.requests) for server in servers) < 100


def test_what_its_operator_must_mend_is_not_left_out(connect: Connect) -> None:
    with pytest.raises(AuthenticationError, match="http://b"):
        connect(replica(), replica(before=saying(401, "no"))).score(CHAT)


def test_all_take_part_and_every_sample_is_scored_once(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_MANY", 1000)  # a proof scores some again
    servers = [replica() for _ in range(4)]
    client = connect(*servers, limits=Limits(max_batch_items=4))
    client.servers()
    samples = lists(400)
    assert [r.value for r in client.score_many(samples)] == [place - 5.5 for place in range(400)]
    assert sent(*servers) == Counter(range(400))
    shares = [sum(sent(server).values()) for server in servers]
    assert min(shares) >= 80
    for server in servers:
        server.requests.clear()
    assert [r.value for r in client.score_many([CHAT] * 40)] == [RAW] * 40
    assert min(len(server.asked("/tokenize")) for server in servers) >= 8


def test_one_call_after_another_goes_to_any(connect: Connect) -> None:
    """By chance, so that many clients do not all begin with the first: 1e-15 to miss one."""
    servers = [replica() for _ in range(3)]
    client = connect(*servers)
    for sample in lists(90):
        client.score(sample)
    assert all(sent(server) for server in servers)


def test_the_one_with_the_least_to_do_gets_the_next_pack() -> None:
    """While one hangs over a long list, the other scores all that are short."""

    async def main() -> tuple[Counter[int], Counter[int]]:
        servers = (replica(), replica())
        released, hung = asyncio.Event(), asyncio.Event()

        async def answer(request: httpx.Request) -> httpx.Response:
            if request.url.path == "/pooling" and b"[1000,0," in request.content:
                hung.set()
                await released.wait()
            return servers["ab".index(request.url.host)].answer(request)

        limits = Limits(max_batch_items=1)
        transport = httpx.MockTransport(answer)
        async with AsyncRewardClient(
            ["http://a", "http://b"], transport=transport, limits=limits
        ) as client:
            await client.servers()
            long = asyncio.create_task(client.score([1000, 0, *range(500)]))
            await hung.wait()
            rewards = await client.score_many(lists(50)[1:])
            assert [reward.value for reward in rewards] == [place - 5.5 for place in range(1, 50)]
            released.set()
            await long
        one, other = sent(servers[0]), sent(servers[1])
        return (one, other) if 0 in one else (other, one)

    busy, idle = asyncio.run(main())
    assert busy == Counter([0])
    assert idle == Counter(range(1, 50))


@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        (refused, "ServerUnreachableError"),
        (cut, "TransportError"),
        (saying(500, "EngineCore encountered an issue"), "EngineDeadError"),
        (saying(500, "Internal Server Error"), "ServerError"),
        (saying(503, "starting"), "ServerError"),
    ],
    ids=["refused", "cut", "dead", "500", "503"],
)
def test_another_takes_over_at_once(
    connect: Connect, caplog: pytest.LogCaptureFixture, trouble: Before, error: str
) -> None:
    good, bad = replica(), replica()
    client = connect(good, bad, limits=Limits(max_batch_items=4))
    client.servers()
    bad.before = scoring(trouble)
    values = [reward.value for reward in client.score_many(lists(100))]
    assert values == [place - 5.5 for place in range(100)]
    assert f"http://b is out of rotation: {error}" in caplog.text
    assert sent(good) == Counter(range(100))
    assert max(sent(bad).values()) == 1
    assert [profile.url for profile in client.servers()] == ["http://a"]


def test_another_tokenizes(connect: Connect) -> None:
    good, bad = replica(), replica()
    client = connect(good, bad)
    client.servers()
    bad.before = refused
    assert {client.tokenize(CHAT).token_ids for _ in range(60)} == {tuple(CHAT_TOKENS)}
    assert [profile.url for profile in client.servers()] == ["http://a"]


@pytest.mark.usefixtures("_no_pauses")
def test_one_that_comes_back_is_compared_and_gets_work_again(connect: Connect) -> None:
    good, bad = replica(), replica()
    client = connect(good, bad)
    client.servers()
    until_left_out(client, bad)
    assert [profile.url for profile in client.servers()] == ["http://a"]
    bad.before = lambda request: None
    bad.requests.clear()
    for sample in lists(500):
        assert client.score(sample).value == sample[1] - 5.5
    paths = [path for path, _ in bad.requests]
    assert paths[: paths.index("/pooling")].count("/v1/models") == 1
    assert any(body["messages"] for body in bad.asked("/tokenize") if "messages" in body)
    assert len(sent(bad)) >= 5
    assert len(client.servers()) == 2


@pytest.mark.parametrize("trouble", [refused, scoring(saying(500, "?"))], ids=["refused", "500"])
def test_one_that_comes_back_as_another_model_stays_out(
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    trouble: Before,
) -> None:
    good, bad = replica(), replica()
    client = connect(good, bad)
    client.servers()
    pause = 1.0
    monkeypatch.setattr(fleet_module, "RESTART_SECONDS", pause)
    until_left_out(client, bad, trouble)
    bad.before = lambda request: None
    bad.pool = lambda ids: [len(ids) * 2.0]
    bad.requests.clear()
    time.sleep(pause)
    for _ in range(50):
        rewards = client.score_many(lists(20))
        assert [reward.value for reward in rewards] == [place - 5.5 for place in range(20)]
    assert not sent(bad)
    assert "http://b stays out of rotation: ReplicaMismatchError" in caplog.text
    assert [profile.url for profile in client.servers()] == ["http://a"]


def test_one_that_becomes_another_model_unseen_is_left_out(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """Its replies name another model; what it gives is not believed."""
    good, bad = replica(), replica()
    client = connect(good, bad, limits=Limits(max_batch_items=4))
    client.servers()
    bad.cards = [card("impostor", root="impostor"), card("judge", root="impostor")]
    bad.pool, bad.response_model = (lambda ids: [77.0 + len(ids)]), "impostor"
    values = [reward.value for reward in client.score_many(lists(100))]
    assert values == [place - 5.5 for place in range(100)]
    assert "http://b is out of rotation: ReplicaMismatchError" in caplog.text


def test_pauses_between_looks_grow(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(fleet_module.time, "monotonic", lambda: now[0])
    good, bad = replica(), replica(before=refused)
    client = connect(good, bad, retry=ONCE)
    client.servers()
    looked: list[float] = []
    for second in range(400):
        now[0] = float(second)
        bad.requests.clear()
        for sample in lists(3):
            client.score(sample)
        if bad.requests:
            looked.append(now[0])
    assert looked[0] == 4
    pauses = [later - earlier for earlier, later in itertools.pairwise(looked)]
    assert pauses == [8, 16, 32, 60, 60, 60, 60, 60]


@pytest.mark.parametrize(
    "trouble", [cut, saying(500, "EngineCore encountered an issue"), saying(500, "?")]
)
def test_what_was_in_flight_at_two_deaths_is_sent_to_no_third(
    connect: Connect, trouble: Before
) -> None:
    """The sample is the killer: the others are scored by those that are left."""
    servers = [replica() for _ in range(4)]
    client = connect(*servers, limits=Limits(max_batch_items=1))
    client.servers()

    def before(request: httpx.Request) -> httpx.Response | None:
        if request.url.path == "/pooling" and b"[1000,13," in request.content:
            return trouble(request)
        return None

    for server in servers:
        server.before = before
    outcomes = client.score_many(lists(40), on_error="return")
    for place, outcome in enumerate(outcomes):
        if place == 13:
            assert isinstance(outcome, Exception)
        else:
            assert outcome.value == place - 5.5
    assert sent(*servers)[13] == 2
    assert len(client.servers()) == 2


def test_what_was_never_sent_moves_on(connect: Connect) -> None:
    servers = [replica() for _ in range(4)]
    client = connect(*servers)
    client.servers()
    for server in servers[:3]:
        server.before = refused
    assert client.score([1000, 3, 7]).value == -2.5


def test_all_die(connect: Connect) -> None:
    """It ends soon, and keeps what was scored."""
    servers = [replica() for _ in range(3)]
    client = connect(*servers, limits=Limits(max_batch_items=1))
    client.servers()
    responses = iter(range(60))

    def dying(request: httpx.Request) -> httpx.Response | None:
        return None if next(responses, None) is not None else refused(request)

    for server in servers:
        server.before = dying
    with pytest.raises(BatchError) as caught:
        client.score_many(lists(2000))
    assert isinstance(caught.value.__cause__, ServerUnreachableError)
    results = caught.value.results
    assert 20 < len(results) <= 60
    assert all(each.reward and each.reward.value == each.index - 5.5 for each in results)
    assert sum(len(server.requests) for server in servers) < 1000
    for server in servers:
        server.requests.clear()
    outcomes = client.score_many(lists(500), on_error="return")
    assert {type(outcome) for outcome in outcomes} == {ServerUnreachableError}
    assert sum(len(server.requests) for server in servers) < 1000


@pytest.mark.usefixtures("_no_pauses")
def test_the_last_one_is_gone_and_another_is_back(connect: Connect) -> None:
    one, other = replica(), replica()
    client = connect(one, other)
    client.servers()
    until_left_out(client, other)
    one.before, other.before = refused, lambda request: None
    assert client.score([1000, 3, 7]).value == -2.5


def test_the_last_one_is_tried_as_often_as_the_policy_says(connect: Connect) -> None:
    one, other = replica(), replica()
    client = connect(one, other)
    client.servers()
    until_left_out(client, other)
    troubles = iter([saying(503, "later")] * 2)
    one.before = scoring(lambda request: next(troubles, lambda _: None)(request))
    assert client.score([1000, 3, 7]).value == -2.5


def test_both_are_busy_for_a_moment(connect: Connect) -> None:
    """The one that is left last is tried again."""
    servers = [replica(), replica()]
    client = connect(*servers)
    client.servers()
    troubles = iter([saying(503, "later")] * 2)
    for server in servers:
        server.before = scoring(lambda request: next(troubles, lambda _: None)(request))
    assert client.score([1000, 3, 7]).value == -2.5


def test_a_refusal_is_the_samples_own(connect: Connect) -> None:
    servers = [replica(), replica()]
    client = connect(*servers)
    client.servers()
    for server in servers:
        server.before = scoring(saying(400, "not this"))
    with pytest.raises(BadRequestError):
        client.score([1000, 3, 7])
    assert sent(*servers) == Counter([3])
    assert len(client.servers()) == 2


def test_a_busy_one_is_waited_for(connect: Connect) -> None:
    servers = [replica(), replica()]
    client = connect(*servers)
    client.servers()
    answers = iter([saying(429, "slowly")])
    for server in servers:
        server.before = scoring(lambda request: next(answers, lambda _: None)(request))
    assert client.score([1000, 3, 7]).value == -2.5
    assert len(client.servers()) == 2


def test_the_least_limit_holds_for_all(connect: Connect) -> None:
    short = card("judge") | {"max_model_len": 20}
    servers = [replica(), replica(cards=[short])]
    client = connect(*servers)
    for _ in range(4):
        with pytest.raises(PromptTooLongError, match="takes 20"):
            client.score([1000, *range(20)])


@pytest.mark.usefixtures("_no_pauses")
def test_the_shorter_limit_of_one_that_comes_back_holds_for_all(connect: Connect) -> None:
    """Samples in progress are checked against it, and lose no reward."""
    one, other = replica(), replica()
    client = connect(one, other, limits=Limits(max_batch_items=1))
    client.servers()
    until_left_out(client, other)
    other.cards = [card("judge") | {"max_model_len": 20}]
    other.before = lambda request: None
    values = [reward.value for reward in client.score_many(lists(400))]
    assert values == [place - 5.5 for place in range(400)]
    assert len(client.servers()) == 2
    with pytest.raises(PromptTooLongError, match="takes 20"):
        client.score([1000, *range(20)])


def test_provenance_names_the_server_that_scored(connect: Connect) -> None:
    client = connect(replica(), replica(version="0.32.1"), limits=Limits(max_batch_items=1))
    rewards = client.score_many(lists(20))
    shared = {id(reward.provenance): reward.provenance.server_version for reward in rewards}
    assert sorted(str(version) for version in shared.values()) == ["0.32.0", "0.32.1"]


def test_all_become_another_model(connect: Connect) -> None:
    """What sets the standard is who is left."""
    servers = [replica(), replica()]
    client = connect(*servers)
    assert client.score([1000, 3, 7]).value == -2.5
    until_left_out(client, servers[1])
    servers[0].pool = lambda ids: [100.0 + len(ids)]
    servers[0].cards = [card("newer")]
    assert client.score([1000, 3, 7]).value == 103.0


def test_diagnose_looks_at_the_first(connect: Connect) -> None:
    first_one, other = replica(), replica(version="0.25.1")
    assert connect(first_one, other).diagnose().url == "http://a"
    assert not other.requests


def test_cancelled_work_leaves_nothing_behind() -> None:
    async def main() -> None:
        servers = (replica(), replica())
        hung = asyncio.Event()
        stopped: list[str] = []

        async def answer(request: httpx.Request) -> httpx.Response:
            host = request.url.host
            if request.url.path == "/pooling" and b"[1000," in request.content:
                hung.set()
                try:
                    await asyncio.sleep(60)
                finally:
                    stopped.append(host)
            return servers["ab".index(host)].answer(request)

        async with AsyncRewardClient(
            ["http://a", "http://b"],
            transport=httpx.MockTransport(answer),
            limits=Limits(max_batch_items=1),
        ) as client:
            await client.servers()
            work = asyncio.create_task(client.score_many(lists(4)))
            await hung.wait()
            await asyncio.sleep(0.01)
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work
            assert sorted(stopped) == ["a", "a", "b", "b"]
            link = next(iter(client._session.core._links.values()))
            assert [replica.load["scoring"] for replica in link.pool.replicas] == [0, 0]

    asyncio.run(asyncio.wait_for(main(), 10))


@pytest.mark.usefixtures("_no_pauses")
def test_closing_stops_a_look_at_one_that_is_left_out() -> None:
    async def main() -> bool:
        servers = (replica(), replica())
        looking, stopped = asyncio.Event(), asyncio.Event()
        is_gone = False

        async def answer(request: httpx.Request) -> httpx.Response:
            if is_gone and request.url.host == "b":
                if request.url.path == "/pooling":
                    return refused(request)
                looking.set()
                try:
                    await asyncio.sleep(60)
                finally:
                    stopped.set()
            return servers["ab".index(request.url.host)].answer(request)

        async with AsyncRewardClient(
            ["http://a", "http://b"], transport=httpx.MockTransport(answer)
        ) as client:
            await client.servers()
            is_gone = True
            while not looking.is_set():
                await client.score([1000, 3, 7])
                await asyncio.sleep(0)
        return stopped.is_set()

    assert asyncio.run(asyncio.wait_for(main(), 10))


@pytest.mark.parametrize("kind", [RewardClient, AsyncRewardClient])
def test_urls(kind: Any) -> None:
    client = kind(("http://a:8000/v1", "http://b:8000/"), model="judge")
    shown = f"{kind.__name__}(['http://a:8000', 'http://b:8000'], model='judge')"
    assert repr(client) == repr(pickle.loads(pickle.dumps(client))) == shown
    for wrong in (
        [],
        ["http://a", "http://a/v1"],
        ["http://a", ""],
        [None],
        ["ftp://a"],
        {"http://a"},
    ):
        with pytest.raises(InputError, match="base_url"):
            kind(wrong)


@pytest.mark.parametrize("kind", [RewardClient, AsyncRewardClient])
def test_a_failure_at_the_start_is_shared(kind: Any) -> None:
    """Thousands of samples do not compare the servers thousands of times."""
    servers = (replica(), replica(version="0.25.1"))
    opener = OPENERS["sync" if kind is RewardClient else "async"]
    with closing(opener(urls(servers), transport=transport(servers))) as client:
        outcomes = client.score_many(lists(500), on_error="return")
    assert {type(outcome) for outcome in outcomes} == {ReplicaMismatchError}
    assert sum(len(server.requests) for server in servers) < 100
