"""The part of the wiring that tests on all engines share: options, order, summary."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from . import ordering
from .ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    import pytest

    from .servers import Stand


def add_options(parser: pytest.Parser) -> None:
    group = parser.getgroup("real servers")
    group.addoption("--server-python", type=Path, help="the Python whose engine serves")
    group.addoption("--all", action="store_true", help="also the tests marked `all`")


class Wiring:
    """The hooks of pytest for the tests on one engine.

    Args:
        engine: The engine's name.
        folder: The folder of its tests.
        models: The names of the served models, in the order of the tests.
        further: Those of them that need `--all`.
        exports: The models that are exported checkpoints.

    Attributes:
        ledger: What the tests compared.
        stand: The place of the servers, once a test needs one.
    """

    def __init__(
        self,
        engine: str,
        folder: Path,
        models: Iterable[str],
        further: Collection[str],
        exports: Collection[str],
    ) -> None:
        self._folder = folder
        self._models = tuple(models)
        self._further = further
        self.ledger = Ledger(engine, exports)
        self.stand: Stand | None = None

    def pytest_configure(self, config: pytest.Config) -> None:
        ordering.add_markers(config)

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        ordering.order(config, items, self._folder, self._models, self._further)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in self.ledger.summary():
            terminalreporter.write_line(line)
        if self.stand is not None:
            terminalreporter.write_line(f"{self.stand.starts} starts of a server")
