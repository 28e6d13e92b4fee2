"""The contracts of the gateway, one module for each framework. Pure: bodies in, bodies out."""

from __future__ import annotations

from reward_client.gateway.contracts.llama_factory import LLAMA_FACTORY
from reward_client.gateway.contracts.nemo_gym import SEED_SESSION, VERIFY
from reward_client.gateway.contracts.openrlhf import OPENRLHF
from reward_client.gateway.contracts.plain import PLAIN
from reward_client.gateway.contracts.slime import SLIME
from reward_client.gateway.contracts.verl import CLASSIFY, EMBEDDINGS

CONTRACTS = (
    PLAIN,
    OPENRLHF,
    LLAMA_FACTORY,
    SLIME,
    SEED_SESSION,
    VERIFY,
    CLASSIFY,
    EMBEDDINGS,
)
