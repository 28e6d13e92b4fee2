"""TRL's own trainers with our reward function: `nox -s integrations -- --all` installs TRL."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import pickle
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import pytest

from reward_client import (
    ModelChangedError,
    PromptTooLongError,
    RewardClient,
    RewardTimeoutError,
)
from reward_client._client import watch
from reward_client.integrations import trl as integration
from reward_client.integrations.trl import AsyncRewardFunction, RewardFunction
from reward_client.testing import RewardServer

from ..replicas.restarting import free_port, serve
from ..tokenization.test_retokenizer import CHAT, rendered, tokenizer
from .conftest import blocks_of, port_of

needs_trl = pytest.mark.skipif(find_spec("trl") is None, reason="nox -s integrations installs it")
# Of other libraries, which say them on import and in their training loops.
pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.timeout(600)]

ASKED = [{"role": "user", "content": "2 + 2?"}]
ANSWERS = ["4", "5"]
LONG = "1" * 3000


def direct(url: str, conversations: Sequence[Any]) -> list[float]:
    with RewardClient(url) as client:
        return [float(reward) for reward in client.score_many(conversations)]


def chats(*answers: str) -> list[Any]:
    return [[*ASKED, {"role": "assistant", "content": answer}] for answer in answers]


# Without TRL: as its trainers call


def test_a_batch_as_trl_gives_it(server: RewardServer) -> None:
    logged: dict[str, float] = {}
    function = pickle.loads(pickle.dumps(RewardFunction(server.url, name="judge")))
    assert function.__name__ == "judge"
    rewards = function(
        prompts=[ASKED] * 3,
        completions=[chat[1:] for chat in chats(*ANSWERS, LONG)],
        completion_ids=[[1], [2], [3]],
        id=[1, 2, 3],
        self=[1, 2, 3],
        transform=[1, 2, 3],
        columns=[1, 2, 3],  # of the data set
        trainer_state=object(),
        log_extra=logged.update,
        log_metric=logged.__setitem__,
    )
    assert rewards == [*direct(server.url, chats(*ANSWERS)), None]
    assert logged.keys() == {"judge/mean", "judge/failed", "judge/seconds"}
    assert logged["judge/failed"] == pytest.approx(1 / 3)
    assert logged["judge/mean"] == pytest.approx(sum(rewards[:2]) / 2)
    assert function(["2 + 2?"] * 2, ANSWERS) == rewards[:2]


def test_the_asynchronous_one_gives_the_same(server: RewardServer) -> None:
    function = pickle.loads(pickle.dumps(AsyncRewardFunction(server.url)))
    for _ in range(2):
        rewards = asyncio.run(function(prompts=["2 + 2?"] * 3, completions=[*ANSWERS, LONG]))
        assert rewards == [*direct(server.url, chats(*ANSWERS)), None]


def test_the_function_of_the_command_line(
    server: RewardServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    integration._of_environment.cache_clear()
    monkeypatch.setenv("REWARD_CLIENT_BASE_URL", server.url)
    monkeypatch.setenv("REWARD_CLIENT_STRIP_REASONING", "think")
    logged: dict[str, float] = {}
    answers = ["<think>2 and 2</think>4", "5"]
    rewards = integration.reward(["2 + 2?"] * 2, answers, log_metric=logged.__setitem__)
    assert rewards == direct(server.url, chats(*ANSWERS))
    assert logged["reward/reasoning_stripped"] == 0.5
    assert pickle.loads(pickle.dumps(integration.reward)) is integration.reward
    integration._of_environment.cache_clear()


def test_prompts_in_the_policys_template(server: RewardServer) -> None:
    prompt = rendered("chatml", CHAT[:1], add_generation_prompt=True)
    function = RewardFunction(server.url, policy_tokenizer=tokenizer("chatml"))
    assert function([prompt], ["4"]) == direct(server.url, [CHAT])
    assert RewardFunction(server.url)([prompt], ["4"]) == [None]


def test_a_transform_and_a_number_for_failures(server: RewardServer) -> None:
    function = RewardFunction(server.url, transform=lambda each: 10 * float(each), failed=-1)
    (expected,) = direct(server.url, chats("4"))
    assert function(["2 + 2?"] * 2, ["4", LONG]) == [10 * expected, -1]


class Trainer:
    """The part of TRL's trainers that a reward function sees."""

    def __init__(self, *reward_funcs: Any) -> None:
        self.reward_funcs = [*reward_funcs]

    def _log_metric(self, name: str, value: float) -> None: ...


