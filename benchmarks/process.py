"""A function of this package, called in a process of its own."""

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


class FailedError(Exception):
    """The process ended with an error; says the end of what it printed."""


def call(
    function: Callable[..., T],
    *,
    python: Path | str = sys.executable,
    environment: Mapping[str, str] | None = None,
    **arguments: object,
) -> T:
    """What a function returns; arguments and result are JSON.

    Raises:
        FailedError: It raised an error.
    """
    done = subprocess.run(
        [python, "-m", "benchmarks.process", f"{function.__module__}:{function.__name__}"],
        input=json.dumps(arguments),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        check=False,
    )
    if done.returncode:
        raise FailedError(done.stderr[-2000:])
    result: T = json.loads(done.stdout)
    return result


def peak() -> float:
    """The largest resident set of this process so far, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss may be that of the process that started this one
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _main(target: str) -> None:
    # Libraries print: to stderr, so that the result is all that stdout holds.
    with os.fdopen(os.dup(1), "w") as result:
        os.dup2(2, 1)
        module, _, name = target.partition(":")
        function: Callable[..., Any] = getattr(importlib.import_module(module), name)
        json.dump(function(**json.load(sys.stdin)), result)


if __name__ == "__main__":
    _main(sys.argv[1])
