"""The place of a real server keeps its port, and takes no other server for its own."""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from . import servers

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a port is held as Linux does it")

# Each path, and so also /health, is a file.
HEALTHY = ("-m", "http.server", "--bind", "127.0.0.1")


class Stand(servers.Stand):
    """The place of a server of files."""

    def _command(self, folder: Path, port: int) -> list[str | Path]:
        (folder / "health").touch()
        return [self._python, *HEALTHY, "--directory", folder, str(port)]

    def _environment(self) -> dict[str, str]:
        return {}


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    with Stand(Path(sys.executable), tmp_path) as stand:
        yield stand


def port_of(server: servers.Server) -> int:
    return int(server.url.rpartition(":")[2])


def test_nobody_else_gets_the_port_between_two_starts(stand: Stand, tmp_path: Path) -> None:
    first = stand.start(tmp_path)
    first.kill()  # before anybody was connected, or else Linux keeps its port for a minute
    with socket.socket() as other, pytest.raises(OSError, match="Address already in use"):
        other.bind(("127.0.0.1", port_of(first)))
    assert stand.start(tmp_path).wait_until_healthy().url == first.url


def test_a_closed_one_gives_its_port_back(stand: Stand, tmp_path: Path) -> None:
    server = stand.start(tmp_path)  # no connection keeps its port: it never was up
    stand.close()
    with socket.socket() as other:
        other.bind(("127.0.0.1", port_of(server)))


def test_another_server_is_not_taken_for_one_that_ended(stand: Stand, tmp_path: Path) -> None:
    stand.start(tmp_path).wait_until_healthy()
    other = servers.Server(["false"], {}, stand._port, tmp_path / "log")
    while other.alive:
        time.sleep(0.01)
    with pytest.raises(AssertionError, match="ended while starting"):
        other.wait_until_healthy()
    other.kill()


def test_nothing_starts_where_another_server_listens(
    stand: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "_STOP_SECONDS", 0.2)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", stand._port))
        other.listen()
        with pytest.raises(AssertionError, match="Another server listens"):
            stand.start(tmp_path)
