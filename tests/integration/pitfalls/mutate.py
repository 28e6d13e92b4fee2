"""Take measures out of a copy of the package, and look whether their tests notice."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mutations import Mutation, Pitfall

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "reward_client"

# Says which package is imported, and what each test failed with: only the test's own body counts,
# and not with an error that says that the copy is broken.
_RUN = """
import sys
import pytest

class Report:
    def pytest_collection_finish(self):
        import reward_client
        print("\\nPACKAGE", reward_client.__file__)

    def pytest_runtest_logreport(self, report):
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            print("\\nFAILURE", report.when, crash.message.splitlines()[0] if crash else "")

sys.exit(pytest.main(sys.argv[1:], plugins=[Report()]))
"""
_BROKEN = ("NameError", "ImportError", "ModuleNotFoundError", "SyntaxError", "UnboundLocalError")
_FAILED = 1
_CLOSING = (")", "]", "}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How tests ended on a copy of the package.

    Attributes:
        failed: Whether one failed, in its own body.
        problem: Why that proves nothing, if so.
        seconds: How long it took.
    """

    failed: bool
    problem: str
    seconds: float


def main(pitfalls: Mapping[int, Pitfall]) -> int:
    """Prints a table; 1 if a measure can be taken out unnoticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pitfall", type=int, nargs="+", choices=pitfalls, metavar="N")
    chosen = parser.parse_args().pitfall or pitfalls
    removals = [
        (number, mutation, test)
        for number in chosen
        for mutation in pitfalls[number].mutations
        for test in mutation.tests
    ]
    with TemporaryDirectory() as folder:
        whole = _run(_copy(Path(folder)), *dict.fromkeys(test for *_, test in removals))
    if whole.failed or whole.problem:
        print(f"The tests fail with the package as it is. {whole.problem}")
        return _FAILED
    print("| Pitfall | Mutation | Test | Fails without it | Seconds |\n|---|---|---|---|---|")
    unnoticed = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        outcomes = pool.map(lambda removal: look(*removal[1:]), removals)
        for (number, mutation, test), outcome in zip(removals, outcomes, strict=True):
            noticed = outcome.failed and not outcome.problem
            unnoticed += not noticed
            said = "yes" if noticed else f"no {outcome.problem}"
            cells = (str(number), mutation.does, test, said, f"{outcome.seconds:.1f}")
            print(f"| {' | '.join(cells)} |", flush=True)
    print(
        f"{len(removals)} tests without the measure that they are for, {unnoticed} do not notice."
    )
    return _FAILED if unnoticed else 0


def look(mutation: Mutation, test: str) -> Outcome:
    """Runs a test without the measure."""
    with TemporaryDirectory() as folder:
        copy = _copy(Path(folder))
        path = copy / mutation.file
        text = path.read_text(encoding="utf-8")
        if len(places(text, mutation.present)) != 1:
            return Outcome(failed=False, problem=f"{mutation.file} has changed", seconds=0)
        path.write_text(mutated(text, mutation), encoding="utf-8")
        return _run(copy, test)


def places(source: str, present: str) -> list[tuple[int, int]]:
    """Return where a source has these tokens, however they are spaced and broken into lines."""
    tokens = re.findall(r"\w+|[^\w\s]", present)
    pattern = r"(?<!\w)" if tokens[0][0].isalnum() else ""
    for token, following in zip(tokens, [*tokens[1:], ""], strict=True):
        if token == "," and following in _CLOSING:
            continue  # a formatter adds and removes these
        pattern += rf"(?:\s*,)?\s*{re.escape(token)}" if token in _CLOSING else re.escape(token)
        pattern += r"\s+" if token[-1].isalnum() and following[:1].isalnum() else r"\s*"
    pattern = pattern[:-3] + (r"(?!\w)" if tokens[-1][-1].isalnum() else "")
    return [match.span() for match in re.finditer(pattern, source)]


def mutated(source: str, mutation: Mutation) -> str:
    """Return a source without a measure that it has once."""
    [(start, end)] = places(source, mutation.present)
    line = source.rfind("\n", 0, start) + 1
    indent = source[line:start]
    if not mutation.absent.strip() and not indent.strip() and source[end : end + 1] == "\n":
        return source[:line] + source[end + 1 :]
    written = mutation.present.removesuffix(mutation.present.lstrip()).rpartition("\n")[2]
    lines = mutation.absent.strip().split("\n")
    if written and not indent.strip():
        lines[1:] = [indent + rest.removeprefix(written) for rest in lines[1:]]
    return source[:start] + "\n".join(lines) + source[end:]


def _copy(folder: Path) -> Path:
    ignored = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(PACKAGE, folder / PACKAGE.name, ignore=ignored))


def _run(package: Path, *tests: str) -> Outcome:
    """The tests, with this copy of the package."""
    started = time.monotonic()
    environment = {
        # What is measured is the coverage of the package, not that of its copies.
        **{name: os.environ[name] for name in os.environ if not name.startswith("COVERAGE_")},
        "PYTHONPATH": os.fspath(package.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HYPOTHESIS_STORAGE_DIRECTORY": os.fspath(package.parent / "hypothesis"),
    }
    names = [f"tests/{test}" for test in tests]
    # -P: the working directory, which holds the package as it is, is not looked at.
    command = [sys.executable, "-P", "-c", _RUN, "-x", "-q", "-p", "no:cacheprovider", *names]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - started
    failures = list(_lines(done.stdout, "FAILURE "))
    return Outcome(bool(failures), _problem(done, package, failures), seconds)


def _problem(done: subprocess.CompletedProcess[str], package: Path, failures: list[str]) -> str:
    """Why a run proves nothing; empty where it proves something."""
    if done.returncode != (_FAILED if failures else 0):
        said = " ".join(f"{done.stdout} {done.stderr}".split())
        return f"pytest ended with {done.returncode}: {said[-500:]}"
    imported = next(_lines(done.stdout, "PACKAGE "), "")
    if not Path(imported).is_relative_to(package):
        return f"imported {imported or 'nothing'}"
    for failure in failures:
        when, _, message = failure.partition(" ")
        if when != "call" or message.startswith(_BROKEN):
            return f"{when}: {message}"
    return ""


def _lines(output: str, start: str) -> Iterator[str]:
    return (line.removeprefix(start) for line in output.splitlines() if line.startswith(start))
