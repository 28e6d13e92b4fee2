"""Rows of a language model's head: against arithmetic of its own, exact where it can be."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward_client.errors import ExportError
from reward_client.export.lm_head import (
    FAMILIES,
    LogitTransform,
    PlainLayer,
    logit_transform,
    parse_tokens,
    token_layers,
)

NUMBERS = st.integers(-(2**20), 2**20).map(lambda number: number / 2**10)
VOCABULARY = {"Yes": 10, "No": 11, "ĠYes": 12, "▁yes": 13, "-": 14, "+": 15, "Yes-": 16, "!": 0}


def after(scale: float = 1.0, soft_cap: float | None = None) -> LogitTransform:
    return LogitTransform(scale, soft_cap, "lm_head.weight", "model.embed_tokens.weight", False)


def through(layers: list[PlainLayer], state: list[float]) -> list[float]:
    for layer in layers:
        biases = layer.bias or [0.0] * len(layer.weight)
        sums = [
            sum(number * value for number, value in zip(row, state, strict=True)) + bias
            for row, bias in zip(layer.weight, biases, strict=True)
        ]
        state = [math.tanh(number) for number in sums] if layer.activation == "tanh" else sums
    return state


class TestLogitTransform:
    @pytest.mark.parametrize(
        ("config", "scale", "soft_cap"),
        [
            ({"model_type": "llama"}, 1.0, None),
            ({"model_type": "llama", "logit_scale": 1.0, "final_logit_softcapping": None}, 1, None),
            ({"model_type": "cohere"}, 0.0625, None),
            ({"model_type": "cohere2", "logit_scale": 0.25}, 0.25, None),
            ({"model_type": "granite", "logits_scaling": 8.0}, 0.125, None),
            ({"model_type": "granitemoehybrid", "logits_scaling": 4}, 0.25, None),
            ({"model_type": "hyperclovax", "logits_scaling": 0.125}, 0.125, None),
            ({"model_type": "falcon_h1", "lm_head_multiplier": 0.0195}, 0.0195, None),
            ({"model_type": "gemma2"}, 1.0, 30.0),
            ({"model_type": "gemma2", "final_logit_softcapping": 50}, 1.0, 50.0),
            ({"model_type": "gemma2", "final_logit_softcapping": None}, 1.0, None),
            ({"model_type": "gemma3_text"}, 1.0, None),
            ({"model_type": "gemma3_text", "final_logit_softcapping": 30.0}, 1.0, 30.0),
        ],
    )
    def test_scale_and_cap(
        self, config: dict[str, Any], scale: float, soft_cap: float | None
    ) -> None:
        found = logit_transform(config)

        assert (found.scale, found.soft_cap) == (scale, soft_cap)

    @pytest.mark.parametrize(
        ("model_type", "tensor", "tied_tensor"),
        [
            ("qwen3", "lm_head.weight", "model.embed_tokens.weight"),
            ("internlm2", "output.weight", "model.tok_embeddings.weight"),
            ("gpt_neox", "embed_out.weight", "gpt_neox.embed_in.weight"),
            ("gpt2", "lm_head.weight", "transformer.wte.weight"),
            ("falcon", "lm_head.weight", "transformer.word_embeddings.weight"),
            ("opt", "lm_head.weight", "model.decoder.embed_tokens.weight"),
        ],
    )
    def test_tensors(self, model_type: str, tensor: str, tied_tensor: str) -> None:
        found = logit_transform({"model_type": model_type})

        assert (found.tensor, found.tied_tensor) == (tensor, tied_tensor)

    @pytest.mark.parametrize(
        ("config", "is_tied"),
        [
            ({"model_type": "llama"}, False),
            ({"model_type": "llama", "tie_word_embeddings": True}, True),
            ({"model_type": "gemma"}, True),
            ({"model_type": "gemma", "tie_word_embeddings": False}, False),
        ],
    )
    def test_tied_is_what_the_configuration_says_or_the_familys_way(
        self, config: dict[str, Any], is_tied: bool
    ) -> None:
        assert logit_transform(config).is_tied is is_tied

    @pytest.mark.parametrize("model_type", ["grok-1", "minicpm", "bert", None, 7])
    def test_an_unknown_family_is_refused(self, model_type: object) -> None:
        with pytest.raises(ExportError, match=r"is unknown.*--head FILE\.safetensors"):
            logit_transform({"model_type": model_type})

    @pytest.mark.parametrize(
        ("model_type", "key", "value"),
        [
            ("llama", "logit_scale", 0.5),  # vLLM's llama.py reads it, transformers' does not
            ("llama", "logits_scaling", 8.0),
            ("llama", "final_logit_softcapping", 30.0),
            ("llama", "final_logit_softcapping", 1.0),
            ("qwen2", "output_multiplier_scale", 0.577),
            ("mistral", "dim_model_base", 256),
            ("llama", "output_mult", 2.0),
            ("llama", "mup_scale_factor", 52.0),
            ("mixtral", "lm_head_multiplier", 2),
            ("llama", "logits_soft_cap", 30),
            ("granite", "logit_scale", 2.0),
            ("gemma2", "logits_scaling", 2.0),
        ],
    )
    def test_a_key_that_the_family_does_not_read_is_refused(
        self, model_type: str, key: str, value: float
    ) -> None:
        with pytest.raises(ExportError, match=f"{key}={value!r}"):
            logit_transform({"model_type": model_type, key: value})

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("attn_logit_softcapping", 50.0),
            ("num_logits_to_keep", 5),
            ("output_router_logits", True),
            ("router_logit_scale", 3.0),
            ("lm_head_bias", False),
            ("rope_theta", 500000.0),
            ("embedding_multiplier", 12.0),
        ],
    )
    def test_keys_of_other_things_are_not(self, key: str, value: object) -> None:
        found = logit_transform({"model_type": "gemma2", key: value})

        assert (found.scale, found.soft_cap) == (1.0, 30.0)

    @pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf, "30", True])
    @pytest.mark.parametrize(
        ("model_type", "key"),
        [
            ("gemma2", "final_logit_softcapping"),
            ("granite", "logits_scaling"),
            ("cohere", "logit_scale"),
        ],
    )
    def test_a_value_that_is_no_number_above_zero_is_refused(
        self, model_type: str, key: str, value: object
    ) -> None:
        with pytest.raises(ExportError, match=f"{key} must be a number above 0"):
            logit_transform({"model_type": model_type, key: value})

    @pytest.mark.parametrize("key", ["logit_scale", "logits_scaling"])
    def test_a_missing_scale_is_not_guessed(self, key: str) -> None:
        model_type = {"logit_scale": "cohere", "logits_scaling": "granite"}[key]

        with pytest.raises(ExportError, match=f"{key} must be a number above 0, not None"):
            logit_transform({"model_type": model_type, key: None})

    @pytest.mark.parametrize("model_type", sorted(FAMILIES))
    def test_every_family_has_a_source(self, model_type: str) -> None:
        source = FAMILIES[model_type].source

        assert "modeling_" in source
        assert "vllm model_executor/models/" in source

    @pytest.mark.parametrize("model_type", sorted(set(FAMILIES) - {"internlm2"}))
    def test_defaults_are_those_of_transformers(self, model_type: str) -> None:
        transformers = pytest.importorskip("transformers")
        if model_type not in transformers.CONFIG_MAPPING:
            pytest.skip(f"this transformers has no {model_type}")
        config = transformers.CONFIG_MAPPING[model_type]()

        family = FAMILIES[model_type]

        assert family.tied is config.tie_word_embeddings
        if family.key is not None:
            assert family.default == getattr(config, family.key)
        assert logit_transform(config.to_dict()) == logit_transform({"model_type": model_type})


class TestTokenLayers:
    def test_one_token(self) -> None:
        layers = token_layers([[1.5, -2.0]], [1.0], [], after())

        assert layers == [PlainLayer([[1.5, -2.0]], None, "identity")]

    def test_a_difference_with_a_scale_and_biases(self) -> None:
        rows = [[1.0, 2.0], [0.5, -1.0]]

        layers = token_layers(rows, [1.0, -1.0], [3.0, 1.0], after(scale=0.25))

        assert layers == [PlainLayer([[0.125, 0.75]], [0.5], "identity")]

    def test_a_cap_is_a_tanh_between_two_layers(self) -> None:
        rows = [[1.0, 2.0], [0.5, -1.0]]

        layers = token_layers(rows, [1.0, -1.0], [4.0, 8.0], after(soft_cap=4.0))

        assert layers == [
            PlainLayer([[0.25, 0.5], [0.125, -0.25]], [1.0, 2.0], "tanh"),
            PlainLayer([[4.0, -4.0]], None, "identity"),
        ]

    def test_near_rows_keep_the_digits_of_their_difference(self) -> None:
        rows = [[1.0 + 2**-40], [1.0]]

        (layer,) = token_layers(rows, [1.0, -1.0], [], after())

        assert layer.weight == [[2**-40]]

    @given(
        rows=st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=1, max_size=3),
        state=st.lists(NUMBERS, min_size=3, max_size=3),
        scale=st.sampled_from([1.0, 0.0625, 0.125]),
        biases=st.lists(NUMBERS, min_size=3, max_size=3),
        has_bias=st.booleans(),
    )
    def test_without_a_cap_it_is_the_weighted_sum_of_the_logits(
        self,
        rows: list[list[float]],
        state: list[float],
        scale: float,
        biases: list[float],
        has_bias: bool,
    ) -> None:
        weights = [1.0, -1.0, 0.5][: len(rows)]
        biases = biases[: len(rows)] if has_bias else []
        exact = Fraction(0)
        for index, (row, weight) in enumerate(zip(rows, weights, strict=True)):
            logit = sum(
                (Fraction(a) * Fraction(b) for a, b in zip(row, state, strict=True)), Fraction(0)
            ) + Fraction(biases[index] if biases else 0)
            exact += Fraction(weight) * Fraction(scale) * logit

        (reward,) = through(token_layers(rows, weights, biases, after(scale)), state)

        # Products of 21-bit numbers, of powers of two and halves: doubles hold their sums.
        assert reward == float(exact)

    @given(
        rows=st.lists(st.lists(st.floats(-3, 3), min_size=2, max_size=2), min_size=2, max_size=2),
        state=st.lists(st.floats(-30, 30), min_size=2, max_size=2),
        biases=st.lists(st.floats(-3, 3), min_size=2, max_size=2),
    )
    def test_with_a_cap_each_logit_is_capped_alone(
        self, rows: list[list[float]], state: list[float], biases: list[float]
    ) -> None:
        cap, scale = 30.0, 0.5
        capped = [
            cap
            * math.tanh(scale * (sum(a * b for a, b in zip(row, state, strict=True)) + bias) / cap)
            for row, bias in zip(rows, biases, strict=True)
        ]

        (reward,) = through(token_layers(rows, [1.0, -1.0], biases, after(scale, cap)), state)

        assert reward == pytest.approx(capped[0] - capped[1], abs=1e-12)


class TestTokensOf:
    @pytest.mark.parametrize(
        ("choice", "tokens"),
        [
            ("Yes", [(10, 1.0)]),
            ("ĠYes", [(12, 1.0)]),
            ("Yes-No", [(10, 1.0), (11, -1.0)]),
            ("No-Yes", [(11, 1.0), (10, -1.0)]),
            ("-", [(14, 1.0)]),
            ("+--", [(15, 1.0), (14, -1.0)]),
            ("--+", [(14, 1.0), (15, -1.0)]),
            ("id=0", [(0, 1.0)]),
            ("id=9642-id=2822", [(9642, 1.0), (2822, -1.0)]),
            ("Yes-id=0", [(10, 1.0), (0, -1.0)]),
        ],
    )
    def test_reads(self, choice: str, tokens: list[tuple[int, float]]) -> None:
        assert parse_tokens(choice, VOCABULARY) == tokens

    def test_ids_need_no_vocabulary(self) -> None:
        class Unreadable(Mapping[str, int]):
            def __getitem__(self, token: str) -> int:
                raise AssertionError(token)

            def __iter__(self) -> Iterator[str]:
                raise AssertionError

            def __len__(self) -> int:
                raise AssertionError

        assert parse_tokens("id=3-id=4", Unreadable()) == [(3, 1.0), (4, -1.0)]

    def test_a_token_that_is_also_a_difference_is_refused(self) -> None:
        with pytest.raises(ExportError, match=r"id=20 or lm-head:id=10-id=11\. Write the IDs"):
            parse_tokens("Yes-No", {**VOCABULARY, "Yes-No": 20})

    def test_two_differences_are_refused(self) -> None:
        with pytest.raises(ExportError, match="lm-head:id=10-id=21 or lm-head:id=16-id=15"):
            parse_tokens("Yes--+", {**VOCABULARY, "-+": 21})

    @pytest.mark.parametrize(
        ("choice", "near"),
        [("yes", "Yes, ĠYes, ▁yes"), (" Yes", "Yes, ĠYes, ▁yes"), ("yes-NO", "No, Yes, ĠYes")],
    )
    def test_an_unknown_spelling_is_refused_with_those_that_are_near(
        self, choice: str, near: str
    ) -> None:
        with pytest.raises(ExportError, match=near):
            parse_tokens(choice, VOCABULARY)

    @pytest.mark.parametrize("choice", ["", "maybe", "id=", "id=-1", "id=1-id=2-id=3", "-Yes"])
    def test_what_is_no_token_is_refused(self, choice: str) -> None:
        with pytest.raises(ExportError, match="neither a token of the vocabulary"):
            parse_tokens(choice, VOCABULARY)

    @pytest.mark.parametrize("choice", ["-Yes", "Yes--"])
    def test_an_empty_token_is_no_side_of_a_difference(self, choice: str) -> None:
        with pytest.raises(ExportError, match="neither a token of the vocabulary"):
            parse_tokens(choice, {"Yes": 10, "": 17})

    @pytest.mark.parametrize("choice", ["Yes-Yes", "id=5-id=5", "Yes-id=10"])
    def test_a_token_minus_itself_is_refused(self, choice: str) -> None:
        with pytest.raises(ExportError, match="always 0"):
            parse_tokens(choice, VOCABULARY)
