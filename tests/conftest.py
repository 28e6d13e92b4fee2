"""Wiring: a clean environment for every test."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import cells


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cells", type=Path, help="write how many tests stand behind each cell")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cell(version, kind, route, outcome): see tests/cells.py")


def pytest_collection_finish(session: pytest.Session) -> None:
    path = session.config.getoption("cells", default=None)
    if path is not None:
        cells.write(session.items, path)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, key or URL of the machine reaches a test."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("REWARD_CLIENT_BASE_URL", "REWARD_CLIENT_API_KEY"):
        monkeypatch.delenv(name, raising=False)
