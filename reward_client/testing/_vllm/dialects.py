"""The vLLM versions that the server imitates, each by its changes against the version before.

Source: real servers of these versions, with small models of every kind. The values in their
responses showed the keys that they read and the tasks that they perform. Some facts come from the
neighbouring versions: `/pooling` of an exported head in 0.12 and 0.20, and an exported head with
steps in all versions but 0.32. The error of a dead engine comes from one route for all routes,
except for `/v1/embeddings` of 0.10.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reward_client.testing._model.heads import HEADS, Head, by_model_kind
from reward_client.testing._vllm import pooling_forms as forms
from reward_client.testing._vllm.dialect import Dialect, EngineError
from reward_client.testing._vllm.generation import GENERATION_DIALECTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


_TOKENIZER = ("/tokenize", "/detokenize")
_POOLED = ("/pooling", "/classify", "/v1/embeddings")
_COMPLETIONS = "/v1/completions"
_SCORING = "/generative_scoring"
_GET = ("/health", "/load", "/metrics", "/v1/models", "/version")
_POST = ("/detokenize", "/invocations", "/pooling", "/tokenize")
_SCORES = ("/rerank", "/score", "/v1/rerank", "/v1/score", "/v2/rerank")
# Up to 0.12 these routes exist for every model; the pooling routes have a handler for some heads.
_GENERATING = {
    "/v1/completions": "The model does not support Completions API",
    "/v1/chat/completions": "The model does not support Chat Completions API",
}
_UNSERVED_POOLED = {
    "/pooling": "The model does not support Pooling API",
    "/classify": "The model does not support Classification API",
    "/v1/embeddings": "The model does not support Embeddings API",
}
# This server serves them for no head, as they take no token IDs; vLLM does for some, since 0.10.
_UNSERVED_SCORES = {
    path: f"The model does not support {'Rerank (Score)' if 'rerank' in path else 'Score'} API"
    for path in _SCORES
}


def _paths(get: Iterable[str] = (), post: Iterable[str] = ()) -> dict[str, tuple[str, ...]]:
    listed = dict.fromkeys((*_GET, *get), ("get",)) | dict.fromkeys((*_POST, *post), ("post",))
    return dict(sorted({**listed, "/ping": ("get", "post")}.items()))


def _paths_of_heads(
    get: Iterable[str] = (),
    post: Iterable[str] = (),
    embedding: Iterable[str] = (),
    *,
    switches_tasks: bool = False,
    token_embedding: Iterable[str] = (),
) -> dict[Head, dict[str, tuple[str, ...]]]:
    """Return the paths since 0.16: each head has its own."""
    classify = ("/classify",)
    embeddings = ("/v1/embeddings", *_SCORES, *embedding)
    of_head: dict[Head, Iterable[str]] = {
        **by_model_kind(sequences=classify, tokens=(), embeddings=embeddings),
        "sequence": (*classify, *_SCORES),
    }
    if not switches_tasks:
        of_head["export-steps"] = token_embedding
    return {head: _paths(get, (*post, *of_head[head])) for head in HEADS}


def _traces(file: str, **lines: int) -> dict[str, str]:
    """Return the place in vLLM's code for each route, given the line of its function."""
    routes = {
        "tokenize": "/tokenize",
        "detokenize": "/detokenize",
        "create_pooling": "/pooling",
        "create_classify": "/classify",
        "create_embedding": "/v1/embeddings",
        "create_completion": _COMPLETIONS,
    }
    return {
        routes[function]: f'  File "site-packages/vllm/{file}", line {line}, in {function}'
        for function, line in lines.items()
    }


_PATHS_0_8 = _paths(
    post=("/v1/audio/transcriptions", *_GENERATING, "/v1/embeddings", *_SCORES),
)
_PATHS_0_10 = _PATHS_0_8 | _paths(
    post=(
        "/classify",
        "/is_scaling_elastic_ep",
        "/scale_elastic_ep",
        "/v1/audio/translations",
        "/v1/responses",
        "/v1/responses/{response_id}/cancel",
    ),
    get=("/v1/responses/{response_id}",),
)
_PATHS_0_12 = _PATHS_0_10 | _paths(
    post=("/inference/v1/generate", "/pause", "/resume", "/v1/messages"), get=("/is_paused",)
)

