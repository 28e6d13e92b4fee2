"""Wiring of the tests on a real vLLM; `nox -s vllm` runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..real import ordering
from ..real.ledger import Ledger
from .bench import bench, case, ledger, ledger_key, model, scorer, stand_key
from .models import EXPORTS, FURTHER, SERVED

__all__ = ["bench", "case", "ledger", "model", "scorer"]

_HERE = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("real vLLM")
    group.addoption("--server-python", type=Path, help="the Python beside which `vllm` lies")
    group.addoption("--all", action="store_true", help="also the tests marked `all`")
    group.addoption("--url", help="only what can be run on the server that runs there")
    group.addoption("--model", help="the model's name on that server, if it has several")


def pytest_configure(config: pytest.Config) -> None:
    ordering.add_markers(config)
    config.stash[ledger_key] = Ledger("vLLM", EXPORTS)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    ordering.order(config, items, _HERE, tuple(SERVED), FURTHER)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for line in config.stash[ledger_key].summary():
        terminalreporter.write_line(line)
    if stand := config.stash.get(stand_key, None):
        terminalreporter.write_line(f"{stand.starts} starts of a server")
