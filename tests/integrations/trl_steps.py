"""Steps of TRL on a tiny policy: what it asked for, what it got, and what it made of that.

    torchrun --nproc-per-node 2 -m tests.integrations.trl_steps URL

prints the rewards of two ranks as JSON.
"""

from __future__ import annotations

import json
import math
import os
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from ..tokenization.test_retokenizer import tokenizer

QUESTIONS = ("2 + 2?", "3 + 4?", "What is 37 + 45?", "10 + 1?")
GENERATIONS = 4


class Steps(NamedTuple):
    """What a trainer logged of its last batch.

    Attributes:
        conversations: The prompts with their completions.
        rewards: The rewards of the function; NaN for None.
        advantages: What TRL made of them.
        metrics: The metrics of the last step.
        weights_moved: True if the policy is another one.
    """

    conversations: list[Any]
    rewards: list[float]
    advantages: list[float]
    metrics: dict[str, float]
    weights_moved: bool


@cache
def policy() -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    own = tokenizer("chatml")
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(own),
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=512,
            eos_token_id=own.eos_token_id,
            pad_token_id=own.pad_token_id,
        )
    )


def questions(*, conversational: bool = True) -> Any:
    from datasets import Dataset

    return Dataset.from_list(
        [
            {"prompt": [{"role": "user", "content": text}] if conversational else text, "id": index}
            for index, text in enumerate(QUESTIONS)
        ]
    )


def arguments(folder: str, steps: int) -> dict[str, Any]:
    return {
        "output_dir": folder,
        "use_cpu": True,
        "beta": 0.0,  # without a reference model
        "bf16": False,
        "max_steps": steps,
        "per_device_train_batch_size": 2 * GENERATIONS,
        "num_generations": GENERATIONS,
        "max_completion_length": 8,
        "learning_rate": 0.01,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "seed": 1,
    }


def train(algorithm: str, functions: Any, *, conversational: bool = True, steps: int = 2) -> Steps:
    """Trains the policy on the questions by GRPO or RLOO."""
    from copy import deepcopy

    import torch
    import trl

    model = deepcopy(policy())
    before = [weight.clone() for weight in model.parameters()]
    with TemporaryDirectory() as folder:
        trainer = getattr(trl, f"{algorithm}Trainer")(
            model=model,
            reward_funcs=functions,
            args=getattr(trl, f"{algorithm}Config")(**arguments(folder, steps)),
            train_dataset=questions(conversational=conversational),
            processing_class=tokenizer("chatml"),
        )
        trainer.train()
    logs = trainer._logs
    (name, *_) = logs["rewards"]
    return Steps(
        [_conversation(*pair) for pair in zip(logs["prompt"], logs["completion"], strict=True)],
        [*logs["rewards"][name]],
        [*logs["advantages"]],
        {key: value for row in trainer.state.log_history for key, value in row.items()},
        any(not torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True)),
    )


def _conversation(prompt: Any, completion: Any) -> Any:
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}, {"role": "assistant", "content": completion}]
    return [*prompt, *completion]


if __name__ == "__main__":
    from reward_client.integrations.trl import RewardFunction

    done = train("GRPO", RewardFunction(sys.argv[1]))
    if os.environ["RANK"] == "0":
        rewards = [None if math.isnan(each) else each for each in done.rewards]
        Path(sys.argv[2]).write_text(json.dumps([done.conversations, rewards]), encoding="utf-8")
