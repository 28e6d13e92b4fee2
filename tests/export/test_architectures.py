"""How vLLM loads backbones: names, what stays of config.json, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from reward_client.errors import ExportError
from reward_client.export.backbones import (
    BACKBONES,
    REFUSED,
    Backbone,
    backbone_config,
    backbone_of,
)
from reward_client.export.lm_head import FAMILIES

LOOKED_INTO = ("0.10.2", "0.20.2", "0.32.0")


def config(model_type: object, architecture: str, **other: Any) -> dict[str, Any]:
    return {"architectures": [architecture], "model_type": model_type, "hidden_size": 8, **other}


class TestBackboneOf:
    @pytest.mark.parametrize(
        ("source", "architecture", "needs_convert"),
        [
            (config("llama", "LlamaForSequenceClassification"), "LlamaModel", False),
            (config("llama", "INFORMForSequenceClassification"), "LlamaModel", False),
            (config("llama", "LlamaForScore"), "LlamaModel", False),
            (config("llama", "LlamaForCausalLM"), "LlamaForCausalLM", True),
            (config("mistral", "EurusRewardModel"), "MistralModel", False),
            (config("qwen2", "Qwen2ForProcessRewardModel"), "Qwen2Model", False),
            (config("gemma2", "Gemma2ForSequenceClassification"), "Gemma2Model", False),
            (config("qwen3", "Qwen3ForSequenceClassification"), "Qwen3Model", False),
            (config("qwen3", "Qwen3ForCausalLM"), "Qwen3ForCausalLM", True),
            (config("gpt2", "GPT2ForSequenceClassification"), "GPT2Model", False),
            (config("gpt2", "GPT2LMHeadModel"), "GPT2LMHeadModel", True),
            (
                config("gemma3_text", "Gemma3TextForSequenceClassification"),
                "Gemma3ForCausalLM",
                True,
            ),
            (config("bloom", "BloomForSequenceClassification"), "BloomForCausalLM", True),
            (config("phimoe", "PhimoeForCausalLM"), "PhiMoEForCausalLM", True),
            (config("cloud", "FeedbackRewardModel"), "LlamaModel", False),
            (config("gpt_neox_reward_model", "GPTNeoXRewardModel"), "GPTNeoXModel", False),
            ({"model_type": "llama"}, "LlamaModel", False),
        ],
    )
    def test_architecture(
        self, source: dict[str, Any], architecture: str, needs_convert: bool
    ) -> None:
        backbone = backbone_of(source)

        assert (backbone.architecture, backbone.needs_convert) == (architecture, needs_convert)
        assert not backbone.trust_remote_code

    def test_internlm2_is_configured_by_its_own_code(self) -> None:
        backbone = backbone_of(config("internlm2", "InternLM2ForRewardModel"))

        assert backbone.architecture == "InternLM2Model"
        assert backbone.trust_remote_code
        assert "0.10.2" in backbone.notes[0]

    def test_a_model_that_the_oldest_vllm_lacks_is_noted(self) -> None:
        (note,) = backbone_of(config("olmo3", "Olmo3ForSequenceClassification")).notes

        assert note == "vLLM 0.10.2 does not know this model; vLLM 0.20.2 does."
        assert backbone_of(config("llama", "LlamaForSequenceClassification")).notes == ()

    @pytest.mark.parametrize(
        ("source", "reason"),
        [
            (config("deberta-v2", "DebertaV2ForSequenceClassification"), "pair of texts"),
            (config("roberta", "RobertaForSequenceClassification"), "first token"),
            (config("t5", "T5ForConditionalGeneration"), "encoder and a decoder"),
            (config("minicpm", "MiniCPMForCausalLM", dim_model_base=256), "divides its hidden"),
            (config("minicpm3", "MiniCPM3ForCausalLM"), "divides its hidden"),
            (
                config("gpt_neox_reward_model", "GPTNeoXRewardModel", pooling="mean"),
                "reads the 'mean'",
            ),
            (config("gemma3", "Gemma3ForConditionalGeneration", text_config={}), "multimodal"),
            (config("qwen2_vl", "Qwen2VLForReward", vision_config={}), "multimodal"),
            (
                config("mamba", "MambaForCausalLM"),
                "mamba.*unknown.*llama",
            ),
            (config(None, "LlamaForCausalLM"), "model_type"),
            ({}, "model_type"),
        ],
    )
    def test_what_cannot_be_pooled_is_refused(self, source: dict[str, Any], reason: str) -> None:
        with pytest.raises(ExportError, match=reason):
            backbone_of(source)

    def test_the_last_tokens_state_is_not_refused(self) -> None:
        source = config("gpt_neox_reward_model", "GPTNeoXRewardModel", pooling="last")

        assert backbone_of(source).architecture == "GPTNeoXModel"


class TestBackboneConfig:
    def of(self, source: dict[str, Any]) -> dict[str, object]:
        return backbone_config(source, backbone_of(source))

    def test_what_it_says_of_the_head_goes_and_the_rest_stays(self) -> None:
        source = config(
            "llama",
            "LlamaForSequenceClassification",
            id2label={"0": "LABEL_0"},
            label2id={"LABEL_0": 0},
            num_labels=1,
            problem_type="regression",
            sentence_transformers={"activation_fn": "torch.nn.modules.activation.Sigmoid"},
            rope_scaling={"factor": 8.0},
            tie_word_embeddings=False,
            torch_dtype="bfloat16",
            quantization_config={"quant_method": "fp8"},
            pad_token_id=128256,
        )

        assert self.of(source) == {
            "architectures": ["LlamaModel"],
            "model_type": "llama",
            "hidden_size": 8,
            "rope_scaling": {"factor": 8.0},
            "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
            "quantization_config": {"quant_method": "fp8"},
            "pad_token_id": 128256,
        }

    def test_the_source_is_not_changed(self) -> None:
        source = config("qwen2", "Qwen2ForRewardModel", num_labels=1)

        self.of(source)

        assert source == config("qwen2", "Qwen2ForRewardModel", num_labels=1)

    def test_a_reward_models_own_type_becomes_its_backbones(self) -> None:
        written = self.of(
            config("cloud", "FeedbackRewardModel", base_model_name_or_path="meta-llama/Llama-3")
        )

        assert written == {"architectures": ["LlamaModel"], "model_type": "llama", "hidden_size": 8}

    def test_the_bias_of_a_beaver_head_is_not_the_attentions(self) -> None:
        source = config(
            "llama", "LlamaForScore", bias=True, score_type="cost", do_normalize=False, mean=[0.0]
        )

        assert self.of(source) == {
            "architectures": ["LlamaModel"],
            "model_type": "llama",
            "hidden_size": 8,
        }

    def test_the_bias_of_other_models_is_the_backbones(self) -> None:
        source = config("internlm2", "InternLM2ForRewardModel", bias=False, reward_token_id=92527)

        written = self.of(source)

        assert written["bias"] is False
        assert "reward_token_id" not in written

    def test_code_with_the_head_goes(self) -> None:
        auto_map = {
            "AutoConfig": "configuration_rm.RMConfig",
            "AutoModel": "modeling_rm.Qwen2ForRewardModel",
            "AutoModelForSequenceClassification": "modeling_rm.Qwen2ForRewardModel",
            "AutoTokenizer": ["tokenization_rm.Tokenizer", None],
        }

        written = self.of(config("qwen2", "Qwen2ForRewardModel", auto_map=auto_map))

        assert written["auto_map"] == {"AutoTokenizer": ["tokenization_rm.Tokenizer", None]}

    def test_custom_code_of_a_backbone_stays_with_the_bare_class(self) -> None:
        auto_map = {
            "AutoConfig": "configuration_internlm2.InternLM2Config",
            "AutoModel": "internlm/reward--modeling_internlm2.InternLM2ForRewardModel",
        }

        written = self.of(config("internlm2", "InternLM2ForRewardModel", auto_map=auto_map))

        assert written["auto_map"] == {
            "AutoConfig": "configuration_internlm2.InternLM2Config",
            "AutoModel": "internlm/reward--modeling_internlm2.InternLM2Model",
        }

    def test_the_architecture_is_the_backbones(self) -> None:
        source = config("llama", "LlamaForCausalLM")

        written = backbone_config(source, Backbone("LlamaModel", False, False, ()))

        assert written["architectures"] == ["LlamaModel"]

    def test_an_unknown_model_is_refused(self) -> None:
        with pytest.raises(ExportError, match="is unknown"):
            backbone_config(config("grok-1", "Grok1"), Backbone("Grok1Model", False, False, ()))


class TestTables:
    @pytest.mark.parametrize("model_type", sorted(BACKBONES))
    def test_every_row_has_a_source_and_an_inspected_version(self, model_type: str) -> None:
        known = BACKBONES[model_type]

        assert known.source.startswith("vLLM's registry.py: ")
        assert known.since in LOOKED_INTO
        assert known.bare.endswith("Model")
        assert known.bare != known.causal

    @pytest.mark.parametrize(
        "model_type", [name for name, known in sorted(BACKBONES.items()) if known.has_bare]
    )
    def test_bare_names_are_those_of_transformers(self, model_type: str) -> None:
        pytest.importorskip("transformers")
        from transformers.models.auto.modeling_auto import (
            MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
            MODEL_MAPPING_NAMES,
        )

        known = BACKBONES[model_type]
        if known.remote_code is not None or model_type not in MODEL_MAPPING_NAMES:
            pytest.skip("this transformers has none of this type")

        assert known.bare == MODEL_MAPPING_NAMES[model_type]
        assert known.causal == MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[model_type]

    @pytest.mark.parametrize("model_type", sorted(REFUSED))
    def test_every_refusal_says_why(self, model_type: str) -> None:
        with pytest.raises(ExportError, match="Cannot export "):
            backbone_of({"model_type": model_type})

    def test_every_backbone_is_known_to_its_head(self) -> None:
        assert set(BACKBONES) == set(FAMILIES)
