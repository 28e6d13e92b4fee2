"""Frameworks on a CPU: their own modules, without the packages around them that need GPUs."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any


def without_init(*packages: str) -> None:
    """Lets modules of packages be imported without the `__init__` of these packages."""
    if packages[0] in sys.modules:
        return
    spec = find_spec(packages[0])
    assert spec is not None
    assert spec.submodule_search_locations is not None
    root = Path(spec.submodule_search_locations[0]).parent
    for package in packages:
        module = ModuleType(package)
        module.__path__ = [str(root.joinpath(*package.split(".")))]
        sys.modules[package] = module


def openrlhf_executor() -> Any:
    """Return OpenRLHF's class that generates one turn and asks for its reward."""
    without_init("openrlhf", "openrlhf.utils")
    return import_module("openrlhf.utils.agent").SingleTurnAgentExecutor


def areal_module(name: str) -> Any:
    """Return a module of AReaL."""
    without_init("areal", "areal.infra")
    package: Any = sys.modules["areal"]
    package.__version__ = "unknown"
    if name.startswith("areal.workflow"):
        package.workflow_context = import_module("areal.infra.workflow_context")
    return import_module(name)


class Engine:
    """In the place of a vLLM engine: writes a given text."""

    def __init__(self, tokenizer: Any, text: str) -> None:
        self.ids = tokenizer.encode(text, add_special_tokens=False)

    async def generate(self, *_: Any, **__: Any) -> Any:
        output = SimpleNamespace(token_ids=self.ids, finish_reason="stop", logprobs=None)
        return SimpleNamespace(outputs=[output])
