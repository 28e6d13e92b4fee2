"""Replies to other requests, rows in other places, and other models behind one address."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from reward_client import (
    AsyncRewardClient,
    BatchError,
    Limits,
    ModelChangedError,
    ResponseMismatchError,
    RetryPolicy,
    Reward,
    RewardClient,
    TokenizedSample,
)
from reward_client._client import watch
from reward_client._replicas.pool import ReplicaPool
from reward_client._server import texts
from reward_client._transport import ledger
from reward_client.errors import FileError, RewardClientError
from reward_client.files import score_file
from reward_client.methods import Messages
from reward_client.testing import RewardServer

from ...support.altered import alter_replies
from ...support.fake_vllm import BOS, FakeVllm, TextVllm, embedding_server, ids_of, rendered
from ...support.mixed_up import (
    POOLING,
    TOKENIZE,
    Mix,
    behind,
    cached,
    late,
    mixing,
    previous,
    reply_of,
    stamping,
    unlike,
    without_id,
)
from ...support.raw_server import TRUE, Action, Answer, Exchange, RawServer, Request, expected, http
from .conftest import Connect
from .samples import CHAT

PATIENT = RetryPolicy(attempts=5, max_wait=0.01)
LONG = "Please judge that step by step, and tell me whether you are really certain of it."
OTHER = TextVllm(cards=TRUE.cards, pool=lambda ids: [2 - sum(ids) / 100])


def chats(number: int) -> list[Any]:
    return [
        [
            {"role": "user", "content": f"What is {place} + {7 * place}?"},
            {"role": "assistant", "content": f"{8 * place}"},
        ]
        for place in range(number)
    ]


def wrong(outcomes: list[Any], samples: list[Any]) -> list[int]:
    return [
        place
        for place, (outcome, sample) in enumerate(zip(outcomes, samples, strict=True))
        if isinstance(outcome, Reward) and abs(float(outcome) - expected(sample)) > 1e-6
    ]


def outcomes_of(connect: Connect, answer: Answer, samples: list[Any], **options: Any) -> list[Any]:
    with RawServer(answer) as server:
        client = connect(server, retry=PATIENT, **options)
        outcomes = client.score_many(samples, on_error="return")
        client.close()
    assert not wrong(outcomes, samples)
    return outcomes


def owing() -> Mix:
    """One request gets an old reply, and the next one the reply that the first was owed."""
    owed: list[bytes] = []
    seen: list[bytes] = []

    def mix(_: Request, true: bytes) -> bytes:
        seen.append(true)
        if len(seen) == 20:
            owed.append(true)
            return seen[10]
        return owed.pop() if owed else true

    return mix


# 59


@pytest.mark.parametrize(
    "answer",
    [
        lambda: mixing(late(0.05), TOKENIZE),
        lambda: mixing(late(0.05), TOKENIZE, POOLING),
        lambda: mixing(previous(0.05), TOKENIZE),
        lambda: mixing(previous(0.3), TOKENIZE),
        lambda: mixing(late(0.1), POOLING, reply=without_id),
    ],
    ids=["one behind", "one behind on both routes", "previous", "mostly wrong", "without an ID"],
)
def test_59_a_reply_to_another_request_is_asked_for_again(
    connect: Connect, answer: Callable[[], Answer]
) -> None:
    outcomes = outcomes_of(connect, answer(), chats(300))
    assert sum(isinstance(outcome, Reward) for outcome in outcomes) > 270


@pytest.mark.parametrize("mix", [lambda: late(0.05), lambda: previous(0.05), lambda: cached(20)])
def test_59_a_proxy_that_adds_its_own_time(connect: Connect, mix: Callable[[], Any]) -> None:
    """No two responses have the same bytes. `outcomes_of` looks for wrong rewards."""
    outcomes_of(connect, mixing(stamping(mix()), TOKENIZE), chats(100))


def test_59_a_reply_that_somebody_else_was_owed(connect: Connect) -> None:
    outcomes = outcomes_of(connect, mixing(owing(), TOKENIZE), chats(40))
    assert all(isinstance(outcome, Reward) for outcome in outcomes)


def test_59_a_reply_that_is_believed_before_somebody_else_asks_for_it(connect: Connect) -> None:
    """The first one gets an old reply late, and the second one its true reply at once."""
    seen: list[bytes] = []

    def mix(_: Request, true: bytes) -> Any:
        seen.append(true)
        if len(seen) == 21:
            return seen[19]
        if len(seen) != 20:
            return true

        async def act(exchange: Exchange) -> None:
            await asyncio.sleep(0.005)
            await exchange.send(seen[10])

        return act

    outcomes = outcomes_of(connect, mixing(mix, TOKENIZE), chats(40))
    assert all(isinstance(outcome, Reward) for outcome in outcomes)


def test_59_token_ids_alone_that_somebody_else_was_owed() -> None:
    """As above, for callers who ask for token IDs."""
    samples = chats(40)

    async def ask(url: str) -> list[TokenizedSample]:
        async with AsyncRewardClient(url, retry=PATIENT) as client:
            return await asyncio.gather(*map(client.tokenize, samples))

    with RawServer(mixing(owing(), TOKENIZE)) as server:
        tokenized = asyncio.run(ask(server.url))
    true = [[BOS, *ids_of(rendered(sample))] for sample in samples]
    assert [list(each.token_ids) for each in tokenized] == true


KEYS = {
    "none of large bodies": lambda body: body if len(body) < 500 else b"",
    "the length": len,
    "the first 60 bytes": lambda body: body[:60],
}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_59_a_cache_with_a_part_of_the_body_as_its_key(connect: Connect, key: Any) -> None:
    kept: dict[Any, bytes] = {}
    long = [[{**turn, "content": turn["content"] * 20} for turn in chat] for chat in chats(40)]
    outcomes = outcomes_of(
        connect, mixing(lambda asked, true: kept.setdefault(key(asked.body), true), TOKENIZE), long
    )
    assert {type(each) for each in outcomes} <= {Reward, ResponseMismatchError}


TURNS: dict[str, Callable[[list[str]], Any]] = {
    "the first message": lambda texts: texts[0],
    "the last message": lambda texts: texts[-1],
    "the last one of the user": lambda texts: texts[2],
    "the start of each": lambda texts: [text[:10] for text in texts],
    "the end of each": lambda texts: [text[-8:] for text in texts],
}


@pytest.mark.parametrize("key", TURNS.values(), ids=TURNS)
def test_59_a_cache_with_a_part_of_the_messages_as_its_key(connect: Connect, key: Any) -> None:
    kept: dict[str, bytes] = {}
    numbers = ["one", "two", "three", "four", "five"]
    contents = [
        [
            "Which number do you like?",
            f"I like {word} best; or {n}, as I said before.",
            LONG,
            "Yes.",
        ]
        for word in numbers
        for n in range(4)
    ]
    roles = ["user", "assistant"] * 2
    samples = [
        [{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]
        for texts in contents
    ]

    def mix(asked: Request, true: bytes) -> bytes:
        texts = [message["content"] for message in asked.json.get("messages", [])]
        return kept.setdefault(str(key(texts)), true) if len(texts) == 4 else true

    outcomes = outcomes_of(connect, mixing(mix, TOKENIZE), samples)
    assert {type(each) for each in outcomes} == {Reward, ResponseMismatchError}


@pytest.mark.parametrize("size", [4, 40])
def test_59_a_cache_of_pooled_output_with_the_length_as_its_key(
    connect: Connect, size: int
) -> None:
    kept: dict[int, bytes] = {}
    samples = [[1, *range(100 + n, 100 + n + size)] for n in range(40)]

    def mix(asked: Request, true: bytes) -> bytes:
        return kept.setdefault(len(asked.body), without_id(asked)) if kept_from(asked) else true

    def kept_from(asked: Request) -> bool:
        return [len(each) for each in asked.json["input"]] == [size + 1]

    with RawServer(mixing(mix, POOLING, reply=without_id)) as server:
        client = connect(server, limits=Limits(max_batch_items=1), retry=PATIENT)
        outcomes = client.score_many(samples, on_error="return")
    true = [TRUE.pool(sample)[0] for sample in samples]
    assert all(
        isinstance(found, ResponseMismatchError) or abs(float(found) - right) < 1e-6
        for found, right in zip(outcomes, true, strict=True)
    )
    assert {type(each) for each in outcomes} == {Reward, ResponseMismatchError}


def test_59_two_replies_on_a_connection_tell_nothing(connect: Connect) -> None:
    count = itertools.count(5)

    def stray() -> dict[str, Any]:
        return {"count": 4, "tokens": [1, 90, 80, next(count)], "max_model_len": 1024}

    outcomes = outcomes_of(connect, mixing(behind(0.05, stray), TOKENIZE), chats(300))
    assert all(isinstance(outcome, Reward) for outcome in outcomes)


def test_59_a_cache_from_the_start(connect: Connect) -> None:
    with (
        RawServer(mixing(cached(1), TOKENIZE)) as server,
        pytest.raises(ResponseMismatchError, match="answered another request"),
    ):
        connect(server).score(chats(1)[0])


def test_59_the_same_tokens_for_all_texts(connect: Connect) -> None:
    with (
        RawServer(mixing(stamping(cached(1)), TOKENIZE)) as server,
        pytest.raises(ResponseMismatchError, match="answered another request"),
    ):
        connect(server).score(chats(1)[0])


def test_59_the_same_tokens_for_two_texts(connect: Connect) -> None:
    """All others get their own: nobody sees by others that a cache mixes up these two."""
    kept: dict[bool, bytes] = {}

    def mix(asked: Request, true: bytes) -> bytes:
        is_either = asked.json.get("prompt") in (texts.PROBE_TEXT, texts._OTHER_TEXT)
        return kept.setdefault(True, true) if is_either else true

    with (
        RawServer(mixing(mix, TOKENIZE)) as server,
        pytest.raises(ResponseMismatchError, match="two different texts"),
    ):
        connect(server).score(chats(1)[0])


def test_59_a_cache_from_later_on(connect: Connect) -> None:
    outcomes = outcomes_of(connect, mixing(cached(20), TOKENIZE), chats(60))
    assert {type(each) for each in outcomes} == {Reward, ResponseMismatchError}


def test_59_a_refusal_that_comes_twice_refuses_one_sample(connect: Connect) -> None:
    """The connection is closed, so that nobody reads the second one."""
    refuse = [{"role": "user", "content": "Refuse me"}, {"role": "assistant", "content": "no"}]
    refusal = json.dumps({"error": {"message": "no", "type": "BadRequestError", "code": 400}})
    owed: dict[int, bytes] = {}

    def behind_refusals(request: Request, true: bytes) -> bytes:
        """After a refusal, each reply of its connection comes one request late."""
        is_refused = b"Refuse me" in request.body
        reply = http(refusal.encode(), 400) if is_refused else true
        before = owed.get(request.connection)
        if is_refused or before is not None:
            owed[request.connection] = reply
        return reply if before is None else before

    with RawServer(mixing(behind_refusals, TOKENIZE)) as server:
        client = connect(server, limits=Limits(max_concurrency=1))
        with pytest.raises(RewardClientError, match="400"):
            client.score(refuse)
        for sample in chats(20):
            assert client.score(sample).value == expected(sample)


def test_59_texts_that_truly_have_the_same_tokens(connect: Connect) -> None:
    """The template strips outer spaces: nothing is asked again."""
    plain = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
    spaced = [plain[0], {"role": "assistant", "content": " 4 "}]
    with RawServer(mixing(lambda _, true: true)) as server:
        client = connect(server)
        client.servers()
        server.forget()
        assert client.score(plain).value == client.score(spaced).value == expected(plain)
        assert len(server.seen(TOKENIZE)) == 2


def test_twins_behind_a_gateway_that_adds_its_own_time(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    samples = [
        [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": f"4{' ' * n}"}]
        for n in range(8)
    ]
    outcomes = outcomes_of(connect, mixing(stamping(lambda _, true: true), TOKENIZE), samples)
    assert all(isinstance(outcome, Reward) for outcome in outcomes)
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


class Thoughtless(TextVllm):
    """Its template drops thoughts, and a system message."""

    def ids(self, body: Any) -> list[int]:
        if "messages" not in body:
            return super().ids(body)
        messages = [
            {**turn, "content": turn["content"].rpartition("</think>")[2].strip()}
            for turn in body["messages"]
            if turn["role"] != "system"
        ]
        return super().ids({**body, "messages": messages})


def test_59_texts_that_share_their_tokens_by_the_template(connect: Connect) -> None:
    server = Thoughtless()
    client = connect(server)
    client.servers()

    def asked(thoughts: range) -> int:
        server.requests.clear()
        for number in thoughts:
            answer = f"<think>Thought {number}.</think> 4"
            client.score([{"role": "user", "content": "2+2?"}, {**CHAT[1], "content": answer}])
        return len(server.asked(TOKENIZE))

    assert asked(range(2)) == 2 + 2
    assert asked(range(2, 10)) == 8
    for content in ("Be brief.", "Be kind."):
        system = {"role": "system", "content": content}
        server.requests.clear()
        for _ in range(3):
            client.score([system, {"role": "user", "content": "2+2?"}, {**CHAT[1], "content": "4"}])
        assert len(server.asked(TOKENIZE)) == 3 + 2


def test_the_ledger_has_a_bound(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "_SIZE", 10)
    assert all(
        isinstance(each, Reward)
        for each in outcomes_of(connect, mixing(lambda _, true: true), chats(60))
    )


# 60


def places(change: Callable[[list[Any]], list[Any]]) -> Callable[[Any, Any], None]:
    """Exchange the rows of a reply, which keep their indices."""

    def alter(_: Any, reply: Any) -> None:
        items = reply["data"]
        values = change([{k: v for k, v in item.items() if k != "index"} for item in items])
        reply["data"] = [
            {**each, "index": item["index"]} for each, item in zip(values, items, strict=True)
        ]

    return alter


@pytest.mark.parametrize("route", ["pooling", "classify", "embeddings"])
@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[::-1],
        lambda rows: rows[1:2] + rows[:1] + rows[2:],
        lambda rows: sorted(rows, key=str),
    ],
    ids=["reversed", "two exchanged", "sorted"],
)
def test_60_rows_in_other_places(connect: Connect, route: str, change: Any) -> None:
    alter = places(change)
    refuses = pytest.raises(ResponseMismatchError, match="mixes up the samples")
    if route == "embeddings":

        def after(request: Any, payload: Any) -> None:
            if request.url.path == "/v1/embeddings":
                alter(request, payload)

        with refuses:
            connect(embedding_server(version="0.8.5", after=after)).score(CHAT)
        return
    with RewardServer() as server:
        alter_replies(server, f"/{route}", alter)
        with refuses:
            connect(server, route=route).score(CHAT)


@pytest.mark.parametrize("size", [9, 32, 100])
def test_60_rows_of_large_requests_alone(connect: Connect, size: int) -> None:
    """The probes alone would not show it."""
    with RewardServer() as server:
        alter_replies(
            server, POOLING, places(lambda rows: rows[::-1] if len(rows) >= size else rows)
        )
        with pytest.raises(ResponseMismatchError, match="in another order"):
            connect(server, limits=Limits(max_batch_items=max(size, 16))).score(CHAT)


def test_60_rows_that_move_on(connect: Connect) -> None:
    """Each order looks like the other, but no place holds its own row: one sample alone does."""
    with RewardServer() as server:
        alter_replies(server, POOLING, places(lambda rows: rows[-3:] + rows[:-3]))
        with pytest.raises(ResponseMismatchError, match="alone"):
            connect(server).score(CHAT)


@pytest.mark.parametrize("places_of", ["all of a length", "a few of a length"])
def test_60_rows_of_equal_length(connect: Connect, places_of: str) -> None:
    least = 16 if places_of == "a few of a length" else 2

    def alter(request: Any, reply: Any) -> None:
        rows = [item["data"] for item in reply["data"]]
        lengths = [*map(len, request["input"])]
        for item, length in zip(reply["data"], lengths, strict=True):
            alike = [place for place, other in enumerate(lengths) if other == length]
            place = alike[-1 - alike.index(item["index"])]
            item["data"] = rows[place if len(rows) >= least else item["index"]]

    with RewardServer() as server:
        alter_replies(server, POOLING, alter)
        with pytest.raises(ResponseMismatchError, match="mixes up the samples"):
            connect(server).score(CHAT)


def test_60_rows_of_odd_requests(connect: Connect) -> None:
    with RewardServer() as server:
        alter_replies(
            server, POOLING, places(lambda rows: rows[len(rows) % 8 :] + rows[: len(rows) % 8])
        )
        with pytest.raises(ResponseMismatchError, match="among 15"):
            connect(server, limits=Limits(max_batch_items=32)).score([1, 2, 3])


def of_conversations(alter: Callable[..., object]) -> Callable[..., object]:
    """A change of replies to messages alone: those to token IDs stay right."""
    return lambda request, reply: alter(request, reply) if "messages" in request else None


def test_no_row_of_conversations_is_another_ones(connect: Connect) -> None:
    """The requests of token IDs are right, and those of one conversation."""
    alter = places(lambda rows: rows[::-1])
    with RewardServer(head="export") as server:
        alter_replies(server, "/v1/embeddings", of_conversations(alter))
        outcomes = connect(server, method=Messages()).score_many(chats(40), on_error="return")
    with RewardServer(head="export") as server:
        true = connect(server).score_many(chats(40))
    assert any(isinstance(each, ResponseMismatchError) for each in outcomes)
    for outcome, reward in zip(outcomes, true, strict=True):
        assert not isinstance(outcome, Reward) or outcome.value == pytest.approx(reward.value)


def test_60_rows_of_small_requests_of_conversations(connect: Connect) -> None:
    alter = places(lambda rows: rows[::-1] if len(rows) <= 8 else rows)
    with RewardServer(head="export") as server:
        alter_replies(server, "/v1/embeddings", of_conversations(alter))
        outcomes = connect(server, method=Messages()).score_many(chats(40), on_error="return")
    assert any(isinstance(each, ResponseMismatchError) for each in outcomes)


def test_60_rows_of_large_requests_of_conversations(connect: Connect) -> None:
    alter = places(lambda rows: rows[::-1] if len(rows) > 8 else rows)
    with RewardServer(head="export") as server:
        alter_replies(server, "/v1/embeddings", of_conversations(alter))
        outcomes = connect(server, method=Messages()).score_many(chats(100), on_error="return")
    assert [isinstance(each, ResponseMismatchError) for each in outcomes].count(True) > 60
    with RewardServer(head="export") as server:
        true = connect(server).score_many(chats(100))
    for outcome, reward in zip(outcomes, true, strict=True):
        assert not isinstance(outcome, Reward) or outcome.value == pytest.approx(reward.value)


def lengths(number: int) -> list[Any]:
    """Conversations of different lengths, one after the other."""
    return [
        [question, {**answer, "content": answer["content"] + " and so on" * (place % 5)}]
        for place, (question, answer) in enumerate(chats(number))
    ]


def full_batches(number: int) -> list[Any]:
    """The token IDs of these conversations: they wait for no /tokenize, and fill requests."""
    return [[BOS, *ids_of(rendered(sample))] for sample in lengths(number)]


_LARGE = 2000  # bytes: more than any request for probes alone


def test_60_rows_of_real_samples_alone(connect: Connect) -> None:
    """No request for probes shows it."""
    change = places(lambda rows: rows[1:] + rows[:1])

    def rotated(request: Request, true: bytes) -> bytes:
        if len(request.body) < _LARGE:
            return true
        reply = json.loads(true.partition(b"\r\n\r\n")[2])
        change(request, reply)
        return http(json.dumps(reply).encode())

    with RawServer(mixing(rotated, POOLING)) as server:
        outcomes = connect(server).score_many(full_batches(300), on_error="return")
    assert {type(outcome) for outcome in outcomes} == {ModelChangedError}
    assert "rewards come in the wrong places" in str(outcomes[0])


# 61


def after(packs: int) -> Callable[[Request, int], int]:
    return lambda _, count: int(count >= packs)


def by_turns(request: Request, count: int) -> int:
    return count % 2 if count > 6 else 0


@pytest.mark.parametrize("by", [after(8), by_turns], ids=["a swap", "by turns"])
@pytest.mark.parametrize("on_error", ["raise", "return"])
def test_61_a_call_ends_with_a_proof(connect: Connect, by: Any, on_error: Any) -> None:
    samples = chats(300)
    with RawServer(unlike(reply_of(TRUE), reply_of(OTHER), by=by)) as server:
        client = connect(server)
        if on_error == "raise":
            with pytest.raises(BatchError, match="In doubt: the 300 rewards") as caught:
                client.score_many(samples)
            assert isinstance(caught.value.__cause__, ModelChangedError)
            assert not caught.value.results
        else:
            outcomes = client.score_many(samples, on_error="return")
            assert {type(outcome) for outcome in outcomes} == {ModelChangedError}


def by_size(request: Request, _: int) -> int:
    return int(request.path == POOLING and len(request.body) > _LARGE)


def test_61_a_router_by_content(connect: Connect) -> None:
    """All probes reach the same server each time."""
    with RawServer(unlike(reply_of(TRUE), reply_of(OTHER), by=by_size)) as server:
        client = connect(server)
        with pytest.raises(BatchError, match="In doubt: the 300 rewards") as caught:
            client.score_many(full_batches(300))
    assert "Several models answer" in str(caught.value)


def test_61_a_proof_that_names_another_model(connect: Connect) -> None:
    seen: list[bytes] = []

    def renamed(request: Request, true: bytes) -> bytes:
        seen.append(request.body)
        is_proof = len(seen) > 8 and len(request.json["input"][0]) < 12
        return true.replace(b"tiny", b"else") if is_proof else true

    with RawServer(mixing(renamed, POOLING)) as server:
        outcomes = connect(server).score_many(full_batches(300), on_error="return")
    assert {type(outcome) for outcome in outcomes} == {ModelChangedError}
    assert "a response names another model" in str(outcomes[0])


def test_61_a_sample_that_fails_when_it_is_scored_again(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """It proves nothing, and costs nothing."""
    seen: set[str] = set()

    def busy(request: Request, true: bytes) -> bytes:
        real = {str(ids) for ids in request.json["input"] if len(ids) > 15}
        again = not seen.isdisjoint(real)
        seen.update(real)
        return http(b'{"error": {"message": "too long", "code": 400}}', 400) if again else true

    with RawServer(mixing(busy, POOLING)) as server:
        outcomes = connect(server).score_many(chats(300), on_error="return")
        again = len(server.seen(POOLING))
    assert not wrong(outcomes, chats(300))
    assert all(isinstance(outcome, Reward) for outcome in outcomes)
    assert again > 300 // 32 + 7
    assert "nothing proves" not in caplog.text


@pytest.mark.parametrize("batch", [1, 32])
def test_61_other_samples_of_a_batch_move_a_reward(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """In bfloat16, long samples vary by 1 % of the range of rewards, and short ones less."""
    monkeypatch.setattr(watch, "_INTERVAL", 0.0)
    samples = lengths(200)
    rewards = [*map(expected, samples)]
    most = 0.01 * (max(rewards) - min(rewards))

    def noisy(request: Request, true: bytes) -> bytes:
        reply = json.loads(true.partition(b"\r\n\r\n")[2])
        chance = random.Random(request.body)
        for ids, item in zip(request.json["input"], reply["data"], strict=True):
            item["data"] = [item["data"][0] + chance.uniform(-most, most) * (len(ids) > 15)]
        return http(json.dumps(reply).encode())

    with RawServer(mixing(noisy, POOLING)) as server:
        client = connect(server, limits=Limits(max_batch_items=batch, max_concurrency=4))
        outcomes = client.score_many(samples, on_error="return")
        assert len(server.seen(POOLING)) > 200 // batch + 8
    assert all(isinstance(outcome, Reward) for outcome in outcomes)


def test_61_rewards_before_the_last_proof_are_kept(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_INTERVAL", 0.0)  # a proof each time that results are taken
    samples = chats(400)
    limits = Limits(max_batch_items=1, max_concurrency=2)
    for on_error in ("raise", "return"):
        with RawServer(unlike(reply_of(TRUE), reply_of(OTHER), by=after(120))) as server:
            client = connect(server, limits=limits)
            if on_error == "return":
                outcomes = client.score_many(samples, on_error="return")
            else:
                with pytest.raises(BatchError, match="proven rewards") as caught:
                    client.score_many(samples)
                outcomes = [None] * len(samples)
                for result in caught.value.results:
                    outcomes[result.index] = result.reward
        assert not wrong(outcomes, samples)
        assert any(isinstance(outcome, Reward) for outcome in outcomes)


def test_61_no_reward_that_came_during_a_failed_proof(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All other samples are scored by then, so that no further proof is due."""
    monkeypatch.setattr(watch, "_INTERVAL", 0.0)
    samples = chats(12)
    swapped: list[Request] = []
    is_proving = threading.Event()
    prove = ReplicaPool.prove

    async def late_proof(pool: ReplicaPool) -> None:
        is_proving.set()
        while pool.unproven < len(samples):  # noqa: ASYNC110 - the count has no event
            await asyncio.sleep(0.001)
        await prove(pool)

    def answer(request: Request) -> Action:
        reply = reply_of(OTHER if is_swapped.is_set() else TRUE)(request)
        if is_swapped.is_set() and request.path == POOLING:
            swapped.append(request)
        waits = len(swapped) > 1

        async def act(exchange: Exchange) -> None:
            if waits:
                await asyncio.to_thread(is_proving.wait)
            await exchange.send(reply)

        return act

    monkeypatch.setattr(ReplicaPool, "prove", late_proof)
    is_swapped = threading.Event()
    with RawServer(answer) as server:
        client = connect(server, limits=Limits(max_batch_items=1, max_concurrency=12))
        client.servers()
        is_swapped.set()
        outcomes = client.score_many(samples, on_error="return")
    assert {type(outcome) for outcome in outcomes} == {ModelChangedError}


