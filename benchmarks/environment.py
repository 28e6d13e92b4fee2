"""The environment of the figures: machine, Python, packages."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.process import call

PACKAGES = (
    *("aiohttp", "baseten_performance_client", "httpx", "httpx-aiohttp", "openai", "orjson"),
    *("pydantic", "requests", "tenacity", "tokenizers", "transformers"),
)
SERVER_PACKAGES = ("vllm", "torch", "transformers", "tokenizers", "fastapi", "pydantic", "orjson")


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of Python and of the installed packages among these."""
    found = {"Python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def environment(server_python: str | None) -> dict[str, Any]:
    """Describe the environment for the results."""
    from reward_client import __version__

    by_server = None
    if server_python is not None:
        by_server = call(versions, python=server_python, packages=SERVER_PACKAGES)
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "system": platform.system(),
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "packages": {"reward_client": __version__, **versions(PACKAGES)},
        "server_packages": by_server,
    }


def in_words(found: Mapping[str, Any]) -> str:
    """Describe the environment in the line below the tables."""
    packages = ", ".join(f"{name} {number}" for name, number in found["packages"].items())
    server = found["server_packages"] or {}
    served = f"; server: vllm {server['vllm']}, torch {server['torch']}" if server else ""
    return f"{found['date']}, {found['cpus']} cores ({found['processor']}); {packages}{served}."


def _processor() -> str:
    described = Path("/proc/cpuinfo")
    if described.exists():
        for line in described.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
