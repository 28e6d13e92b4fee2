"""Colours and progress bars: on terminals only."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from reward_client import cli
from reward_client.cli._output import show, show_error
from reward_client.testing import RewardServer

COLOURS = {"FAIL": "red", "ok": "green"}
RED, GREEN, PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[0m"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


@pytest.mark.parametrize(
    ("stream", "environment", "coloured"),
    [
        (Terminal, {}, True),
        (Terminal, {"NO_COLOR": "1"}, False),
        (Terminal, {"NO_COLOR": ""}, True),
        (Terminal, {"TERM": "dumb"}, False),
        (Terminal, {"TERM": "dumb", "FORCE_COLOR": "1"}, True),
        (io.StringIO, {}, False),
        (io.StringIO, {"FORCE_COLOR": "1"}, True),
        (Terminal, {"FORCE_COLOR": "0"}, False),
        (io.StringIO, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_colours(
    monkeypatch: pytest.MonkeyPatch,
    stream: type[io.StringIO],
    environment: dict[str, str],
    *,
    coloured: bool,
) -> None:
    out = stream()
    monkeypatch.setattr(sys, "stdout", out)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    show("ok    reach\nFAIL  key\nokay  \x1b[31mFAIL", colours=COLOURS)
    first, second = (f"{GREEN}ok{PLAIN}", f"{RED}FAIL{PLAIN}") if coloured else ("ok", "FAIL")
    assert out.getvalue() == f"{first}    reach\n{second}  key\nokay  \\x1b[31mFAIL\n"


def test_an_error_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    err = Terminal()
    monkeypatch.setattr(sys, "stderr", err)
    show_error("Cannot.")
    assert err.getvalue() == f"{RED}reward-client:{PLAIN} Cannot.\n"


def test_the_doctor_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    with RewardServer() as server:
        assert cli.main(["doctor", server.url]) == 0
    assert f"{GREEN}ok{PLAIN}    reach" in out.getvalue()


def test_no_bar_where_no_terminal_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("arguments", [["recipe"], ["--version"], ["recipe", "--help"], ["demo"]])
def test_a_full_disk(arguments: list[str]) -> None:
    program = "from reward_client.cli import main; raise SystemExit(main())"
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    said = b"reward-client: Cannot write to stdout: No space left on device.\n"
    assert (done.returncode, done.stderr) == (1, said)
