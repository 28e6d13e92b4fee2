"""The option objects (deadlines, retries, limits, connection) and the environment variables."""

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
OnControlTokens: TypeAlias = Literal["raise", "strip", "allow"]
OnUnanswered: TypeAlias = Literal["raise", "allow"]
RouteChoice: TypeAlias = Literal["auto", "embeddings", "pooling", "classify", "encode"]
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
        connect: The deadline for one connection.
        read: The deadline for the next bytes of a response; None for no limit. A whole response
            gets twice as long, and at least 30 s, beside ``connect``. Long by default: vLLM queues
            without bound and never answers 429, so a short deadline only makes its queue longer.
        total: The deadline for one sample with all its work (waiting for a free request,
            tokenizing, scoring, retries); None for no limit.
    """

    connect: PositiveFloat = 30
    read: PositiveFloat | None = 600
    total: PositiveFloat | None = None


class RetryPolicy(_Options):
    """The retries of one HTTP request. Scoring is repeatable, so retries are safe.

    Attributes:
        attempts: The number of attempts, the first one included; 1 switches retries off. None
            lets only the budget end the wait for a server that is away or busy (connection
            refused, no connection in time, unknown host, status 429, 502, 503 or 504, or any other
            that says so, or nobody answers what was answered before), and makes at most 5 attempts
            at a request that fails alone.
        budget: The seconds after which no further attempt starts. A server that has not answered
            since the client was made, and cannot be reached, gets at most 5 s.
        max_wait: The longest wait between two attempts in seconds; the client chooses a random wait
            below it (full jitter). A ``Retry-After`` of the server is followed exactly. If it
            exceeds the budget, the request fails at once.
    """

    attempts: PositiveInt | None = None
    budget: NonNegativeFloat = 600
    max_wait: PositiveFloat = 10


class Limits(_Options):
    """Bounds on requests, batches and responses, and the tolerance between replicas.

    Attributes:
        max_concurrency: The most HTTP requests in flight at one server, over all calls of a client.
        max_batch_items: The most samples in one scoring request.
        max_batch_tokens: The most tokens in one scoring request. A longer sample goes alone.
        max_response_bytes: The largest response. A larger one is an error.
        replica_tolerance: The relative and absolute tolerance between the rewards of two replicas
            for one sample. Rounding in bfloat16 and different GPUs shift rewards.
    """

    max_concurrency: PositiveInt = 64
    max_batch_items: PositiveInt = 32
    max_batch_tokens: PositiveInt = 32768
    max_response_bytes: PositiveInt = 64 * 1024 * 1024
    replica_tolerance: NonNegativeFloat = 0.02


class Connection(_Options):
    """TLS and proxy.

    Attributes:
        verify: True checks the server's certificate; a path names a CA bundle to check it with.
        cert: A client certificate: the path of a PEM file, or the paths (certificate, key).
        proxy: The URL of an HTTP proxy.
        trust_env: True reads proxy and CA settings from the usual environment variables.
    """

    verify: bool | str = True
    cert: str | tuple[str, str] | None = None
    proxy: str | None = Field(default=None, repr=False)
    trust_env: bool = True
