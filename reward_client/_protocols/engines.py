"""All engines. A new one is a new folder, and a new line here."""

from __future__ import annotations

from collections.abc import Mapping

from reward_client._protocols.engine import Engine, EngineName
from reward_client._protocols.sglang.engine import SGLANG
from reward_client._protocols.vllm.engine import VLLM

ENGINES: Mapping[EngineName, Engine] = {engine.key: engine for engine in (VLLM, SGLANG)}
"""The engines by their keys."""
