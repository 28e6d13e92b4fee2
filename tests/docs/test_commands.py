"""The commands in the documentation exist."""

from __future__ import annotations

import ast
import re
import shlex
import tomllib
from typing import TYPE_CHECKING

import pytest

from reward_client import cli

from . import pages

if TYPE_CHECKING:
    from pathlib import Path

PROJECT = tomllib.loads(pages.text(pages.ROOT / "pyproject.toml"))
SESSIONS = {
    node.name
    for node in ast.parse(pages.text(pages.ROOT / "noxfile.py")).body
    if isinstance(node, ast.FunctionDef) and node.decorator_list
}
TEST_COMMAND = "python -m pip install nox && python -m nox"
REWARD = re.compile(r" *-?\d+\.\d{3}\b|:\d{4,5}\b")
DEMO_COMMAND = "python -m pip install '.[demo]' && reward-client demo"


def commands(page: Path) -> list[list[str]]:
    """Return the commands in the shell blocks and in the text of a page."""
    shell = (example.parsed for example in pages.blocks(page, "bash", lambda _: None))
    found = [block for block in shell if isinstance(block, str)]  # no remarks to skip something
    found += re.findall(r"`((?:nox|reward-client) [^`\n]+)`", pages.text(page))
    lines = "\n".join(found).replace("\\\n", " ").splitlines()
    parts = (part for line in lines for part in line.split("&&"))
    return [words for part in parts if (words := shlex.split(part, comments=True))]


@pytest.mark.parametrize("page", pages.PAGES, ids=pages.name)
def test_commands_exist(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in commands(page):
        match command:
            case ["reward-client", "--version" | "--completion", *_]:
                with pytest.raises(SystemExit) as ended:
                    cli.main(command[1:3])
                assert ended.value.code == 0
            case ["reward-client", *arguments]:
                assert cli._parser().parse_args(arguments).run, command
            case ["python", "-m", "nox", *arguments] | ["nox", *arguments]:
                named = [word for word in arguments if not word.startswith("-")]
                assert set(named[:1]) <= SESSIONS, command
            case ["python", "-m", "pip", "install", *arguments]:
                for extras in re.findall(r"\[(.*?)\]", " ".join(arguments)):
                    known = PROJECT["project"]["optional-dependencies"].keys()
                    assert set(extras.split(",")) <= known, command
            case _:
                assert command[0] in {
                    *["vllm", "git", "cat", "cd", "mkdir", "export", "python", "source"],
                    *["inspect", "swift", "vf-eval"],
                }, command


@pytest.mark.parametrize("page", pages.PAGES, ids=pages.name)
def test_the_option_task_is_for_versions_that_know_it(page: Path) -> None:
    """From 0.10 on, vLLM knows --runner; 0.32 refuses --task."""
    for line in pages.text(page).splitlines():
        assert "--task " not in line or re.search(r"\b(up to )?0\.[6-9]\b", line), line


def test_readme_has_the_two_commands() -> None:
    lines = pages.text(pages.ROOT / "README.md").splitlines()
    assert DEMO_COMMAND in lines
    assert TEST_COMMAND in lines


def test_readme_shows_what_the_demo_prints(capsys: pytest.CaptureFixture[str]) -> None:
    readme = pages.text(pages.ROOT / "README.md")
    shown = readme.split("```text\n", maxsplit=1)[1].split("```", maxsplit=1)[0]
    assert cli.main(["demo"]) == 0
    printed = capsys.readouterr().out
    # The last digit may differ between machines, and the port does.
    assert re.sub(REWARD, "", shown) in re.sub(REWARD, "", printed)
    assert rewards(printed) == pytest.approx(rewards(shown), abs=2e-3)


def rewards(report: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+\.\d{3}\b", report)]
