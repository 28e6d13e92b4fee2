"""Bodies to samples, without a server; and rewards that are more than one number."""

from __future__ import annotations

from typing import Any

import pytest

from reward_client import Conversation, InputError, ObjectiveHead, StepHead
from reward_client._base.samples import OpenedText
from reward_client._integrations.policy_text import PolicyText
from reward_client.gateway.contracts.contract import Refusal
from reward_client.gateway.contracts.nemo_gym import VERIFY
from reward_client.gateway.contracts.verl import CLASSIFY, EMBEDDINGS
from reward_client.testing import RewardServer

from ..support.running_gateway import RunningGateway

NO_POLICY = PolicyText(None)
QUESTION = {"role": "user", "content": "What is 45 + 43?"}


def call(name: str, number: int) -> dict[str, Any]:
    arguments = f'{{"a": {number}}}'
    return {"type": "function_call", "call_id": f"c{number}", "name": name, "arguments": arguments}


def output(number: int, text: str) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": f"c{number}", "output": text}


def text(content: str) -> dict[str, Any]:
    parts = [{"type": "output_text", "text": content}]
    return {"type": "message", "role": "assistant", "content": parts}


def rollout(*items: dict[str, Any], **asked: Any) -> Conversation:
    params = {"input": [QUESTION], **asked}
    body = {"responses_create_params": params, "response": {"output": [*items]}}
    (sample,) = VERIFY.read(body, NO_POLICY).samples
    assert isinstance(sample, Conversation)
    return sample


class TestNemoGym:
    def test_calls_of_functions_are_turns(self) -> None:
        sample = rollout(
            text("I add."),
            call("add", 1),
            call("add", 2),
            output(1, "88"),
            output(2, "3"),
            call("check", 3),
            output(3, "yes"),
            text("88"),
        )
        kinds = [(turn["role"], turn.get("content")) for turn in sample.messages]
        assert kinds == [
            ("user", "What is 45 + 43?"),
            ("assistant", "I add."),
            ("tool", "88"),
            ("tool", "3"),
            ("assistant", ""),
            ("tool", "yes"),
            ("assistant", "88"),
        ]
        first: Any = sample.messages[1]["tool_calls"]
        assert [each["function"] for each in first] == [
            {"name": "add", "arguments": '{"a": 1}'},
            {"name": "add", "arguments": '{"a": 2}'},
        ]
        assert [each["id"] for each in first] == ["c1", "c2"]
        assert [turn.get("tool_call_id") for turn in sample.messages if turn["role"] == "tool"] == [
            "c1",
            "c2",
            "c3",
        ]

    def test_tools_are_those_of_a_chat(self) -> None:
        parameters = {"type": "object", "properties": {"a": {"type": "integer"}}}
        tool = {"type": "function", "name": "add", "parameters": parameters, "strict": None}
        (written,) = rollout(text("88"), tools=[tool]).tools or ()
        assert written == {
            "type": "function",
            "function": {"name": "add", "parameters": parameters},
        }

    def test_reasoning_is_no_turn(self) -> None:
        item = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "45 + 43"}]}
        assert rollout(item, text("88")).messages == rollout(text("88")).messages

    @pytest.mark.parametrize("kind", ["web_search_call", "image_generation_call", "mcp_call"])
    def test_other_items_are_refused(self, kind: str) -> None:
        with pytest.raises(Refusal, match=kind) as caught:
            rollout({"type": kind}, text("88"))
        assert caught.value.status == 422

    def test_the_rollout_comes_back_with_all_its_fields(self) -> None:
        body = {
            "responses_create_params": {"input": "What is 45 + 43?"},
            "response": {"output": [text("88")]},
            "_ng_task_index": 7,
        }
        asked = VERIFY.read(body, NO_POLICY)
        assert len(asked.samples) == 1
        with pytest.raises(Refusal, match="Cannot score sample 0"):
            asked.answer([InputError("no")])


class TestVerl:
    @pytest.mark.parametrize(
        ("given", "samples"),
        [
            ("a", [OpenedText("a")]),
            (["a", "b"], [OpenedText("a"), OpenedText("b")]),
        ],
    )
    def test_texts(self, given: object, samples: list[OpenedText]) -> None:
        assert (
            CLASSIFY.read({"input": given, "use_activation": False}, NO_POLICY).samples == samples
        )
        assert EMBEDDINGS.read({"input": given}, NO_POLICY).samples == samples

    @pytest.mark.parametrize(("given", "count"), [([1, 2], 1), ([[1, 2]], 1), ([[1], [2, 3]], 2)])
    def test_token_ids(self, given: object, count: int) -> None:
        assert len(EMBEDDINGS.read({"input": given}, NO_POLICY).samples) == count


class TestRewardsOfSeveralValues:
    def test_objectives_without_weights_are_no_number(self) -> None:
        names = ["a", "b", "c", "d", "e"]
        with (
            RewardServer(head="labels") as server,
            RunningGateway(server.url, client={"head": ObjectiveHead(names)}) as gateway,
        ):
            row = {"messages": [QUESTION, {"role": "assistant", "content": "88"}]}
            answer = gateway.post("/score", row).json()
            assert answer["reward"] is None
            assert [*answer["objectives"]] == names
            body = {
                "responses_create_params": {"input": "Hi"},
                "response": {"output": [text("88")]},
            }
            refused = gateway.post("/verify", body)
            assert refused.status_code == 422
            assert "objectives" in refused.json()["detail"]

    def test_objectives_with_weights_are_one_number(self) -> None:
        head = ObjectiveHead(["a", "b", "c", "d", "e"], weights={"a": 1.0, "e": -1.0})
        with (
            RewardServer(head="labels") as server,
            RunningGateway(server.url, client={"head": head}) as gateway,
        ):
            row = {"messages": [QUESTION, {"role": "assistant", "content": "88"}]}
            answer = gateway.post("/score", row).json()
            values = answer["objectives"]
            assert answer["reward"] == pytest.approx(values["a"] - values["e"], rel=1e-12)

    def test_steps(self) -> None:
        head = StepHead(step_token=RewardServer.step_token, good_label=1, aggregate="min")
        with (
            RewardServer(head="steps") as server,
            RunningGateway(server.url, client={"head": head}) as gateway,
        ):
            row = {"prompt": "What is 45 + 43?", "steps": ["40 + 40 = 80.", "88"]}
            answer = gateway.post("/score", row).json()
            rewards = [step["value"] for step in answer["step_rewards"]]
            assert len(rewards) == 2
            assert answer["reward"] == min(rewards)
