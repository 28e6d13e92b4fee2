"""What differs between the vLLM versions that the server stands for, as data.

All of it was seen in recorded exchanges with real servers of these versions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from reward_client.testing import forms

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DIALECTS", "Dialect", "Head"]

Head = Literal["sequence", "token"]
Activation = Literal["none", "sigmoid", "softmax"]
Forms = tuple[type[forms.PooledForm], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One vLLM version as its clients see it.

    Attributes:
        version: What `/version` says.
        nested_errors: Errors are `{"error": {...}}`, and validation errors are a list of lines
            with dotted locations; else they are flat, and the list is Python's.
        media_type_status: The status of a body that is not `application/json`.
        names_aliases: An unknown model's error on the tokenizer routes says which there are.
        tokenize_keys: Keys of a `/tokenize` reply besides the first three.
        usage_keys: Keys of `usage` besides the first three; all null.
        identifier: How long the hexadecimal part of an identifier is.
        reads_request_id: `request_id` in the body becomes part of the identifier.
        pooling_identifier: What the identifiers of pooled replies start with.
        last_form_wins: Which of `input` and `messages` counts when both are sent.
        opens_turns: `add_generation_prompt` is honoured on pooled routes.
        takes_template: A chat template in the request is used; else it is refused.
        continue_conflict: What is said to `continue_final_message` on an opened turn.
        no_messages: What is said to an empty conversation.
        no_prompt: What is said to an empty input.
        empty_batch_is_no_prompt: `[[]]` counts as an empty input.
        too_long: With `{limit}` and `{tokens}`.
        counts_overlong: The message has the true length; else the limit plus one.
        too_long_parameter: The `param` of that error.
        checks_sign: A negative ID is refused; else it is an internal server error.
        vocabulary_slack: How many IDs past the vocabulary are let through.
        truncation_keeps: The end of a prompt that truncation keeps.
        refused_keys: Keys of a pooled body that are refused, and with what.
        tasks: The tasks of each head, the first by default; none if tasks are unknown.
        removed_tasks: Tasks of the past, and what is said to them.
        activation: What is applied to the values of each head unless the request says otherwise.
        pooled_routes: The pooled routes of each head.
        openapi: The paths that `/openapi.json` lists for each head.
        unserved: Routes that answer 200 with an error in the body.
    """

    version: str
    nested_errors: bool
    media_type_status: int
    names_aliases: bool
    tokenize_keys: tuple[str, ...]
    usage_keys: tuple[str, ...]
    identifier: int
    reads_request_id: bool
    pooling_identifier: str
    last_form_wins: bool
    opens_turns: bool
    takes_template: bool
    continue_conflict: str
    no_messages: str
    no_prompt: str
    empty_batch_is_no_prompt: bool
    too_long: str
    counts_overlong: bool
    too_long_parameter: str | None
    checks_sign: bool
    vocabulary_slack: int
    truncation_keeps: Literal["first", "last"]
    refused_keys: Mapping[str, str]
    tasks: Mapping[Head, tuple[str, ...]]
    removed_tasks: Mapping[str, str]
    activation: Mapping[Head, Activation]
    pooled_routes: Mapping[Head, Mapping[str, Forms]]
    openapi: Mapping[Head, Mapping[str, tuple[str, ...]]]
    unserved: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def detokenize(self) -> tuple[type[forms.Detokenize | forms.DetokenizeChecked]]:
        """The forms of `/detokenize`."""
        return (forms.DetokenizeChecked,) if self.checks_sign else (forms.Detokenize,)


_COMMON_PATHS: dict[str, tuple[str, ...]] = {
    "/detokenize": ("post",),
    "/health": ("get",),
    "/invocations": ("post",),
    "/load": ("get",),
    "/metrics": ("get",),
    "/ping": ("get", "post"),
    "/pooling": ("post",),
    "/tokenize": ("post",),
    "/v1/models": ("get",),
    "/version": ("get",),
}
_SCORE_PATHS = dict.fromkeys(
    ("/rerank", "/score", "/v1/rerank", "/v1/score", "/v2/rerank"), ("post",)
)
_PATHS_0_8 = (
    _COMMON_PATHS
    | _SCORE_PATHS
    | dict.fromkeys(
        ("/v1/audio/transcriptions", "/v1/chat/completions", "/v1/completions", "/v1/embeddings"),
        ("post",),
    )
)
_PATHS_0_32 = _COMMON_PATHS | {"/kv_event_sources": ("get",), "/v1/systemone": ("post",)}

