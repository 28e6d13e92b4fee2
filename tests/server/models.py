"""The models that are served, and how vLLM is told to serve them."""

from __future__ import annotations

import json
from dataclasses import dataclass

from .conversations import STEP_TOKEN_ID

# The kinds of torch_side.py, and the seed of their weights.
MADE = {
    "llama": ("llama", 1),
    "llama, other weights": ("llama", 2),
    "qwen2-reward": ("qwen2-reward", 3),
    "causal": ("causal", 4),
    "labels": ("labels", 5),
    "prm": ("prm", 6),
}
SHIPPED = "shipped"
LANGUAGE_MODEL = "SmolLM2"
# In the order of vLLM: of two tokens made one label, the second counts for.
YES_NO = ("No", "Yes")


@dataclass(frozen=True)
class Served:
    """A checkpoint and what `vllm serve` is told about it.

    Attributes:
        checkpoint: A name in `MADE`, `SHIPPED` or `LANGUAGE_MODEL`.
        options: Further ones of the command line.
        tokens: The tokens whose logits are the reward, of a language model made a classifier.
        dtype: What the server computes in.
    """

    checkpoint: str
    options: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()
    dtype: str = "float32"

    @property
    def command(self) -> tuple[str, ...]:
        return "--dtype", self.dtype, *self.options


def pooler(**settings: object) -> tuple[str, str]:
    return "--pooler-config", json.dumps(settings)


def yes_no(method: str, dtype: str = "float32") -> Served:
    """A language model as a classifier: its logits of No and Yes, or what Yes has above No."""
    overrides = {
        "architectures": ["LlamaForSequenceClassification"],
        "classifier_from_token": YES_NO,
        "method": method,
    }
    options = ("--convert", "classify", "--hf-overrides", json.dumps(overrides))
    return Served(LANGUAGE_MODEL, options, YES_NO, dtype)


# Each change of the server costs its start, so tests run in the order of these tables.
IN_CI = {
    "llama": Served("llama"),
    "llama, other weights": Served("llama, other weights"),
    "qwen2-reward": Served("qwen2-reward"),
    "shipped": Served(SHIPPED),
    "hidden states": Served("causal", ("--convert", "embed")),
    "labels": Served("labels"),
    # Without an ID it is that of Qwen2.5-Math-PRM, which this vocabulary does not reach.
    "prm": Served("prm", pooler(task="token_classify", step_tag_id=STEP_TOKEN_ID)),
}
API_KEY = "sk-right-0123456789abcdef"
FURTHER = {
    "llama, API key": Served("llama", ("--api-key", API_KEY)),
    "llama, sigmoid": Served("llama", pooler(use_activation=True)),
    "llama, every token": Served("llama", pooler(task="token_classify")),
    "llama, 32 tokens": Served("llama", ("--max-model-len", "32")),
    "hidden states, every token": Served(
        "causal", ("--convert", "embed", *pooler(task="token_embed"))
    ),
    "prm, other step token": Served("prm"),
    "yes and no": yes_no("no_post_processing"),
    "yes and no, bfloat16": yes_no("no_post_processing", "bfloat16"),
    "yes minus no": yes_no("from_2_way_softmax"),
}
SERVED = {**IN_CI, **FURTHER}

# One number for a conversation, at the last token.
SCALAR = ("llama", "qwen2-reward", "shipped")
