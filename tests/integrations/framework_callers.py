"""The code of frameworks that asks a remote reward model, as it is in their packages.

The packages around it need torch, ray and GPUs; this code does not.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, patch

import numpy as np

from .frameworks import openrlhf_executor

PACKAGES = {"openrlhf": "0.11.2", "llamafactory": "0.9.5", "verl": "0.9.1"}


@contextmanager
def without_packages(name: str, inner: Sequence[str], *missing: str) -> Iterator[None]:
    """Let modules of a package be imported without the packages around them.

    Args:
        name: The name of the package.
        inner: The packages in it whose `__init__` is not run.
        missing: The modules that stand for what is not installed.
    """
    found = find_spec(name)
    assert found is not None
    assert found.submodule_search_locations
    folder = Path(found.submodule_search_locations[0])
    stubs: dict[str, ModuleType] = {each: MagicMock(__path__=[]) for each in missing}
    for each in ("", *inner):
        stub = ModuleType(".".join([name, *each.split("/")]).rstrip("."))
        stub.__path__ = [str(folder / each)]
        stubs[stub.__name__] = stub
    with patch.dict(sys.modules, stubs):
        yield


class OpenRlhfCaller:
    """`SingleTurnAgentExecutor`, whose engine "generates" the answer that it is given."""

    def __init__(self, url: str) -> None:
        self._executor = openrlhf_executor()(url)

    async def rollout(self, prompt: str, answer: str) -> dict[str, Any]:
        """Return the finished sample of the executor."""
        texts = {1: prompt, 2: answer}

        class Tokenizer:
            def __call__(self, text: str, **_: object) -> dict[str, Any]:
                return {"input_ids": np.array([[1]])}

            def decode(self, ids: Sequence[int], **_: object) -> str:
                return "".join(texts[each] for each in ids)

        class Engine:
            async def generate(self, ids: object, *_: object, **__: object) -> Any:
                output = SimpleNamespace(token_ids=[2], finish_reason="stop", logprobs=None)
                return SimpleNamespace(outputs=[output])

        sampling = SimpleNamespace(max_tokens=8, logprobs=None)
        sample: dict[str, Any] = await self._executor.execute(
            prompt, "88", sampling, 1024, Tokenizer(), Engine()
        )
        return sample


def llama_factory_caller() -> Callable[[str, list[str]], Any]:
    """Return `get_rewards_from_server`, whose tensors are tuples."""
    with without_packages("llamafactory", ["train", "train/ppo", "extras"], "torch"):
        module = import_module("llamafactory.train.ppo.ppo_utils")
    module.torch.Tensor = tuple
    function: Callable[[str, list[str]], Any] = module.get_rewards_from_server
    return function


class VerlCaller:
    """`RewardLoopWorker`, with the tokenizers of policy and reward model that it is given."""

    def __init__(self, address: str, engine: str, tokenizer: Any) -> None:
        missing = (
            *("ray", "ray.actor", "omegaconf", "tensordict"),
            *("verl.protocol", "verl.single_controller.ray.base", "verl.trainer.ppo.reward"),
            *("verl.single_controller", "verl.single_controller.ray", "verl.trainer"),
            *("verl.trainer.ppo", "verl.utils", "verl.utils.fs", "verl.utils.ray_utils"),
            "verl.experimental.reward_loop.reward_model",
        )
        inner = ["experimental", "experimental/reward_loop"]
        with without_packages("verl", inner, *missing):
            module = import_module("verl.experimental.reward_loop.reward_loop")
        rollout = SimpleNamespace(name=engine)
        reward_model = SimpleNamespace(rollout=rollout, model_path="/models/judge", enable=True)
        reward = SimpleNamespace(
            reward_model=reward_model, custom_reward_function=SimpleNamespace(path=None)
        )
        worker = module.RewardLoopWorker.__new__(module.RewardLoopWorker)
        worker.config = SimpleNamespace(reward=reward)
        worker.reward_router_address = address
        worker.input_tokenizer = worker.reward_model_tokenizer = tokenizer
        self._worker, self._tokenizer = worker, tokenizer

    async def score(self, prompt: Sequence[dict[str, str]], answer: str) -> dict[str, Any]:
        """Return the score of an answer, as the worker computes it."""
        ids = np.array(self._tokenizer.encode(answer, add_special_tokens=False))
        item = SimpleNamespace(
            non_tensor_batch={"raw_prompt": prompt},
            batch={"responses": ids, "attention_mask": np.ones(10 + len(ids), int)},
        )
        score: dict[str, Any] = await self._worker.compute_score(_Data([item]))
        return score


class _Data(list[Any]):
    """The part of verl's DataProto that the worker needs: a slice is one too."""

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        return _Data(found) if isinstance(index, slice) else found
