"""Each contract over real sockets: bodies as the frameworks send them, rewards as direct ones."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from reward_client import FormattedText
from reward_client.gateway.logs import JsonLines
from reward_client.testing import RewardServer

from ..support.running_gateway import RunningGateway

if TYPE_CHECKING:
    from reward_client import RewardClient

QUESTION = {"role": "user", "content": "What is 45 + 43?"}
ANSWERS = ("88", "89", "I do not know.")
SAMPLES = [[QUESTION, {"role": "assistant", "content": answer}] for answer in ANSWERS]
PROMPT = "<|bos|><|user|>What is 45 + 43?<|end|><|assistant|>"
WHOLE = f"{PROMPT}88<|end|>"


@pytest.fixture(scope="module")
def rewards(direct: RewardClient) -> list[float]:
    return [float(reward) for reward in direct.score_many(SAMPLES)]


class TestPlain:
    @pytest.mark.parametrize(
        "row",
        [
            {"messages": SAMPLES[0]},
            {"prompt": "What is 45 + 43?", "response": "88"},
            {"prompt": [QUESTION], "response": [SAMPLES[0][1]]},
            {"text": WHOLE},
        ],
        ids=["messages", "texts", "turns", "text"],
    )
    def test_one_row(
        self, gateway: RunningGateway, rewards: list[float], row: dict[str, Any]
    ) -> None:
        answer = gateway.post("/score", row)
        assert answer.status_code == 200
        assert answer.json()["reward"] == rewards[0]
        assert answer.json()["error"] is None
        assert answer.json()["token_count"] == 17

    def test_token_ids(self, gateway: RunningGateway, direct: RewardClient) -> None:
        ids = direct.tokenize(SAMPLES[1]).token_ids
        answer = gateway.post("/score", {"token_ids": ids}).json()
        assert answer["reward"] == float(direct.score(SAMPLES[1]))

    def test_responses_to_one_prompt(self, gateway: RunningGateway, rewards: list[float]) -> None:
        answer = gateway.post("/score", {"prompt": [QUESTION], "responses": ANSWERS}).json()
        assert answer["reward"] == rewards

    def test_rows_of_several_forms(self, gateway: RunningGateway, rewards: list[float]) -> None:
        pair = {"prompt": [QUESTION], "chosen": "88", "rejected": "89"}
        body = {"rows": [{"messages": SAMPLES[2]}, pair, {"question": 1}]}
        first, second, third = gateway.post("/score", body).json()["rows"]
        assert first["reward"] == rewards[2]
        assert second["reward"] == {"chosen": rewards[0], "rejected": rewards[1]}
        assert third["reward"] is None
        assert third["error"]["type"] == "InputError"

    def test_form_and_columns(self, gateway: RunningGateway, rewards: list[float]) -> None:
        body = {
            "rows": [{"q": "What is 45 + 43?", "a": "89"}],
            "form": "response",
            "columns": {"prompt": "q", "response": "a"},
        }
        assert gateway.post("/score", body).json()["rows"][0]["reward"] == rewards[1]

    def test_a_sample_that_fails_has_null_beside_the_others(
        self, gateway: RunningGateway, rewards: list[float]
    ) -> None:
        overlong = "8" * 4000
        body = {"prompt": [QUESTION], "responses": ["88", overlong]}
        answer = gateway.post("/score", body)
        assert answer.status_code == 200
        assert answer.json()["reward"] == [rewards[0], None]
        assert answer.json()["error"][0] is None
        assert answer.json()["error"][1]["type"] == "PromptTooLongError"
        assert overlong not in answer.text

    @pytest.mark.parametrize(
        "row",
        [
            {"prompt": "What is 45 + 43?", "response": "8" * 4000},
            {"question": "What is 45 + 43?"},
            {"messages": [QUESTION]},
            {"messages": [{"role": "human", "content": "Hi"}]},
            {},
        ],
        ids=["too long", "no form", "no answer", "unknown role", "empty"],
    )
    def test_one_row_without_any_reward_is_an_error(
        self, gateway: RunningGateway, row: dict[str, Any]
    ) -> None:
        answer = gateway.post("/score", row)
        assert answer.status_code == 422
        error = answer.json()["error"]
        assert set(error) == {"type", "message"}
        assert "reward" not in answer.json()


class TestVerl:
    """What `RewardLoopWorker.compute_score_disrm` of verl 0.9.1 sends."""

    @pytest.mark.parametrize("text", [WHOLE, WHOLE.removeprefix("<|bos|>")])
    def test_classify(self, gateway: RunningGateway, rewards: list[float], text: str) -> None:
        body = {"model": "/models/judge", "input": text, "use_activation": False}
        answer = gateway.post("/classify", body)
        assert answer.json()["data"][-1]["probs"][-1] == rewards[0]
        assert answer.json()["usage"]["prompt_tokens"] == 17

    def test_a_local_tokenizer(self, server: RewardServer, rewards: list[float]) -> None:
        client = {"tokenizer": str(server.checkpoint)}
        with RunningGateway(server.url, client=client) as gateway:
            text = WHOLE.removeprefix("<|bos|>")
            answer = gateway.post("/classify", {"input": text, "use_activation": False})
            assert answer.json()["data"][0]["probs"] == rewards[:1]

    def test_embeddings(self, gateway: RunningGateway, rewards: list[float]) -> None:
        body = {"model": "/models/judge", "input": WHOLE.removeprefix("<|bos|>")}
        answer = gateway.post("/v1/embeddings", body)
        assert answer.json()["data"][-1]["embedding"][-1] == rewards[0]

    def test_many_texts_and_token_ids(self, gateway: RunningGateway, direct: RewardClient) -> None:
        ids = list(direct.tokenize(SAMPLES[1]).token_ids)
        body = {"input": [WHOLE, ids], "use_activation": False}
        items = gateway.post("/classify", body).json()["data"]
        expected = direct.score_many([SAMPLES[0], SAMPLES[1]])
        assert [item["probs"] for item in items] == [[float(each)] for each in expected]
        assert [item["index"] for item in items] == [0, 1]

    @pytest.mark.parametrize("asked", [{}, {"use_activation": True}, {"use_activation": None}])
    def test_a_value_after_an_activation_is_refused(
        self, gateway: RunningGateway, asked: dict[str, Any]
    ) -> None:
        answer = gateway.post("/classify", {"input": WHOLE, **asked})
        assert answer.status_code == 400
        assert '"use_activation": false' in answer.json()["error"]["message"]
        assert answer.json()["error"]["code"] == 400

    def test_a_template_without_bos_gets_none(self) -> None:
        settings = json.loads((RewardServer.checkpoint / "tokenizer_config.json").read_text())
        template = settings["chat_template"]
        bare = template.replace("{{- bos_token }}\n", "")
        assert bare != template
        with RewardServer(chat_template=bare) as server, RunningGateway(server.url) as gateway:
            text = WHOLE.removeprefix("<|bos|>")
            body = {"input": text, "use_activation": False}
            answer = gateway.post("/classify", body).json()
            plain = gateway.post("/score", {"messages": SAMPLES[0]}).json()
            assert answer["data"][0]["probs"] == [plain["reward"]]
            assert answer["usage"]["prompt_tokens"] == plain["token_count"] == 16

    def test_the_bos_is_that_of_conversations_and_not_of_texts(
        self, direct: RewardClient, rewards: list[float]
    ) -> None:
        without = direct.score(FormattedText(WHOLE.removeprefix("<|bos|>")))
        assert float(without) != rewards[0]


class TestPolicyText:
    """What OpenRLHF 0.11.2, LLaMA-Factory 0.9.5 and slime send: text in the policy's template."""

    def test_openrlhf(self, reading_gateway: RunningGateway, rewards: list[float]) -> None:
        queries = [WHOLE.replace("88", answer) for answer in ANSWERS]
        body = {"query": queries, "prompts": [PROMPT] * 3, "labels": [None] * 3}
        answer = reading_gateway.post("/get_reward", body)
        assert answer.json() == {"rewards": rewards, "scores": rewards, "extra_logs": {}}

    def test_llama_factory(self, reading_gateway: RunningGateway, rewards: list[float]) -> None:
        body = {"model": "model", "messages": [WHOLE.replace("88", each) for each in ANSWERS]}
        assert reading_gateway.post("/v1/score/evaluation", body).json()["scores"] == rewards

    @pytest.mark.parametrize("prompt", [PROMPT, [QUESTION]])
    def test_slime(
        self, reading_gateway: RunningGateway, rewards: list[float], prompt: Any
    ) -> None:
        body = {"prompt": prompt, "response": "88<|end|>", "label": "88"}
        answer = reading_gateway.post("/remote_rm", body)
        assert answer.json() == rewards[0]

    @pytest.mark.parametrize("text", ["gibberish", WHOLE.replace("88", "8" * 4000)])
    def test_one_sample_without_a_reward_is_an_error_for_all(
        self, reading_gateway: RunningGateway, text: str
    ) -> None:
        body = {"query": [WHOLE, text], "prompts": [PROMPT, PROMPT]}
        answer = reading_gateway.post("/get_reward", body)
        assert answer.status_code == 422
        assert "sample 1" in answer.json()["detail"]
        assert text not in answer.text

    def test_prompts_without_a_template_need_no_tokenizer(
        self, gateway: RunningGateway, rewards: list[float]
    ) -> None:
        asked = "What is 45 + 43?"
        body = {"query": [f"{asked}88"], "prompts": [asked], "labels": [None]}
        assert gateway.post("/get_reward", body).json()["rewards"] == rewards[:1]
        body = {"prompt": [QUESTION], "response": "88", "label": None}
        assert gateway.post("/remote_rm", body).json() == rewards[0]

    def test_large_bodies(self, reading_gateway: RunningGateway, rewards: list[float]) -> None:
        """A body that takes long to read is read beside other requests."""
        count = 1000
        queries = [WHOLE.replace("88", ANSWERS[number % 2]) for number in range(count)]
        body = {"query": queries, "prompts": [PROMPT] * count, "labels": [None] * count}
        assert len(json.dumps(body)) > 2**16
        answer = reading_gateway.post("/get_reward", body)
        assert answer.json()["rewards"] == rewards[:2] * (count // 2)

    def test_the_tokenizer_of_another_policy(self, server: RewardServer) -> None:
        opened = "<|im_start|>user\nWhat is 45 + 43?<|im_end|>\n<|im_start|>assistant\n"
        tokenizer = str(server.checkpoint)
        with RunningGateway(server.url, policy_tokenizer=tokenizer) as gateway:
            body = {"query": [f"{opened}88<|im_end|>"], "prompts": [opened], "labels": [None]}
            answer = gateway.post("/get_reward", body)
            assert answer.status_code == 422
            assert "chat template" in answer.json()["detail"]

    def test_reasoning_is_left_out_by_name(
        self, server: RewardServer, rewards: list[float], caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "reward_client.gateway")
        answer = "<think>45 + 43 is 88.</think>88<|end|>"
        with RunningGateway(
            server.url, policy_tokenizer=str(server.checkpoint), strip_reasoning="think"
        ) as gateway:
            body = {"query": [PROMPT + answer], "prompts": [PROMPT], "labels": [None]}
            assert gateway.post("/get_reward", body).json()["rewards"] == rewards[:1]
            assert (
                gateway.post("/remote_rm", {"prompt": PROMPT, "response": answer}).json()
                == rewards[0]
            )
            body = {"model": "model", "messages": [PROMPT + answer]}
            assert gateway.post("/v1/score/evaluation", body).json()["scores"] == rewards[:1]
        lines = [json.loads(JsonLines().format(each)) for each in caplog.records]
        stripped = [line["stripped_characters"] for line in lines if line["event"] == "request"]
        assert len(stripped) == 3
        assert min(stripped) >= len("45 + 43 is 88.")


class TestNemoGym:
    """What `simple_agent` of nemo-gym 0.4.0 sends to a resources server."""

    def test_a_session_needs_nothing(self, gateway: RunningGateway) -> None:
        body = {"responses_create_params": {"input": "What is 45 + 43?"}}
        answer = gateway.post("/seed_session", body)
        assert (answer.status_code, answer.json()) == (200, {})

    def test_verify_returns_the_rollout_with_its_reward(
        self, gateway: RunningGateway, rewards: list[float]
    ) -> None:
        body = {
            "responses_create_params": {"input": [QUESTION], "temperature": 1.0},
            "response": {"id": "resp_1", "output": [reasoning("45 + 43"), message("88")]},
            "verifier_metadata": {"task": 7},
        }
        answer = gateway.post("/verify", body)
        assert answer.json() == {**body, "reward": rewards[0]}

    def test_instructions_and_developers_are_the_system(
        self, gateway: RunningGateway, direct: RewardClient
    ) -> None:
        asked = [{"role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]}]
        expected = direct.score([{"role": "system", "content": "Be brief."}, *SAMPLES[0]])
        for before in (
            {"input": [*asked, QUESTION]},
            {"input": [QUESTION], "instructions": "Be brief."},
        ):
            body = {"responses_create_params": before, "response": {"output": [message("88")]}}
            assert gateway.post("/verify", body).json()["reward"] == float(expected)

    def test_an_image_is_refused(self, gateway: RunningGateway) -> None:
        part = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
        asked = {"input": [{"role": "user", "content": [part]}]}
        body = {"responses_create_params": asked, "response": {"output": [message("88")]}}
        answer = gateway.post("/verify", body)
        assert answer.status_code == 422
        assert set(answer.json()) == {"detail"}


def message(text: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": content,
    }


def reasoning(text: str) -> dict[str, Any]:
    return {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": text}]}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/get_reward", {"query": [WHOLE], "prompts": [PROMPT], "labels": [None]}),
        ("/v1/score/evaluation", {"model": "model", "messages": [WHOLE]}),
        ("/remote_rm", {"prompt": PROMPT, "response": "88<|end|>", "label": None}),
    ],
)
def test_text_of_a_policy_needs_its_tokenizer(
    gateway: RunningGateway, path: str, body: dict[str, Any]
) -> None:
    answer = gateway.post(path, body)
    assert answer.status_code == 422
    assert "--policy-tokenizer" in answer.json()["detail"]
