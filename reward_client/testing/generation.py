"""How servers that generate differ by vLLM version, each as what it changed against the one before.

Seen on real servers of 0.8.5, 0.10.2, 0.12.0, 0.20.2 and 0.32.0. 0.16 and 0.25 are by the others:
their routes answer in the words of their pooled ones, and in the shape of their neighbours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reward_client.testing.generating_forms import Completion, CompletionChecked

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One vLLM version as clients that let it generate see it.

    Attributes:
        routes: What is served.
        form: The body of `/v1/completions`.
        names_values: A refused value is named by the message and by `param`.
        reply: What every `/v1/completions` reply has besides the answer.
        choice_keys: Keys of a choice that are null unless the request asks for them.
        hottest: The highest temperature.
        reads_logprob_token_ids: The key is read; else it is ignored.
        completes_tokens: A token that ends within a character has no text, and the one that makes
            it whole has the character; else both have the replacement character.
        too_many_logprobs: With `{asked}` and `{most}`.
        no_allowed: What is said to an empty `allowed_token_ids`; "" ignores it.
        unknown_allowed: What is said to a token there that is not in the vocabulary.
        too_long: What is said when the prompt leaves no room: with `{limit}`, `{room}` (for the
            prompt), `{tokens}`, `{max_tokens}`, `{total}` and `{at_least}`.
        shortens: There is room if one token has it: fewer than `max_tokens` are generated.
        too_many_tokens: What is said to more `max_tokens` than a sequence can have, with `{tokens}`
            and `{limit}`, where that is not a matter of the prompt.
    """

    routes: tuple[str, ...]
    form: type[Completion]
    names_values: bool
    reply: Mapping[str, str | None]
    choice_keys: tuple[str, ...]
    hottest: float
    reads_logprob_token_ids: bool
    completes_tokens: bool
    too_many_logprobs: str
    no_allowed: str
    unknown_allowed: str
    too_long: str
    shortens: bool
    too_many_tokens: str


_V0_8 = Generation(
    routes=("/v1/completions",),
    form=Completion,
    names_values=False,
    reply={},
    choice_keys=(),
    hottest=math.inf,
    reads_logprob_token_ids=False,
    completes_tokens=True,
    too_many_logprobs="Cannot request more than {most} logprobs.",
    no_allowed="",
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
    reply=dict.fromkeys(("service_tier", "system_fingerprint", "kv_transfer_params")),
    choice_keys=("token_ids", "prompt_token_ids"),
    completes_tokens=False,
    too_many_logprobs=(
        "Requested sample logprobs of {asked}, which is is greater than max allowed: {most}"
    ),
    no_allowed="allowed_token_ids is not None and empty!",
    unknown_allowed="allowed_token_ids contains out-of-vocab token id!",
    too_long=(
        "This maximum context length is {room} tokens. However, your request has {tokens} input "
        "tokens. Please reduce the length of the input messages."
    ),
)

_V0_12 = replace(
    _V0_10,
    too_many_logprobs=(
        "Requested sample logprobs of {asked}, which is greater than max allowed: {most}"
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
    reply={
        **_V0_20.reply,
        "ec_transfer_params": None,
        "metrics": None,
        # The rest is of the server's settings.
        "system_fingerprint": "vllm-0.32.0-b9a13838",
    },
    choice_keys=(*_V0_20.choice_keys, "routed_experts"),
    hottest=2,
    # Since 0.26.
    reads_logprob_token_ids=True,
    too_long=(
        "This model's maximum context length is {limit} tokens. However, your prompt contains "
        "{at_least}{tokens} input tokens, which exceeds this limit even without any output tokens. "
        "Please reduce the length of the input prompt. (parameter=input_tokens, value={tokens})"
    ),
    shortens=True,
)

GENERATIONS: Mapping[str, Generation] = {
    "0.8": _V0_8,
    "0.10": _V0_10,
    "0.12": _V0_12,
    "0.16": _V0_16,
    "0.20": _V0_20,
    "0.25": _V0_20,
    "0.32": _V0_32,
}
