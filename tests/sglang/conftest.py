"""Wiring of the tests on a real SGLang; `nox -s sglang` runs them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .bench import bench, ledger, wiring

if TYPE_CHECKING:
    import pytest

__all__ = ["bench", "ledger"]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("real SGLang")
    group.addoption("--torch-python", type=Path, help="that of the reference, if it is another")
    group.addoption("--vllm-python", type=Path, help="that of a vLLM, to compare both")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(wiring)
