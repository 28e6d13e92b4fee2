"""verl's own reward loop with our manager and function: `nox -s integrations` installs verl."""

from __future__ import annotations

import asyncio
import multiprocessing
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from reward_client import (
    InputError,
    ModelChangedError,
    PromptTooLongError,
    RewardClient,
    RewardTimeoutError,
)
from reward_client.integrations.verl import compute_score
from reward_client.testing import RewardServer

from ..replicas.restarting import free_port
from .conftest import blocks_of, commands_of, port_of

needs_verl = pytest.mark.skipif(
    find_spec("ray") is None or find_spec("verl") is None,
    reason="nox -s integrations -- --all installs it",
)
# Of verl and ray, and of what they import.
pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.timeout(600)]

QUESTIONS = ("2 + 2?", "2 + 3?", "2 + 4?", "2 + 5?")
ANSWERS = ("4", "5", "six", "7")
LONG = "1" * 3000


def direct(url: str) -> list[float]:
    pairs = zip(QUESTIONS, ANSWERS, strict=True)
    chats = [
        [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        for question, answer in pairs
    ]
    with RewardClient(url) as client:
        return [float(reward) for reward in client.score_many(chats)]


def score(answer: str, extra_info: Mapping[str, object] | None, **options: Any) -> Any:
    return asyncio.run(compute_score("-", answer, "-", extra_info, **options))


def test_the_prompt_comes_from_the_data(server: RewardServer) -> None:
    expected = {"score": direct(server.url)[0], "reward_failed": 0.0, "reasoning_stripped": 0.0}
    messages = [{"role": "user", "content": QUESTIONS[0]}]
    for prompt in (QUESTIONS[0], messages):
        assert score(ANSWERS[0], {"prompt": prompt}, base_url=server.url) == expected
    router = server.url.removeprefix("http://")
    found = score(ANSWERS[0], {"prompt": messages}, reward_router_address=router)
    assert found == expected


@pytest.mark.parametrize("extra_info", [None, {}, {"question": "2 + 2?"}])
def test_no_prompt_is_an_error(extra_info: Any, server: RewardServer) -> None:
    with pytest.raises(InputError, match="verl passes none to compute_score"):
        score("4", extra_info, base_url=server.url)


def test_a_failing_sample_stops_the_training(server: RewardServer) -> None:
    with pytest.raises(PromptTooLongError) as raised:
        score(LONG, {"prompt": QUESTIONS[0]}, base_url=server.url)
    assert "cannot leave out a sample" in raised.value.__notes__[0]
    found = score(LONG, {"prompt": QUESTIONS[0]}, base_url=server.url, failed=-10)
    assert found == {"score": -10.0, "reward_failed": 1.0, "reasoning_stripped": 0.0}


def test_the_reasoning_is_counted(server: RewardServer) -> None:
    answer = f"<think>Two</think>{ANSWERS[0]}"
    found = score(answer, {"prompt": QUESTIONS[0]}, base_url=server.url, strip_reasoning="think")
    assert found["score"] == direct(server.url)[0]
    assert found["reasoning_stripped"] == len("<think>Two</think>")


def test_a_dead_server_is_one_clear_error() -> None:
    with pytest.raises(RewardTimeoutError, match=r"No server was ready within 0\.5 s"):
        score("4", {"prompt": "2"}, reward_router_address=f"127.0.0.1:{free_port()}", patience=0.5)


def test_an_unknown_option_is_an_error(server: RewardServer) -> None:
    with pytest.raises(TypeError, match="base_url"):
        score("4", {"prompt": "2"}, url=server.url)


# By verl


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a policy's tokenizer."""
    folder = tmp_path_factory.mktemp("policy")
    checkpoint = resources.files("reward_client.testing") / "_model" / "checkpoint"
    with resources.as_file(checkpoint) as path:
        shutil.copytree(path, folder, dirs_exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    import ray

    def prove_after_each_call() -> None:
        from reward_client._client import watch

        watch._INTERVAL = 0

    hook = {"worker_process_setup_hook": prove_after_each_call}
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=hook)
    yield ray
    ray.shutdown()


def configuration(policy: Path, kwargs: Mapping[str, object], *, manager: bool) -> Any:
    from omegaconf import OmegaConf

    page = "pkg://reward_client.integrations.verl"
    managers = {
        True: {
            "source": "importlib",
            "name": "RewardClientManager",
            "module": {"path": page},
        },
        False: {"source": "register", "name": "naive"},
    }
    return OmegaConf.create(
        {
            "actor_rollout_ref": {"model": {"tokenizer_path": str(policy), "path": None}},
            "reward": {
                "num_workers": 1,
                "reward_model": {"enable": False},
                "reward_manager": managers[manager],
                "custom_reward_function": {
                    "path": None if manager else page,
                    "name": "compute_score",
                    "reward_kwargs": dict(kwargs),
                },
            },
        }
    )


def batch(policy: Path, answers: Sequence[str]) -> Any:
    """A batch as verl's rollouts give it: prompts padded at the left, responses at the right."""
    import numpy as np
    import torch
    from transformers import AutoTokenizer
    from verl import DataProto

    tokenizer = AutoTokenizer.from_pretrained(str(policy))
    prompts = [[{"role": "user", "content": question}] for question in QUESTIONS]
    asked = [
        tokenizer.encode(
            tokenizer.apply_chat_template(each, tokenize=False, add_generation_prompt=True),
            add_special_tokens=False,
        )
        for each in prompts
    ]
    ends = tokenizer.apply_chat_template(
        [*prompts[0], {"role": "assistant", "content": "7"}], tokenize=False
    ).rpartition("7")[2]
    given = [tokenizer.encode(each + ends.strip(), add_special_tokens=False) for each in answers]
    left, right = max(map(len, asked)), max(map(len, given))
    pad = tokenizer.pad_token_id or 0
    return DataProto.from_dict(
        tensors={
            "prompts": torch.tensor([[pad] * (left - len(each)) + each for each in asked]),
            "responses": torch.tensor([each + [pad] * (right - len(each)) for each in given]),
            "attention_mask": torch.tensor(
                [
                    [0] * (left - len(a)) + [1] * (len(a) + len(g)) + [0] * (right - len(g))
                    for a, g in zip(asked, given, strict=True)
                ]
            ),
        },
        non_tensors={
            "raw_prompt": np.array([*prompts, None], dtype=object)[:-1],
            "data_source": np.array(["sums"] * 4, dtype=object),
            "reward_model": np.array([{"ground_truth": "-"}] * 4, dtype=object),
            "extra_info": np.array([{"prompt": each} for each in prompts], dtype=object),
        },
    )


def step(
    policy: Path, kwargs: Mapping[str, object], answers: Sequence[str], *, manager: bool = True
) -> tuple[list[float], Any]:
    """Return the rewards of a batch by verl's own manager of the reward loop, and its output."""
    return step_of(configuration(policy, kwargs, manager=manager), policy, answers)


def step_of(config: Any, policy: Path, answers: Sequence[str]) -> tuple[list[float], Any]:
    """Return the same for a configuration."""
    import ray
    from verl.experimental.reward_loop.reward_loop import RewardLoopManager

    loop = RewardLoopManager(config)
    try:
        given = batch(policy, answers)
        found = loop.compute_rm_score(given)
    finally:
        for worker in loop.reward_loop_workers:
            ray.kill(worker)
    scores = found.batch["rm_scores"]
    # One number for each response, at its last token.
    assert (scores != 0).sum(dim=1).max() == 1
    return scores.sum(dim=1).tolist(), found


@needs_verl
@pytest.mark.usefixtures("ray")
@pytest.mark.parametrize("manager", [True, False])
def test_a_step_of_the_reward_loop(manager: bool, server: RewardServer, policy: Path) -> None:
    rewards, found = step(policy, {"base_url": server.url}, ANSWERS, manager=manager)
    assert rewards == pytest.approx(direct(server.url), rel=1e-6)  # verl's are of 32 bits
    assert found.non_tensor_batch["reward_failed"].tolist() == [0.0] * 4


def composed(policy: Path, *overrides: str) -> Any:
    """Return the configuration of verl's trainer with overrides, as its command line makes it."""
    from hydra import compose, initialize_config_module

    given = (f"++actor_rollout_ref.model.tokenizer_path={policy}", "reward.num_workers=1")
    with initialize_config_module("verl.trainer.config", version_base=None):
        return compose("ppo_trainer", [*overrides, *given])


@needs_verl
@pytest.mark.usefixtures("ray")
def test_the_command_of_the_page(server: RewardServer, policy: Path) -> None:
    ((*program, first, second, third, fourth),) = commands_of("trainers.md", "verl", server.url)
    assert program == ["python", "-m", "verl.trainer.main_ppo"]
    rewards, _ = step_of(composed(policy, first, second, third, fourth), policy, ANSWERS)
    assert rewards == pytest.approx(direct(server.url), rel=1e-6)


@needs_verl
def test_the_command_of_the_page_with_a_reward_model_of_verl(
    server: RewardServer, policy: Path
) -> None:
    from verl.experimental.reward_loop.reward_loop import RewardLoopWorker

    ((*_, first, second, third, _),) = commands_of("trainers.md", "verl", server.url)
    (more,) = blocks_of("trainers.md", "verl", server.url, language="text")
    own = ("rollout.name=vllm", f"model_path={policy}", "enable=True")
    config = composed(
        policy,
        first,
        second,
        third,
        *more.split(),
        *(f"reward.reward_model.{each}" for each in own),
    )

    async def run(address: str) -> Any:
        return await RewardLoopWorker(config, address).compute_score_batch(batch(policy, ANSWERS))

    with router(server.url) as address:
        found = asyncio.run(run(address))
    assert [each["reward_score"] for each in found] == direct(server.url)


@needs_verl
@pytest.mark.usefixtures("ray")
def test_a_failing_sample_stops_the_step(server: RewardServer, policy: Path) -> None:
    answers = ["4", LONG, "six", "7"]
    with pytest.raises(PromptTooLongError, match="the server takes 1024"):
        step(policy, {"base_url": server.url}, answers)
    rewards, found = step(policy, {"base_url": server.url, "failed": -10}, answers)
    assert rewards[1] == -10
    others = [reward for index, reward in enumerate(direct(server.url)) if index != 1]
    assert [rewards[0], *rewards[2:]] == pytest.approx(others, rel=1e-6)
    assert found.non_tensor_batch["reward_failed"].tolist() == [0.0, 1.0, 0.0, 0.0]


@needs_verl
@pytest.mark.usefixtures("ray")
def test_a_dead_server_stops_the_step(policy: Path) -> None:
    given = {"base_url": f"http://127.0.0.1:{free_port()}", "patience": 0.5}
    with pytest.raises(RewardTimeoutError, match=r"No server was ready within 0\.5 s"):
        step(policy, given, ANSWERS)


@needs_verl
@pytest.mark.usefixtures("ray")
def test_a_server_that_starts_in_the_middle_costs_time_only(policy: Path) -> None:
    with RewardServer() as first:
        port, expected = port_of(first), direct(first.url)
    later = RewardServer(port=port)
    timer = threading.Timer(15, later.__enter__)
    timer.start()
    try:
        rewards, _ = step(policy, {"base_url": f"http://127.0.0.1:{port}"}, ANSWERS)
    finally:
        timer.join()
        later.__exit__(None, None, None)
    assert rewards == pytest.approx(expected, rel=1e-6)


def worked(policy: Path, kwargs: Mapping[str, object], given: Any) -> list[dict[str, Any]]:
    """Return what verl's worker gives for a batch, without Ray."""
    from verl.experimental.reward_loop.reward_loop import RewardLoopWorker

    async def run() -> Any:
        worker = RewardLoopWorker(configuration(policy, kwargs, manager=True))
        return await worker.compute_score_batch(given)

    found: list[dict[str, Any]] = asyncio.run(run())
    return found


@needs_verl
def test_the_answer_of_an_agent_is_refused(server: RewardServer, policy: Path) -> None:
    turns = ["3<|end|><|user|>No.<|end|><|assistant|>4", *ANSWERS[1:]]
    with pytest.raises(InputError, match="end"):
        worked(policy, {"base_url": server.url}, batch(policy, turns))


@needs_verl
def test_the_reasoning_of_a_batch(server: RewardServer, policy: Path) -> None:
    answers = [f"<think>Hm.</think>{answer}" for answer in ANSWERS]
    kwargs = {"base_url": server.url, "strip_reasoning": "think"}
    found = worked(policy, kwargs, batch(policy, answers))
    assert [each["reward_score"] for each in found] == direct(server.url)
    stripped = {each["reward_extra_info"]["reasoning_stripped"] for each in found}
    assert stripped == {len("<think>Hm.</think>")}


@needs_verl
def test_a_batch_without_prompts(server: RewardServer, policy: Path) -> None:
    given = batch(policy, ANSWERS)
    del given.non_tensor_batch["raw_prompt"]
    with pytest.raises(InputError, match="the batch has no raw_prompt"):
        worked(policy, {"base_url": server.url}, given)


@contextmanager
def router(url: str) -> Iterator[str]:
    """verl's own router before a server; yields its host and port."""
    from verl.experimental.reward_loop.router.naive_router import run_router

    port = free_port()
    arguments = ("127.0.0.1", port, [url])
    process = multiprocessing.get_context("spawn").Process(target=run_router, args=arguments)
    process.start()
    try:
        yield f"127.0.0.1:{port}"  # the client waits until it answers
    finally:
        process.terminate()
        process.join()


@needs_verl
def test_the_router_of_verl(server: RewardServer, policy: Path, ray: Any) -> None:
    from verl.experimental.reward_loop.reward_loop import RewardLoopWorker

    with router(server.url) as address:
        worker = ray.remote(RewardLoopWorker).remote(
            configuration(policy, {}, manager=True), address
        )
        try:
            outputs = ray.get(worker.compute_score_batch.remote(batch(policy, ANSWERS)))
        finally:
            ray.kill(worker)
    assert [output["reward_score"] for output in outputs] == direct(server.url)
    assert {tuple(output["reward_extra_info"]) for output in outputs} == {
        ("reward_failed", "reasoning_stripped")
    }


@needs_verl
def test_another_model_stops_the_training(policy: Path, ray: Any) -> None:
    from verl.experimental.reward_loop.reward_loop import RewardLoopWorker

    with RewardServer() as first:
        port = port_of(first)
        worker = ray.remote(RewardLoopWorker).remote(
            configuration(policy, {"base_url": first.url}, manager=True), None
        )
        given = batch(policy, ANSWERS)
        ray.get(worker.compute_score_batch.remote(given))
    with (
        RewardServer(port=port, values=lambda ids: 1.0),
        pytest.raises(ModelChangedError, match="Another model answers"),
    ):
        ray.get(worker.compute_score_batch.remote(given))
    ray.kill(worker)