_CONTINUE_CONFLICT = (
    "continue_final_message and add_generation_prompt are not compatible. Use "
    "continue_final_message when you want the model to continue the final message, and "
    "add_generation_prompt when you want to add a header that will prompt it to start a new "
    "assistant message instead."
)
_NO_MATRYOSHKA = (
    'Model "{model}" does not support matryoshka representation, changing output dimensions will '
    "lead to poor results."
)
_DEAD = EngineError(status=500, code=500, error_type="Internal Server Error")

_V0_8 = Dialect(
    version="0.8.5",
    nested_errors=False,
    validation="list",
    traces={},
    names_field=False,
    names_parameters=False,
    names_model=frozenset(),
    names_aliases=frozenset(),
    media_type_status=415,
    engine_errors={},
    refuses_negative=False,
    detokenizes="breaks",
    tokenize_keys=(),
    usage_keys=("prompt_tokens_details",),
    identifier_length=32,
    identifiers={"/pooling": "pool", "/classify": "classify", "/v1/embeddings": "embd"},
    reads_request_id=False,
    last_form_wins=False,
    adds_generation_prompt=frozenset(),
    takes_template=True,
    doubles_template_errors=False,
    continue_conflict="",
    no_messages="",
    no_prompt=dict.fromkeys((*_POOLED, _COMPLETIONS), "please provide at least one prompt"),
    no_text=None,
    names_prompt=frozenset(),
    empty_batch_is_no_prompt=True,
    drops_truncated=False,
    too_long=(
        "This model's maximum context length is {limit} tokens. However, you requested {tokens} "
        "tokens in the input for embedding generation. Please reduce the length of the input."
    ),
    counts_overlong=True,
    too_long_parameter=None,
    vocabulary_slack=1,
    truncation_keeps="last",
    removed_keys={},
    removed_tasks={},
    no_dimensions={
        "/pooling": "dimensions is currently not supported",
        "/v1/embeddings": _NO_MATRYOSHKA,
    },
    # The bodies have no key for a task yet.
    tasks=by_model_kind(sequences=("classify",), tokens=("encode",), embeddings=("embed",)),
    default_tasks=by_model_kind(sequences="classify", tokens="encode", embeddings="embed"),
    no_task="",
    unsupported_task="",
    switches_tasks=False,
    parameters={},
    # A softmax over one label makes every reward 1.0.
    activation=by_model_kind(sequences="softmax", tokens="softmax", embeddings="normalize"),
    raw_heads=frozenset({"token"}),
    forms={"/pooling": forms.EMBEDDINGS_0_8, "/v1/embeddings": forms.EMBEDDINGS_0_8},
    token_embeddings=(),
    pooling_routes=dict.fromkeys(HEADS, ("/pooling", "/v1/embeddings")),
    unserved=_GENERATING
    | {path: _UNSERVED_POOLED[path] for path in ("/pooling", "/v1/embeddings")}
    | _UNSERVED_SCORES,
    openapi=dict.fromkeys(HEADS, _PATHS_0_8),
    generation=GENERATION_DIALECTS["0.8"],
)

_V0_10 = replace(
    _V0_8,
    version="0.10.2",
    nested_errors=True,
    media_type_status=400,
    engine_errors={
        **dict.fromkeys(_POOLED, _DEAD),
        "/v1/embeddings": EngineError(status=400, code=400, error_type="BadRequestError"),
        _COMPLETIONS: replace(_DEAD, message=""),
    },
    detokenizes="overflows",
    tokenize_keys=("token_strs",),
    adds_generation_prompt=frozenset({"/v1/embeddings"}),
    doubles_template_errors=True,
    continue_conflict=_CONTINUE_CONFLICT,
    no_messages="list index out of range",
    no_prompt={**_V0_8.no_prompt, "/classify": None},
    no_text="Input cannot be empty for classification",
    drops_truncated=True,
    too_long=(
        "This maximum context length is {limit} tokens. However, your request has {tokens} input "
        "tokens. Please reduce the length of the input messages."
    ),
    parameters={"encode": ("softmax", "step_tag_id", "returned_token_ids")},
    activation={**_V0_8.activation, "sequence": "sigmoid", "token": "sigmoid"},
    raw_heads=frozenset({"token", "export"}),
    forms={
        "/pooling": forms.POOLING_0_10,
        "/classify": forms.CLASSIFY_0_10,
        "/v1/embeddings": forms.EMBEDDINGS_0_10,
    },
    pooling_routes=by_model_kind(
        sequences=("/classify",), tokens=("/pooling",), embeddings=("/v1/embeddings",)
    ),
    unserved=_GENERATING | _UNSERVED_POOLED | _UNSERVED_SCORES,
    openapi=dict.fromkeys(HEADS, _PATHS_0_10),
    generation=GENERATION_DIALECTS["0.10"],
)

