"""What the examples of the documentation find around them: a server, files, the environment."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from importlib import resources
from typing import TYPE_CHECKING

import pytest

from reward_client.testing import demo_pairs

# The plugin brings it where the package is installed, not where it is only on the path.
from reward_client.testing.plugin import reward_server

from .servers import DEFAULT, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["reward_server"]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """The servers that the examples call."""
    with closing(Stage()) as stage:
        yield stage


@pytest.fixture
def surroundings(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the pages tell the reader to have set up."""
    rows = [{"messages": pair["chosen"]} for pair in demo_pairs()[:6]]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "conversations.jsonl").write_text(lines, encoding="utf-8")
    with resources.as_file(resources.files("reward_client.testing") / "model") as checkpoint:
        shutil.copytree(checkpoint, tmp_path / "my-reward-model")
        shutil.copytree(checkpoint, tmp_path / "my-policy")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REWARD_CLIENT_BASE_URL", stage.server(DEFAULT).url)
    monkeypatch.delenv("REWARD_CLIENT_API_KEY", raising=False)
