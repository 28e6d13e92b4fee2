"""The configuration with which vLLM loads the backbone of a checkpoint, without its head.

vLLM's registry (model_executor/models/registry.py) knows some bare models by name, such as
``LlamaModel``. For any other ``…Model``, it pools the ``…ForCausalLM`` or ``…LMHeadModel`` that it
knows (config/model.py, iter_architecture_defaults). vLLM 0.10.2, 0.20.2 and 0.32.0 all do this.
vLLM can also pool under the name of the causal model, with ``--convert embed``. The export keeps
this name if vLLM has special settings for it, or does not know the bare model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from reward_client._base.json_values import as_list, as_mapping
from reward_client.errors import ExportError


@dataclass(frozen=True, slots=True)
class Backbone:
    """The way vLLM loads a checkpoint's backbone.

    Attributes:
        architecture: Value of ``architectures`` in its config.json.
        needs_convert: True if the server needs ``--convert embed``.
        trust_remote_code: True if the server needs ``--trust-remote-code``.
        notes: Facts for users.
    """

    architecture: str
    needs_convert: bool
    trust_remote_code: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KnownBackbone:
    """Facts about the models of one ``model_type``.

    Attributes:
        causal: Name of the causal model in vLLM's registry.
        since: Oldest vLLM that knows the model, out of 0.10.2, 0.20.2 and 0.32.0.
        source: Code that shows these facts.
        has_bare: True if the export uses the name of the bare model.
        remote_code: Class of the bare model in the checkpoint's own code, if transformers has no
            class for this type.
        notes: Facts for users.
    """

    causal: str
    since: str
    source: str
    has_bare: bool = True
    remote_code: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def bare(self) -> str:
        """Name of the model without a head."""
        return re.sub("(ForCausalLM|LMHeadModel)$", "Model", self.causal)


_OLDEST = "0.10.2"
_BY_NAME = "vLLM's registry.py: the bare name itself, in _EMBEDDING_MODELS"
_BY_SUFFIX = "vLLM's registry.py: _normalize_arch maps it to the causal model"
_BY_CAUSAL_NAME = "vLLM's registry.py: only the causal model"

_NEEDS_HEAD = "vLLM 0.10.2 does not start without the tensors of the language model's head."
"""vLLM 0.10.2 removes only modules named ``lm_head`` from pooled models; 0.20.2 removes any module
that computes logits (both: model_executor/models/adapters.py)."""


def _by_name(causal: str) -> KnownBackbone:
    return KnownBackbone(causal, _OLDEST, _BY_NAME)


def _by_suffix(causal: str, since: str = _OLDEST, notes: tuple[str, ...] = ()) -> KnownBackbone:
    return KnownBackbone(causal, since, _BY_SUFFIX, notes=notes)


def _by_causal_name(causal: str, reason: str) -> KnownBackbone:
    return KnownBackbone(causal, _OLDEST, f"{_BY_CAUSAL_NAME}; {reason}", has_bare=False)


_HYBRID = "state-space layers, with settings under this name (models/config.py)"

BACKBONES: Mapping[str, KnownBackbone] = {
    "llama": _by_name("LlamaForCausalLM"),
    "mistral": _by_name("MistralForCausalLM"),
    "qwen2": _by_name("Qwen2ForCausalLM"),
    "gemma2": _by_name("Gemma2ForCausalLM"),
    "ministral3": _by_suffix("Ministral3ForCausalLM", "0.20.2"),
    "mixtral": _by_suffix("MixtralForCausalLM"),
    "qwen2_moe": _by_suffix("Qwen2MoeForCausalLM"),
    "qwen3": _by_suffix("Qwen3ForCausalLM"),
    "qwen3_moe": _by_suffix("Qwen3MoeForCausalLM"),
    "phi": _by_suffix("PhiForCausalLM"),
    "phi3": _by_suffix("Phi3ForCausalLM"),
    "gemma": _by_suffix("GemmaForCausalLM"),
    "vaultgemma": _by_suffix("VaultGemmaForCausalLM", "0.32.0"),
    "olmo": _by_suffix("OlmoForCausalLM"),
    "olmo2": _by_suffix("Olmo2ForCausalLM"),
    "olmo3": _by_suffix("Olmo3ForCausalLM", "0.20.2"),
    "olmoe": _by_suffix("OlmoeForCausalLM"),
    "starcoder2": _by_suffix("Starcoder2ForCausalLM"),
    "stablelm": _by_suffix("StableLmForCausalLM"),
    "nemotron": _by_suffix("NemotronForCausalLM"),
    "glm": _by_suffix("GlmForCausalLM"),
    "glm4": _by_suffix("Glm4ForCausalLM"),
    "glm4_moe": _by_suffix("Glm4MoeForCausalLM"),
    "deepseek_v2": _by_suffix("DeepseekV2ForCausalLM"),
    "deepseek_v3": _by_suffix("DeepseekV3ForCausalLM"),
    "smollm3": _by_suffix("SmolLM3ForCausalLM"),
    "exaone4": _by_suffix("Exaone4ForCausalLM"),
    "apertus": _by_suffix("ApertusForCausalLM"),
    "arcee": _by_suffix("ArceeForCausalLM"),
    "ernie4_5": _by_suffix("Ernie4_5ForCausalLM"),
    "seed_oss": _by_suffix("SeedOssForCausalLM"),
    "hyperclovax": _by_suffix("HyperCLOVAXForCausalLM", "0.20.2"),
    "cohere": _by_suffix("CohereForCausalLM"),
    "cohere2": _by_suffix("Cohere2ForCausalLM"),
    "granite": _by_suffix("GraniteForCausalLM"),
    "granitemoe": _by_suffix("GraniteMoeForCausalLM"),
    "granitemoeshared": _by_suffix("GraniteMoeSharedForCausalLM"),
    "opt": _by_suffix("OPTForCausalLM"),
    "gpt2": _by_suffix("GPT2LMHeadModel"),
    "gptj": _by_suffix("GPTJForCausalLM"),
    "gpt_bigcode": _by_suffix("GPTBigCodeForCausalLM"),
    "gpt_neox": _by_suffix("GPTNeoXForCausalLM", notes=(_NEEDS_HEAD,)),
    "falcon": _by_suffix("FalconForCausalLM"),
    "internlm2": KnownBackbone(
        "InternLM2ForCausalLM",
        _OLDEST,
        _BY_SUFFIX,
        remote_code="InternLM2Model",
        notes=(_NEEDS_HEAD,),
    ),
    "bloom": _by_causal_name("BloomForCausalLM", "ALiBi is enabled by this name (config/model.py)"),
    "phimoe": _by_causal_name("PhiMoEForCausalLM", "transformers spells the bare name differently"),
    "gemma3_text": _by_causal_name(
        "Gemma3ForCausalLM", "the tensors of Gemma3TextModel have no `model.` prefix"
    ),
    "gpt_oss": _by_causal_name("GptOssForCausalLM", "settings under this name (models/config.py)"),
    "falcon_h1": _by_causal_name("FalconH1ForCausalLM", _HYBRID),
    "nemotron_h": _by_causal_name("NemotronHForCausalLM", _HYBRID),
    "granitemoehybrid": _by_causal_name("GraniteMoeHybridForCausalLM", _HYBRID),
    "jamba": _by_causal_name("JambaForCausalLM", _HYBRID),
}
"""Known backbones by ``model_type``."""

_SAME_AS: Mapping[str, str] = {
    # ankner/Llama3-8B-CLoud-RM: cloud/inference/serve_cloud.py of zankner/CLoud.
    "cloud": "llama",
    # OpenAssistant/oasst-rm-*: GPTNeoXRewardModelConfig of Open-Assistant.
    "gpt_neox_reward_model": "gpt_neox",
}
"""Model types of reward models, and the model types of their backbones."""

_ENCODER = (
    "it is an encoder whose head reads the first token, and only heads on the last token of a "
    "causal model can be exported"
)
_PAIRS = (
    "it is an encoder that reads a pair of texts, and vLLM does not know its architecture. Serve "
    "it with transformers"
)
_SEQ2SEQ = "it has an encoder and a decoder, and only causal models can be exported"
_MINICPM = (
    "vLLM divides its hidden state by hidden_size / dim_model_base before pooling "
    "(model_executor/models/minicpm.py), and transformers does not, so the same head would give "
    "two different rewards"
)

REFUSED: Mapping[str, str] = {
    **dict.fromkeys(["deberta", "deberta-v2"], _PAIRS),
    **dict.fromkeys(
        ["albert", "bert", "camembert", "distilbert", "electra", "ernie", "longformer"], _ENCODER
    ),
    **dict.fromkeys(["modernbert", "mpnet", "new", "nomic_bert", "roberta"], _ENCODER),
    **dict.fromkeys(["xlm-roberta", "xlm-roberta-xl"], _ENCODER),
    **dict.fromkeys(["bart", "led", "mbart", "mt5", "pegasus", "t5", "t5gemma", "umt5"], _SEQ2SEQ),
    **dict.fromkeys(["minicpm", "minicpm3"], _MINICPM),
}
"""Reasons why models of these types cannot be exported."""

_MULTIMODAL_KEYS = (
    "vision_config",
    "audio_config",
    "text_config",
    "llm_config",
    "thinker_config",
)


def backbone_of(config: Mapping[str, object]) -> Backbone:
    """Return the way vLLM loads the backbone that a config.json describes.

    A causal model keeps its name, so that its tensors stay unchanged.

    Raises:
        ExportError: If the model is unknown, or if vLLM cannot pool its last token.
    """
    known = _known(config)
    pooling = config.get("pooling")
    if pooling not in (None, "last"):
        raise ExportError(
            f"Cannot export this head: it reads the {pooling!r} of the tokens' states "
            "(config.json: pooling), and only heads on the last token can be exported."
        )
    stored = (as_list(config.get("architectures")) or [None])[0]
    keeps_name = stored == known.causal or not known.has_bare
    notes = [*known.notes]
    if known.since != _OLDEST:
        notes.append(f"vLLM {_OLDEST} does not know this model; vLLM {known.since} does.")
    return Backbone(
        architecture=known.causal if keeps_name else known.bare,
        needs_convert=keeps_name,
        trust_remote_code=known.remote_code is not None,
        notes=tuple(notes),
    )


_HEAD_KEYS = frozenset(
    {
        # transformers: PreTrainedConfig and its classifiers
        "classifier_bias",
        "classifier_dropout",
        "id2label",
        "label2id",
        "num_labels",
        "problem_type",
        "summary_dropout_prob",
        # sentence-transformers' cross encoders; vLLM reads an activation from them
        "sbert_ce_default_activation_function",
        "sentence_transformers",
        # vLLM's heads from tokens
        "classifier_from_token",
        "method",
        # safe-rlhf's score models and OpenRLHF's reward models
        "do_normalize",
        "mean",
        "momentum",
        "normalize_reward",
        "normalizer_type",
        "score_dim",
        "score_type",
        "std",
        "value_head_prefix",
        "var",
        # InternLM2's reward models, Open-Assistant's, CLoud, GRM
        "base_model_name_or_path",
        "feedback_method",
        "pooling",
        "reward_token_id",
        "vhead_layer_type",
        "vhead_num_layers",
        "vhead_num_neurons",
    }
)
_HEAD_HAS_BIAS = "LlamaForScore"
"""In safe-rlhf, ``bias`` is about the head; vLLM's llama.py would apply it to the attention."""