_V0_12 = replace(
    _V0_10,
    version="0.12.0",
    engine_errors=dict.fromkeys((*_POOLED, _COMPLETIONS), _DEAD),
    identifier_length=16,
    last_form_wins=True,
    takes_template=False,
    no_text="Input or messages must be provided",
    too_long=(
        "This model's maximum context length is {limit} tokens. However, your request has {tokens} "
        "input tokens. Please reduce the length of the input messages."
    ),
    tasks={
        **by_model_kind(sequences=("classify",), tokens=("token_classify",), embeddings=("embed",)),
        "sequence": ("classify", "score"),
    },
    default_tasks=by_model_kind(sequences=None, tokens="token_classify", embeddings=None),
    no_task="pooling_task must be one of {tasks}.",
    unsupported_task="Task {task} is not supported, it must be one of {tasks}.",
    switches_tasks=True,
    parameters={
        **dict.fromkeys(("classify", "score", "token_classify"), ("use_activation",)),
        "embed": ("dimensions", "normalize"),
    },
    # 0.11.1 to 0.15 ignore the "no activation" of Qwen2ForRewardModel.
    raw_heads=frozenset({"export"}),
    forms={
        "/pooling": forms.POOLING_0_12,
        "/classify": forms.CLASSIFY_0_12,
        "/v1/embeddings": forms.EMBEDDINGS_0_12,
    },
    pooling_routes=by_model_kind(
        sequences=("/pooling", "/classify"),
        tokens=("/pooling",),
        embeddings=("/pooling", "/v1/embeddings"),
    ),
    unserved={
        **_V0_10.unserved,
        "/inference/v1/generate": "The model does not support generate tokens API",
    },
    openapi=dict.fromkeys(HEADS, _PATHS_0_12),
    generation=GENERATION_DIALECTS["0.12"],
)

_V0_16 = replace(
    _V0_12,
    version="0.16.0",
    validation="trace",
    traces=_traces(
        "entrypoints/utils.py",
        tokenize=38,
        detokenize=67,
        create_pooling=27,
        create_classify=24,
        create_embedding=43,
    ),
    names_model=frozenset({*_TOKENIZER, *_POOLED, _COMPLETIONS}),
    engine_errors=dict.fromkeys(
        (*_POOLED, _COMPLETIONS),
        EngineError(status=200, code=500, error_type="InternalServerError"),
    ),
    adds_generation_prompt=frozenset(_POOLED),
    no_prompt=dict.fromkeys((*_POOLED, _COMPLETIONS), "You must pass at least one prompt"),
    no_text=None,
    empty_batch_is_no_prompt=False,
    drops_truncated=False,
    too_long=(
        "You passed {tokens} input tokens and requested 0 output tokens. However, the model's "
        "context length is only {limit} tokens, resulting in a maximum input length of {limit} "
        "tokens. Please reduce the length of the input prompt. (parameter=input_tokens, "
        "value={tokens})"
    ),
    counts_overlong=False,
    truncation_keeps="first",
    tasks={
        **by_model_kind(
            sequences=("classify", "token_classify"),
            tokens=("token_classify",),
            embeddings=("embed", "token_embed"),
        ),
        "sequence": ("classify", "score", "token_classify"),
    },
    # One value or row per token, for every head.
    default_tasks=by_model_kind(
        sequences="token_classify", tokens="token_classify", embeddings="token_embed"
    ),
    no_task="",
    unsupported_task="Unsupported task: {task!r} Supported tasks: {tasks}",
    parameters={},
    raw_heads=frozenset({"token", "export", "export-steps"}),
    forms={
        "/pooling": forms.POOLING_0_16,
        "/classify": forms.CLASSIFY_0_16,
        "/v1/embeddings": forms.EMBEDDINGS_0_16,
    },
    unserved={},
    openapi=_paths_of_heads(
        post=("/inference/v1/generate", "/is_scaling_elastic_ep", "/scale_elastic_ep"),
        switches_tasks=True,
    ),
    generation=GENERATION_DIALECTS["0.16"],
)

