"""The vLLM versions on generating servers, each by its changes against the version before.

Source: real servers of 0.8.5, 0.10.2, 0.12.0, 0.20.2, 0.32.0 and 0.33.0. 0.16 and 0.25 are
derived: their errors from their pooling routes, the shapes of their responses from the neighbouring
versions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reward_client.testing._vllm.completion_forms import Completion, CompletionChecked

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationDialect:
    """The generating routes of one vLLM version, as clients see them.

    Attributes:
        routes: The served routes.
        form: The body of `/v1/completions`.
        names_values: The error about a value names it in the message and in `param`.
        response_keys: The further keys of a `/v1/completions` response, with their values.
        choice_keys: The keys of a choice that are null unless the request asks for them.
        max_temperature: The highest allowed temperature.
        reads_logprob_token_ids: The version reads this key; False ignores it.
        completes_tokens: For a character that spans tokens, the last token has the character, and
            the tokens before it have no text. False gives each the replacement character.
        too_many_logprobs: The error, with `{requested}` and `{limit}`.
        empty_allowed: The error about an empty `allowed_token_ids`; "" ignores the list.
        unknown_allowed: The error about a token in that list outside of the vocabulary.
        too_long: The error about a prompt that leaves no room, with `{limit}`, `{room}` (for the
            prompt), `{tokens}`, `{max_tokens}`, `{total}` and `{at_least}`.
        shortens: Room for one token is enough: the generation may have fewer than `max_tokens`.
        too_many_tokens: The error about `max_tokens` above the length of a sequence, with
            `{tokens}` and `{limit}`; "" if the version checks only prompt and tokens together.
    """

    routes: tuple[str, ...]
    form: type[Completion]
    names_values: bool
    response_keys: Mapping[str, str | None]
    choice_keys: tuple[str, ...]
    max_temperature: float
    reads_logprob_token_ids: bool
    completes_tokens: bool
    too_many_logprobs: str
    empty_allowed: str
    unknown_allowed: str
    too_long: str
    shortens: bool
    too_many_tokens: str


_V0_8 = GenerationDialect(
    routes=("/v1/completions",),
    form=Completion,
    names_values=False,
    response_keys={},
    choice_keys=(),
    max_temperature=math.inf,
    reads_logprob_token_ids=False,
    completes_tokens=True,
    too_many_logprobs="Cannot request more than {limit} logprobs.",
    empty_allowed="",
    unknown_allowed="allowed_token_ids contains out-of-vocab token id",
    too_long=(
        "This model's maximum context length is {limit} tokens. However, you requested {total} "
        "tokens ({tokens} in the messages, {max_tokens} in the completion). Please reduce the "
        "length of the messages or completion."
    ),
    shortens=False,
    too_many_tokens="",
)

_V0_10 = replace(
    _V0_8,
    response_keys=dict.fromkeys(("service_tier", "system_fingerprint", "kv_transfer_params")),
    choice_keys=("token_ids", "prompt_token_ids"),
    completes_tokens=False,
    too_many_logprobs=(
        "Requested sample logprobs of {requested}, which is is greater than max allowed: {limit}"
    ),
    empty_allowed="allowed_token_ids is not None and empty!",
    unknown_allowed="allowed_token_ids contains out-of-vocab token id!",
    too_long=(
        "This maximum context length is {room} tokens. However, your request has {tokens} input "
        "tokens. Please reduce the length of the input messages."
    ),
)

_V0_12 = replace(
    _V0_10,
    too_many_logprobs=(
        "Requested sample logprobs of {requested}, which is greater than max allowed: {limit}"
    ),
    too_long=(
        "This model's maximum context length is {room} tokens. However, your request has {tokens} "
        "input tokens. Please reduce the length of the input messages."
    ),
)

_V0_16 = replace(
    _V0_12,
    names_values=True,
    completes_tokens=True,
    too_long=(
        "You passed {tokens} input tokens and requested {max_tokens} output tokens. However, the "
        "model's context length is only {limit} tokens, resulting in a maximum input length of "
        "{room} tokens. Please reduce the length of the input prompt. (parameter=input_tokens, "
        "value={tokens})"
    ),
    too_many_tokens=(
        "max_tokens={tokens} cannot be greater than max_model_len={limit}. Please request fewer "
        "output tokens."
    ),
)

_V0_20 = replace(
    _V0_16,
    routes=("/v1/completions", "/generative_scoring"),
    form=CompletionChecked,
    too_long=(
        "This model's maximum context length is {limit} tokens. However, you requested "
        "{max_tokens} output tokens and your prompt contains {at_least}{tokens} input tokens, for "
        "a total of {at_least}{total} tokens. Please reduce the length of the input prompt or the "
        "number of requested output tokens. (parameter=input_tokens, value={tokens})"
    ),
)

_V0_32 = replace(
    _V0_20,
    response_keys={
        **_V0_20.response_keys,
        "ec_transfer_params": None,
        "metrics": None,
        # The digits after the version depend on the server's settings.
        "system_fingerprint": "vllm-0.32.0-b9a13838",
    },
    choice_keys=(*_V0_20.choice_keys, "routed_experts"),
    max_temperature=2,
    reads_logprob_token_ids=True,  # since 0.26
    too_long=(
        "This model's maximum context length is {limit} tokens. However, your prompt contains "
        "{at_least}{tokens} input tokens, which exceeds this limit even without any output tokens. "
        "Please reduce the length of the input prompt. (parameter=input_tokens, value={tokens})"
    ),
    shortens=True,
)

_V0_33 = replace(
    _V0_32,
    response_keys={**_V0_32.response_keys, "system_fingerprint": "vllm-0.33.0-a4a2c1c4"},
    choice_keys=(*_V0_32.choice_keys, "weight_versions"),
)

GENERATION_DIALECTS: Mapping[str, GenerationDialect] = {
    "0.8": _V0_8,
    "0.10": _V0_10,
    "0.12": _V0_12,
    "0.16": _V0_16,
    "0.20": _V0_20,
    "0.25": _V0_20,
    "0.32": _V0_32,
    "0.33": _V0_33,
}
