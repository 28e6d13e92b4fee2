"""How SGLang is told to serve the models."""

from __future__ import annotations

from dataclasses import dataclass

from ..real.checkpoints import LANGUAGE_MODEL, SHIPPED, Export

EMBEDDING = "--is-embedding"
WRITER = "a language model that writes"
API_KEY = "sk-right-0123456789abcdef"


@dataclass(frozen=True)
class Served:
    """A checkpoint and what SGLang is told about it.

    Attributes:
        checkpoint: A name in `MADE`, `EXPORTS` or `UNBIASED`, `SHIPPED` or `LANGUAGE_MODEL`.
        command: Further options of the command line.
        tokens: The tokens whose logits are the reward, of a language model.
    """

    checkpoint: str
    command: tuple[str, ...] = (EMBEDDING,)
    tokens: tuple[str, ...] = ()


EXPORTS = {"exported one label": Export("llama")}
# Copies whose file has a bias of zeros, by the checkpoints that they come from.
UNBIASED = {"qwen2, bias of zero": "qwen2", "qwen3, bias of zero": "qwen3"}

# Each change of the server costs its start, so tests run in the order of these tables.
IN_CI = {
    "llama": Served("llama"),
    "shipped": Served(SHIPPED),
    "labels": Served("labels"),
    "qwen2-reward": Served("qwen2-reward"),
    "qwen2, bias of zero": Served("qwen2, bias of zero"),
    "qwen2": Served("qwen2"),  # its bias is another one at each start, whatever --random-seed says
    "hidden states": Served("causal"),
    "exported one label": Served("exported one label"),
    "a language model": Served("untied", (), ("Yes", "No")),
    WRITER: Served(LANGUAGE_MODEL, ()),
}
FURTHER = {
    "qwen3, bias of zero": Served("qwen3, bias of zero"),
    "qwen3": Served("qwen3"),
    "qwen3-reward": Served("qwen3-reward"),
    "gemma2, classifier": Served("gemma2, classifier"),
    "internlm2": Served("internlm2", (EMBEDDING, "--trust-remote-code")),
    "llama, other weights": Served("llama, other weights"),
    "llama, API key": Served("llama", (EMBEDDING, "--api-key", API_KEY)),
    "llama, 64 tokens": Served("llama", (EMBEDDING, "--context-length", "64")),
}
SERVED = {**IN_CI, **FURTHER}
