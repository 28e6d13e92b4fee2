"""What a caller can set: deadlines, retries, limits, connection; and the environment names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from reward_client._base.json_values import as_mapping

BASE_URL_VARIABLE = "REWARD_CLIENT_BASE_URL"
API_KEY_VARIABLE = "REWARD_CLIENT_API_KEY"

OnOverlong: TypeAlias = Literal["raise", "drop_turns"]
RouteChoice: TypeAlias = Literal["auto", "embeddings", "pooling", "classify"]
ServerActivation: TypeAlias = Literal["none", "sigmoid"]


# From httpx, openai and other batching clients.
_SPELLINGS: Mapping[str, str] = {
    "max_attempts": "attempts=",
    "max_connections": "max_concurrency=",
    "max_pack_items": "max_batch_items=",
    "max_pack_tokens": "max_batch_tokens=",
    "max_retries": "attempts= (the first one included)",
    "max_workers": "max_concurrency=",
    "pool": "total=",
    "proxies": "proxy=",
    "timeout": "total=",
    "write": "read=",
}


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _name_the_right_spelling(cls, given: object) -> object:
        for name in as_mapping(given) or {}:
            spelling = _SPELLINGS.get(name)
            if spelling is not None and spelling.split("=")[0] in cls.model_fields:
                raise ValueError(f"{cls.__name__} takes no {name}=: write {spelling}.")
        return given


class Timeouts(_Options):
    """Deadlines in seconds.

    Attributes:
        connect: For one connection to be made.
        read: For the next bytes of a reply. Long by default: vLLM queues without bound and never
            answers 429, so a short read timeout only makes its queue longer.
        total: For one sample with everything it needs (waiting for its turn among the requests in
            flight, tokenizing, scoring, retries); None is no limit.
    """

    connect: PositiveFloat = 30
    read: PositiveFloat | None = 600
    total: PositiveFloat | None = None


class RetryPolicy(_Options):
    """How often and how long one HTTP call is tried again; scoring is repeatable.

    Attributes:
        attempts: Tries of one call, the first included; 1 switches retries off.
        budget: Seconds that one HTTP call may spend before it starts its last attempt.
        max_wait: The longest wait in seconds that the client chooses by itself (full jitter). A
            ``Retry-After`` of the server is followed exactly, or raised if it exceeds the budget.
    """

    attempts: PositiveInt = 5
    budget: NonNegativeFloat = 300
    max_wait: PositiveFloat = 60


class Limits(_Options):
    """Bounds on what the client does at a time.

    Attributes:
        max_concurrency: HTTP requests in flight at one server, over all calls of one client.
        max_batch_items: Samples that share a request to be scored.
        max_batch_tokens: Their tokens together; a longer sample goes alone.
        max_response_bytes: The largest reply that is read; a longer one is an error.
        replica_tolerance: How far the rewards of replicas for one sample may lie apart, as a part
            of them or absolute; bfloat16 and other GPUs move a reward.
    """

    max_concurrency: PositiveInt = 64
    max_batch_items: PositiveInt = 32
    max_batch_tokens: PositiveInt = 32768
    max_response_bytes: PositiveInt = 64 * 1024 * 1024
    replica_tolerance: NonNegativeFloat = 0.02


class Connection(_Options):
    """TLS and proxy.

    Attributes:
        verify: Check the server's certificate; or the path of a CA bundle.
        cert: A client certificate: the path of a PEM file, or (certificate, key).
        proxy: URL of an HTTP proxy.
        trust_env: Take proxy and CA settings from the usual environment variables.
    """

    verify: bool | str = True
    cert: str | tuple[str, str] | None = None
    proxy: str | None = Field(default=None, repr=False)
    trust_env: bool = True
