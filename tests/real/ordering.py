"""The order of tests on real servers, each change of which costs a start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

# Servers take up to a minute to start, and one test starts several.
_TIMEOUT = 900


def add_markers(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "all: needs further servers; run with --all")
    config.addinivalue_line("markers", "beside(model): by a server beside that of a model")


def order(
    config: pytest.Config,
    items: list[pytest.Item],
    folder: Path,
    models: Sequence[str],
    further: Collection[str],
) -> None:
    """Sort the tests of a folder by their models; without `--all`, leave out those of `further`."""
    here = [item for item in items if folder in item.path.parents]
    for item in here:
        item.add_marker(pytest.mark.timeout(_TIMEOUT))
        if _parameter(item, "model") in further:
            item.add_marker(pytest.mark.all)
    extra = [item for item in here if item.get_closest_marker("all")]
    if config.getoption("all"):
        extra.clear()
    config.hook.pytest_deselected(items=extra)
    elsewhere = [item for item in items if item not in here]
    kept = (item for item in here if item not in extra)
    items[:] = elsewhere + sorted(kept, key=lambda item: _place(item, models))


def _place(item: pytest.Item, models: Sequence[str]) -> tuple[int, bool]:
    """Tests on one model next to each other, after those in whose course it comes up.

    Those that name no model are on the first, or on the one beside which their own server is.
    """
    comes_up, beside = _parameter(item, "after"), item.get_closest_marker("beside")
    default = beside.args[0] if beside is not None else models[0]
    return models.index(comes_up or _parameter(item, "model") or default), comes_up is None


def _parameter(item: pytest.Item, name: str) -> str | None:
    callspec = getattr(item, "callspec", None)
    return callspec.params.get(name) if callspec else None
