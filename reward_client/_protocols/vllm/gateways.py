"""Gateways: what each changes, and what still proves a reward, as data. A new gateway is a new row.

In `Gateway.source`, "live" means that the gateway itself was run, and "code" or "docs" that they
were read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, TypeAlias

SourceOfIds: TypeAlias = Literal["server", "local"]


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway, and what still proves a reward behind it.

    Attributes:
        name: Its name, or what it does.
        forwards: The routes that it forwards, in words.
        changes: What it changes.
        moved: The paths of the server that it serves elsewhere.
        gives: The models whose rewards get through, in words.
        ids: Who makes token IDs: the server, or a local tokenizer (or the caller).
        proof: What proves the reward.
        source: The origin of the row.
        played: The kind of `reward_client.testing.RewardGateway` that plays it.
    """

    name: str
    forwards: str
    changes: str
    gives: str
    ids: SourceOfIds
    proof: str
    source: str
    played: str
    moved: Mapping[str, str] = field(default_factory=dict[str, str])


GATEWAYS = (
    Gateway(
        name="catch-all proxies: verl's reward router",
        forwards="each path",
        changes="`/openapi.json` is its own; each error becomes a bare 500",
        gives="all",
        ids="server",
        proof="as without it. A wrong request shows that refusals are hidden",
        source="live: verl 0.9.1, `experimental/reward_loop/router/naive_router.py`",
        played="catch-all",
    ),
    Gateway(
        name="Dynamo",
        forwards="`/v1/classify`, `/v1/pooling`, `/v1/embeddings`, `/v1/completions`",
        changes="errors are flat; a missing route says that the model is missing; busy is 529, or "
        "a status of the operator's choice with the type `Overloaded`; `root` is dropped",
        gives="all",
        ids="local",
        proof="the values show that they are raw, since the version is unknown",
        source="code of dynamo, `lib/llm/src/http/service/openai.rs` and `error.rs`; its pull "
        "requests 12058 and 12139 to 12142",
        played="dynamo",
        moved=MappingProxyType({"/pooling": "/v1/pooling", "/classify": "/v1/classify"}),
    ),
    Gateway(
        name="gateways of OpenAI's routes: KubeAI, GPUStack, LiteLLM",
        forwards="`/v1/models`, `/v1/embeddings`, `/v1/completions`",
        changes="`root` and the length limit are dropped, by some `usage` too",
        gives="exported; hidden states; a token's logit; yes or no",
        ids="local",
        proof="the reference values of the manifest, or values outside of 0 to 1; without `usage`, "
        "that each end of a sample changes its value",
        source="docs: kubeai.org/reference/openai-api-compatibility, "
        "docs.gpustack.ai/latest/integrations/openai-compatible-apis",
        played="openai",
    ),
    Gateway(
        name="ingresses with the prefix `/v1`",
        forwards="each path below `/v1`",
        changes="nothing",
        gives="exported; hidden states; a token's logit; yes or no",
        ids="local",
        proof="the reference values of the manifest, or values outside of 0 to 1",
        source="by construction",
        played="v1",
    ),
    Gateway(
        name="deployments of one route: Ray Serve",
        forwards="`/classify`",
        changes="nothing; the model has to be named, since `/v1/models` is hidden",
        gives="one label, or several",
        ids="local",
        proof="the values show that they are raw, since the version is unknown",
        source="by construction, after vLLM's example of `/classify` behind Ray Serve",
        played="classify",
    ),
)
"""All known gateways."""


def moved_paths(path: str) -> tuple[str, ...]:
    """Return the other paths at which gateways serve a path of vLLM."""
    return tuple(
        dict.fromkeys(gateway.moved[path] for gateway in GATEWAYS if path in gateway.moved)
    )
