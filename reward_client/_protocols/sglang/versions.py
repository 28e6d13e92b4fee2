"""The requests that each range of SGLang versions needs, as data. A new version is a new row.

In `VersionRange.source`, "live" means seen on a running server of the version, and "code" means
read in its wheel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from reward_client._protocols.engine import MessageKey
from reward_client._protocols.releases import release_of
from reward_client._protocols.sglang.scoring_request import SglangRequest
from reward_client._protocols.strategies import ModelKind, Strategy, VersionRange, last_since

NEWEST = (0, 5, 23)
"""The last known version; later ones are probed like unknown ones."""

_HINT = (
    "Serve the reward model with `python -m sglang.launch_server --model-path MODEL "
    "--is-embedding`."
)
_NO_FLAG = ""

# One value or several for each sample. A `Qwen2ForRewardModel` answers that of the last token.
_CLASSIFY = Strategy(
    SglangRequest("classify", raw_by="request"),
    "vector",
    "none",
    _NO_FLAG,
    live=("0.4.9.post6", "0.5.22", "0.5.23"),
)
_ENCODE = Strategy(
    SglangRequest("encode", raw_by="request"), "vector", "none", _NO_FLAG, live=("0.5.23",)
)
_EMBEDDINGS = Strategy(
    SglangRequest("embeddings", raw_by="request"), "vector", "none", _NO_FLAG, live=("0.5.23",)
)
# Live on 0.5.23: LlamaForCausalLM, LlamaModel and Qwen2Model alike.
_HIDDEN = Strategy(
    SglangRequest("classify"),
    "vector",
    "normalized",
    _NO_FLAG,
    no_flag="SGLang normalizes hidden states, and no flag turns that off: serve it with vLLM.",
)
_DIFFERENCE = Strategy(
    SglangRequest("generate", names_tokens=True), "vector", "none", _NO_FLAG, live=("0.5.23",)
)

_TEXT = Strategy(
    SglangRequest("generate"), "vector", "log-softmax", _NO_FLAG, live=("0.5.22", "0.5.23")
)


def _rewards(way: Strategy) -> dict[ModelKind, Strategy]:
    """Return the strategies for rewards by one way, and by the other routes if it is hidden."""
    return {"sequence": way, "token": way}


_V0_3 = VersionRange(
    since=(0, 3, 0),
    strategies=_rewards(_ENCODE),
    if_named={"sequence": (_EMBEDDINGS,)},
    errors="nested",
    renders="none",
    tokenizes=False,
    source="code of 0.3.0 to 0.4.0",
    hint=_HINT,
)
_V0_4_1 = replace(
    _V0_3,
    since=(0, 4, 1),
    strategies=_rewards(replace(_CLASSIFY, fallback=_ENCODE)),
    source="live on 0.4.9.post6; code of 0.4.1 to 0.5.3",
    live=("0.4.9.post6",),
)
_V0_5_4 = replace(
    _V0_4_1,
    since=(0, 5, 4),
    strategies={
        **_V0_4_1.strategies,
        "hidden": _HIDDEN,
        "difference": _DIFFERENCE,
        "text": _TEXT,
    },
    tokenizes=True,
    source="code of 0.5.4 to 0.5.12",
    live=(),
)
_V0_5_13 = replace(
    _V0_5_4,
    since=(0, 5, 13),
    renders="questions",
    source="live on 0.5.22; code of 0.5.13 to 0.5.22",
    live=("0.5.22",),
)
_V0_5_23 = replace(
    _V0_5_13, since=(0, 5, 23), renders="unproven", source="live on 0.5.23", live=("0.5.23",)
)

VERSION_RANGES = (_V0_3, _V0_4_1, _V0_5_4, _V0_5_13, _V0_5_23)
"""All ranges, oldest first."""

UNKNOWN_VERSION = replace(
    _V0_5_23,
    since=(0, 0, 0),
    live=(),
    source="none: the newest request is tried first",
)

_TEMPLATE_KEYS = frozenset({"chat_template_kwargs"})


def version_range_of(version: str | None) -> VersionRange:
    """Return the row of a version; `UNKNOWN_VERSION` for one that the table does not cover."""
    release = release_of(version)
    if release is None or release > NEWEST:
        return UNKNOWN_VERSION
    return last_since(release, VERSION_RANGES) or UNKNOWN_VERSION


def template_keys(version: str | None) -> frozenset[str]:
    """Return the optional keys that ``/tokenize`` of a version understands (code of 0.5.23)."""
    return _TEMPLATE_KEYS if version_range_of(version).renders == "unproven" else frozenset()


def message_keys(version: str | None) -> Mapping[str, MessageKey]:
    """Return the keys of a message that a version reads, besides role and content."""
    del version
    return {}