@pytest.mark.parametrize("kind", [RewardFunction, AsyncRewardFunction])
def test_81_none_is_no_zero_of_several_functions(kind: Any, server: RewardServer) -> None:
    def rewards(trainer: Trainer, function: Any) -> Any:
        found = function(["2 + 2?"] * 2, ["4", LONG], log_metric=trainer._log_metric)
        return asyncio.run(found) if kind is AsyncRewardFunction else found

    function = kind(server.url)
    expected = direct(server.url, chats("4"))
    assert rewards(Trainer(function), function) == [*expected, None]
    with pytest.raises(PromptTooLongError) as raised:
        rewards(Trainer(function, len), function)
    assert "Give failed= or REWARD_CLIENT_FAILED" in raised.value.__notes__[-1]
    function = kind(server.url, failed=-7)
    assert rewards(Trainer(function, len), function) == [*expected, -7]


@pytest.mark.parametrize(("version", "leaves_out"), [("1.5.4", False), ("1.6.0", True)])
def test_81_none_is_no_zero_of_an_old_version(
    version: str, *, leaves_out: bool, server: RewardServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integration, "version", {"trl": version}.__getitem__)
    integration._is_old.cache_clear()
    try:
        function = RewardFunction(server.url)
        if leaves_out:
            assert function(["2 + 2?"], [LONG]) == [None]
        else:
            with pytest.raises(PromptTooLongError):
                function(["2 + 2?"], [LONG])
    finally:
        integration._is_old.cache_clear()


# With TRL


@needs_trl
@pytest.mark.parametrize("algorithm", ["GRPO", "RLOO"])
@pytest.mark.parametrize("kind", [RewardFunction, AsyncRewardFunction])
@pytest.mark.parametrize("conversational", [True, False])
def test_real_steps_train_on_the_direct_rewards(
    algorithm: str, kind: Any, *, conversational: bool, server: RewardServer
) -> None:
    from .trl_steps import train

    done = train(algorithm, kind(server.url), conversational=conversational)
    assert len(done.rewards) == 8
    assert done.rewards == pytest.approx(direct(server.url, done.conversations), abs=1e-6)
    assert done.metrics["reward_client/failed"] == 0
    assert done.metrics["rewards/reward_client/mean"] == pytest.approx(
        done.metrics["reward_client/mean"]
    )
    assert done.weights_moved


@needs_trl
def test_the_page_trains(server: RewardServer, tmp_path: Path) -> None:
    from .trl_steps import arguments, policy

    folder = str(tmp_path / "policy")
    policy().save_pretrained(folder)
    tokenizer("chatml").save_pretrained(folder)
    (block,) = blocks_of("trainers.md", "TRL", server.url)
    for written, tiny in (
        ("Qwen/Qwen3-0.6B", folder),
        ('output_dir="out", max_steps=10', "**arguments"),
    ):
        assert written in block
        block = block.replace(written, tiny)
    given: dict[str, Any] = {"arguments": arguments(str(tmp_path), 1)}
    exec(block, given)
    assert given["trainer"].state.log_history[0]["reward_client/failed"] == 0


