"""The environment for NeMo-RL, by its interface: PyPI has its name only, without its code.

The stand-ins below have the names and signatures of NeMo-RL's `main` in 2026-11. Its `create_env`
makes an actor with `.options(...).remote(config)`, and its `calculate_rewards` calls `step`.
"""

from __future__ import annotations

import abc
import asyncio
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import pytest

from reward_client import (
    InputError,
    ModelChangedError,
    PromptTooLongError,
    RewardClient,
    RewardTimeoutError,
)
from reward_client._client import watch
from reward_client.integrations import nemo_rl as integration
from reward_client.testing import RewardServer

from ..replicas.restarting import free_port
from ..tokenization.test_retokenizer import CHAT, rendered, tokenizer
from .conftest import blocks_of, port_of

pytestmark = [
    pytest.mark.skipif(
        find_spec("torch") is None, reason="nox -s integrations -- --all installs it"
    ),
    pytest.mark.filterwarnings("default"),
]

PROMPT = rendered("chatml", CHAT[:1], add_generation_prompt=True)
ANSWERS = ("4", "5", "6")
LONG = "1" * 3000
PATH = "reward_client.integrations.nemo_rl.RewardClientEnvironment"


class EnvironmentReturn(NamedTuple):
    observations: Any
    metadata: Any
    next_stop_strings: Any
    rewards: Any
    terminateds: Any
    answers: Any = None


class EnvironmentInterface(abc.ABC):
    @abc.abstractmethod
    def step(self, message_log_batch: Any, metadata: Any) -> Any: ...

    @abc.abstractmethod
    def global_post_process_and_metrics(self, batch: Any) -> Any: ...


class Registry:
    def __init__(self) -> None:
        self.environments: dict[str, str] = {}
        self.pythons: dict[str, str] = {}

    def register_env(self, env_name: str, actor_class_fqn: str) -> None:
        if env_name in self.environments:
            raise ValueError(f"Env name {env_name} already registered")
        self.environments[env_name] = actor_class_fqn


