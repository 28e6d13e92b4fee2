"""The SGLang versions that the test server imitates, as data."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reward_client.testing._sglang import openapi
from reward_client.testing._sglang.dialect import Dialect

if TYPE_CHECKING:
    from collections.abc import Mapping

_ROUTES: Mapping[str, tuple[str, ...]] = {
    "generate_request": ("/generate",),
    "encode_request": ("/encode",),
    "classify_request": ("/classify",),
    "openai_v1_completions": ("/v1/completions",),
    "openai_v1_embeddings": ("/v1/embeddings",),
    "openai_v1_classify": ("/v1/classify",),
    "openai_v1_tokenize": ("/tokenize", "/v1/tokenize"),
    "openai_v1_detokenize": ("/detokenize", "/v1/detokenize"),
    "v1_score_request": ("/v1/score",),
    "v1_rerank_request": ("/v1/rerank",),
}


def _places(**lines: int) -> dict[str, str]:
    """Return the place in SGLang's code for each route, given the line of its function."""
    file = "site-packages/sglang/srt/entrypoints/http_server.py"
    return {
        path: f'  File "{file}", line {line}, in {function}'
        for function, line in lines.items()
        for path in _ROUTES[function]
    }


_V0_4_9 = Dialect(
    version="0.4.9.post6",
    places=_places(
        generate_request=328,
        encode_request=389,
        classify_request=401,
        openai_v1_completions=750,
        openai_v1_embeddings=768,
        v1_score_request=821,
        v1_rerank_request=829,
    ),
    openapi=openapi.V0_4_9,
    model_info=("/get_model_info",),
    server_info=("/get_server_info",),
    tells_more=False,
    tokenize="absent",
    roles=(),
    classifies=False,
    encodes_base64=False,
    parser_words={},
    requires_model=True,
    reduces=False,
    no_input="At least one of text, input_ids, or image should be provided",
    refuses_equal_rids=False,
    returns_hidden_states=False,
    empty_list_ends=False,
    embedding_scores=False,
    writes_lists=False,
    scoring_keys={},
    no_labels="label_token_ids must be provided",
    counts_scoring=False,
    no_prompt=None,
    generates_nothing=False,
    reports_last=True,
    no_reranking=(
        "Internal server error: 1 validation error for RerankResponse\nscore\n  Input should be a "
        "valid number [type=float_type, input_value={values}, input_type=list]\n    For further "
        "information visit https://errors.pydantic.dev/2.14/v/float_type"
    ),
    limits_total=False,
    checks_label_ids=False,
    meta_keys={},
    reports_sent=False,
    reports_output_ids=False,
    usage_keys={},
)
_V0_5_22 = Dialect(
    version="0.5.22",
    places=_places(
        generate_request=912,
        encode_request=977,
        classify_request=990,
        openai_v1_completions=1793,
        openai_v1_embeddings=1815,
        openai_v1_classify=1827,
        openai_v1_tokenize=1839,
        openai_v1_detokenize=1857,
        v1_score_request=1983,
        v1_rerank_request=2034,
    ),
    openapi=openapi.V0_5_22,
    model_info=("/get_model_info", "/model_info"),
    server_info=("/get_server_info", "/server_info"),
    tells_more=True,
    tokenize="rewrites",
    roles=("system", "assistant", "tool", "function", "developer", "latest_reminder"),
    classifies=True,
    encodes_base64=True,
    parser_words={
        "Expecting property name enclosed in double quotes": (
            "unexpected character, expected a string key"
        ),
    },
    requires_model=False,
    reduces=True,
    no_input="At least one of text, input_ids, image, video, or audio should be provided",
    refuses_equal_rids=True,
    returns_hidden_states=True,
    empty_list_ends=True,
    embedding_scores=True,
    writes_lists=True,
    scoring_keys={"pooled_hidden_states": None, "token_logprobs": None},
    no_labels="label_token_ids is required for generation (CausalLM) models.",
    counts_scoring=True,
    no_prompt="Prompt cannot be empty",
    generates_nothing=True,
    reports_last=False,
    no_reranking=None,
    limits_total=True,
    checks_label_ids=True,
    meta_keys={"weight_version": "default", "num_retractions": 0},
    reports_sent=True,
    reports_output_ids=True,
    usage_keys={"reasoning_tokens": 0},
)
_V0_5_23 = replace(
    _V0_5_22,
    version="0.5.23",
    places=_places(
        generate_request=928,
        encode_request=993,
        classify_request=1006,
        openai_v1_completions=1860,
        openai_v1_embeddings=1882,
        openai_v1_classify=1894,
        openai_v1_tokenize=1906,
        openai_v1_detokenize=1924,
        v1_score_request=2050,
        v1_rerank_request=2101,
    ),
    openapi=openapi.V0_5_23,
    tokenize="heeds",
    roles=(*_V0_5_22.roles, "root"),
    usage_keys={"reasoning_tokens": 0, "completion_tokens_details": None},
)

DIALECTS: Mapping[str, Dialect] = {
    "0.4.9": _V0_4_9,
    "0.5.22": _V0_5_22,
    "0.5.23": _V0_5_23,
}
