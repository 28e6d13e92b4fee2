"""Wiring: a clean environment for every test."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from reward_client._client import core

from .real import wiring
from .support import cells

# The same examples in each run, and no measured time: a test fails by its code only, however busy
# the machine is. `REWARD_CLIENT_FUZZ=full` (`nox -s fuzz`) tries four times as many, and
# `--hypothesis-profile=default` searches for new ones.
settings.register_profile(
    "tests",
    max_examples=100 if os.environ.get("REWARD_CLIENT_FUZZ") == "full" else 25,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tests")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cells", type=Path, help="write how many tests stand behind each cell")
    wiring.add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "cell(version, kind, route, outcome): see tests/support/cells.py"
    )
    # pytest-xdist tells its workers the terminal's size, which would wrap what the tests read.
    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)
    # A shell has its background jobs ignore Ctrl-C, and so would the processes that tests start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish(session: pytest.Session) -> None:
    path = session.config.getoption("cells", default=None)
    if path is not None:
        cells.write(session.items, path)


@pytest.fixture(autouse=True)
def _no_other_clients() -> None:
    """No client shares connections with one that another test made, and perhaps forgot."""
    forgotten = [each for *_, each in core._shared if not each.clients]
    core._shared.clear()
    for each in forgotten:
        thread = each.started_thread
        if thread is not None:
            thread.close(5)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, key or URL of the machine reaches a test."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("REWARD_CLIENT_BASE_URL", "REWARD_CLIENT_API_KEY"):
        monkeypatch.delenv(name, raising=False)
