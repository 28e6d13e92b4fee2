"""What is sent is what is scored: input that the prompt would lack, or that fakes its template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from reward_client import Conversation, InputError, StepHead
from reward_client._protocols.vllm.messages import readable
from reward_client.methods import Messages, YesNo
from reward_client.testing import RewardServer

from ...support.fake_vllm import FakeVllm
from ...support.scribe import Scribe
from .conftest import Connect
from .samples import CHAT, QUESTION, TOLERANCE, served

ANSWER = CHAT[1]
CALL = {"type": "function", "function": {"name": "add", "arguments": '{"a": 37}'}}


class ThinkingVllm(FakeVllm):
    """Its template shows the reasoning and the calls of an answer, under the names of vLLM."""

    def ids(self, body: Mapping[str, Any]) -> list[int]:
        if "messages" not in body:
            return super().ids(body)
        answer = body["messages"][-1]
        shown = f"{answer.get('reasoning', '')}{answer['content']}{answer.get('tool_calls', '')}"
        return [1, *map(ord, shown)]


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        ({"role": "assistant", "text": "82"}, 'Write "content" in place of "text"'),
        ({"role": "assistant", "value": "82"}, 'Write "content" in place of "value"'),
        ({"role": "assistant", "contnet": "82"}, 'Write "content" in place of "contnet"'),
        ({"from": "gpt", "value": "82"}, 'Write "role" in place of "from"'),
        ({"role": "assistant", "content": None}, 'Write "content": "" for an empty message'),
        ({"role": "assistant"}, "Message 1 has no content"),
        ({"role": "assistant", "content": None, "tool_calls": []}, "Message 1 has no content"),
        ({**ANSWER, "text": "82"}, "has the key 'text'.*Write 'content' in its place"),
        ({**ANSWER, "Reasoning": "82"}, "has the key 'Reasoning'.*Write 'reasoning' in its place"),
        ({**ANSWER, "thinking": "30"}, "has the key 'thinking'.*Write 'reasoning' in its place"),
        ({**ANSWER, "prefix": True}, "has the key 'prefix'.*leave the key out"),
        ({**ANSWER, "tool_call_id": "1"}, "in messages of the role tool"),
        ({"role": "assistant", "content": [{"type": "text", "text": "82", "x": 1}]}, "key 'x'"),
        ({**ANSWER, "tool_calls": [{"name": "add"}]}, "no calls of functions"),
        (
            {**ANSWER, "tool_calls": [{"function": {"name": "add", "arguments": "{37"}}]},
            "arguments that are no JSON object",
        ),
    ],
)
def test_47_a_key_that_no_server_reads(connect: Connect, answer: Any, hint: str) -> None:
    with RewardServer() as server:
        with pytest.raises(InputError, match=hint):
            connect(server).score([QUESTION, answer])


def test_47_a_key_without_a_value_is_harmless(connect: Connect) -> None:
    """`datasets` writes None for a key that only other rows have."""
    spare = dict.fromkeys(("name", "tool_calls", "weight", "text"))
    with RewardServer() as server:
        client = connect(server)
        assert client.score([QUESTION, {**ANSWER, **spare}]) == client.score(CHAT)


@pytest.mark.parametrize(
    ("version", "key", "sent"),
    [
        ("0.32.0", "reasoning_content", "reasoning"),
        ("0.32.0", "reasoning", "reasoning"),
        ("0.11.1", "reasoning_content", "reasoning"),
        (None, "reasoning_content", "reasoning"),
    ],
)
def test_47_reasoning_is_sent_by_the_name_that_the_version_reads(
    connect: Connect, version: str | None, key: str, sent: str
) -> None:
    server = ThinkingVllm(version=version)
    with_reasoning = connect(server).tokenize([QUESTION, {**ANSWER, key: "Sum."}])
    assert server.asked("/tokenize")[-2]["messages"][1] == {**ANSWER, sent: "Sum."}
    assert len(with_reasoning.token_ids) == len(ANSWER["content"]) + len("Sum.") + 1


@pytest.mark.parametrize("key", ["reasoning", "reasoning_content"])
def test_47_reasoning_that_the_version_ignores(connect: Connect, key: str) -> None:
    client = connect(ThinkingVllm(version="0.9.2", tasks=(None,)))
    with pytest.raises(InputError, match=f"'{key}', which vLLM 0.9.2 ignores.*<think>"):
        client.tokenize([QUESTION, {**ANSWER, key: "Sum."}])


def test_47_two_reasonings(connect: Connect) -> None:
    both = {**ANSWER, "reasoning": "Sum.", "reasoning_content": "Add."}
    with pytest.raises(InputError, match="of different texts"):
        connect(ThinkingVllm()).tokenize([QUESTION, both])


@pytest.mark.parametrize("extra", [{"reasoning": "Sum."}, {"tool_calls": [CALL]}])
def test_47_parts_that_the_template_leaves_out(connect: Connect, extra: Any) -> None:
    """The server reads these keys, and the template of its model does not show them."""
    (part,) = extra
    with RewardServer() as server:
        for options in ({}, {"method": Messages()}):
            with pytest.raises(InputError, match=f"leaves out its {part}"):
                connect(server, **options).score([QUESTION, {**ANSWER, **extra}])


def test_47_parts_that_the_template_shows_cost_one_request_more(connect: Connect) -> None:
    server = ThinkingVllm()
    client = connect(server)
    client.servers()
    server.requests.clear()
    for number in range(5):
        calls = {**ANSWER, "reasoning": "Sum.", "tool_calls": [CALL]}
        client.tokenize([{"role": "user", "content": str(number)}, calls])
    assert len(server.asked("/tokenize")) == 5 + 2


def test_47_which_keys_a_version_reads() -> None:
    def is_read(version: str, role: str, key: str) -> bool:
        try:
            readable([{"role": role, "content": "", key: "x"}], version)
        except InputError:
            return False
        return True

    assert is_read("0.6.3", "user", "name")
    assert not is_read("0.12.0", "developer", "tools")
    assert is_read("0.13.0", "developer", "tools")
    assert not is_read("0.32.0", "user", "tools")
    assert not is_read("0.18.1", "user", "task")
    assert is_read("0.20.2", "user", "task")


@pytest.mark.parametrize(
    ("sample", "hint"),
    [
        ([QUESTION], "no answer to score: its last message has the role 'user'"),
        ([*CHAT, QUESTION], "its last message has the role 'user'"),
        ([{"role": "system", "content": "Add."}], "its last message has the role 'system'"),
        (
            [*CHAT[:1], {**ANSWER, "tool_calls": [CALL]}, {"role": "tool", "content": "82"}],
            "its last message has the role 'tool'",
        ),
        ([*CHAT, ANSWER], "Message 2 is an answer that follows an answer"),
        ([QUESTION, ANSWER, ANSWER, QUESTION, ANSWER], "Message 2 is an answer that follows"),
    ],
)
def test_48_a_conversation_ends_with_one_answer(connect: Connect, sample: Any, hint: str) -> None:
    with RewardServer() as server:
        client = connect(server)
        for call in (client.score, client.tokenize, client.diagnose):
            with pytest.raises(InputError, match=hint):
                call(sample)


def test_48_a_prefix_may_be_meant(connect: Connect) -> None:
    with RewardServer() as server:
        client = connect(server, on_unanswered="allow")
        assert client.score([QUESTION]).token_count
        longer = client.rank(CHAT, ["No, 83.", "Indeed."])
        assert len(longer.rewards) == 2
        client.score([*CHAT, ANSWER])
        assert [each["role"] for each in served(server, "/tokenize")[-1]["messages"]] == [
            *("user", "assistant", "assistant")
        ]


def test_48_an_empty_answer_is_an_answer(connect: Connect) -> None:
    with RewardServer() as server:
        client = connect(server)
        reward = client.score([QUESTION, {"role": "assistant", "content": ""}])
        assert reward.value < client.score(CHAT).value - 1


def test_48_rank_takes_a_prompt_without_an_answer(connect: Connect) -> None:
    with RewardServer() as server:
        client = connect(server)
        with pytest.raises(InputError, match="prompt of rank.* ends with an answer"):
            client.rank(CHAT, ["82", "83"])
        assert client.rank([QUESTION], ["82", "83"]).best == "82"


def test_48_the_model_may_be_the_one_that_answers(connect: Connect) -> None:
    client = connect(Scribe(), method=YesNo(question=None))
    asking = [*CHAT, {"role": "user", "content": "Is that correct (Yes/No)?"}]
    assert client.score(asking).value == pytest.approx(client.score(asking).value, abs=TOLERANCE)


def test_48_steps_are_an_answer(connect: Connect) -> None:
    with RewardServer(head="steps") as server:
        head = StepHead(step_token=server.step_token, good_label=1, aggregate="min")
        assert connect(server, head=head).score(Conversation([QUESTION], steps=["82"])).steps
