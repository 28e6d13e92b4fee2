"""`--wait`: the commands wait for a server that is starting."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from reward_client.cli import main
from reward_client.testing import RewardServer

from ..files.conftest import read_rows, write_rows
from ..replicas.restarting import free_port


@pytest.fixture(params=["score", "doctor"])
def arguments(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[list[str], str]:
    """The command line, and the URL in it."""
    url = f"http://127.0.0.1:{free_port()}"
    if request.param == "doctor":
        return ["doctor", url], url
    write_rows(tmp_path / "in.jsonl", [{"token_ids": [5, 6, 7]}])
    return ["score", str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl"), "--url", url], url


@pytest.fixture
def later(arguments: tuple[list[str], str]) -> Iterator[None]:
    """A server that starts after a second."""
    with ExitStack() as opened:
        server = RewardServer(port=int(arguments[1].rpartition(":")[2]))
        opened.callback(server.__exit__, None, None, None)
        timer = threading.Timer(1, server.__enter__)
        opened.callback(timer.join)
        timer.start()
        yield


@pytest.mark.usefixtures("later")
def test_38_a_command_waits(arguments, tmp_path):
    assert main([*arguments[0], "--wait", "60"]) == 0
    if arguments[0][0] == "score":
        (row,) = read_rows(tmp_path / "out.jsonl")
        assert "reward" in row


@pytest.mark.parametrize("wait", [[], ["--wait", "0.5"]])
def test_a_command_waits_no_longer(arguments, capsys, wait):
    started = time.monotonic()
    assert main([*arguments[0], *wait]) > 0
    assert time.monotonic() - started < 30
    out, err = capsys.readouterr()
    assert (
        "refused" if not wait or arguments[0][0] == "doctor" else "No server was ready"
    ) in out + err
