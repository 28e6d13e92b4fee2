"""What each range of vLLM versions needs, as data with its source. A new version is a new row.

"live" means seen on a running server of that version; "code" means read in its source.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import takewhile
from types import MappingProxyType

from reward_client.routes import Ask

__all__ = ["NEWEST", "UNKNOWN", "Era", "era_of", "template_keys"]

NEWEST = (0, 33)
"""The last version whose answers are known; later ones are probed like unknown ones."""


@dataclass(frozen=True, slots=True)
class Era:
    """How a range of versions is asked for raw pooled output.

    Attributes:
        since: The first version (major, minor, patch) of the range; it ends where the next begins.
        asks: The ways to try, the likeliest first. Several, since the kind of model is not
            published: the first that answers with a reward is taken.
        raw_flag: The server's flag that gives raw values where no request can ask for them.
        advice: What to do when no way works.
        source: Where the row comes from.
        by_name: Further ways, which give the same and are tried only where the caller names their
            route.
    """

    since: tuple[int, int, int]
    asks: tuple[Ask, ...]
    raw_flag: str
    advice: str
    source: str
    by_name: tuple[Ask, ...] = ()


_USE_ACTIVATION = MappingProxyType({"use_activation": False})
_SOFTMAX_FLAG = """--override-pooler-config '{"softmax": false}'"""
_ACTIVATION_FLAG = """--override-pooler-config '{"activation": false}'"""
_USE_ACTIVATION_FLAG = """--pooler-config '{"use_activation": false}'"""
_SERVE = (
    "Serve the reward model with `vllm serve MODEL --runner pooling` "
    "(`--task classify` or `--task reward` up to 0.9)."
)

_EMBEDDINGS_OF_ANY_MODEL = Ask("embeddings")
_EMBEDDINGS_OF_AN_EXPORT = Ask("embeddings", raw_by="task")
_POOLING = Ask("pooling")
_CLASSIFY = Ask("pooling", "classify", _USE_ACTIVATION, raw_by="request")
_TOKEN_CLASSIFY = Ask("pooling", "token_classify", _USE_ACTIVATION, raw_by="request")

_ERAS = (
    Era(
        since=(0, 6, 3),
        asks=(_EMBEDDINGS_OF_ANY_MODEL,),
        raw_flag=_SOFTMAX_FLAG,
        advice=_SERVE,
        source="code of 0.6.3.post1 and 0.6.4.post1",
    ),
    Era(
        since=(0, 6, 5),
        asks=(),
        raw_flag=_SOFTMAX_FLAG,
        advice="vLLM 0.6.5 has no way to a reward over HTTP (issue 11446): upgrade it.",
        source="code of 0.6.5",
    ),
    Era(
        since=(0, 6, 6),
        asks=(_EMBEDDINGS_OF_ANY_MODEL,),
        by_name=(_POOLING,),
        raw_flag=_SOFTMAX_FLAG,
        advice=_SERVE,
        source="live on 0.8.5; code of 0.6.6.post1 to 0.9.0.1",
    ),
    Era(
        since=(0, 9, 1),
        asks=(_POOLING,),
        raw_flag=_SOFTMAX_FLAG,
        advice=_SERVE,
        source="code of 0.9.1 and 0.9.2",
    ),
    Era(
        since=(0, 10, 0),
        asks=(_POOLING, _EMBEDDINGS_OF_AN_EXPORT),
        raw_flag=_ACTIVATION_FLAG,
        advice="vLLM 0.10.0 to 0.11.0 has no route from token IDs to the score of a "
        "...ForSequenceClassification model: upgrade the server to 0.11.1 or later.",
        source="live on 0.10.2; code of 0.10.0 to 0.11.0",
    ),
    Era(
        since=(0, 11, 1),
        asks=(_CLASSIFY, _TOKEN_CLASSIFY, _EMBEDDINGS_OF_AN_EXPORT),
        raw_flag=_USE_ACTIVATION_FLAG,
        advice=_SERVE,
        source="live on 0.12.0, 0.16.0, 0.20.2, 0.25.1 and 0.32.0; code of 0.11.1 to 0.33.0",
    ),
)

UNKNOWN = Era(
    since=(0, 0, 0),
    asks=(_CLASSIFY, _TOKEN_CLASSIFY, _EMBEDDINGS_OF_ANY_MODEL),
    raw_flag=_USE_ACTIVATION_FLAG,
    advice=_SERVE,
    source="none: the newest way is tried first, and the values must prove that they are raw",
)


def era_of(version: str | None) -> Era:
    """The row for a version string; `UNKNOWN` for development, later and unreadable versions."""
    release = _release(version)
    if release is None or release[:2] > NEWEST:
        return UNKNOWN
    passed = tuple(takewhile(lambda era: era.since <= release, _ERAS))
    return passed[-1] if passed else UNKNOWN


# Keys that older servers ignore in silence, so that another prompt would be tokenized.
_TEMPLATE_KEYS_SINCE = {
    "chat_template_kwargs": (0, 6, 6),  # code of 0.6.6.post1; absent in 0.6.3
    "tools": (0, 9, 1),  # code of 0.9.1; absent in 0.8.5
}


def template_keys(version: str | None) -> frozenset[str]:
    """The optional keys that ``/tokenize`` of a version understands."""
    release = _release(version)
    return frozenset(
        key for key, since in _TEMPLATE_KEYS_SINCE.items() if release is None or release >= since
    )


def _release(version: str | None) -> tuple[int, int, int] | None:
    if version is None or "dev" in version:
        return None
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", version)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None
