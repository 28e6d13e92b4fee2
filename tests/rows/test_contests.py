"""Rows by a judge of two: the responses of a row are compared, and their win rates are its rewards.

The judge prefers the longer answer. It names the first one if the question says so, and writes no
verdict if an answer says so, so that each number below can be told by hand.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any, cast

import httpx
import pandas as pd
import polars as pl
import pytest

from reward_client import InputError, Limits, RetryPolicy, Timeouts

from ..methods.test_verdict import PAIR, better, client_of, prompts_of
from ..support.either import OPENERS, Kind
from ..support.fake_vllm import text_of
from ..support.scribe import Scribe

RIGHT = {"prompt": "q", "chosen": "longer", "rejected": "short"}
BIASED = {"prompt": "always the first", "chosen": "longer", "rejected": "short"}
SILENT = {"prompt": "q", "chosen": "longer silent", "rejected": "short"}
THREE = {"prompt": "q", "responses": ["a", "bbb", "cc"]}
FOUR = {"prompt": "q", "responses": ["a", "bbb", "cc", "x silent"]}
BOTH = {"question": "q", "response_A": "b", "response_B": "aaa"}
SINGLE = {"prompt": "q", "response": "a"}


def writes(prompt: str, seed: int) -> str:
    if "silent" in prompt:
        return "I cannot tell."
    return "[[A]]" if "always the first" in prompt else better(prompt, seed)


def turns(question: str, answer: str, **more: Any) -> list[dict[str, Any]]:
    return [
        {"role": "user", "content": question},
        {"role": "assistant", "content": answer, **more},
    ]


def compared(first: str, second: str, preference: float) -> dict[str, Any]:
    return {"first": first, "second": second, "preference": preference}


@pytest.mark.parametrize("kind", OPENERS)
def test_rows_are_ranked(kind: Kind) -> None:
    rows = [RIGHT, BIASED, THREE, BOTH]
    with closing(client_of(kind, Scribe(writes), PAIR)) as client:
        results = client.score_rows(rows)
        assert results == [*client.stream_rows(iter(rows))]
    assert [row["reward"] for row in results] == [
        {"chosen": 1.0, "rejected": 0.0},
        {"chosen": 0.5, "rejected": 0.5},  # the two orders disagree
        [0.0, 1.0, 0.5],
        {"response_A": 0.0, "response_B": 1.0},
    ]
    assert [row["form"] for row in results] == [
        *("preference", "preference", "responses", "comparison")
    ]
    assert [row["error"] for row in results] == [None] * 4
    assert results[0]["comparisons"] == [
        compared("chosen", "rejected", 1.0),
        compared("rejected", "chosen", -1.0),
    ]
    assert results[1]["comparisons"] == [
        compared("chosen", "rejected", 1.0),
        compared("rejected", "chosen", 1.0),
    ]
    assert results[2]["comparisons"][:2] == [compared("[0]", "[1]", -1), compared("[0]", "[2]", -1)]
    assert len(results[2]["comparisons"]) == 6


@pytest.mark.parametrize("kind", OPENERS)
def test_they_are_those_of_rank_many(kind: Kind) -> None:
    for schedule in ("all", "circular", "knockout", 4):
        judge = replace(PAIR, schedule=schedule)
        scribe = Scribe(writes)
        with closing(client_of(kind, scribe, judge)) as client:
            responses = ["a", "bbb", "cc", "ddddd", "e"]
            (row,) = client.score_rows([{"prompt": "q", "responses": responses}])
            asked = prompts_of(scribe)
            (ranking,) = client.rank_many(["q"], [responses])
        assert row["reward"] == [reward and reward.value for reward in ranking.rewards]
        assert len(row["comparisons"]) == judge.calls(5) == len(asked)
        assert prompts_of(scribe)[len(asked) :] == asked


@pytest.mark.parametrize("kind", OPENERS)
def test_a_comparison_without_a_verdict(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    with closing(client_of(kind, Scribe(writes), PAIR)) as client:
        lost, ranked, right = client.score_rows([SILENT, FOUR, RIGHT])
    assert lost["reward"] == {"chosen": None, "rejected": None}
    assert [each["preference"] for each in lost["comparisons"]] == [None, None]
    for error in lost["error"].values():
        assert (error["type"], error["text"]) == ("GenerationError", "I cannot tell.")
    assert ranked["reward"] == [0.0, 1.0, 0.5, None]
    assert [error and error["type"] for error in ranked["error"]] == [
        *(None, None, None, "GenerationError")
    ]
    failed = [each for each in ranked["comparisons"] if each["preference"] is None]
    assert len(failed) == 6
    assert failed[0]["error"]["text"] == "I cannot tell."
    assert right["reward"] == {"chosen": 1.0, "rejected": 0.0}
    assert "8 of 16 comparisons failed: 8 GenerationError" in caplog.text


@pytest.mark.parametrize("kind", OPENERS)
def test_a_single_order_that_fails_costs_a_pair_and_no_row(kind: Kind) -> None:
    """Of three answers, one pair fails in one order: the strengths tell its share."""

    def fails_once(prompt: str, seed: int) -> str:
        return "?" if "A: a\nB: cc" in prompt else better(prompt, seed)

    with closing(client_of(kind, Scribe(fails_once), PAIR)) as client:
        (row,) = client.score_rows([THREE])
        (ranking,) = client.rank_many(["q"], [THREE["responses"]], on_error="return")
    assert row["error"] is None
    assert row["reward"] == [reward and reward.value for reward in ranking.rewards]
    assert row["reward"][1] == 1.0
    assert [each["first"] for each in row["comparisons"] if "error" in each] == ["[0]"]


@pytest.mark.parametrize("kind", OPENERS)
def test_a_single_response_is_refused_at_the_first_row(kind: Kind) -> None:
    singles = [
        SINGLE,
        {"messages": turns("q", "a")},
        {"prompt": "q", "responses": ["a"]},
        {"text": "q a"},
        {"token_ids": [1, 2]},
        {"prompt": "q", "steps": ["a", "b"]},
    ]
    scribe = Scribe(writes)
    with closing(client_of(kind, scribe, PAIR)) as client:
        for row in singles:
            for score in (client.score_rows, lambda rows: [*client.stream_rows(rows)]):
                with pytest.raises(InputError, match="compares two responses: it has a single one"):
                    score([row])
        right, single = client.score_rows([RIGHT, SINGLE])
    assert right["reward"] == {"chosen": 1.0, "rejected": 0.0}
    assert (single["form"], single["reward"], single["error"]["type"]) == (None, None, "InputError")


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"chosen": turns("q", "a"), "rejected": turns("p", "b")}, "follow different prompts"),
        (
            {"prompt": "q", "chosen": "a", "rejected": [*turns("q", "b"), *turns("r", "c")]},
            "follow different prompts",
        ),
        (
            {"chosen": turns("q", "a", reasoning_content="b"), "rejected": turns("q", "b")},
            "no other key",
        ),
        ({**RIGHT, "tools": [{"type": "function", "function": {"name": "f"}}]}, "no tools"),
        ({"prompt": "q", "responses": []}, "non-empty list"),
        ({"chosen": turns("q", "a")[:1], "rejected": turns("q", "b")}, "a last message is none"),
        ({**RIGHT, "comparisons": 1}, "Cannot add the column 'comparisons'"),
    ],
)
def test_rows_that_cannot_be_compared(kind: Kind, row: dict[str, Any], reason: str) -> None:
    scribe = Scribe(writes)
    with closing(client_of(kind, scribe, PAIR)) as client:
        _, result = client.score_rows([RIGHT, row])
    assert result["reward"] is None
    assert reason in result["error"]["message"]
    assert len(prompts_of(scribe)) == 2


@pytest.mark.parametrize("kind", OPENERS)
def test_the_same_response_twice(kind: Kind) -> None:
    with closing(client_of(kind, Scribe(writes), PAIR)) as client:
        (row,) = client.score_rows([{"prompt": "q", "responses": ["a", "a", "bb"]}])
    assert row["reward"] == [0.25, 0.25, 1.0]


@pytest.mark.parametrize("kind", OPENERS)
def test_all_rows_of_a_table(kind: Kind) -> None:
    rows = [RIGHT, BIASED, SILENT]
    with closing(client_of(kind, Scribe(writes), PAIR)) as client:
        frame = client.score_rows(pl.DataFrame(rows))
        pandas = client.score_rows(pd.DataFrame(rows))
    assert frame["reward"].to_list()[1] == {"chosen": 0.5, "rejected": 0.5}
    assert frame["comparisons"].to_list()[2][0]["error"]["text"] == "I cannot tell."
    assert pandas["comparisons"][0][0]["first"] == "chosen"


@pytest.mark.parametrize("kind", OPENERS)
def test_a_bounded_window_of_rows_and_their_order(kind: Kind) -> None:
    rows = [
        {"id": n, "prompt": "q", "responses": [*map("a".__mul__, range(1, 4))]} for n in range(60)
    ]
    read: list[int] = []

    def reading() -> Iterator[dict[str, Any]]:
        for row in rows:
            read.append(row["id"])
            yield row

    limits = Limits(max_concurrency=2, max_batch_items=4)
    with closing(client_of(kind, Scribe(writes), PAIR, limits=limits)) as client:
        results = client.stream_rows(reading())
        if kind == "sync":
            results = [next(iter(results)), *results]
            assert read == [*range(60)]
            read.clear()
            stream = client.stream_rows(reading())
            next(iter(stream))
            assert len(read) <= 2 * 4 + 1
            cast("Generator[object]", stream).close()
    assert [row["id"] for row in results] == [*range(60)]
    assert all(row["reward"] == [0.0, 0.5, 1.0] for row in results)


class Slow(httpx.AsyncBaseTransport):
    """Answers the texts of the first row after those of all others."""

    def __init__(self, scribe: Scribe, others: int) -> None:
        self._inner = scribe.transport()
        self._left = others
        self._done = asyncio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content or b"{}")
        if request.url.path == "/v1/completions" and "seed" in body:
            if "Q: 0" in text_of(body["prompt"]):
                await self._done.wait()
            else:
                self._left -= 1
                if not self._left:
                    self._done.set()
        return await self._inner.handle_async_request(request)


@pytest.mark.parametrize("kind", OPENERS)
def test_a_slow_row_holds_up_no_others(kind: Kind) -> None:
    rows = [{"prompt": str(n), "chosen": "long", "rejected": "no"} for n in range(20)]
    slow = Slow(Scribe(better), 2 * 19)
    limits = Limits(max_concurrency=3, max_batch_items=16)
    client = OPENERS[kind]("http://vllm", transport=slow, method=PAIR, limits=limits)
    with closing(client):
        results = [*client.stream_rows(rows)]
    assert [row["reward"] for row in results] == [{"chosen": 1.0, "rejected": 0.0}] * 20


@pytest.mark.parametrize("kind", OPENERS)
def test_a_deadline_for_each_row(kind: Kind) -> None:
    """The first row never ends; all others do, and none waits for its turn until the deadline."""
    rows = [{"prompt": str(n), "chosen": "long", "rejected": "no"} for n in range(40)]
    slow = Slow(Scribe(better), 2 * 40)
    limits, timeouts = Limits(max_concurrency=3), Timeouts(total=2)
    client = OPENERS[kind](
        "http://vllm", transport=slow, method=PAIR, limits=limits, timeout=timeouts
    )
    with closing(client):
        late, *others = client.score_rows(rows)
    assert late["error"]["chosen"]["type"] == "RewardTimeoutError"
    assert [row["error"] for row in others] == [None] * 39


@pytest.mark.parametrize("kind", OPENERS)
def test_arguments_of_the_template_reach_it(kind: Kind) -> None:
    scribe = Scribe(writes)
    arguments = {"enable_thinking": False}
    with closing(client_of(kind, scribe, PAIR)) as client:
        client.score_rows([{**RIGHT, "chat_template_kwargs": arguments}])
    told = [body.get("chat_template_kwargs") for body in scribe.asked("/tokenize")]
    assert arguments in told


@pytest.mark.parametrize("kind", OPENERS)
def test_responses_are_counted(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), closing(client_of(kind, Scribe(writes), PAIR)) as client:
        client.score_rows([RIGHT, THREE, SILENT])
        stats = client.stats()
    assert (stats.scored, stats.failed) == (5, 2)
    assert "2 of 10 comparisons failed: 2 GenerationError" in caplog.text


@pytest.mark.parametrize("kind", OPENERS)
def test_a_lost_server_fails_the_row(kind: Kind) -> None:
    """A row of which some comparisons were done is not ranked by these alone."""
    scribe = Scribe()

    def dies(prompt: str, seed: int) -> str:
        if len(prompts_of(scribe)) > 3:
            raise httpx.ConnectError("refused")
        return better(prompt, seed)

    scribe.writes = dies
    with closing(client_of(kind, scribe, PAIR, retry=RetryPolicy(attempts=1))) as client:
        (row,) = client.score_rows([THREE])
    assert {error["type"] for error in row["error"]} == {"ServerUnreachableError"}
    assert row["reward"] == [None, None, None]
