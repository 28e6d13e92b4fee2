"""The examples of the documentation: the files that they read, and a function that runs them."""

from __future__ import annotations

import ast
import asyncio
import inspect
import shutil
from importlib import resources
from pathlib import Path
from typing import Any

MODELS = ("my-reward-model", "my-policy")


def example_files(folder: Path) -> None:
    """Write the files that the pages tell the reader to have."""
    with resources.as_file(
        resources.files("reward_client.testing") / "_model" / "checkpoint"
    ) as checkpoint:
        for name in MODELS:
            shutil.copytree(checkpoint, folder / name)


def run_block(source: str, path: str, namespace: dict[str, Any]) -> None:
    """Run a block as a reader does: in a script, or with `await` in the cell of a notebook."""
    code = compile(source, path, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    awaited = eval(code, namespace)
    if inspect.iscoroutine(awaited):
        asyncio.run(awaited)
