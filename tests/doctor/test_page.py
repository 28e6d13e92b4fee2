"""The page about the doctor shows what it prints, and lists what it looks at."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from reward_client import cli
from reward_client._doctor.report import Check

from .conftest import Serve

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "doctor.md"
URL = "http://localhost:8000"
# The last digits of a reward may differ between machines, and the next version has another number.
DIGITS = re.compile(r"(?<=\.\d{2})\d+|(?<=client version )[\d.]+")


def text_blocks() -> list[str]:
    return re.findall(r"^```text\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("place", "dialect", "status"), [(0, "0.32", 0), (1, "0.8", 2)])
def test_the_examples_are_real(
    place: int,
    dialect: str,
    status: int,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Where it fails, what was printed belongs on the page."""
    monkeypatch.setenv("COLUMNS", "100")
    server = serve(dialect=dialect)
    assert cli.main(["doctor", server.url]) == status
    printed = capsys.readouterr().out.replace(server.url, URL).rstrip("\n") + "\n"
    assert DIGITS.sub("", printed) == DIGITS.sub("", text_blocks()[place])


def test_every_check_is_explained() -> None:
    table = PAGE.read_text("utf-8").split("| Check |", maxsplit=1)[1].split("\n\n", maxsplit=1)[0]
    explained = [row.split(" | ")[0].removeprefix("| ") for row in table.splitlines()[2:]]
    assert explained == list(get_args(Check))