_EMBEDDING_FORMS: Forms = (forms.EmbeddingInput, forms.EmbeddingChat)
_ROUTES_0_8: dict[str, Forms] = {"/pooling": _EMBEDDING_FORMS, "/v1/embeddings": _EMBEDDING_FORMS}
_POOLING_0_32: dict[str, Forms] = {
    "/pooling": (forms.PoolingInput, forms.PoolingChat, forms.PoolingData)
}

_V0_8 = Dialect(
    version="0.8.5",
    nested_errors=False,
    media_type_status=415,
    names_aliases=False,
    tokenize_keys=(),
    usage_keys=("prompt_tokens_details",),
    identifier=32,
    reads_request_id=False,
    pooling_identifier="pool",
    last_form_wins=False,
    opens_turns=False,
    takes_template=True,
    continue_conflict="",
    no_messages="",
    no_prompt="please provide at least one prompt",
    empty_batch_is_no_prompt=True,
    too_long=(
        "This model's maximum context length is {limit} tokens. However, you requested {tokens} "
        "tokens in the input for embedding generation. Please reduce the length of the input."
    ),
    counts_overlong=True,
    too_long_parameter=None,
    checks_sign=False,
    vocabulary_slack=1,
    truncation_keeps="last",
    refused_keys={"dimensions": "dimensions is currently not supported"},
    tasks={"sequence": (), "token": ()},
    removed_tasks={},
    activation={"sequence": "softmax", "token": "none"},
    pooled_routes={"sequence": _ROUTES_0_8, "token": _ROUTES_0_8},
    openapi={"sequence": _PATHS_0_8, "token": _PATHS_0_8},
    unserved={
        "/v1/completions": "The model does not support Completions API",
        "/v1/chat/completions": "The model does not support Chat Completions API",
        "/score": "The model does not support Score API",
        "/v1/score": "The model does not support Score API",
        "/rerank": "The model does not support Rerank (Score) API",
        "/v1/rerank": "The model does not support Rerank (Score) API",
        "/v2/rerank": "The model does not support Rerank (Score) API",
    },
)

_V0_32 = Dialect(
    version="0.32.0",
    nested_errors=True,
    media_type_status=400,
    names_aliases=True,
    tokenize_keys=("token_strs",),
    usage_keys=("prompt_tokens_details", "completion_tokens_details"),
    identifier=16,
    reads_request_id=True,
    pooling_identifier="pooling",
    last_form_wins=True,
    opens_turns=True,
    takes_template=False,
    continue_conflict=(
        "continue_final_message and add_generation_prompt are not compatible. Use "
        "continue_final_message when you want the model to continue the final message, and "
        "add_generation_prompt when you want to add a header that will prompt it to start a new "
        "assistant message instead."
    ),
    no_messages=(
        "Cannot apply chat template to an empty conversation. Provide at least one message."
    ),
    no_prompt="You must pass at least one prompt",
    empty_batch_is_no_prompt=False,
    too_long=(
        "This model's maximum context length is {limit} tokens. However, your prompt contains at "
        "least {tokens} input tokens, which exceeds this limit even without any output tokens. "
        "Please reduce the length of the input prompt. (parameter=input_tokens, value={tokens})"
    ),
    counts_overlong=False,
    too_long_parameter="input_tokens",
    checks_sign=True,
    vocabulary_slack=0,
    truncation_keeps="first",
    refused_keys={
        "normalize": (
            "Parameter `normalize` was removed; use `use_activation` instead. (parameter=normalize)"
        ),
        "dimensions": "dimensions is currently not supported (parameter=dimensions)",
    },
    tasks={"sequence": ("classify", "token_classify"), "token": ("token_classify",)},
    removed_tasks={
        "encode": "`encode` task was removed; use `token_embed` or `token_classify` instead.",
        "score": "`score` task was removed; use `classify` instead.",
    },
    activation={"sequence": "sigmoid", "token": "none"},
    pooled_routes={
        "sequence": {
            **_POOLING_0_32,
            "/classify": (forms.ClassifyInput, forms.ClassifyChat),
        },
        "token": _POOLING_0_32,
    },
    openapi={
        "sequence": _PATHS_0_32 | _SCORE_PATHS | {"/classify": ("post",)},
        "token": _PATHS_0_32,
    },
)

DIALECTS: Mapping[str, Dialect] = {"0.8": _V0_8, "0.32": _V0_32}