def test_61_a_stream_names_the_results_in_doubt(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_MANY", 100)
    samples = chats(150)
    with RawServer(unlike(reply_of(TRUE), reply_of(OTHER), by=after(6))) as server:
        with pytest.raises(ModelChangedError, match="samples 0 to 149") as caught:
            list(connect(server).stream(samples))
        assert caught.value.doubtful == tuple(range(150))


@dataclass
class OtherTemplate(TextVllm):
    """Has another template for the conversations in which `differs` finds a part."""

    differs: Callable[[Any], object] = bool

    def ids(self, body: Any) -> list[int]:
        if "messages" in body and self.differs(body):
            opened = {"role": "user", "content": "Be brief."}
            body = {**body, "messages": [opened, *body["messages"]]}
        return super().ids(body)


@pytest.mark.parametrize(
    "differs",
    [
        lambda body: True,
        lambda body: body["messages"][0]["role"] == "system",
        lambda body: body.get("tools"),
        lambda body: any(turn["role"] == "tool" for turn in body["messages"]),
        lambda body: "" in [turn["content"] for turn in body["messages"]],
        lambda body: "<think>" in str(body["messages"]),
        lambda body: "enable_thinking" in body.get("chat_template_kwargs", {}),
    ],
    ids=["all", "system", "tools", "tool", "empty", "thoughts", "arguments"],
)
def test_61_a_swap_of_templates(connect: Connect, differs: Any) -> None:
    """The weights are the same, and so are the token IDs of a plain text."""
    other = OtherTemplate(cards=TRUE.cards, pool=TRUE.pool, differs=differs)
    with RawServer(unlike(reply_of(TRUE), reply_of(other), by=after(8))) as server:
        outcomes = connect(server).score_many(chats(300), on_error="return")
    assert {type(outcome) for outcome in outcomes} == {ModelChangedError}
    assert "the same conversation becomes other token IDs" in str(outcomes[0])


def score_each(client: RewardClient, samples: list[Any]) -> None:
    for sample in samples:
        client.score(sample)


LAST = {
    "score": lambda client: score_each(client, chats(300)[229:]),
    "score_many": lambda client: client.score_many(chats(100)),
    "stream": lambda client: list(client.stream(chats(100))),
}


@pytest.mark.parametrize("last", LAST)
def test_61_an_error_names_the_rewards_of_earlier_calls(connect: Connect, last: str) -> None:
    with RawServer(unlike(reply_of(TRUE), reply_of(OTHER), by=after(9))) as server:
        client = connect(server)
        client.score_many(chats(200))
        client.score_many([chats(1)[0], [{"role": "user", "content": ""}]], on_error="return")
        score_each(client, chats(229)[201:])
        with pytest.raises(RewardClientError) as caught:
            LAST[last](client)
        error = caught.value if last != "score_many" else caught.value.__cause__
        assert isinstance(error, ModelChangedError)
        if last == "score":
            assert error.doubtful == ()
            assert "the call: " in str(error)
            assert "In doubt: 255 rewards of earlier calls. Score these again." in str(error)
        else:
            assert sorted(error.doubtful) == [*range(100)]
            assert (
                "In doubt: the 100 rewards since the last proof, samples 0 to 99, and 229 rewards "
                "of earlier calls. Score these again."
            ) in str(error)


def test_61_proven_rewards_of_earlier_calls_are_not_in_doubt(connect: Connect) -> None:
    swapped: list[bool] = []
    both = unlike(reply_of(TRUE), reply_of(OTHER), by=lambda *_: len(swapped))
    with RawServer(both) as server:
        client = connect(server)
        client.score_many(chats(300))
        client.score_many(chats(5))
        swapped.append(True)
        with pytest.raises(BatchError, match=r"the 300 rewards .*, and 5 rewards of earlier calls"):
            client.score_many(chats(300))


def test_61_a_model_that_comes_up_in_the_middle(connect: Connect) -> None:
    """A refused connection shows where the first model ends: nothing before it is in doubt."""
    fake = FakeVllm()
    scored = [0]

    def replaced(request: Any) -> None:
        scored[0] += b"[1000," in request.content
        if scored[0] == 20:
            scored[0] += 1
            fake.pool = lambda ids: [7.0 - len(ids)]
            raise httpx.ConnectError("refused", request=request)

    fake.before = replaced
    samples = [[1000, place] for place in range(60)]
    client = connect(fake, limits=Limits(max_batch_items=1, max_concurrency=1))
    outcomes = client.score_many(samples, on_error="return")
    rewards = [outcome for outcome in outcomes if isinstance(outcome, Reward)]
    assert {reward.value for reward in rewards} == {-3.5}
    assert 10 < len(rewards) < 20
    assert {type(outcome) for outcome in outcomes} == {Reward, ModelChangedError}


def test_a_short_call_asks_nothing_more(connect: Connect) -> None:
    with RawServer(mixing(lambda _, true: true)) as server:
        client = connect(server)
        client.score(chats(1)[0])
        server.forget()
        client.score(chats(2)[1])
        assert [request.path for request in server.requests] == [TOKENIZE, POOLING]


def test_61_a_single_score_after_a_long_time(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_INTERVAL", 0.0)
    with RawServer(unlike(reply_of(TRUE), reply_of(OTHER), by=after(9))) as server:
        client = connect(server)
        assert client.score(chats(1)[0]).value == expected(chats(1)[0])
        with pytest.raises(ModelChangedError):
            client.score(chats(2)[1])


@pytest.mark.parametrize("interval", [0.0, 60.0], ids=["proofs", "one proof"])
def test_61_a_file_keeps_what_is_proven(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interval: float
) -> None:
    monkeypatch.setattr(watch, "_INTERVAL", interval)
    samples = chats(300)
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps({"messages": each}) + "\n" for each in samples))
    limits = Limits(max_batch_items=1, max_concurrency=2)
    with (
        RawServer(unlike(reply_of(TRUE), reply_of(OTHER), by=after(120))) as server,
        RewardClient(server.url, limits=limits) as client,
        pytest.raises(FileError, match="are removed; those before are proven"),
    ):
        score_file(client, source, output)
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert len(rows) < 300
    assert bool(rows) is (interval == 0)
    assert [row["reward"] for row in rows] == [*map(expected, samples[: len(rows)])]
    with RawServer(mixing(lambda _, true: true)) as server, RewardClient(server.url) as client:
        assert score_file(client, source, output).failed == 0
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["reward"] for row in rows] == [*map(expected, samples)]
