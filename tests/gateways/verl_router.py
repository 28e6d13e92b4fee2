"""Runs the reward router of verl as its own process: `python verl_router.py PORT URL`.

The code is that of the installed package, unchanged. verl itself needs torch and ray, and its
router does not: only `launch_router_process`, which is not called, asks ray for an address.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType


def import_router() -> ModuleType:
    """Import the module of the router, without the packages around it."""
    sys.modules["ray"] = ModuleType("ray")
    found = find_spec("verl")
    assert found is not None
    folder = Path(found.submodule_search_locations[0])
    for inner in ("", "utils", "experimental", "experimental/reward_loop"):
        package = ModuleType(".".join(["verl", *inner.split("/")]).rstrip("."))
        package.__path__ = [str(folder / inner)]
        sys.modules[package.__name__] = package
    return import_module("verl.experimental.reward_loop.router.naive_router")


if __name__ == "__main__":
    port, *urls = sys.argv[1:]
    import_router().run_router("127.0.0.1", int(port), urls)