_V0_20 = replace(
    _V0_16,
    version="0.20.2",
    traces=_traces(
        "entrypoints/utils.py",
        tokenize=38,
        detokenize=64,
        create_pooling=21,
        create_classify=23,
        create_embedding=22,
        create_completion=34,
    ),
    names_model=frozenset({*_TOKENIZER, _COMPLETIONS, _SCORING}),
    engine_errors=dict.fromkeys(
        (*_POOLED, _SCORING), EngineError(status=500, code=500, error_type="InternalServerError")
    ),
    detokenizes="checks",
    identifiers={**_V0_16.identifiers, "/pooling": "pooling"},
    doubles_template_errors=False,
    too_long=(
        "This model's maximum context length is {limit} tokens. However, you requested 0 output "
        "tokens and your prompt contains at least {tokens} input tokens, for a total of at least "
        "{tokens} tokens. Please reduce the length of the input prompt or the number of requested "
        "output tokens. (parameter=input_tokens, value={tokens})"
    ),
    too_long_parameter="input_tokens",
    tasks={**_V0_16.tasks, "sequence": ("classify", "token_classify")},
    default_tasks={
        **by_model_kind(sequences="classify", tokens="token_classify", embeddings="embed"),
        "export-steps": "token_embed",
    },
    forms={
        "/pooling": forms.POOLING_0_20,
        "/classify": forms.CLASSIFY_0_20,
        "/v1/embeddings": forms.EMBEDDINGS_0_20,
    },
    openapi=_paths_of_heads(embedding=("/v2/embed",), switches_tasks=True),
    generation=GENERATION_DIALECTS["0.20"],
)

_V0_25 = replace(
    _V0_20,
    version="0.25.1",
    traces=_traces(
        "entrypoints/serve/utils/api_utils.py",
        tokenize=36,
        detokenize=62,
        create_pooling=24,
        create_classify=23,
        create_embedding=25,
    ),
    names_field=True,
    no_messages=(
        "Cannot apply chat template to an empty conversation. Provide at least one message."
    ),
    switches_tasks=False,
    forms={**_V0_20.forms, "/v1/embeddings": forms.EMBEDDINGS_0_25},
    pooling_routes={**_V0_20.pooling_routes, "export-steps": ("/pooling",)},
    openapi=_paths_of_heads(embedding=("/v2/embed",)),
    generation=GENERATION_DIALECTS["0.25"],
)

_V0_32 = replace(
    _V0_25,
    version="0.32.0",
    validation="lines",
    traces={},
    names_parameters=True,
    names_aliases=frozenset({*_TOKENIZER, _COMPLETIONS, _SCORING}),
    engine_errors={},
    refuses_negative=True,
    usage_keys=("prompt_tokens_details", "completion_tokens_details"),
    reads_request_id=True,
    too_long=(
        "This model's maximum context length is {limit} tokens. However, your prompt contains at "
        "least {tokens} input tokens, which exceeds this limit even without any output tokens. "
        "Please reduce the length of the input prompt. (parameter=input_tokens, value={tokens})"
    ),
    vocabulary_slack=0,
    removed_keys={"normalize": "Parameter `normalize` was removed; use `use_activation` instead."},
    removed_tasks={
        "encode": "`encode` task was removed; use `token_embed` or `token_classify` instead.",
        "score": "`score` task was removed; use `classify` instead.",
    },
    no_dimensions={
        **_V0_25.no_dimensions,
        "/v1/embeddings": (
            "Model {model!r} does not support Matryoshka embeddings; dimensions must be unset "
            "(received dimensions={dimensions})."
        ),
    },
    openapi=_paths_of_heads(
        get=("/kv_event_sources",), post=("/v1/systemone",), embedding=("/v2/embed",)
    ),
    generation=GENERATION_DIALECTS["0.32"],
)

_V0_33 = replace(
    _V0_32,
    version="0.33.0",
    names_prompt=frozenset({_COMPLETIONS}),
    openapi=_paths_of_heads(
        get=("/kv_event_sources",),
        post=("/v1/decisions", "/v1/systemone"),
        embedding=("/v2/embed",),
        token_embedding=("/v1/embeddings",),
    ),
    token_embeddings=forms.TOKEN_EMBEDDINGS_0_33,
    pooling_routes={**_V0_32.pooling_routes, "export-steps": ("/pooling", "/v1/embeddings")},
    generation=GENERATION_DIALECTS["0.33"],
)

DIALECTS: Mapping[str, Dialect] = {
    "0.8": _V0_8,
    "0.10": _V0_10,
    "0.12": _V0_12,
    "0.16": _V0_16,
    "0.20": _V0_20,
    "0.25": _V0_25,
    "0.32": _V0_32,
    "0.33": _V0_33,
}
