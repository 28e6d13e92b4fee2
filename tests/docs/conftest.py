"""The surroundings of the examples in the documentation: servers, files, the environment."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from opentelemetry import trace
from opentelemetry.metrics import _internal as metrics_internal
from opentelemetry.util._once import Once

# The plugin provides it only if the package is installed, not if it is only on the path.
from reward_client.testing.plugin import reward_server

from .examples import example_files
from .servers import DEFAULT, SERVERS, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["reward_server"]


@pytest.fixture(scope="module")
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """Start the servers that the examples call, or those of the test's parameter."""
    with closing(Stage(getattr(request, "param", SERVERS))) as stage:
        yield stage


@pytest.fixture
def surroundings(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set up the files and variables that the pages tell the reader to have."""
    example_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REWARD_CLIENT_BASE_URL", stage.server(DEFAULT).url)
    monkeypatch.delenv("REWARD_CLIENT_API_KEY", raising=False)
    # A process can set each provider once, and the other pages must not print spans.
    for module, name in ((trace, "_TRACER_PROVIDER"), (metrics_internal, "_METER_PROVIDER")):
        monkeypatch.setattr(module, name, None)
        monkeypatch.setattr(module, f"{name}_SET_ONCE", Once())
