"""Rows of a language model's head as dense layers.

Some models transform the output of ``lm_head`` into logits. The layers include this transform: a
scale is multiplied into the row, and a soft cap (cap · tanh(x / cap)) is a tanh between two layers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from reward_client._base.numeric import is_finite_number
from reward_client.errors import ExportError

_USE_FILE = (
    "If you know the layer that computes the reward, pass it in a file (--head FILE.safetensors)."
)


@dataclass(frozen=True, slots=True)
class LogitTransform:
    """The location of a model's output embeddings, and the transform of their outputs into logits.

    A logit is scale · (row · h + bias), for a row of the output embeddings and the hidden state h.
    With a soft cap, it is soft_cap · tanh(scale · (row · h + bias) / soft_cap).

    Attributes:
        scale: Factor of the output.
        soft_cap: Positive cap, or None.
        tensor: Name of the output embeddings. An optional bias is stored beside them.
        tied_tensor: Name of the input embeddings, which a tied model also uses as output
            embeddings. In a checkpoint of the bare model, the name lacks its first part.
        is_tied: True if the model uses the input embeddings, even if ``tensor`` is stored too.
    """

    scale: float
    soft_cap: float | None
    tensor: str
    tied_tensor: str
    is_tied: bool


Operation: TypeAlias = Literal["multiply", "divide", "cap"]


@dataclass(frozen=True, slots=True)
class Family:
    """The transform of logits in the models of one ``model_type``.

    Attributes:
        source: Code that defines the transform: modeling files of transformers 5.19, of vLLM 0.32,
            or of a checkpoint.
        key: The only key of config.json that changes logits, or None.
        operation: Use of the key's value.
        default: Default value of the key in transformers' configuration.
        tied: Default of ``tie_word_embeddings``.
        tensor: See `LogitTransform`.
        tied_tensor: See `LogitTransform`.
    """

    source: str
    key: str | None = None
    operation: Operation = "multiply"
    default: float | None = 1.0
    tied: bool = False
    tensor: str = "lm_head.weight"
    tied_tensor: str = "model.embed_tokens.weight"


def _family(
    transformers: str,
    vllm: str,
    key: str | None = None,
    operation: Operation = "multiply",
    default: float | None = 1.0,
    *,
    tied: bool = False,
    tensor: str = "lm_head.weight",
    tied_tensor: str = "model.embed_tokens.weight",
) -> Family:
    source = f"transformers models/{transformers}.py, vllm model_executor/models/{vllm}.py"
    return Family(source, key, operation, default, tied, tensor, tied_tensor)


_WTE = "transformer.wte.weight"
_WORD = "transformer.word_embeddings.weight"
_CAP = "final_logit_softcapping"

FAMILIES: Mapping[str, Family] = {
    # Logits are the outputs of lm_head.
    "llama": _family("llama/modeling_llama", "llama"),
    "mistral": _family("mistral/modeling_mistral", "mistral"),
    "ministral3": _family("ministral3/modeling_ministral3", "mistral"),
    "mixtral": _family("mixtral/modeling_mixtral", "mixtral"),
    "qwen2": _family("qwen2/modeling_qwen2", "qwen2"),
    "qwen2_moe": _family("qwen2_moe/modeling_qwen2_moe", "qwen2_moe"),
    "qwen3": _family("qwen3/modeling_qwen3", "qwen3"),
    "qwen3_moe": _family("qwen3_moe/modeling_qwen3_moe", "qwen3_moe"),
    "phi": _family("phi/modeling_phi", "transformers/causal"),
    "phi3": _family("phi3/modeling_phi3", "phi3"),
    "phimoe": _family("phimoe/modeling_phimoe", "phimoe"),
    "gemma": _family("gemma/modeling_gemma", "gemma", tied=True),
    "olmo": _family("olmo/modeling_olmo", "transformers/causal"),
    "olmo2": _family("olmo2/modeling_olmo2", "transformers/causal"),
    "olmo3": _family("olmo3/modeling_olmo3", "transformers/causal"),
    "olmoe": _family("olmoe/modeling_olmoe", "olmoe"),
    "starcoder2": _family("starcoder2/modeling_starcoder2", "transformers/causal", tied=True),
    "stablelm": _family("stablelm/modeling_stablelm", "stablelm"),
    "nemotron": _family("nemotron/modeling_nemotron", "nemotron"),
    "nemotron_h": _family("nemotron_h/modeling_nemotron_h", "nemotron_h"),
    "jamba": _family("jamba/modeling_jamba", "jamba"),
    "glm": _family("glm/modeling_glm", "transformers/causal"),
    "glm4": _family("glm4/modeling_glm4", "glm4"),
    "glm4_moe": _family("glm4_moe/modeling_glm4_moe", "glm4_moe"),
    "smollm3": _family("smollm3/modeling_smollm3", "transformers/causal", tied=True),
    "exaone4": _family("exaone4/modeling_exaone4", "exaone4"),
    "apertus": _family("apertus/modeling_apertus", "apertus"),
    "arcee": _family("arcee/modeling_arcee", "transformers/causal"),
    "ernie4_5": _family("ernie4_5/modeling_ernie4_5", "ernie45", tied=True),
    "seed_oss": _family("seed_oss/modeling_seed_oss", "transformers/causal"),
    "gpt_oss": _family("gpt_oss/modeling_gpt_oss", "gpt_oss"),
    "deepseek_v2": _family("deepseek_v2/modeling_deepseek_v2", "deepseek_v2"),
    "deepseek_v3": _family("deepseek_v3/modeling_deepseek_v3", "deepseek_v2"),
    "internlm2": Family(
        "InternLM2ForCausalLM of the checkpoint's modeling_internlm2.py, "
        "vllm model_executor/models/internlm2.py",
        tensor="output.weight",
        tied_tensor="model.tok_embeddings.weight",
    ),
    "opt": _family(
        "opt/modeling_opt", "opt", tied=True, tied_tensor="model.decoder.embed_tokens.weight"
    ),
    "gpt2": _family("gpt2/modeling_gpt2", "gpt2", tied=True, tied_tensor=_WTE),
    "gptj": _family("gptj/modeling_gptj", "gpt_j", tied_tensor=_WTE),
    "gpt_bigcode": _family(
        "gpt_bigcode/modeling_gpt_bigcode", "transformers/causal", tied=True, tied_tensor=_WTE
    ),
    # transformers renames embed_out to lm_head as it loads (conversion_mapping.py).
    "gpt_neox": _family(
        "gpt_neox/modeling_gpt_neox",
        "transformers/causal",
        tensor="embed_out.weight",
        tied_tensor="gpt_neox.embed_in.weight",
    ),
    "bloom": _family("bloom/modeling_bloom", "bloom", tied=True, tied_tensor=_WORD),
    "falcon": _family("falcon/modeling_falcon", "falcon", tied=True, tied_tensor=_WORD),
    # Logits are scaled.
    "cohere": _family(
        "cohere/modeling_cohere", "commandr", "logit_scale", default=1 / 16, tied=True
    ),
    "cohere2": _family(
        "cohere2/modeling_cohere2", "commandr", "logit_scale", default=1 / 16, tied=True
    ),
    "falcon_h1": _family("falcon_h1/modeling_falcon_h1", "falcon_h1", "lm_head_multiplier"),
    "hyperclovax": _family("hyperclovax/modeling_hyperclovax", "hyperclovax", "logits_scaling"),
    "granite": _family("granite/modeling_granite", "granite", "logits_scaling", "divide"),
    "granitemoe": _family(
        "granitemoe/modeling_granitemoe", "granitemoe", "logits_scaling", "divide"
    ),
    "granitemoeshared": _family(
        "granitemoeshared/modeling_granitemoeshared", "granitemoeshared", "logits_scaling", "divide"
    ),
    "granitemoehybrid": _family(
        "granitemoehybrid/modeling_granitemoehybrid", "granitemoehybrid", "logits_scaling", "divide"
    ),
    # Logits are capped.
    "gemma2": _family("gemma2/modeling_gemma2", "gemma2", _CAP, "cap", 30.0, tied=True),
    "gemma3_text": _family("gemma3/modeling_gemma3", "gemma3", _CAP, "cap", None, tied=True),
    "vaultgemma": _family(
        "vaultgemma/modeling_vaultgemma", "transformers/causal", _CAP, "cap", 30.0, tied=True
    ),
}
"""Families by ``model_type``. `reward_client.export.backbones` says why MiniCPM is missing."""

_CHANGES_LOGITS = re.compile(r"logit|lm_head|soft_?cap|output_mult|^mup_|^dim_model_base$")
"""Keys that change logits in some family: Grok's ``output_multiplier_scale``, MiniCPM's
``dim_model_base``, TeleFLM's ``output_mult`` and ``mup_scale_factor``, and the keys of the
table."""
_UNRELATED = re.compile(r"attn|attention|router|aux|keep")


def logit_transform(config: Mapping[str, object]) -> LogitTransform:
    """Return the transform for the language model that a config.json describes.

    Raises:
        ExportError: If the ``model_type`` is unknown, or if the family does not know a key that
            seems to change logits.
    """
    model_type = config.get("model_type")
    family = FAMILIES.get(model_type) if isinstance(model_type, str) else None
    if family is None:
        raise ExportError(
            f"Cannot read logits of a model of type {str(model_type)[:60]!r}: its transform from "
            f"lm_head to logits is unknown. {_USE_FILE}"
        )
    _refuse_unknown_keys(config, family)
    scale, soft_cap = 1.0, None
    if family.key is not None:
        value = config.get(family.key, family.default)
        if family.operation == "cap":
            soft_cap = None if value is None else _positive(family.key, value)
        else:
            number = _positive(family.key, value)
            scale = number if family.operation == "multiply" else 1 / number
    is_tied = config.get("tie_word_embeddings", family.tied)
    return LogitTransform(scale, soft_cap, family.tensor, family.tied_tensor, is_tied is True)


@dataclass(frozen=True, slots=True)
class PlainLayer:
    """A linear layer of computed numbers, with an activation."""

    weight: list[list[float]]
    bias: list[float] | None
    activation: Literal["identity", "tanh"]


def token_layers(
    rows: Sequence[Sequence[float]],
    weights: Sequence[float],
    biases: Sequence[float],
    transform: LogitTransform,
) -> list[PlainLayer]:
    """Build layers that compute a weighted sum of the logits of some tokens.

    The computation uses double precision, so that the difference of two similar rows is accurate.

    Args:
        rows: Row of the output embeddings for each token.
        weights: Weight of each token's logit, such as ``[1.0, -1.0]`` for a difference.
        biases: Bias of each token; empty if the head has no bias.
        transform: Transform of the model's logits.
    """
    if transform.soft_cap is None:
        row = [
            transform.scale * math.fsum(map(_product, weights, column))
            for column in zip(*rows, strict=True)
        ]
        bias = [transform.scale * math.fsum(map(_product, weights, biases))] if biases else None
        return [PlainLayer([row], bias, "identity")]
    inner = transform.scale / transform.soft_cap
    return [
        PlainLayer(
            weight=[[inner * number for number in row] for row in rows],
            bias=[inner * bias for bias in biases] if biases else None,
            activation="tanh",
        ),
        PlainLayer([[weight * transform.soft_cap for weight in weights]], None, "identity"),
    ]


def parse_tokens(choice: str, vocabulary: Mapping[str, int]) -> list[tuple[int, float]]:
    """Parse the tokens of a choice; return the ID and the weight of each.

    Args:
        choice: ``"TOKEN"``, or ``"YES-NO"`` for a difference. Each token is written as in the
            vocabulary (``ĠYes``, ``▁Yes``), or as ``id=N``.
        vocabulary: IDs of the tokenizer's tokens, including added tokens. It is not used for
            ``id=N``.

    Raises:
        ExportError: If a token is unknown, if the choice is ambiguous, or if both tokens are equal.
    """
    readings = [
        tokens
        for parts in _splits(choice)
        if (tokens := [token for part in parts for token in _token(part, vocabulary)])
        and len(tokens) == len(parts)
    ]
    if len(readings) > 1:
        meanings = " or ".join(
            "lm-head:" + "-".join(f"id={token}" for token in reading) for reading in readings
        )
        raise ExportError(f"Cannot read {choice!r}: it can mean {meanings}. Write the IDs instead.")
    if not readings:
        raise ExportError(_unknown_token(choice, vocabulary))
    (tokens,) = readings
    if len(set(tokens)) < len(tokens):
        raise ExportError(f"Cannot use {choice!r}: token {tokens[0]} minus itself is always 0.")
    return list(zip(tokens, (1.0, -1.0), strict=False))


_ID = re.compile(r"id=(\d{1,18})", re.ASCII)


def _splits(choice: str) -> Iterator[tuple[str, ...]]:
    if all(map(_ID.fullmatch, choice.split("-"))) and choice.count("-") <= 1:
        yield tuple(choice.split("-"))
        return
    yield (choice,)
    for index, character in enumerate(choice):
        if character == "-" and 0 < index < len(choice) - 1:
            yield choice[:index], choice[index + 1 :]


def _token(part: str, vocabulary: Mapping[str, int]) -> list[int]:
    """Return the ID of a token in a list, or an empty list if it is unknown."""
    number = _ID.fullmatch(part)
    if number:
        return [int(number[1])]
    return [vocabulary[part]] if part in vocabulary else []


def _unknown_token(choice: str, vocabulary: Mapping[str, int]) -> str:
    wanted = {_normalize(part) for parts in _splits(choice) for part in parts} - {""}
    similar = sorted(token for token in vocabulary if _normalize(token) in wanted)
    names = ", ".join(token[:20] for token in similar[:12])
    hint = f"Similar tokens: {names}." if similar else "There are no similar tokens."
    return (
        f"Cannot find {choice[:60]!r}: it is neither a token of the vocabulary, nor two tokens "
        f"with a '-' between them. {hint} Write a token as the vocabulary spells it, or as id=N."
    )


def _normalize(token: str) -> str:
    """Convert a token to lower case, without the marks for a space and a line break."""
    return token.strip("Ġ▁Ċ \n").lower()


def _product(weight: float, number: float) -> float:
    return weight * number


def _positive(key: str, value: object) -> float:
    if is_finite_number(value) and value > 0:
        return float(value)
    raise ExportError(
        f"Cannot read config.json: {key} must be a number above 0, not {str(value)[:60]}."
    )


def _refuse_unknown_keys(config: Mapping[str, object], family: Family) -> None:
    for key, value in config.items():
        if key == family.key or _UNRELATED.search(key) or not _CHANGES_LOGITS.search(key):
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if value != (0 if "cap" in key else 1):
            raise ExportError(
                f"Cannot read logits of this model: config.json has {key}={value!r}, which seems "
                f"to change logits, but models of type {config.get('model_type')!r} do not read "
                f"it. {_USE_FILE}"
            )
