"""Wiring of the tests on a real SGLang; `nox -s sglang` runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..real import ordering
from ..real.ledger import Ledger
from .bench import bench, ledger, ledger_key, stand_key
from .models import EXPORTS, FURTHER, SERVED

__all__ = ["bench", "ledger"]

_HERE = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("real SGLang")
    group.addoption("--server-python", type=Path, help="the Python of the servers")
    group.addoption("--torch-python", type=Path, help="that of the reference, if it is another")
    group.addoption("--vllm-python", type=Path, help="that of a vLLM, to compare both")
    group.addoption("--all", action="store_true", help="also the tests marked `all`")


def pytest_configure(config: pytest.Config) -> None:
    ordering.add_markers(config)
    config.stash[ledger_key] = Ledger("SGLang", EXPORTS)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    ordering.order(config, items, _HERE, tuple(SERVED), FURTHER)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for line in config.stash[ledger_key].summary():
        terminalreporter.write_line(line)
    if stand := config.stash.get(stand_key, None):
        terminalreporter.write_line(f"{stand.starts} starts of a server")
