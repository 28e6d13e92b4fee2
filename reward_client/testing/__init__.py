"""A small reward model behind vLLM's HTTP API, for tests and demos.

Start a server, and inject a fault into its responses::

    from reward_client.testing import Fault, RewardServer

    with RewardServer() as server:
        server.inject(Fault.status(429, headers={"Retry-After": "1"}), path="/pooling")

pytest finds the fixture `reward_server` by itself.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reward_client.testing._model.reference import ReferenceValues
    from reward_client.testing._model.sum_judge import demo_pairs
    from reward_client.testing.app import create_app
    from reward_client.testing.faults import Fault
    from reward_client.testing.gateway import GatewayKind, RewardGateway
    from reward_client.testing.recording import RecordedRequest
    from reward_client.testing.server import RewardServer, serve

__all__ = [
    "Fault",
    "GatewayKind",
    "RecordedRequest",
    "ReferenceValues",
    "RewardGateway",
    "RewardServer",
    "create_app",
    "demo_pairs",
    "serve",
]

_MODULES = {
    "Fault": "faults",
    "GatewayKind": "gateway",
    "RecordedRequest": "recording",
    "ReferenceValues": "_model.reference",
    "RewardGateway": "gateway",
    "RewardServer": "server",
    "create_app": "app",
    "demo_pairs": "_model.sum_judge",
    "serve": "server",
}
_PACKAGES_OF_THE_EXTRA = {
    "h11",
    "jinja2",
    "numpy",
    "safetensors",
    "starlette",
    "tokenizers",
    "uvicorn",
}


def __getattr__(name: str) -> Any:
    # Imports wait for the first use: pytest imports this package at every start, for its plugin.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _PACKAGES_OF_THE_EXTRA:
            raise
        raise ModuleNotFoundError(
            f"Cannot import reward_client.testing.{name}: {error.name} is not installed. "
            "Run: pip install 'reward-client[testing]'",
            name=error.name,
        ) from error
    _report_public_module()
    return value


def _report_public_module() -> None:
    """Let reprs, pickles and the documentation show the module that callers import from."""
    for name, module in _MODULES.items():
        item = getattr(sys.modules.get(f"{__name__}.{module}"), name, None)
        if item is not None:
            item.__module__ = __name__
