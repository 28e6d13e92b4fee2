"""Calls of this package's functions, each in a process of its own."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[1]
_PACKAGE = "BENCHMARKS_PACKAGE"
"""The environment variable with the checkout from which a process imports reward_client."""


class FailedError(Exception):
    """A process that ended with an error, with the end of its output."""


def call(
    function: Callable[..., T],
    *,
    python: Path | str = sys.executable,
    environment: Mapping[str, str] | None = None,
    package: str | None = None,
    **arguments: object,
) -> T:
    """Call a function in a process of its own; arguments and result pass as JSON.

    Args:
        function: A function of this package.
        python: The interpreter.
        environment: Further environment variables.
        package: The checkout from which to import reward_client; None for the installed one.
        arguments: The arguments of the function.

    Raises:
        FailedError: If the function raises an error.
    """
    given = {**os.environ, **(environment or {}), _PACKAGE: package or ""}
    done = subprocess.run(
        [python, "-m", "benchmarks.process", f"{function.__module__}:{function.__name__}"],
        input=json.dumps(arguments),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=given,
        check=False,
    )
    if done.returncode:
        raise FailedError(done.stderr[-2000:])
    result: T = json.loads(done.stdout)
    return result


def peak() -> float:
    """Return the largest resident set of this process so far, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # on Linux, ru_maxrss may report the parent process
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _import_from(checkout: str) -> None:
    """Import reward_client from a checkout; this package stays the one that runs."""
    sys.path.insert(0, checkout)
    package = importlib.import_module("reward_client")
    sys.path.remove(checkout)
    if not Path(str(package.__file__)).resolve().is_relative_to(Path(checkout).resolve()):
        raise ImportError(
            f"Cannot measure {checkout}: reward_client came from {package.__file__}. "
            "Name the folder that holds the folder reward_client."
        )


def _main(target: str) -> None:
    # Libraries may print: their output goes to stderr, so that stdout holds the result alone.
    with os.fdopen(os.dup(1), "w") as result:
        os.dup2(2, 1)
        if os.environ.get(_PACKAGE):
            _import_from(os.environ[_PACKAGE])
        module, _, name = target.partition(":")
        function: Callable[..., Any] = getattr(importlib.import_module(module), name)
        json.dump(function(**json.load(sys.stdin)), result)


if __name__ == "__main__":
    _main(sys.argv[1])
