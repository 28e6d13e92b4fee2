"""A real, small reward model behind vLLM's wire, for tests and demos.

A server, and a fault for it::

    from reward_client.testing import Fault, RewardServer

    with RewardServer() as server:
        server.inject(Fault.status(429, headers={"Retry-After": "1"}), path="/pooling")

pytest finds the fixture `reward_server` by itself.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reward_client.testing.app import create_app
    from reward_client.testing.faults import Fault
    from reward_client.testing.judge import demo_pairs
    from reward_client.testing.recording import RecordedRequest
    from reward_client.testing.reference import ReferenceValues
    from reward_client.testing.server import RewardServer, serve

__all__ = [
    "Fault",
    "RecordedRequest",
    "ReferenceValues",
    "RewardServer",
    "create_app",
    "demo_pairs",
    "serve",
]

_HOMES = {
    "Fault": "faults",
    "RecordedRequest": "recording",
    "ReferenceValues": "reference",
    "RewardServer": "server",
    "create_app": "app",
    "demo_pairs": "judge",
    "serve": "server",
}
_EXTRA = {"jinja2", "numpy", "safetensors", "starlette", "tokenizers", "uvicorn", "h11"}


def __getattr__(name: str) -> Any:
    # Names are looked up at first use: pytest imports this package at every start, for its plugin.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _EXTRA:
            raise
        raise ModuleNotFoundError(
            f"reward_client.testing needs {error.name}: pip install 'reward-client[testing]'",
            name=error.name,
        ) from error
