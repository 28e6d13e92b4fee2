"""Best of n for many prompts: every response has its reward or its error, and no other's."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest

from reward_client import (
    AsyncRewardClient,
    BatchError,
    GenerationError,
    InputError,
    Limits,
    ModelChangedError,
    ObjectiveHead,
    PromptTooLongError,
    RewardClient,
    RewardTimeoutError,
    ServerError,
    Timeouts,
    values,
)
from reward_client.methods import Verdict
from reward_client.testing import RewardServer

from ..support.either import OPENERS, EitherClient, Kind
from ..support.fake_vllm import TextVllm, text_of
from ..support.scribe import Scribe

PAIR = Verdict(
    r"\[\[(A|B|C)\]\]",
    "Q: {conversation}\nA: {response_a}\nB: {response_b}",
    values={"A": 1, "B": -1, "C": 0},
)
MARK = Verdict(r"\[RESULT\] ([1-5])", "Q: {conversation}\nA: {response}\nMark it.")


def by_length(prompt: str, seed: int) -> str:
    """The longer answer wins, wherever it stands."""
    first, second = (
        prompt.partition(f"\n{name}: ")[2].split("\n")[0].split("<")[0] for name in "AB"
    )
    verdict = "A" if len(first) > len(second) else "B" if len(second) > len(first) else "C"
    return f"[[{verdict}]]"


def client_of(kind: Kind, server: Any, **options: Any) -> EitherClient:
    return OPENERS[kind]("http://vllm", transport=server.transport(), **options)


def texts_of(scribe: Scribe) -> list[str]:
    return [text_of(body["prompt"]) for body in scribe.asked("/v1/completions") if "seed" in body]


@pytest.mark.parametrize("kind", OPENERS)
def test_forty_prompts_with_eight_responses(kind: Kind) -> None:
    prompts = [f"What is {number} + {number}?" for number in range(40)]
    responses = [[f"{number + other}" for other in range(8)] for number in range(40)]
    with RewardServer() as server, closing(OPENERS[kind](server.url)) as client:
        rankings = client.rank_many(prompts, responses)
        assert len(rankings) == 40
        flat = client.score_many(
            [{"role": "user", "content": prompt}, {"role": "assistant", "content": text}]
            for prompt, group in zip(prompts, responses, strict=True)
            for text in group
        )
        assert [number for group in values(rankings) for number in group] == values(flat)
        assert rankings[7] == client.rank(prompts[7], responses[7])
        for ranking, group in zip(rankings, responses, strict=True):
            assert ranking.responses == tuple(group)
            assert ranking.errors == (None,) * 8


@pytest.mark.parametrize("kind", OPENERS)
def test_iterables_of_any_kind_and_groups_of_any_size(kind: Kind) -> None:
    def prompts() -> Iterator[Any]:
        yield "2+2?"
        yield [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "3+3?"}]

    with RewardServer() as server, closing(OPENERS[kind](server.url)) as client:
        rankings = client.rank_many(prompts(), iter([("4",), ["6", "7", "5"]]))
        assert [len(ranking.rewards) for ranking in rankings] == [1, 3]
        assert client.rank_many([], []) == []
        assert client.rank_many(iter(()), iter(())) == []


@pytest.mark.parametrize("kind", OPENERS)
def test_failures_in_the_middle_of_groups(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    server = TextVllm()
    server.cards[0]["max_model_len"] = 100
    responses = [["a", "b" * 200, "ccc"], ["d" * 300], ["ee", "f"]]
    with closing(client_of(kind, server)) as client:
        one, two, three = client.rank_many(list("xyz"), responses, on_error="return")
    # The template writes 23 tokens around "x" and the response; a reward is their number - 5.5.
    assert values(one.rewards) == [20.5, None, 22.5]
    assert one.order == (2, 0)
    assert isinstance(one.errors[1], PromptTooLongError)
    assert two.order == ()
    assert isinstance(two.errors[0], PromptTooLongError)
    assert (three.best, three.errors) == ("ee", (None, None))
    assert one.advantages()[1] is None
    assert "2 of 6 samples failed" in caplog.text


@pytest.mark.parametrize("kind", OPENERS)
def test_the_first_failure_is_named_by_its_prompt(kind: Kind) -> None:
    server = TextVllm()
    server.cards[0]["max_model_len"] = 100
    responses = [["a", "b"], ["c", "d" * 200]]
    with (
        closing(client_of(kind, server)) as client,
        pytest.raises(BatchError, match=r"^Response 1 to prompt 1 failed, after") as caught,
    ):
        client.rank_many(["x", "y"], responses)
    assert isinstance(caught.value.__cause__, PromptTooLongError)
    assert {result.index for result in caught.value.results} <= {0, 1, 2}


@pytest.mark.parametrize("kind", OPENERS)
def test_a_prompt_that_cannot_be_read(kind: Kind) -> None:
    bad = [{"role": "human", "content": "Hi"}]
    answered = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
    prompts = ["Hi", bad, answered, "Hi"]
    responses = [["a"], ["b", "c"], ["d"], ["e", "f"]]
    for method in (None, PAIR):
        server = TextVllm() if method is None else Scribe(by_length)
        with closing(client_of(kind, server, method=method)) as client:
            with pytest.raises(InputError, match=r"^Cannot read prompt 1: .*human"):
                client.rank_many(prompts, responses)
            rankings = client.rank_many(prompts, responses, on_error="return")
            assert [len(ranking.order) for ranking in rankings] == [1, 0, 0, 2]
            assert [str(error) for error in rankings[1].errors if error] == [
                str(rankings[1].errors[0])
            ] * 2
            assert "ends with an answer" in str(rankings[2].errors[0])


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize(
    ("prompts", "responses", "said"),
    [
        (["x", "y"], [["a"]], "1 lists of responses, and more prompts"),
        (["x"], [["a"], ["b"]], "1 prompts, and more lists"),
        ("x", "y", "this is a single one"),
        ([], "y", "is expected for each prompt"),
        (["x"], ["a"], "is expected for each prompt"),
        (["x"], [[]], "prompt 0: rank.. needs at least one response"),
        (["x", "y"], [["a"], ["b", None]], r"prompt 1: Responses must be str. Those at \[1\]"),
        (["x"], [None], "prompt 0: rank.. needs a list"),
        ([{"role": "user", "content": "x"}], [["a"]], "this is a single one"),
        (5, [["a"]], "An iterable of prompts"),
        (["x"], 5, "An iterable of lists of responses"),
        ({"a": 1}, [["a"]], "this is a single one"),
    ],
)
def test_what_cannot_be_ranked(kind: Kind, prompts: Any, responses: Any, said: str) -> None:
    server = TextVllm()
    for on_error in ("raise", "return"):
        with closing(client_of(kind, server)) as client, pytest.raises(InputError, match=said):
            client.rank_many(prompts, responses, on_error=on_error)
    assert server.requests == []


@pytest.mark.parametrize("kind", OPENERS)
def test_options_that_cannot_be(kind: Kind) -> None:
    with closing(client_of(kind, TextVllm())) as client:
        with pytest.raises(InputError, match="on_error="):
            client.rank_many(["x"], [["a"]], on_error="skip")
        with pytest.raises(InputError, match="progress="):
            client.rank_many(["x"], [["a"]], progress="yes")


@pytest.mark.parametrize("kind", OPENERS)
def test_objectives_without_weights_are_refused(kind: Kind) -> None:
    server = TextVllm(pool=lambda ids: [len(ids) - 5.5, 2.0])
    head = ObjectiveHead(["a", "b"])
    with closing(client_of(kind, server, head=head)) as client:
        for on_error in ("raise", "return"):
            with pytest.raises(InputError, match="several objectives"):
                client.rank_many(["x"], [["a", "b"]], on_error=on_error)


@pytest.mark.parametrize("kind", OPENERS)
def test_marks_of_a_judge(kind: Kind) -> None:
    scribe = Scribe(
        lambda prompt, seed: "hm" if "A: bad" in prompt else f"[RESULT] {len(prompt) % 5 + 1}"
    )
    with closing(client_of(kind, scribe, method=MARK)) as client:
        one, two = client.rank_many(["x", "y"], [["a", "bad"], ["cc"]], on_error="return")
    assert one.order == (0,)
    assert isinstance(one.errors[1], GenerationError)
    assert two.margin is None


@pytest.mark.parametrize("kind", OPENERS)
def test_judges_of_two_compare_all_prompts_at_once(kind: Kind) -> None:
    scribe = Scribe(by_length)
    prompts = [f"Which {number}?" for number in range(20)]
    responses = [["a" * (1 + (number + other) % 4) for other in range(4)] for number in range(20)]
    with closing(client_of(kind, scribe, method=PAIR)) as client:
        rankings = client.rank_many(prompts, responses)
        assert len(texts_of(scribe)) == 20 * PAIR.calls(4)
        assert rankings[3] == client.rank(prompts[3], responses[3])
    for ranking in rankings:
        assert ranking.best == "aaaa"
        assert sorted(value for value in values(ranking.rewards) if value is not None) == [
            pytest.approx(place / 3) for place in range(4)
        ]


@pytest.mark.parametrize("kind", OPENERS)
def test_a_failed_comparison_is_no_loss(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    """The judge says nothing of "zz" against "yyy" in one order: their pair does not count."""

    def writes(prompt: str, seed: int) -> str:
        return "hm" if "A: zz\nB: yyy" in prompt else by_length(prompt, seed)

    scribe = Scribe(writes)
    responses = [["x", "yyy", "zz"], ["k", "ll"], ["zz", "yyy"]]
    with closing(client_of(kind, scribe, method=PAIR)) as client:
        with pytest.raises(BatchError, match=r"^Prompt [02] failed, after"):
            client.rank_many(list("abc"), responses)
        caplog.clear()
        one, two, three = client.rank_many(list("abc"), responses, on_error="return")
    # Both beat "x" alone, so that their own pair is even.
    assert values(one.rewards) == pytest.approx([0.0, 0.75, 0.75])
    assert len(one.comparisons) == 5
    (failed,) = one.failed_comparisons
    assert (failed.first, failed.second) == (2, 1)
    assert isinstance(failed.error, GenerationError)
    assert (values(two.rewards), two.failed_comparisons) == ([0.0, 1.0], ())
    assert three.order == ()
    assert [type(error) for error in three.errors] == [GenerationError] * 2
    assert "2 of 10 comparisons failed: 2 GenerationError (fault: sample)." in caplog.text


@pytest.mark.parametrize("kind", OPENERS)
def test_a_response_that_a_judge_cannot_read_spares_the_others(kind: Kind) -> None:
    scribe = Scribe(by_length)
    image = [{"role": "user", "content": [{"type": "text", "text": "x"}]}]
    with closing(client_of(kind, scribe, method=PAIR)) as client:
        one, two = client.rank_many([image, "y"], [["a", "bb"], ["c", "dd"]], on_error="return")
    assert one.order == ()
    assert {type(error) for error in one.errors} == {InputError}
    assert len(one.failed_comparisons) == 2
    assert two.best == "dd"


@pytest.mark.parametrize("kind", OPENERS)
def test_single_responses_cost_a_judge_of_two_nothing(kind: Kind) -> None:
    scribe = Scribe()
    with closing(client_of(kind, scribe, method=PAIR)) as client:
        rankings = client.rank_many(list("ab"), [["x"], ["y"]])
    assert values(rankings) == [[0.5], [0.5]]
    assert texts_of(scribe) == []


@pytest.mark.parametrize("kind", OPENERS)
def test_a_deadline_for_each_prompt_of_a_judge(kind: Kind) -> None:
    async def slowly(request: httpx.Request) -> httpx.Response:
        if b'"seed"' in request.content and b"132" in request.content:  # "z"
            await asyncio.sleep(60)
        return scribe.answer(request)

    scribe = Scribe(by_length)
    options: dict[str, Any] = {"method": PAIR, "timeout": Timeouts(total=0.5)}
    transport = httpx.MockTransport(slowly)
    with closing(OPENERS[kind]("http://vllm", transport=transport, **options)) as client:
        one, two = client.rank_many(list("ab"), [["z", "y"], ["k", "ll"]], on_error="return")
    assert {type(error) for error in one.errors} == {RewardTimeoutError}
    assert two.best == "ll"


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("method", [None, PAIR])
def test_another_model_in_the_middle(kind: Kind, method: Verdict | None) -> None:
    """Rankings of one call are by one model: those of another one are errors."""
    server: Any = Scribe(by_length) if method else TextVllm()
    count = 0

    def replaced(request: httpx.Request) -> httpx.Response | None:
        nonlocal count
        count += b'"seed"' in request.content or request.url.path == "/pooling"
        if count == 20 and server.version == "0.32.0":
            server.version = "0.31.0"
            raise httpx.ConnectError("refused")
        return None

    server.before = replaced
    limits = Limits(max_concurrency=1, max_batch_items=1)
    prompts, responses = [f"{n}" for n in range(10)], [["a", f"b{n}"] for n in range(10)]
    with closing(client_of(kind, server, method=method, limits=limits)) as client:
        rankings = client.rank_many(prompts, responses, on_error="return")
    errors = [error for ranking in rankings for error in ranking.errors if error is not None]
    assert errors
    assert {type(error) for error in errors} == {ModelChangedError}
    assert rankings[0].errors == (None, None)
    assert rankings[-1].order == ()


@pytest.mark.parametrize("kind", OPENERS)
def test_errors_that_are_not_this_package_s_come_as_they_are(kind: Kind) -> None:
    def broken(request: httpx.Request) -> httpx.Response | None:
        if b'"seed"' in request.content:
            raise ZeroDivisionError
        return None

    with (
        closing(client_of(kind, Scribe(by_length, before=broken), method=PAIR)) as client,
        pytest.raises(ZeroDivisionError),
    ):
        client.rank_many(["x"], [["a", "b"]], on_error="return")


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("method", [None, PAIR])
def test_a_dead_server_is_an_error_of_each_response(kind: Kind, method: Verdict | None) -> None:
    server: Any = Scribe(by_length) if method else TextVllm()
    server.before = lambda request: httpx.Response(500, json={"detail": "no"})
    with closing(client_of(kind, server, method=method, retry=1)) as client:
        rankings = client.rank_many(list("ab"), [["x", "y"], ["z"]], on_error="return")
    assert [ranking.order for ranking in rankings] == [(), ()]
    errors = [error for ranking in rankings for error in ranking.errors]
    assert [type(error) for error in errors] == [ServerError] * 3
    assert len({id(error) for error in errors}) == 3


@pytest.mark.parametrize("method", [None, PAIR])
def test_a_cancelled_call_leaves_nothing_behind(method: Verdict | None) -> None:
    asked = 0

    async def stuck(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        if waits and (b'"seed"' in request.content or request.url.path == "/pooling"):
            asked += 1
            reached.set()
            await asyncio.sleep(60)
        return server.answer(request)

    async def main() -> None:
        nonlocal waits
        transport = httpx.MockTransport(stuck)
        async with AsyncRewardClient("http://vllm", transport=transport, method=method) as client:
            await client.servers()
            before, waits = asyncio.all_tasks(), True
            call = asyncio.create_task(client.rank_many(list("ab"), [["x", "yy"], ["z", "ww"]]))
            await reached.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert asyncio.all_tasks() <= before
            waits = False
            rankings = await client.rank_many(list("ab"), [["x", "yy"], ["z", "ww"]])
            assert [ranking.best for ranking in rankings] == ["yy", "ww"]

    server: Any = Scribe(by_length) if method else TextVllm()
    reached, waits = asyncio.Event(), False
    asyncio.run(main())
    assert asked


@pytest.mark.parametrize("method", [None, PAIR])
def test_ctrl_c_stops_the_work(method: Verdict | None) -> None:
    waits = False

    async def stuck(request: httpx.Request) -> httpx.Response:
        if waits and (b'"seed"' in request.content or request.url.path == "/pooling"):
            interrupt()
            await asyncio.sleep(60)
        return server.answer(request)

    def interrupt() -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    server: Any = Scribe(by_length) if method else TextVllm()
    transport = httpx.MockTransport(stuck)
    with RewardClient("http://vllm", transport=transport, method=method) as client:
        client.servers()
        waits = True
        with pytest.raises(KeyboardInterrupt):
            client.rank_many(list("ab"), [["x", "yy"], ["z", "ww"]])
        waits = False
        rankings = client.rank_many(list("ab"), [["x", "yy"], ["z", "ww"]])
        assert [ranking.best for ranking in rankings] == ["yy", "ww"]


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("method", [None, PAIR])
def test_a_progress_bar(
    kind: Kind, method: Verdict | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[Any, str]] = []

    class Bar:
        def __init__(self, total: Any, unit: str) -> None:
            shown.append((total, unit))

        def update(self, count: int) -> None:
            shown.append((count, "done"))

        def close(self) -> None:
            pass

    monkeypatch.setattr("reward_client._client.streaming.progress_bar", Bar)
    server: Any = Scribe(by_length) if method else TextVllm()
    with closing(client_of(kind, server, method=method)) as client:
        client.rank_many(list("ab"), [["x", "yy", "z"], ["z", "ww"]], progress=True)
    total = 2 if method else 5
    assert shown[0] == (total, "prompt" if method else "conv")
    assert sum(count for count, unit in shown[1:]) == total
