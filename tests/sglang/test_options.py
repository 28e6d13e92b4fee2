"""SGLang's own parser knows what this package tells people to start it with."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from reward_client.recipes import catalogue

from ..support.sglang_flags import sglang_flags
from .servers import ENVIRONMENT

COMMANDS = [
    shlex.split(command)
    for recipe in catalogue().values()
    for model in recipe.models
    for server, command in recipe.for_model(model).commands.items()
    if server == "SGLang"
]


def test_the_parser_accepts_the_commands_of_all_recipes(pytestconfig: pytest.Config) -> None:
    python = pytestconfig.getoption("server_python")
    if python is None:
        pytest.skip("needs a real SGLang: nox -s sglang")
    assert {(*command[:3],) for command in COMMANDS} == {("python", "-m", "sglang.launch_server")}
    done = subprocess.run(
        [python, Path(__file__).with_name("read_options.py")],
        input=json.dumps([command[3:] for command in COMMANDS]),
        env={**os.environ, **ENVIRONMENT, "SGLANG_USE_CPU_ENGINE": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    # The tests without an SGLang go by what is recorded.
    assert {*found["options"]} == sglang_flags()[found["version"]]
