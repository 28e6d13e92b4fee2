"""The properties by which vLLM versions differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from reward_client.testing._model.heads import Head
from reward_client.testing._vllm.generation import GenerationDialect
from reward_client.testing._vllm.pooling_forms import PoolingForms

Activation = Literal["sigmoid", "softmax", "normalize"]
ENGINE_DEAD = "EngineCore encountered an issue. See stack trace (above) for the root cause."


@dataclass(frozen=True, slots=True)
class EngineError:
    """The error by which a version reports a dead engine.

    Attributes:
        status: The HTTP status.
        code: The `code` in the body.
        error_type: The `type` in the body.
    """

    status: int
    code: int
    error_type: str
    message: str = ENGINE_DEAD


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The HTTP API of one vLLM version, as clients see it.

    Attributes:
        version: The version that `/version` reports.
        nested_errors: Errors are `{"error": {...}}`; False makes them flat.
        validation: The error about an invalid body: "list" is pydantic's list in Python's notation.
            "trace" has one error a line, a place in vLLM's code, then that list. "lines" has one
            error a line, with dotted locations and only the size of the input.
        traces: The place in vLLM's code for each route where it is known.
        names_field: The `param` of that error is the location of the first error.
        names_parameters: The error about a parameter names it in the message and in `param`.
        names_model: The routes whose error about an unknown model has `param`.
        names_aliases: The routes whose error about an unknown model lists the served models.
        media_type_status: The status for a body that is not `application/json`.
        engine_errors: The error that a negative ID causes, for each route. It kills the engine of a
            real server; this server survives. Empty for a version that checks the sign.
        refuses_negative: The version refuses a negative ID; False answers a bare 500, unless
            `engine_errors` applies.
        detokenizes: The effect of a negative ID on `/detokenize`: a bare 500 ("breaks"), an error
            about an overflow, or an error of validation ("checks").
        tokenize_keys: The keys of a `/tokenize` response after the first three.
        usage_keys: The keys of `usage` after the first three; all are null.
        identifier_length: The number of hexadecimal digits in an identifier.
        identifiers: The prefix of each route's identifiers.
        reads_request_id: `request_id` in the body becomes part of the identifier.
        last_form_wins: `messages` counts if a body has `input` too; False counts `input`.
        adds_generation_prompt: The pooling routes that honour `add_generation_prompt`.
        takes_template: The version uses a chat template of the request; False refuses it.
        doubles_template_errors: `/tokenize` repeats the message of a template's error.
        continue_conflict: The error about `continue_final_message` with a generation prompt.
        no_messages: The error about an empty conversation.
        no_prompt: The error about an empty input; None answers it with empty `data`.
        no_text: The error of `/classify` about an empty text; None treats it as a prompt.
        names_prompt: The routes whose error about an empty input names the parameter `prompt`.
        empty_batch_is_no_prompt: `[[]]` counts as an empty input.
        drops_truncated: The response lacks prompts that truncation emptied.
        too_long: The error about a too long prompt, with `{limit}` and `{tokens}`.
        counts_overlong: That error has the true length; False reports the limit plus one.
        too_long_parameter: The `param` of that error.
        vocabulary_slack: The number of accepted IDs past the vocabulary.
        truncation_keeps: The end of a prompt that truncation keeps by default.
        removed_keys: Keys of a pooling body that the version refuses, with the error.
        removed_tasks: Tasks that the version refuses, with the error.
        no_dimensions: The error about `dimensions`, for each route that reads the key.
        tasks: The tasks of each head.
        default_tasks: The task of each head if the request names none; None refuses that.
        no_task: The error about a missing task, with `{tasks}`.
        unsupported_task: The error about a task that the head lacks, with `{task}` and `{tasks}`.
        switches_tasks: A head performs any of its tasks; False allows only its default task.
        parameters: The parameters of each task, where vLLM checks them.
        activation: The activation of each head.
        raw_heads: Heads whose values are raw unless the request switches the activation on.
        forms: The bodies of the pooling routes.
        token_embeddings: The bodies of `/v1/embeddings` for a head that embeds each token, where
            the route answers rows; empty where it is made for vectors.
        pooling_routes: The pooling routes of each head.
        unserved: Routes that exist for every head. Without a handler, a route answers status 200
            with this error in the body.
        openapi: The paths and methods that `/openapi.json` lists for each head.
        generation: The differences between generating servers.
    """

    version: str
    nested_errors: bool
    validation: Literal["list", "trace", "lines"]
    traces: Mapping[str, str]
    names_field: bool
    names_parameters: bool
    names_model: frozenset[str]
    names_aliases: frozenset[str]
    media_type_status: int
    engine_errors: Mapping[str, EngineError]
    refuses_negative: bool
    detokenizes: Literal["breaks", "overflows", "checks"]
    tokenize_keys: tuple[str, ...]
    usage_keys: tuple[str, ...]
    identifier_length: int
    identifiers: Mapping[str, str]
    reads_request_id: bool
    last_form_wins: bool
    adds_generation_prompt: frozenset[str]
    takes_template: bool
    doubles_template_errors: bool
    continue_conflict: str
    no_messages: str
    no_prompt: Mapping[str, str | None]
    no_text: str | None
    names_prompt: frozenset[str]
    empty_batch_is_no_prompt: bool
    drops_truncated: bool
    too_long: str
    counts_overlong: bool
    too_long_parameter: str | None
    vocabulary_slack: int
    truncation_keeps: Literal["first", "last"]
    removed_keys: Mapping[str, str]
    removed_tasks: Mapping[str, str]
    no_dimensions: Mapping[str, str]
    tasks: Mapping[Head, tuple[str, ...]]
    default_tasks: Mapping[Head, str | None]
    no_task: str
    unsupported_task: str
    switches_tasks: bool
    parameters: Mapping[str, tuple[str, ...]]
    activation: Mapping[Head, Activation]
    raw_heads: frozenset[Head]
    forms: Mapping[str, PoolingForms]
    token_embeddings: PoolingForms
    pooling_routes: Mapping[Head, tuple[str, ...]]
    unserved: Mapping[str, str]
    openapi: Mapping[Head, Mapping[str, tuple[str, ...]]]
    generation: GenerationDialect