def backbone_config(config: Mapping[str, object], backbone: Backbone) -> dict[str, object]:
    """Return the config.json of the backbone: the source's, without the keys of the head.

    Raises:
        ExportError: See `backbone_of`.
    """
    known = _known(config)
    drop = {*_HEAD_KEYS, "auto_map", "architectures", "model_type"}
    if _HEAD_HAS_BIAS in (as_list(config.get("architectures")) or []):
        drop.add("bias")
    auto_map = _auto_map(as_mapping(config.get("auto_map")) or {}, known)
    return {
        "architectures": [backbone.architecture],
        "model_type": _model_type(config),
        **({"auto_map": auto_map} if auto_map else {}),
        **{key: value for key, value in config.items() if key not in drop},
    }


def _auto_map(auto_map: Mapping[str, object], known: KnownBackbone) -> dict[str, object]:
    """Keep the entries of ``auto_map`` that the backbone needs, without the class with the head.

    With trusted remote code, transformers and sentence-transformers would load that class, and vLLM
    would import it to resolve an unknown architecture.
    """
    kept = {key: value for key, value in auto_map.items() if key == "AutoTokenizer"}
    if known.remote_code is None:
        return kept
    models = [value for key, value in auto_map.items() if key.startswith("AutoModel")]
    if "AutoConfig" in auto_map:
        kept["AutoConfig"] = auto_map["AutoConfig"]
    if models and isinstance(models[0], str):
        module, _, _ = models[0].rpartition(".")
        kept["AutoModel"] = f"{module}.{known.remote_code}"
    return kept


def _model_type(config: Mapping[str, object]) -> object:
    model_type = config.get("model_type")
    return _SAME_AS.get(model_type, model_type) if isinstance(model_type, str) else model_type


def _known(config: Mapping[str, object]) -> KnownBackbone:
    model_type = _model_type(config)
    if not isinstance(model_type, str):
        raise ExportError("Cannot read config.json: it has no model_type.")
    if model_type in REFUSED:
        raise ExportError(f"Cannot export a model of type {model_type!r}: {REFUSED[model_type]}.")
    if any(as_mapping(config.get(part)) is not None for part in _MULTIMODAL_KEYS):
        raise ExportError(
            f"Cannot export a model of type {model_type!r}: it is multimodal (config.json: "
            f"{', '.join(part for part in _MULTIMODAL_KEYS if part in config)}), and only text "
            "models can be exported."
        )
    if model_type not in BACKBONES:
        raise ExportError(
            f"Cannot export a model of type {model_type!r}: this type is unknown, and vLLM may "
            "change its hidden state before pooling. Known types are "
            f"{', '.join(sorted(BACKBONES))}."
        )
    return BACKBONES[model_type]
