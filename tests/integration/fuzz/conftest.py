"""Wiring: time for the long run, the loop, and the count of examples at the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from . import running


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    rounds = getattr(metafunc.function, "rounds", 1)
    if rounds > 1:
        metafunc.fixturenames.append("fuzzing_round")
        metafunc.parametrize("fuzzing_round", range(rounds))


@pytest.fixture
def fuzzing_round() -> None:
    """Stands for a round of the long run."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if running.is_long():
        for item in items:
            if item.path.parent.name == "fuzz":
                item.add_marker(pytest.mark.timeout(0))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if running.ended:
        counts = ", ".join(
            f"{count:,} examples ended in {how}" for how, count in running.ended.items()
        )
        terminalreporter.write_line(f"fuzz: {counts}")


@pytest.fixture(scope="session")
def runner() -> Iterator[running.Running]:
    with running.Running() as started:
        yield started
