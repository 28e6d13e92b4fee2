"""What the tests of integrations share: a server, and an environment without options."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from reward_client._integrations import clients
from reward_client._integrations.environment import PREFIX
from reward_client.testing import RewardServer


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)


@pytest.fixture
def server() -> Iterator[RewardServer]:
    with RewardServer() as server:
        yield server


def blocks_of(page: str, heading: str, url: str, language: str = "python") -> list[str]:
    """Return the blocks of a section of the documentation, with a server's URL in them."""
    text = (Path(__file__).parents[2] / "docs" / "how-to" / page).read_text()
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    blocks = re.findall(rf"^```{language}\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    assert blocks, heading
    return [block.replace("http://localhost:8000", url) for block in blocks]


def commands_of(page: str, heading: str, url: str) -> list[list[str]]:
    """Return the commands in the shell blocks of a section, as lists of words."""
    text = "".join(blocks_of(page, heading, url, language="bash")).replace("\\\n", " ")
    return [shlex.split(line) for line in text.splitlines()]


def port_of(server: RewardServer) -> int:
    return int(server.url.rpartition(":")[2])


@pytest.fixture(autouse=True)
def _no_earlier_clients() -> None:
    """No process-wide client of an earlier test, whose server may have had the same port."""
    for kept in (
        *(clients.client_of, clients.async_client_of, clients.rows_client_of),
        clients._model_of,
    ):
        kept._made.clear()
