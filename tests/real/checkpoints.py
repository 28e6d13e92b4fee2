"""The checkpoints that real servers serve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Made:
    """A checkpoint of ours.

    Attributes:
        kind: One of torch_side.py.
        seed: Of its weights.
        dtype: What they are stored in.
        sharded: Whether in several files and an index, instead of one file.
        linked: Whether every file is a link into `blobs`, as in a hub cache.
    """

    kind: str
    seed: int
    dtype: Literal["float32", "bfloat16"] = "float32"
    sharded: bool = False
    linked: bool = False


MADE = {
    "llama": Made("llama", 1),
    "llama, other weights": Made("llama", 2),
    "qwen2-reward": Made("qwen2-reward", 3),
    "causal": Made("causal", 4),
    "labels": Made("labels", 5),
    "qwen2": Made("qwen2", 7),
    "qwen3": Made("qwen3", 8, "bfloat16", sharded=True),
    "prm": Made("prm", 6),
    "named labels": Made("named labels", 20, "bfloat16", sharded=True, linked=True),
    "two layers": Made("qwen2-rm, remote code", 21, sharded=True),
    "inform": Made("inform", 22, "bfloat16", sharded=True),
    "inform, no biases": Made("inform, no biases", 23, "bfloat16"),
    "internlm2": Made("internlm2", 24, "bfloat16", linked=True),
    "starling": Made("starling", 25, "bfloat16", sharded=True),
    "eurus": Made("eurus", 26, "bfloat16"),
    "ultra": Made("ultra", 27, sharded=True),
    "beaver reward": Made("beaver reward", 28, "bfloat16"),
    "beaver reward, normalized": Made("beaver reward, normalized", 29, sharded=True),
    "beaver cost": Made("beaver cost", 30, "bfloat16", sharded=True),
    "beaver cost, normalized": Made("beaver cost, normalized", 31),
    "cloud": Made("cloud", 32, "bfloat16", sharded=True, linked=True),
    "skywork-o1": Made("skywork-o1", 33, "bfloat16", sharded=True),
    "grm": Made("grm", 34, "bfloat16"),
    "openrlhf": Made("openrlhf", 35, sharded=True),
    "oasst": Made("oasst", 36, "bfloat16"),
    "prm, sharded": Made("prm", 37, "bfloat16", sharded=True),
    "untied": Made("causal", 38, "bfloat16", sharded=True),
    "tied": Made("tied", 39, sharded=True),
    "gemma2": Made("gemma2", 40, "bfloat16", sharded=True),
    "granite": Made("granite", 41, "bfloat16"),
    "cohere": Made("cohere", 42, sharded=True),
    "qwen3-reward": Made("qwen3-reward", 43, sharded=True),
    "gemma2, classifier": Made("gemma2, classifier", 44, sharded=True),
}
SHIPPED = "shipped"
LANGUAGE_MODEL = "SmolLM2"

# A layer of one's own on hidden states of 128 numbers.
LAYER = np.random.default_rng(8967).normal(size=(3, 128)).astype(np.float32)
BIAS = np.asarray([0.5, -1.0, 2.0], dtype=np.float32)


@dataclass(frozen=True)
class Export:
    """A checkpoint whose head is exported.

    Attributes:
        source: A name in `MADE`, or `LANGUAGE_MODEL`.
        head: As `reward-client export --head` takes it; `PROBE` is a file of the first row of
            `LAYER`.
        tokens: Those whose logits are the reward.
    """

    source: str
    head: str = "auto"
    tokens: tuple[str, ...] = ()


PROBE = "probe"
YES_MINUS_NO = "lm-head:Yes-No"
