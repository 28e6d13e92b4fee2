"""``/v1/embeddings``: rewards up to vLLM 0.9.0, and of exported checkpoints in later versions.

The values are asked for as base64: up to 0.9.0 a float body of a per-token model is HTTP 500.
"""

from __future__ import annotations

import struct
from base64 import b64decode
from typing import Final

from reward_client._protocols.vllm.pooled_output import PooledOutput

PATH = "/v1/embeddings"
ITEM_KEY = "embedding"
FORMAT: Final = "base64"

_FLOAT32_BYTES = 4


def read_item(value: object) -> PooledOutput | None:
    """Little-endian float32 in base64; None if it is something else."""
    if not isinstance(value, str):
        return None
    try:
        raw = b64decode(value, validate=True)
    except ValueError:  # binascii.Error is one; letters outside of ASCII raise it bare
        return None
    count, rest = divmod(len(raw), _FLOAT32_BYTES)
    return None if rest else PooledOutput(struct.unpack(f"<{count}f", raw), rows=None)