@pytest.fixture(autouse=True)
def nemo_rl(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    registry = Registry()
    modules = {
        "nemo_rl": {},
        "nemo_rl.environments": {},
        "nemo_rl.environments.interfaces": {
            "EnvironmentReturn": EnvironmentReturn,
            "EnvironmentInterface": EnvironmentInterface,
        },
        "nemo_rl.environments.utils": {"register_env": registry.register_env},
        "nemo_rl.distributed": {},
        "nemo_rl.distributed.virtual_cluster": {
            "PY_EXECUTABLES": SimpleNamespace(SYSTEM="the system's")
        },
        "nemo_rl.distributed.ray_actor_environment_registry": {
            "ACTOR_ENVIRONMENT_REGISTRY": registry.pythons
        },
        # An actor that lives in this process.
        "ray": {"remote": lambda made: made},
    }
    for name, attributes in modules.items():
        module = ModuleType(name)
        vars(module).update(attributes)
        monkeypatch.setitem(sys.modules, name, module)
    integration._actor.cache_clear()
    yield registry
    integration._actor.cache_clear()


def environment(url: str, **options: Any) -> Any:
    policy = options.pop("policy_tokenizer", tokenizer("chatml"))
    config = {"base_url": url, "policy_tokenizer": policy, "patience": 30, **options}
    return integration.RewardClientEnvironment(config)


def log(answer: str, *before: dict[str, str]) -> list[dict[str, str]]:
    return [
        *before,
        {"role": "user", "content": PROMPT},
        {"role": "assistant", "content": answer},
    ]


def step(made: Any, logs: Sequence[Any]) -> Any:
    return asyncio.run(made.step(logs, [{"ground_truth": "4"}] * len(logs)))


def direct(url: str, *before: dict[str, str]) -> list[float]:
    chats = [[*before, *CHAT[:1], {"role": "assistant", "content": each}] for each in ANSWERS]
    with RewardClient(url) as client:
        return [float(reward) for reward in client.score_many(chats)]


def test_a_step(server: RewardServer) -> None:
    found = step(environment(server.url), [log(answer) for answer in ANSWERS])
    assert found.rewards.tolist() == pytest.approx(direct(server.url), rel=1e-6)  # of 32 bits
    assert str(found.rewards.dtype) == "torch.float32"
    assert found.terminateds.tolist() == [True] * 3
    assert found.answers == list(ANSWERS)
    assert found.metadata == [{"ground_truth": "4"}] * 3
    assert found.next_stop_strings == [None] * 3
    assert {each["role"] for each in found.observations} == {"environment"}
    assert integration.RewardClientEnvironment.global_post_process_and_metrics(None, {}) == ({}, {})


def test_a_system_message_without_the_template(server: RewardServer) -> None:
    system = {"role": "system", "content": "Add."}
    found = step(environment(server.url), [log(answer, system) for answer in ANSWERS])
    assert found.rewards.tolist() == pytest.approx(direct(server.url, system), rel=1e-6)


def test_several_turns_are_refused(server: RewardServer) -> None:
    more = log("4", *log("3"), {"role": "environment", "content": "No."})
    with pytest.raises(InputError, match="turns user, assistant, environment, user, assistant"):
        step(environment(server.url), [more])


def test_a_failing_sample_stops_the_training(server: RewardServer) -> None:
    with pytest.raises(PromptTooLongError) as raised:
        step(environment(server.url), [log("4"), log(LONG)])
    assert "cannot leave out a sample" in raised.value.__notes__[-1]
    found = step(environment(server.url, failed=-10), [log("4"), log(LONG)])
    assert found.rewards.tolist() == pytest.approx([direct(server.url)[0], -10], rel=1e-6)


def test_a_dead_server_stops_the_training() -> None:
    made = environment(f"http://127.0.0.1:{free_port()}", patience=0.5)
    with pytest.raises(RewardTimeoutError, match=r"No server was ready within 0\.5 s"):
        step(made, [log("4")])


def test_a_restart_costs_time_only() -> None:
    with RewardServer() as first:
        port, made = port_of(first), environment(first.url)
        before = step(made, [log("4")]).rewards.tolist()
    with RewardServer(port=port):
        assert step(made, [log("4")]).rewards.tolist() == before


def test_another_model_stops_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_INTERVAL", 0)
    with RewardServer() as first:
        port, made = port_of(first), environment(first.url)
        step(made, [log("4")])
    with (
        RewardServer(port=port, values=lambda ids: 1.0),
        pytest.raises(ModelChangedError, match="Another model answers"),
    ):
        step(made, [log("4")])


def test_options(server: RewardServer) -> None:
    with pytest.raises(InputError, match="Give policy_tokenizer"):
        environment(server.url, policy_tokenizer=None)
    with pytest.raises(TypeError, match="base_url"):
        environment(server.url, urls="")


def test_the_page(server: RewardServer, nemo_rl: Registry, tmp_path: Path) -> None:
    """Its blocks register the environment, and make it of its options."""
    from omegaconf import OmegaConf

    page = ("trainers.md", "NeMo-RL", server.url)
    (block,) = blocks_of(*page)
    exec(block, {})
    (written,) = blocks_of(*page, language="yaml")
    tokenizer("chatml").save_pretrained(tmp_path / "policy")
    policy = {"policy": {"model_name": str(tmp_path / "policy")}}
    config: Any = OmegaConf.to_container(
        OmegaConf.merge(OmegaConf.create(policy), OmegaConf.create(written)), resolve=True
    )
    name = config["data"]["env_name"]
    module, _, made = nemo_rl.environments[name].rpartition(".")
    environment = getattr(import_module(module), made)(config["env"][name])
    found = step(environment, [log(answer) for answer in ANSWERS])
    assert found.rewards.tolist() == pytest.approx(direct(server.url), rel=1e-6)


def test_it_is_registered_once(nemo_rl: Registry) -> None:
    integration.register()
    assert nemo_rl.environments == {"reward_client": PATH}
    assert nemo_rl.pythons == {PATH: "the system's"}
    with pytest.raises(ValueError, match="already registered"):
        integration.register()
