"""Wiring of the tests on a real vLLM; `nox -s vllm` runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .bench import bench, case, ledger, model, scorer, wiring

if TYPE_CHECKING:
    import pytest

__all__ = ["bench", "case", "ledger", "model", "scorer"]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("real vLLM")
    group.addoption("--url", help="only what can be run on the server that runs there")
    group.addoption("--model", help="the model's name on that server, if it has several")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(wiring)
