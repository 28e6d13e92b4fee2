"""Rewards in NeMo-RL, as an environment.

Before the set-up of a run, and in its YAML file::

    reward_client.integrations.nemo_rl.register()

    data:
      env_name: reward_client
    env:
      reward_client:
        base_url: http://localhost:8000
        policy_tokenizer: ${policy.model_name}

NeMo-RL's processors write prompts in the policy's chat template, which ``policy_tokenizer`` reads.

NeMo-RL can leave out no sample: it wants a number for each, and NaN spoils the whole group. So a
sample that fails by its own fault stops the training with its error, unless ``failed`` gives its
number. A fault of the server is waited for, and then stops the training as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any

from reward_client._base.samples import Conversation, Message
from reward_client._integrations.clients import policy_text_of, score_async
from reward_client._integrations.environment import Options, options_of
from reward_client._integrations.outcomes import refuse_failures
from reward_client._integrations.policy_text import Rollout
from reward_client.errors import InputError

Log = Sequence[Mapping[str, Any]]
"""NeMo-RL's log of messages: a system message, if any, the prompt, and the answer."""

_NAME = "RewardClientEnvironment"


def register(name: str = "reward_client") -> None:
    """Make the environment known to NeMo-RL, with the Python of the system.

    Args:
        name: The name for ``env_name``.

    Raises:
        ValueError: If NeMo-RL has an environment of the name.
    """
    path = f"{__name__}.{_NAME}"
    executables = import_module("nemo_rl.distributed.virtual_cluster").PY_EXECUTABLES
    known = import_module("nemo_rl.distributed.ray_actor_environment_registry")
    import_module("nemo_rl.environments.utils").register_env(name, path)
    known.ACTOR_ENVIRONMENT_REGISTRY[path] = executables.SYSTEM


def __getattr__(name: str) -> Any:
    """Make `RewardClientEnvironment` when NeMo-RL imports it: NeMo-RL and Ray are loaded then."""
    if name == _NAME:
        return _actor()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def _actor() -> Any:
    """Return the environment as an actor of Ray, as NeMo-RL expects it."""
    interfaces = import_module("nemo_rl.environments.interfaces")
    base = interfaces.EnvironmentInterface

    class RewardClientEnvironment(base):  # type: ignore[misc, valid-type]  # NeMo-RL may be missing
        """One turn of a conversation, with the reward of a server, for which it waits.

        Args:
            config: The options of `RewardClient`, of integrations, and ``policy_tokenizer``.

        Raises:
            InputError: If an option is invalid, or if there is no ``policy_tokenizer``.
            TypeError: If an option is unknown. The message names the right one.
        """

        def __init__(self, config: Mapping[str, object]) -> None:
            self._options = options_of(_NAME, config)
            if self._options.policy_tokenizer is None:
                raise InputError(
                    "Cannot read NeMo-RL's prompts, which are in the policy's chat template. Give "
                    "policy_tokenizer: the policy's tokenizer or its path."
                )

        async def step(self, message_log_batch: Sequence[Log], metadata: Sequence[Any]) -> Any:
            """Return the rewards of conversations, which end with them."""
            torch = import_module("torch")
            rollouts = [_rollout(self._options, log) for log in message_log_batch]
            rewards = refuse_failures(await score_async(self._options, rollouts))
            count = len(rewards)
            return interfaces.EnvironmentReturn(
                observations=[
                    {"role": "environment", "content": f"Environment: {reward}"}
                    for reward in rewards
                ],
                metadata=list(metadata),
                next_stop_strings=[None] * count,
                rewards=torch.tensor(rewards, dtype=torch.float32),
                terminateds=torch.ones(count, dtype=torch.bool),
                answers=[log[-1]["content"] for log in message_log_batch],
            )

        def global_post_process_and_metrics(self, batch: Any) -> tuple[Any, dict[str, float]]:
            """Return the batch, and no metrics: NeMo-RL logs the rewards itself."""
            return batch, {}

    RewardClientEnvironment.__module__ = __name__
    return import_module("ray").remote(RewardClientEnvironment)


def _rollout(options: Options, log: Log) -> Rollout:
    """Return the rollout of a log: only the prompt is in the template of the policy."""
    roles = [message["role"] for message in log]
    if roles[-2:] != ["user", "assistant"] or any(role != "system" for role in roles[:-2]):
        return Rollout(
            InputError(
                f"Cannot score a log of the turns {', '.join(roles)}: NeMo-RL keeps no template "
                "between turns. Score conversations of one turn."
            )
        )
    *systems, prompt, answer = log
    (rollout,) = policy_text_of(options).answered([prompt["content"]], [answer["content"]])
    if not systems or not isinstance(rollout.sample, Conversation):
        return rollout
    turns: list[Message] = [{"role": "system", "content": each["content"]} for each in systems]
    return rollout._replace(sample=Conversation([*turns, *rollout.sample.messages]))
