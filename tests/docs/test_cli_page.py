"""The page about the command line lists every command and every option."""

from __future__ import annotations

import argparse

import pytest

from reward_client import cli

from . import pages

PAGE = pages.DOCS / "reference" / "cli.md"
SHARED = "Options that several commands share"


def commands() -> dict[str, argparse.ArgumentParser]:
    """Return the parsers of the commands by name."""
    (subparsers,) = (
        action
        for action in cli._parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    return dict(subparsers.choices)


@pytest.mark.parametrize("command", commands())
def test_every_option_is_listed(command: str) -> None:
    sections = pages.sections(PAGE)
    shared = [row for row in sections[SHARED].splitlines() if f"`{command}`" in row]
    listed = sections[command] + "".join(shared)
    options = {
        option
        for action in commands()[command]._actions
        for option in action.option_strings
        if option.startswith("--") and option != "--help"
    }
    assert sorted(option for option in options if option not in listed) == []


def test_every_command_is_in_the_overview() -> None:
    overview = pages.sections(PAGE)[""]
    assert all(f"[`{command}`]" in overview for command in commands())
