"""The build on a Python that is too old, without hatchling."""

from __future__ import annotations

import platform
import sys
import tomllib
from pathlib import Path
from runpy import run_path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
METADATA = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Any:
    interface = ModuleType("interface")
    interface.MetadataHookInterface = object  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "hatchling.metadata.plugin.interface", interface)
    return run_path(str(ROOT / "tools/supported_python.py"))["SupportedPython"]()


@pytest.mark.parametrize("version", ["3.11.0", "3.14.2", "3.15.0a1"])
def test_a_supported_python(hook: Any, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(platform, "python_version", lambda: version)
    metadata = dict(METADATA)
    hook.update(metadata)
    assert metadata == METADATA


@pytest.mark.parametrize("version", ["3.10.13", "3.9.18", "3.8.18"])
def test_a_python_that_is_too_old(hook: Any, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(platform, "python_version", lambda: version)
    with pytest.raises(SystemExit) as ended:
        hook.update(dict(METADATA))
    assert str(ended.value) == (
        f"Cannot install reward-client: it needs Python >=3.11, and this is {version}. Make the "
        "environment with another Python."
    )
