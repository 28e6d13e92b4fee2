"""The workload of a real vLLM: a tiny checkpoint, conversations, and their right rewards."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from tests.real.torch_process import TorchProcess

Conversation = list[dict[str, str]]

COUNT = 2000
RESPONSES = 16
_WARM_UP = 64
_WORDS = ("the", "answer", "is", "four", "because", "two", "and", "some", "other", "words")
_MAX_WORDS = 220
"""About 700 tokens of the checkpoint's vocabulary."""
_WIDTH = 64
_SEED = 8967


class Work(NamedTuple):
    """Samples with their right rewards.

    Attributes:
        conversations: The conversations as messages.
        ids: The token IDs of each conversation.
        values: The reward of each conversation, computed by torch.
    """

    conversations: list[Conversation]
    ids: list[list[int]]
    values: list[float]

    def first(self, count: int) -> Work:
        return Work(self.conversations[:count], self.ids[:count], self.values[:count])

    def after(self, count: int) -> Work:
        return Work(self.conversations[count:], self.ids[count:], self.values[count:])


def conversations(count: int) -> list[Conversation]:
    """Make conversations of 30 to 700 tokens, evenly spread."""
    rng = random.Random(_SEED)
    return [
        _conversation(f"{index} + {index}?", _text(rng, 1, _MAX_WORDS)) for index in range(count)
    ]


def best_of(count: int) -> list[Conversation]:
    """Make prompts of about 320 tokens, each with 16 responses of up to 370 tokens."""
    rng = random.Random(_SEED)
    chats: list[Conversation] = []
    while len(chats) < count:
        prompt = f"{len(chats)}: {_text(rng, 100, 101)}"
        chats += [_conversation(prompt, _text(rng, 1, 118)) for _ in range(RESPONSES)]
    return chats[:count]


def _text(rng: random.Random, start: int, stop: int) -> str:
    return " ".join(rng.choices(_WORDS, k=rng.randrange(start, stop)))


def _conversation(prompt: str, response: str) -> Conversation:
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]


def write(path: Path, chats: Sequence[Conversation], checkpoint: Path, torch: TorchProcess) -> None:
    """Write conversations with their right rewards, after some for the warm-up.

    No conversation of the warm-up is a prefix of another, so that it fills no prefix cache.
    """
    warm_up = [
        _conversation(f"Warm-up {index}", chat[-1]["content"])
        for index, chat in enumerate(chats[:_WARM_UP])
    ]
    both = [*warm_up, *chats]
    references = torch.score(checkpoint, both)
    ids = [reference.ids for reference in references]
    work = Work(both, ids, [reference.reward for reference in references])
    path.write_text(json.dumps(work), encoding="utf-8")


def read(path: str) -> tuple[Work, Work]:
    """Read the work of the warm-up and the measured work."""
    work = Work(*json.loads(Path(path).read_text(encoding="utf-8")))
    count = min(_WARM_UP, len(work.ids) // 2)
    return work.first(count), work.after(count)


def make_checkpoint(folder: Path, torch: TorchProcess) -> None:
    """Make a Llama of one layer and width 64, with a score head.

    vLLM's CPU attention supports no smaller width. As on a GPU, the arithmetic takes less time
    than the server's other work for a request, so that the clients make a difference.
    """
    import numpy as np
    from safetensors.numpy import save_file

    from tests.real.checkpoints import MADE

    torch.make(folder, MADE["llama"])
    path = folder / "config.json"
    config: dict[str, Any] = json.loads(path.read_text())
    config |= {"num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1}
    config |= {"hidden_size": _WIDTH, "intermediate_size": _WIDTH, "head_dim": _WIDTH}
    path.write_text(json.dumps(config, indent=2))
    rng = np.random.default_rng(_SEED)
    square = (_WIDTH, _WIDTH)
    layer = "model.layers.0"
    shapes = {
        "model.embed_tokens.weight": (config["vocab_size"], _WIDTH),
        **{f"{layer}.self_attn.{name}_proj.weight": square for name in "qkvo"},
        **{f"{layer}.mlp.{name}_proj.weight": square for name in ("down", "gate", "up")},
        "score.weight": (1, _WIDTH),
    }
    ones = [f"{layer}.input_layernorm", f"{layer}.post_attention_layernorm", "model.norm"]
    tensors = {
        **{name: rng.normal(0, 0.2, shape).astype(np.float32) for name, shape in shapes.items()},
        **{f"{name}.weight": np.ones(_WIDTH, np.float32) for name in ones},
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
