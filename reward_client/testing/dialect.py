"""What can differ between the vLLM versions that the server stands for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from reward_client.testing.generation import Generation
from reward_client.testing.heads import Head
from reward_client.testing.pooled_forms import PooledForms

Activation = Literal["sigmoid", "softmax", "normalize"]
ENGINE_DEAD = "EngineCore encountered an issue. See stack trace (above) for the root cause."


@dataclass(frozen=True, slots=True)
class EngineError:
    """How a version reports that its engine is dead.

    Attributes:
        status: The HTTP status.
        code: The status that the body tells.
        kind: The `type` that the body tells.
        message: What it says.
    """

    status: int
    code: int
    kind: str
    message: str = ENGINE_DEAD


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One vLLM version as its clients see it.

    Attributes:
        version: What `/version` says.
        nested_errors: Errors are `{"error": {...}}`; else they are flat.
        validation: What is said of a body that has none of the accepted forms: pydantic's list as
            Python writes it; one error a line, the place in vLLM and the list; or one error a line
            with dotted locations and nothing of the input but its size.
        traces: The place in vLLM, for each route where it is known.
        names_field: The `param` of such an error is the location of the first one.
        names_parameters: A refused parameter is named by the message and by `param`.
        names_model: The routes whose error about an unknown model has `param`.
        names_aliases: The routes where it says which models there are.
        media_type_status: The status of a body that is not `application/json`.
        engine_errors: What a negative ID does, for each route: it kills a real server, while this
            one lives on; empty where it does not.
        refuses_negative: A negative ID is refused; else, if it kills nothing, it is a bare 500.
        detokenizes: What `/detokenize` does with a negative ID.
        tokenize_keys: Keys of a `/tokenize` reply besides the first three.
        usage_keys: Keys of `usage` besides the first three; all null.
        identifier: How long the hexadecimal part of an identifier is.
        identifiers: What the identifiers of a route's replies start with.
        reads_request_id: `request_id` in the body becomes part of the identifier.
        last_form_wins: Which of `input` and `messages` counts when both are sent.
        opens_turns: The routes that honour `add_generation_prompt`.
        takes_template: A chat template in the request is used; else it is refused.
        doubles_template_errors: `/tokenize` says the template's error twice.
        continue_conflict: What is said to `continue_final_message` on an opened turn.
        no_messages: What is said to an empty conversation.
        no_prompt: What is said to an empty input; None answers it with empty `data`.
        no_text: What `/classify` says to an empty text, where it is not taken for a prompt.
        empty_batch_is_no_prompt: `[[]]` counts as an empty input.
        drops_truncated: Prompts that are truncated to nothing are dropped.
        too_long: With `{limit}` and `{tokens}`.
        counts_overlong: The message has the true length of token IDs; else the limit plus one.
        too_long_parameter: The `param` of that error.
        vocabulary_slack: How many IDs past the vocabulary are let through.
        truncation_keeps: The end of a prompt that truncation keeps.
        removed_keys: Keys of a pooled body that are refused with any value, and with what.
        removed_tasks: Tasks of the past, and what is said to them.
        no_dimensions: What is said to `dimensions`, for each route that looks at it.
        tasks: The tasks of each head.
        default_tasks: What each head does when no task is named; None refuses that.
        no_task: What is said then, with `{tasks}`.
        wrong_task: What is said to a task that a head has not, with `{task}` and `{tasks}`.
        switches_tasks: A head does any of its tasks; else only its default one.
        parameters: The parameters of each task, where vLLM looks at them.
        activation: What is applied to the values of each head when it is asked for.
        raw_heads: Heads whose values are raw unless an activation is asked for.
        forms: The bodies of the pooled routes.
        served: The pooled routes of each head.
        unserved: Routes that are mounted for every head: without a handler they answer 200, with
            this error in the body.
        openapi: The paths that `/openapi.json` lists for each head.
        generation: What differs between servers that generate.
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
    identifier: int
    identifiers: Mapping[str, str]
    reads_request_id: bool
    last_form_wins: bool
    opens_turns: frozenset[str]
    takes_template: bool
    doubles_template_errors: bool
    continue_conflict: str
    no_messages: str
    no_prompt: Mapping[str, str | None]
    no_text: str | None
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
    wrong_task: str
    switches_tasks: bool
    parameters: Mapping[str, tuple[str, ...]]
    activation: Mapping[Head, Activation]
    raw_heads: frozenset[Head]
    forms: Mapping[str, PooledForms]
    served: Mapping[Head, tuple[str, ...]]
    unserved: Mapping[str, str]
    openapi: Mapping[Head, Mapping[str, tuple[str, ...]]]
    generation: Generation