@needs_trl
def test_two_ranks(server: RewardServer, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    command = ["-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={free_port()}"]
    module = ["-m", "tests.integrations.trl_steps", server.url, str(out)]
    subprocess.run([sys.executable, *command, *module], check=True, timeout=500)
    conversations, rewards = json.loads(out.read_text(encoding="utf-8"))
    assert len(rewards) == 16
    assert rewards == pytest.approx(direct(server.url, conversations), abs=1e-6)


class OneTooLong(RewardFunction):
    """The first completion of each batch is longer than the server takes."""

    def __call__(self, prompts: Any, completions: Any, **columns: Any) -> Any:
        completions = [[{"role": "assistant", "content": LONG}], *completions[1:]]
        return super().__call__(prompts, completions, **columns)


@needs_trl
@pytest.mark.parametrize("algorithm", ["GRPO", "RLOO"])
def test_a_failing_sample_is_left_out_of_its_group(
    algorithm: str, server: RewardServer, caplog: pytest.LogCaptureFixture
) -> None:
    from .trl_steps import GENERATIONS, train

    done = train(algorithm, OneTooLong(server.url), steps=1)
    assert math.isnan(done.rewards[0])
    assert done.advantages[0] == 0
    others = done.rewards[1:GENERATIONS]
    mean = sum(others) / len(others)
    deviation = math.sqrt(sum((each - mean) ** 2 for each in others) / (len(others) - 1))
    expected = (
        [(each - mean) / (deviation + 1e-4) for each in others]
        if algorithm == "GRPO"
        else [(each - mean) * len(others) / (len(others) - 1) for each in others]
    )
    assert done.advantages[1:GENERATIONS] == pytest.approx(expected, abs=1e-4)
    assert done.metrics["reward_client/failed"] == pytest.approx(1 / 8)
    assert "1 of 8 samples failed: 1 PromptTooLongError" in caplog.text


@needs_trl
def test_a_failing_sample_stops_a_step_of_several_functions(server: RewardServer) -> None:
    from .trl_steps import train

    def length(completions: Any, **_: Any) -> list[float]:
        return [float(len(str(each))) for each in completions]

    with pytest.raises(PromptTooLongError):
        train("GRPO", [OneTooLong(server.url), length], steps=1)
    done = train("GRPO", [OneTooLong(server.url, failed=-7), length], steps=1)
    assert done.rewards[0] == -7


@needs_trl
def test_a_dead_server_stops_the_step() -> None:
    from .trl_steps import train

    with pytest.raises(RewardTimeoutError, match="No server was ready within 1 s"):
        train("GRPO", RewardFunction(f"http://127.0.0.1:{free_port()}", patience=1))


class Restarting(RewardFunction):
    """Kills the server before its second call, and starts another one on the port."""

    calls = 0
    port = 0
    servers: ClassVar[list[Any]] = []

    def __call__(self, *args: Any, **columns: Any) -> Any:
        Restarting.calls += 1
        if Restarting.calls == 2:
            Restarting.servers[0].kill()
            Restarting.servers[0].wait()
            Restarting.servers.append(serve(Restarting.port))
        return super().__call__(*args, **columns)


@needs_trl
def test_a_restart_costs_time_only() -> None:
    from .trl_steps import train

    port = Restarting.port = free_port()
    url = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        Restarting.servers = [serve(port)]
        stack.callback(lambda: [server.kill() or server.wait() for server in Restarting.servers])
        done = train("GRPO", Restarting(url), steps=2)
        assert Restarting.calls == 2
        assert len(Restarting.servers) == 2
        assert not any(map(math.isnan, done.rewards))
        assert done.rewards == pytest.approx(direct(url, done.conversations), abs=1e-6)


@needs_trl
@pytest.mark.parametrize("change", [{"values": lambda ids: 1.0}, {"model_name": "other"}])
def test_another_model_behind_the_url_stops_the_step(
    change: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from .trl_steps import train

    monkeypatch.setattr(watch, "_INTERVAL", 0)
    with ExitStack() as stack:
        first = RewardServer()
        first.__enter__()
        port = port_of(first)
        calls: list[int] = []

        class Changing(RewardFunction):
            def __call__(self, *args: Any, **columns: Any) -> Any:
                calls.append(1)
                if len(calls) == 2:
                    first.__exit__(None, None, None)
                    stack.enter_context(RewardServer(port=port, **change))
                return super().__call__(*args, **columns)

        with pytest.raises(ModelChangedError, match="Another model answers"):
            train("GRPO", Changing(first.url), steps=3)
    assert len(calls) == 2


@needs_trl
def test_a_batch_of_failures_says_why(
    server: RewardServer, caplog: pytest.LogCaptureFixture
) -> None:
    from .trl_steps import train

    class AllTooLong(RewardFunction):
        def __call__(self, prompts: Any, completions: Any, **columns: Any) -> Any:
            return super().__call__(prompts, [LONG] * len(completions), **columns)

    with caplog.at_level(logging.WARNING):
        done = train("GRPO", AllTooLong(server.url), steps=1)
    assert all(map(math.isnan, done.rewards))
    assert set(done.advantages) == {0}
    assert "No sample of this batch of 8 has a reward. The first error: The sample" in caplog.text
