"""The requests that each range of vLLM versions needs, as data. A new version is a new row.

In `VersionRange.source`, "live" means seen on a running server of the version, and "code" means
read in its source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from reward_client._protocols.engine import MessageKey
from reward_client._protocols.releases import release_of
from reward_client._protocols.strategies import (
    DefaultActivation,
    ModelKind,
    Strategy,
    VersionRange,
    last_since,
)
from reward_client._protocols.vllm.scoring_request import VllmRequest

NEWEST = (0, 33)
"""The last known version; later ones are probed like unknown ones."""

_SOFTMAX_FLAG = """--override-pooler-config '{"softmax": false}'"""
_NORMALIZE_FLAG = """--override-pooler-config '{"normalize": false}'"""
_POOLER_NORMALIZE_FLAG = """--pooler-config '{"normalize": false}'"""
_NO_FLAG = ""  # PoolerConfig of 0.10.0 has no activation for a classifier
_ACTIVATION_FLAG = """--override-pooler-config '{"activation": false}'"""
_USE_ACTIVATION_FLAG = """--pooler-config '{"use_activation": false}'"""

# Seen on 0.10.2: -0.12 instead of 3.19 for 614 tokens, and a dead engine for 13 samples at once.
_NO_CHUNKS = (
    "This server answers /pooling for a sequence classifier: it runs without chunked prefill "
    "(--no-enable-chunked-prefill), and vLLM 0.10 then gives wrong values for some prompts. Start "
    "it without that flag, or upgrade it to 0.11.1 or later."
)

_RAW = MappingProxyType({"use_activation": False})

_EMBEDDINGS = VllmRequest("embeddings")
_POOLING = VllmRequest("pooling")
_CLASSIFY = VllmRequest("pooling", "classify", _RAW, raw_by="request")
_TOKEN_CLASSIFY = VllmRequest("pooling", "token_classify", _RAW, raw_by="request")


def _all_by(request: VllmRequest, sequence: DefaultActivation) -> dict[ModelKind, Strategy]:
    """Return the strategies of versions whose requests cannot select raw values, for one route."""
    return {
        "sequence": Strategy(request, "vector", sequence, _SOFTMAX_FLAG),
        "token": Strategy(request, "per token", "none", _SOFTMAX_FLAG),
        "steps": Strategy(request, "per step", "softmax", _SOFTMAX_FLAG),
    }


def _hidden(request: VllmRequest, flag: str) -> Strategy:
    return Strategy(request, "vector", "normalized", flag)


_NORMALIZE = MappingProxyType({"normalize": False})
_HIDDEN_UNASKED = _hidden(_EMBEDDINGS, _NORMALIZE_FLAG)
_HIDDEN_BY_NORMALIZE = VllmRequest("embeddings", None, _NORMALIZE, raw_by="request")
_HIDDEN_BY_ACTIVATION = VllmRequest("embeddings", None, _RAW, raw_by="request")
_EXPORTED = Strategy(VllmRequest("embeddings", raw_by="task"), "vector", "none", "", exported=True)
# Seen on 0.16.0 with one value for each token, on 0.32.0 with two, equal to torch.
_EXPORTED_STEPS = Strategy(
    VllmRequest("pooling", "token_embed", _RAW, raw_by="request"),
    "per token",
    "none",
    _USE_ACTIVATION_FLAG,
    exported=True,
    live=("0.16.0", "0.32.0", "0.33.0"),
)

# Without the flag, which came with 0.10.0, the numbers are log-probabilities. Up to 0.9 these are
# relative to the allowed tokens: 0 for a single one (seen on 0.8.5).
_LOGIT = Strategy(
    VllmRequest("completions"),
    "vector",
    "log-softmax",
    "--logprobs-mode raw_logits",
    live=("0.10.2", "0.12.0", "0.16.0", "0.20.2", "0.25.1", "0.32.0", "0.33.0"),
)

# The request allows both tokens, and the response holds both numbers: among the most likely 20 of
# all tokens, or, on 0.8.5 and with "--logprobs-mode processed_…", of the allowed ones. Seen on
# 0.8.5 to 0.25.1.
_DIFFERENCE = Strategy(
    VllmRequest("completions"),
    "vector",
    "none",
    "",
    live=("0.8.5", "0.10.2", "0.12.0", "0.16.0", "0.20.2", "0.25.1"),
)
_DIFFERENCE_BY_NAME = Strategy(
    VllmRequest("completions", names_tokens=True),
    "vector",
    "none",
    "",
    live=("0.32.0", "0.33.0"),
)

_TEXT = Strategy(
    VllmRequest("completions"),
    "vector",
    "none",
    "",
    live=("0.8.5", "0.10.2", "0.12.0", "0.16.0", "0.20.2", "0.25.1", "0.32.0", "0.33.0"),
)

_V0_6_3 = VersionRange(
    since=(0, 6, 3),
    strategies={
        "sequence": Strategy(_EMBEDDINGS, "vector", "none", _SOFTMAX_FLAG),
        "token": Strategy(_EMBEDDINGS, "per token", "none", _SOFTMAX_FLAG),
        "hidden": _HIDDEN_UNASKED,
    },
    errors="flat",
    source="code of 0.6.3.post1 and 0.6.4.post1",
)
_V0_6_5 = VersionRange(
    since=(0, 6, 5),
    strategies={"hidden": _HIDDEN_UNASKED},
    errors="flat",
    source="code of 0.6.5",
    hint="vLLM 0.6.5 serves no rewards over HTTP (issue 11446 of vLLM): upgrade it.",
)
_V0_6_6 = VersionRange(
    since=(0, 6, 6),
    strategies={
        **_all_by(_EMBEDDINGS, "softmax"),
        "hidden": _HIDDEN_UNASKED,
        "difference": _DIFFERENCE,
        "text": _TEXT,
    },
    if_named={kind: (way,) for kind, way in _all_by(_POOLING, "softmax").items()},
    errors="flat",
    source="live on 0.8.5; code of 0.6.6.post1 to 0.8.5",
    live=("0.8.5",),
)
_V0_9_0 = replace(
    _V0_6_6,
    since=(0, 9, 0),
    strategies={
        **_all_by(_EMBEDDINGS, "sigmoid"),
        "hidden": _HIDDEN_UNASKED,
        "difference": _DIFFERENCE,
        "text": _TEXT,
    },
    if_named={kind: (way,) for kind, way in _all_by(_POOLING, "sigmoid").items()},
    source="code of 0.9.0.1",
    live=(),
)
_V0_9_1 = replace(
    _V0_9_0,
    since=(0, 9, 1),
    strategies={
        **_all_by(_POOLING, "sigmoid"),
        # Seen on 0.9.2: a LlamaForSequenceClassification does not start, a Qwen2 one does.
        "sequence": Strategy(
            _POOLING, "vector", "sigmoid", _SOFTMAX_FLAG, "0.9.2 loads no Llama classifier"
        ),
        "hidden": _HIDDEN_UNASKED,
        "difference": _DIFFERENCE,
        "text": _TEXT,
    },
    if_named={},
    source="live on 0.9.2; code of 0.9.1 and 0.9.2",
    live=("0.9.2",),
)
_V0_10_0 = replace(
    _V0_9_1,
    since=(0, 10, 0),
    strategies={
        **_all_by(_POOLING, "sigmoid"),
        # Sequence classifiers have no route for token IDs, only one for texts.
        "sequence": Strategy(
            VllmRequest("classify", sends="text"),
            "vector",
            "sigmoid",
            _NO_FLAG,
            wrong_if_served=_POOLING,
            wrong_because=_NO_CHUNKS,
        ),
        "hidden": _HIDDEN_UNASKED,
        "logit": _LOGIT,
        "difference": _DIFFERENCE,
        "text": _TEXT,
    },
    source="code of 0.10.0",
    live=(),
)
_V0_10_1 = replace(
    _V0_10_0,
    since=(0, 10, 1),
    strategies={
        **_V0_10_0.strategies,
        "sequence": Strategy(
            VllmRequest("classify", None, {"activation": False}, raw_by="request", sends="text"),
            "vector",
            "sigmoid",
            _ACTIVATION_FLAG,
            wrong_if_served=_POOLING,
            wrong_because=_NO_CHUNKS,
        ),
        "token": Strategy(_POOLING, "per token", "none", _SOFTMAX_FLAG, "InternLM2: sigmoid"),
        "hidden": _hidden(_HIDDEN_BY_NORMALIZE, _NORMALIZE_FLAG),
    },
    errors="nested",
    source="live on 0.10.1.1; code of 0.10.1.1",
    live=("0.10.1.1",),
)
_V0_10_2 = replace(
    _V0_10_1,
    since=(0, 10, 2),
    strategies={**_V0_10_1.strategies, "exported": _EXPORTED},
    source="live on 0.10.2; code of 0.11.0",
    live=("0.10.2",),
)
_V0_11_1 = replace(
    _V0_10_2,
    since=(0, 11, 1),
    strategies={
        "sequence": Strategy(_CLASSIFY, "vector", "sigmoid", _USE_ACTIVATION_FLAG),
        "token": Strategy(_TOKEN_CLASSIFY, "per token", "sigmoid", _USE_ACTIVATION_FLAG),
        "steps": Strategy(_TOKEN_CLASSIFY, "per step", "softmax", _USE_ACTIVATION_FLAG),
        "hidden": _hidden(_HIDDEN_BY_NORMALIZE, _POOLER_NORMALIZE_FLAG),
        "exported": _EXPORTED,
        "logit": _LOGIT,
        "difference": _DIFFERENCE,
        "text": _TEXT,
    },
    if_named={
        "hidden": (
            _hidden(
                VllmRequest("pooling", "embed", _NORMALIZE, raw_by="request"),
                _POOLER_NORMALIZE_FLAG,
            ),
        )
    },
    source="live on 0.11.2 and 0.12.0; code of 0.11.1 to 0.14.1",
    live=("0.11.2", "0.12.0"),
)
_CLASSIFY_ROUTE = Strategy(
    VllmRequest("classify", None, _RAW, raw_by="request"),
    "vector",
    "sigmoid",
    _USE_ACTIVATION_FLAG,
)
_V0_15 = replace(
    _V0_11_1,
    since=(0, 15, 0),
    if_named={"sequence": (_CLASSIFY_ROUTE,)},
    source="live on 0.15.1; code of 0.15.0 and 0.15.1",
    live=("0.15.1",),
)
_V0_16 = replace(
    _V0_15,
    since=(0, 16, 0),
    strategies={
        **_V0_15.strategies,
        "token": Strategy(
            _TOKEN_CLASSIFY, "per token", "none", _USE_ACTIVATION_FLAG, "InternLM2: sigmoid"
        ),
        "hidden": _hidden(_HIDDEN_BY_ACTIVATION, _USE_ACTIVATION_FLAG),
        "exported steps": _EXPORTED_STEPS,
    },
    source="live on 0.16.0; code of 0.16.0 to 0.18.1",
    live=("0.16.0",),
)
_V0_19 = replace(
    _V0_16,
    since=(0, 19, 0),
    if_named={
        "sequence": (_CLASSIFY_ROUTE,),
        "hidden": (
            _hidden(VllmRequest("pooling", "embed", _RAW, raw_by="request"), _USE_ACTIVATION_FLAG),
        ),
    },
    source="live on 0.20.2; code of 0.19.1 to 0.23.0",
    live=("0.20.2",),
)
# /v1/embeddings takes several conversations from here on. To do so it validates each token ID
# against five kinds of request: 110 ms for 32 lists of 358, while /pooling takes 0.2 ms (0.32.0).
_EMBEDDINGS_OF_MANY = replace(_EXPORTED, conversations=_EXPORTED.request)
_V0_24 = replace(
    _V0_19,
    since=(0, 24, 0),
    strategies={
        **_V0_19.strategies,
        "exported": replace(
            _EMBEDDINGS_OF_MANY,
            request=VllmRequest("pooling", "embed", _RAW, raw_by="request"),
            live=("0.25.1", "0.32.0", "0.33.0"),
            fallback=_EMBEDDINGS_OF_MANY,
        ),
    },
    source="live on 0.25.1; code of 0.24.0 to 0.25.1",
    live=("0.25.1",),
)
_V0_26 = replace(
    _V0_24,
    since=(0, 26, 0),
    strategies={**_V0_24.strategies, "difference": _DIFFERENCE_BY_NAME},
    source="live on 0.32.0; code of 0.26.0 to 0.32.0",
    live=("0.32.0",),
)
_V0_33 = replace(
    _V0_26,
    since=(0, 33, 0),
    source="live on 0.33.0 (with older extension modules); code of 0.33.0",
    live=("0.33.0",),
)

VERSION_RANGES = (
    *(_V0_6_3, _V0_6_5, _V0_6_6, _V0_9_0, _V0_9_1, _V0_10_0, _V0_10_1),
    *(_V0_10_2, _V0_11_1, _V0_15, _V0_16, _V0_19, _V0_24, _V0_26, _V0_33),
)
"""All ranges, oldest first."""

UNKNOWN_VERSION = replace(
    _V0_33,
    since=(0, 0, 0),
    live=(),
    strategies={**_V0_33.strategies, "exported": replace(_EXPORTED, request=_EMBEDDINGS)},
    source="none: the newest request is tried first, and the values must prove that they are raw",
)


def version_range_of(version: str | None) -> VersionRange:
    """Return the row of a version.

    Development versions, unreadable ones and those after `NEWEST` get `UNKNOWN_VERSION`.
    """
    release = release_of(version)
    if release is None or release[:2] > NEWEST:
        return UNKNOWN_VERSION
    return last_since(release, VERSION_RANGES) or UNKNOWN_VERSION


# Older servers ignore these keys silently, and would tokenize another prompt.
_TEMPLATE_KEYS_SINCE = {
    "chat_template_kwargs": (0, 6, 6),  # code of 0.6.6.post1; absent in 0.6.3
    "tools": (0, 9, 1),  # code of 0.9.1; absent in 0.8.5
}


def template_keys(version: str | None) -> frozenset[str]:
    """Return the optional keys that ``/tokenize`` of a version understands."""
    release = release_of(version)
    return frozenset(
        key for key, since in _TEMPLATE_KEYS_SINCE.items() if release is None or release >= since
    )


# Servers ignore every other key silently, and those of other roles. From the function
# `_parse_chat_message_content` of 0.6.3.post1, 0.8.5, 0.10.0 to 0.14.1, 0.16.0 to 0.18.1, 0.20.2,
# 0.25.1, 0.32.0 and 0.33.0. "reasoning_content" is one more name of "reasoning" in 0.11.1 to 0.14.1
# only; the template gets the text under both names in all versions.
_MESSAGE_KEYS: Mapping[str, MessageKey] = MappingProxyType(
    {
        "name": MessageKey(),
        "tool_calls": MessageKey(("assistant",)),
        "tool_call_id": MessageKey(("tool",)),
        "reasoning": MessageKey(("assistant",), since=(0, 11, 1)),
        "tools": MessageKey(("developer",), since=(0, 13, 0)),
        "task": MessageKey(since=(0, 20, 2)),
    }
)


def message_keys(version: str | None) -> Mapping[str, MessageKey]:
    """Return the keys of a message that a version reads, besides role and content."""
    release = release_of(version)
    return {
        key: read for key, read in _MESSAGE_KEYS.items() if release is None or release >= read.since
    }
