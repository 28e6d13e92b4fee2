"""Conversations that are too long lose as few of their oldest exchanges as must go."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward_client._base.samples import Conversation
from reward_client._tokenization.truncation import fit

Turns = list[dict[str, Any]]

KEPT = ("system", "developer")


def turns(roles: str) -> Turns:
    """Messages by the first letters of their roles; each has its place as content."""
    names = {"s": "system", "d": "developer", "u": "user", "a": "assistant", "t": "tool"}
    return [{"role": names[role], "content": str(place)} for place, role in enumerate(roles)]


def fitted(messages: Turns, costs: list[int], limit: int) -> tuple[Turns | None, int]:
    """What is left, and how many sizes were looked at for it."""
    looked = 0

    async def attempt(shorter: Conversation) -> Turns | None:
        nonlocal looked
        looked += 1
        left = [dict(message) for message in shorter.messages]
        return left if size(left, costs) <= limit else None

    return asyncio.run(fit(Conversation(messages), attempt)), looked


def size(messages: Turns, costs: list[int]) -> int:
    return sum(costs[int(message["content"])] for message in messages)


def exchanges(messages: Turns) -> list[Turns]:
    """By the definition: a user's turns, and what follows up to the next user's."""
    found: list[Turns] = []
    for message in messages:
        if message["role"] in KEPT:
            continue
        answered = bool(found) and found[-1][-1]["role"] != "user"
        if not found or (message["role"] == "user" and answered):
            found.append([])
        found[-1].append(message)
    return found


def longest(messages: Turns, costs: list[int], limit: int) -> Turns | None:
    """By trying all suffixes of exchanges, the longest first; all of them are too many."""
    parts = exchanges(messages)
    for start in range(1, len(parts)):
        left = [message for part in parts[start:] for message in part]
        kept = [message for message in messages if message["role"] in KEPT or message in left]
        if size(kept, costs) <= limit:
            return kept
    return None


@given(
    st.lists(st.tuples(st.sampled_from("sduuaat"), st.integers(1, 20)), min_size=1, max_size=40),
    st.integers(0, 200),
)
def test_the_longest_suffix_of_exchanges_that_fits(
    given_turns: list[tuple[str, int]], limit: int
) -> None:
    messages = turns("".join(role for role, _ in given_turns))
    costs = [cost for _, cost in given_turns]
    left, looked = fitted(messages, costs, limit)
    assert left == longest(messages, costs, limit)
    assert looked <= math.log2(len(messages)) + 2
    if left is not None:
        last = exchanges(messages)[-1]
        assert [message for message in left if message in last] == last
        assert [m for m in left if m["role"] in KEPT] == [m for m in messages if m["role"] in KEPT]


@pytest.mark.parametrize(
    ("roles", "limit", "left"),
    [
        ("uaua", 2, "23"),
        ("uauaua", 4, "2345"),
        ("suauaua", 5, "03456"),
        ("suauaua", 4, "056"),  # the system message counts too
        ("suauaua", 2, None),
        ("duaua", 3, "034"),
        ("uasua", 3, "234"),  # a system message in the middle belongs to nobody
        ("uasua", 2, None),
        ("auaua", 4, "1234"),  # a greeting goes first
        ("uatauaua", 4, "4567"),  # tool calls and results go with their question
        ("uuaua", 3, "34"),  # two turns of the user are one question
        ("ususa", 3, None),
        ("ua", 1, None),
        ("u", 0, None),
        ("s", 0, None),
        ("aaa", 2, None),
    ],
)
def test_which_turns_go(roles: str, limit: int, left: str | None) -> None:
    found, _ = fitted(turns(roles), [1] * len(roles), limit)
    assert (found and "".join(message["content"] for message in found)) == left


def test_the_rest_of_the_conversation_stays() -> None:
    conversation = Conversation(turns("uaua"), [{"type": "function"}], {"enable_thinking": False})
    seen: list[Conversation] = []

    async def attempt(shorter: Conversation) -> bool:
        seen.append(shorter)
        return True

    assert asyncio.run(fit(conversation, attempt)) is True
    assert [(c.tools, c.chat_template_kwargs) for c in seen] == [
        (conversation.tools, conversation.chat_template_kwargs)
    ]
    assert list(conversation.messages) == turns("uaua")


def test_what_is_found_is_not_made_twice() -> None:
    """An attempt is a request to the server."""
    made: list[int] = []

    async def attempt(shorter: Conversation) -> list[int] | None:
        made.append(len(shorter.messages))
        return made[-1:] if len(shorter.messages) <= 6 else None

    assert asyncio.run(fit(Conversation(turns("ua" * 16)), attempt)) == [6]
    assert made.count(6) == 1
