"""The pytest plugin, in a pytest run of its own."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

pytest_plugins = ["pytester"]

PLUGIN = "reward_client.testing.plugin"


def test_fixture(pytester):
    pytester.makepyfile(
        """
        import httpx

        def test_scores(reward_server):
            reply = httpx.post(reward_server.url + "/pooling", json={"input": [1, 2]})
            assert reply.status_code == 200

        def test_is_new(reward_server):
            assert reward_server.requests == []
        """
    )
    # Where the package is installed, pytest has found the plugin by its entry point.
    found = any(entry.value == PLUGIN for entry in entry_points(group="pytest11"))
    options = () if found else ("-p", PLUGIN)
    pytester.runpytest_inprocess(*options).assert_outcomes(passed=2)


def test_costs_nothing_until_used():
    code = f"import sys, {PLUGIN}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert PLUGIN in loaded
    assert not loaded & {"numpy", "starlette", "uvicorn", "tokenizers", "jinja2", "safetensors"}
