"""The gateway, asked by the frameworks' own code for remote reward models."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest
from transformers import AutoTokenizer

from reward_client import RetryPolicy, RewardClient
from reward_client.testing import Fault, RewardServer

from ..support.running_gateway import RunningGateway
from .framework_callers import PACKAGES, OpenRlhfCaller, VerlCaller, llama_factory_caller

if TYPE_CHECKING:
    from collections.abc import Iterator

if find_spec("llamafactory") is None:
    pytest.skip("nox -s integrations installs the frameworks", allow_module_level=True)

KEY = "a-key"
QUESTION = {"role": "user", "content": "What is 45 + 43?"}
PROMPT = "<|bos|><|user|>What is 45 + 43?<|end|><|assistant|>"
ANSWERS = [str(number) for number in range(60, 110)]
TOO_LONG = "8" * 4000


@pytest.fixture(scope="module")
def server() -> Iterator[RewardServer]:
    with RewardServer() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(server: RewardServer) -> Iterator[RunningGateway]:
    with RunningGateway(server.url, key=KEY, policy_tokenizer=str(server.checkpoint)) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def rewards(server: RewardServer) -> list[float]:
    samples = [[QUESTION, {"role": "assistant", "content": answer}] for answer in ANSWERS]
    with RewardClient(server.url) as client:
        return [float(reward) for reward in client.score_many(samples)]


def url_of(gateway: RunningGateway, path: str) -> str:
    """Return a URL with the key: these frameworks have no setting for headers."""
    return gateway.url.replace("http://", f"http://trainer:{KEY}@") + path


@pytest.mark.parametrize("name", PACKAGES)
def test_the_frameworks_are_of_the_versions_that_the_page_names(name: str) -> None:
    assert version(name) == PACKAGES[name]


class TestOpenRlhf:
    def test_rewards(self, gateway: RunningGateway, rewards: list[float]) -> None:
        caller = OpenRlhfCaller(url_of(gateway, "/get_reward"))

        async def all_rollouts() -> list[dict[str, Any]]:
            each = (caller.rollout(PROMPT, f"{answer}<|end|>") for answer in ANSWERS)
            return await asyncio.gather(*each)

        samples = asyncio.run(all_rollouts())
        assert [sample["reward"] for sample in samples] == [[reward] for reward in rewards]
        assert [sample["scores"] for sample in samples] == [[reward] for reward in rewards]

    def test_a_sample_that_fails_has_no_number(
        self, gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        caller = OpenRlhfCaller(url_of(gateway, "/get_reward"))
        sample = asyncio.run(without_pauses(caller.rollout(PROMPT, TOO_LONG), monkeypatch))
        assert sample["reward"] is None  # the trainer stops at it
        assert sample["scores"] is None

    def test_a_restart_costs_time_only(
        self, server: RewardServer, gateway: RunningGateway, rewards: list[float]
    ) -> None:
        caller = OpenRlhfCaller(url_of(gateway, "/get_reward"))
        server.inject(Fault.status(503), times=3)
        sample = asyncio.run(caller.rollout(PROMPT, f"{ANSWERS[0]}<|end|>"))
        assert sample["reward"] == rewards[:1]


class TestLlamaFactory:
    def test_rewards(self, gateway: RunningGateway, rewards: list[float]) -> None:
        ask = llama_factory_caller()
        texts = [f"{PROMPT}{answer}<|end|>" for answer in ANSWERS]
        assert ask(url_of(gateway, "/v1/score/evaluation"), texts) == tuple(rewards)

    def test_a_sample_that_fails_ends_the_run(self, gateway: RunningGateway) -> None:
        texts = [f"{PROMPT}88<|end|>", PROMPT + TOO_LONG]
        with pytest.raises(KeyError, match="scores"):
            llama_factory_caller()(url_of(gateway, "/v1/score/evaluation"), texts)

    def test_so_does_a_server_that_is_away_for_good(self) -> None:
        client = {"retry": RetryPolicy(budget=0.5, max_wait=0.1)}
        with (
            RewardServer() as server,
            RunningGateway(
                server.url, client=client, policy_tokenizer=str(server.checkpoint)
            ) as gateway,
        ):
            texts = [f"{PROMPT}88<|end|>"]
            url = f"{gateway.url}/v1/score/evaluation"
            llama_factory_caller()(url, texts)
            server.inject(Fault.status(503), times=10_000)
            with pytest.raises(KeyError, match="scores"):
                llama_factory_caller()(url, [f"{PROMPT}89<|end|>"])


class TestVerl:
    @pytest.mark.parametrize("engine", ["vllm", "sglang"])
    def test_rewards(
        self, gateway: RunningGateway, server: RewardServer, rewards: list[float], engine: str
    ) -> None:
        tokenizer = AutoTokenizer.from_pretrained(str(server.checkpoint))
        address = url_of(gateway, "").removeprefix("http://")
        caller = VerlCaller(address, engine, tokenizer)

        async def all_scores() -> list[dict[str, Any]]:
            return await asyncio.gather(
                *(caller.score([QUESTION], f"{answer}<|end|>") for answer in ANSWERS)
            )

        scores = asyncio.run(all_scores())
        assert [score["reward_score"] for score in scores] == rewards

    def test_a_sample_that_fails_ends_the_step(
        self, gateway: RunningGateway, server: RewardServer
    ) -> None:
        tokenizer = AutoTokenizer.from_pretrained(str(server.checkpoint))
        caller = VerlCaller(url_of(gateway, "").removeprefix("http://"), "vllm", tokenizer)
        with pytest.raises(Exception, match="422"):
            asyncio.run(caller.score([QUESTION], f"{TOO_LONG}<|end|>"))


async def without_pauses(work: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run work whose pauses between attempts take no time."""
    sleep = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda seconds: sleep(min(seconds, 0.01)))
    return await work
