"""Wiring of the tests on a real vLLM; `nox -s vllm` runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from .bench import bench, case, ledger, ledger_key, model, scorer, stand_key
from .ledger import Ledger
from .models import FURTHER, SERVED

__all__ = ["bench", "case", "ledger", "model", "scorer"]

_HERE = Path(__file__).parent
_ORDER = tuple(SERVED)
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
    config.addinivalue_line("markers", "beside(model): by a server beside that of a model")
    config.stash[ledger_key] = Ledger()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = [item for item in items if _HERE in item.path.parents]
    for item in here:
        item.add_marker(pytest.mark.timeout(_TIMEOUT))
        if _parameter(item, "model") in FURTHER:
            item.add_marker(pytest.mark.all)
    extra = [item for item in here if item.get_closest_marker("all")]
    if config.getoption("all", default=False):
        extra.clear()
    config.hook.pytest_deselected(items=extra)
    elsewhere = [item for item in items if item not in here]
    items[:] = elsewhere + sorted((item for item in here if item not in extra), key=_place)


def _place(item: pytest.Item) -> tuple[int, bool]:
    """Tests on one model next to each other, after those in whose course it comes up.

    Those that name no model are on the first, or on the one beside which their own server is.
    """
    comes_up, beside = _parameter(item, "after"), item.get_closest_marker("beside")
    default = beside.args[0] if beside is not None else _ORDER[0]
    return _ORDER.index(comes_up or _parameter(item, "model") or default), comes_up is None


def _parameter(item: pytest.Item, name: str) -> str | None:
    callspec = getattr(item, "callspec", None)
    return callspec.params.get(name) if callspec else None


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for line in config.stash[ledger_key].summary():
        terminalreporter.write_line(line)
    if stand := config.stash.get(stand_key, None):
        terminalreporter.write_line(f"{stand.starts} starts of a server")
