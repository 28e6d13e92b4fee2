"""Wiring of the tests on a real vLLM; `nox -s vllm` runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from .bench import MODELS, bench, case, ledger, ledger_key, model, scorer
from .ledger import Ledger

__all__ = ["bench", "case", "ledger", "model", "scorer"]

_HERE = Path(__file__).parent
# Servers take up to a minute to start, and one test starts several.
_TIMEOUT = 900


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("real vLLM")
    group.addoption("--server-python", type=Path, help="the Python beside which `vllm` lies")
    group.addoption("--all", action="store_true", help="also the tests marked `all`")
    group.addoption("--url", help="only what can be run on the server that runs there")
    group.addoption("--model", help="the model's name on that server, if it has several")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "all: needs further servers; run with --all")
    config.stash[ledger_key] = Ledger()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    extra = [item for item in items if item.get_closest_marker("all")]
    if extra and not config.getoption("all", default=False):
        items[:] = [item for item in items if item not in extra]
        config.hook.pytest_deselected(items=extra)
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(_TIMEOUT))
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    """Tests on one model next to each other (those that name none begin with the first)."""
    if item.get_closest_marker("all"):
        return len(MODELS)
    callspec = getattr(item, "callspec", None)
    return MODELS.index(callspec.params.get("model", MODELS[0]) if callspec else MODELS[0])


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if summary := config.stash[ledger_key].summary():
        terminalreporter.write_line(summary)
