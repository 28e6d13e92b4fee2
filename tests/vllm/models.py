"""How vLLM is told to serve the models."""

from __future__ import annotations

import json
from dataclasses import dataclass

from ..real.checkpoints import LANGUAGE_MODEL, PROBE, SHIPPED, YES_MINUS_NO, Export
from ..real.conversations import STEP_TOKEN_ID

# In the order of vLLM: of two tokens made one label, the second counts for.
YES_NO = ("No", "Yes")


@dataclass(frozen=True)
class Served:
    """A checkpoint and what `vllm serve` is told about it.

    Attributes:
        checkpoint: A name in `MADE` or `EXPORTS`, `SHIPPED` or `LANGUAGE_MODEL`.
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


# Every layout is exported and read by sentence-transformers; these are also served in each run.
_EXPORTED_IN_CI = {
    "exported labels": Export("named labels"),
    "exported two layers": Export("two layers"),
    "exported v_head, transformer": Export("starling"),
    "exported v_head, InternLM2": Export("internlm2"),
    "exported regression_head, Mistral": Export("eurus"),
    "exported score_head, normalized cost": Export("beaver cost, normalized"),
    "exported dense and out_proj": Export("cloud"),
    "exported two labels a step": Export("prm, sharded"),
    "exported tokens, soft-capped": Export("gemma2", YES_MINUS_NO, YES_NO),
    "exported token, untied": Export("untied", "lm-head:Yes", ("Yes",)),
    "exported probe": Export("untied", PROBE),
    "exported v_head.summary, steps": Export("skywork-o1"),
    "exported SmolLM2": Export(LANGUAGE_MODEL, YES_MINUS_NO, YES_NO),
}
_EXPORTED_FURTHER = {
    "exported one label": Export("llama"),
    "exported two layers, Llama": Export("inform"),
    "exported two layers, no biases": Export("inform, no biases"),
    "exported regression_head, Llama": Export("ultra"),
    "exported score_head": Export("beaver reward"),
    "exported score_head, normalized": Export("beaver reward, normalized"),
    "exported score_head, cost": Export("beaver cost"),
    "exported v_head.summary, two layers": Export("grm"),
    "exported value_head, normalized": Export("openrlhf"),
    "exported out_proj, GPT-NeoX": Export("oasst"),
    "exported tokens, untied": Export("untied", YES_MINUS_NO, YES_NO),
    "exported tokens, tied": Export("tied", YES_MINUS_NO, YES_NO),
    "exported token by its ID, tied": Export("tied", "lm-head:id=374", ("Yes",)),
    "exported tokens, scaled down": Export("granite", YES_MINUS_NO, YES_NO),
    "exported tokens, scaled": Export("cohere", YES_MINUS_NO, YES_NO),
}
EXPORTS = {**_EXPORTED_IN_CI, **_EXPORTED_FURTHER}


def _exported(exports: dict[str, Export]) -> dict[str, Served]:
    """Served as their manifests say."""
    return {name: Served(name, tokens=export.tokens) for name, export in exports.items()}


_YES_AS_CLASSIFIER = {
    "architectures": ["LlamaForSequenceClassification"],
    "classifier_from_token": ["Yes"],
    "method": "no_post_processing",
}
GENERATING = ("--runner", "generate", "--logprobs-mode")

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
    **_exported(_EXPORTED_IN_CI),
    "a language model": Served("untied", (*GENERATING, "raw_logits"), ("Yes",)),
    "a token as classifier": Served(
        "untied",
        ("--convert", "classify", "--hf-overrides", json.dumps(_YES_AS_CLASSIFIER)),
        ("Yes",),
    ),
}
API_KEY = "sk-right-0123456789abcdef"
WRITER = "a language model that writes"
WEIGHING = "a language model that writes, log-probabilities"
FURTHER = {
    WRITER: Served(LANGUAGE_MODEL, (*GENERATING, "raw_logits"), ("Yes", "No")),
    WEIGHING: Served(LANGUAGE_MODEL, (*GENERATING, "raw_logprobs")),
    "a language model, log-probabilities": Served(
        "untied", (*GENERATING, "raw_logprobs"), ("Yes",)
    ),
    "a language model, processed logits": Served(
        "untied", (*GENERATING, "processed_logits"), ("Yes",)
    ),
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
    **_exported(_EXPORTED_FURTHER),
}
SERVED = {**IN_CI, **FURTHER}

# One number for a conversation, at the last token.
SCALAR = ("llama", "qwen2-reward", "shipped")
