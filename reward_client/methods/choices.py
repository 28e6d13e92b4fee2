"""The methods that a caller can choose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["Messages", "Method"]


@dataclass(frozen=True, slots=True)
class Messages:
    """The messages go straight to the scoring route, where the server tokenizes them.

    That saves a request for each conversation. With an exported checkpoint, whose rewards come
    from ``/v1/embeddings``, vLLM 0.24 and later take many conversations in one request (live on
    0.25.1 and 0.32.0); elsewhere each has its own. The first conversations of each form, and each
    64th later, are scored by their token IDs too, and must get the same number of tokens and the
    same reward. The others' ``token_count``, ``token_digest`` and ``bos_count`` are None: a server
    tells the tokens of a request, not those of each conversation.

    Text, token IDs, and conversations with tools, steps, parts or arguments for the chat template
    go by their token IDs as always.
    """


Method: TypeAlias = Messages
"""How a reward is had; None for by token IDs."""
