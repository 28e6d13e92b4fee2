"""verifiers' own scoring of a rollout with our reward: `nox -s integrations` installs verifiers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import pytest

from reward_client import RewardClient
from reward_client._client import watch
from reward_client.integrations import verifiers as integration
from reward_client.integrations.verifiers import reward_model
from reward_client.testing import RewardServer

from ..replicas.restarting import free_port
from .conftest import blocks_of, commands_of, port_of

pytestmark = [
    pytest.mark.skipif(find_spec("verifiers") is None, reason="nox -s integrations installs it"),
    pytest.mark.filterwarnings("default"),  # of verifiers and what it imports
]

QUESTIONS = ("2 + 2?", "2 + 3?")
ANSWERS = ("4", "5")
LONG = "1" * 3000
PLUGGED = {"reward_model": {"fn": "reward_client.integrations.verifiers:reward", "weight": 2.0}}


@pytest.fixture(autouse=True)
def _options() -> None:
    integration._of_environment.cache_clear()


def direct(url: str) -> list[float]:
    pairs = zip(QUESTIONS, ANSWERS, strict=True)
    chats = [
        [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        for question, answer in pairs
    ]
    with RewardClient(url) as client:
        return [float(reward) for reward in client.score_many(chats)]


def traced(*messages: Any) -> Any:
    """The trace of a rollout: each message follows the one before, the last one is sampled."""
    import verifiers.v1 as vf
    from verifiers.v1.graph import MessageNode
    from verifiers.v1.trace import AgentInfo, TraceTask

    nodes = [
        MessageNode(
            parent=index - 1 if index else None,
            message=message,
            sampled=index == len(messages) - 1,
        )
        for index, message in enumerate(messages)
    ]
    return vf.Trace(
        task=TraceTask(type="Sums", data=vf.TaskData()),
        agent=AgentInfo(config=vf.AgentConfig()),
        nodes=nodes,
    )


def rollouts(answers: Sequence[str] = ANSWERS) -> list[Any]:
    import verifiers.v1 as vf

    return [
        traced(vf.UserMessage(content=question), vf.AssistantMessage(content=answer))
        for question, answer in zip(QUESTIONS, answers, strict=True)
    ]


def scored(traces: Sequence[Any], score: Any = None, task: Any = None) -> list[Any]:
    """Score rollouts by verifiers' own code; return each reward, or its error."""
    import verifiers.v1 as vf
    from verifiers.v1.configs.task import TaskConfig

    class Sums(vf.Task):  # type: ignore[misc, type-arg]
        @vf.reward
        async def helpful(self, trace: Any) -> float:
            return float(await score(trace))

    if task is None and score is None:
        task = vf.Task(vf.TaskData(), TaskConfig(rewards=PLUGGED))
    elif task is None:
        task = Sums(vf.TaskData())

    async def run() -> list[Any]:
        return await asyncio.gather(
            *(task.score(trace) for trace in traces), return_exceptions=True
        )

    errors = asyncio.run(run())
    return [
        error if error is not None else next(iter(trace.rewards.values())).score
        for trace, error in zip(traces, errors, strict=True)
    ]


def test_a_reward_by_its_import_path(server: RewardServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REWARD_CLIENT_BASE_URL", server.url)
    traces = rollouts()
    assert scored(traces) == direct(server.url)
    assert [trace.reward for trace in traces] == [2 * each for each in direct(server.url)]


def test_a_reward_of_a_task(server: RewardServer) -> None:
    assert scored(rollouts(), reward_model(server.url)) == direct(server.url)
    doubled = reward_model(server.url, transform=lambda reward: 2 * float(reward))
    assert scored(rollouts(), doubled) == [2 * each for each in direct(server.url)]


def test_the_command_of_the_page(server: RewardServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its flags, read by verifiers' own command line, plug the reward in."""
    import verifiers.v1 as vf
    from pydantic_config import cli
    from verifiers.v1.cli.resolve import narrow_config, with_positional_taskset
    from verifiers.v1.configs.cli.eval import EvalConfig

    page = ("evaluation-frameworks.md", "verifiers and prime-rl", server.url)
    export, (program, taskset, *flags) = commands_of(*page)
    assert (export[0], program, taskset) == ("export", "vf-eval", "MY-TASKSET")
    monkeypatch.setenv(*export[1].split("="))
    given = with_positional_taskset(["harbor", *flags])
    monkeypatch.setattr("sys.argv", [program, *given])
    config = cli(narrow_config(EvalConfig, given))
    task = vf.Task(vf.TaskData(), config.env.taskset.task)
    assert scored(rollouts(), task=task) == direct(server.url)


def test_the_task_of_the_page(server: RewardServer) -> None:
    import verifiers.v1 as vf

    (block,) = blocks_of("evaluation-frameworks.md", "verifiers and prime-rl", server.url)
    made: dict[str, Any] = {}
    exec(block, made)
    assert scored(rollouts(), task=made["MyTask"](vf.TaskData())) == direct(server.url)


def test_reasoning_is_left_out_by_name(server: RewardServer) -> None:
    import verifiers.v1 as vf

    traces = [
        traced(
            vf.UserMessage(content=QUESTIONS[0]),
            vf.AssistantMessage(content=ANSWERS[0], reasoning_content="Two and two."),
        )
    ]
    assert scored(traces, reward_model(server.url, strip_reasoning="think")) == [
        direct(server.url)[0]
    ]


def test_a_failing_sample_leaves_its_rollout_out(server: RewardServer) -> None:
    from verifiers.v1.errors import TaskError

    traces = rollouts(["4", LONG])
    value, error = scored(traces, reward_model(server.url))
    assert value == direct(server.url)[0]
    assert isinstance(error, TaskError)
    assert "PromptTooLongError: The sample has 3010 tokens" in str(error)
    assert traces[1].rewards == {"helpful": None}
    assert scored(rollouts(["4", LONG]), reward_model(server.url, failed=-10)) == [value, -10]


def test_a_dead_server_is_an_error_of_each_rollout() -> None:
    given = reward_model(f"http://127.0.0.1:{free_port()}", patience=0.5)
    traces = rollouts()
    for error in scored(traces, given):
        assert "No server was ready within 0.5 s" in str(error)
    assert [trace.rewards for trace in traces] == [{"helpful": None}] * 2


def test_a_restart_costs_time_only() -> None:
    with RewardServer() as first:
        port, given = port_of(first), reward_model(first.url)
        before = scored(rollouts(), given)
    again = RewardServer(port=port)
    timer = threading.Timer(1, again.__enter__)
    timer.start()
    try:
        assert scored(rollouts(), given) == before
    finally:
        timer.join()
        again.__exit__(None, None, None)


def test_another_model_is_an_error_of_the_rollout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_INTERVAL", 0)
    with RewardServer() as first:
        port, given = port_of(first), reward_model(first.url)
        scored(rollouts(), given)
    with RewardServer(port=port, values=lambda ids: 1.0):
        (error,) = scored(rollouts()[:1], given)
        assert "ModelChangedError: Another model answers" in str(error)
