"""The tables of the documentation that come from the code.

`python tests/docs/tables.py` writes them.
"""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, groupby, repeat
from pathlib import Path
from runpy import run_path
from typing import Any, NamedTuple, get_args

from reward_client._protocols.vllm import ScoringRequest, versions
from reward_client._transport.network_errors import NETWORK_ERROR_RULES
from reward_client._transport.status_errors import STATUS_RULES, ErrorBody, error_kind, is_retried
from reward_client.recipes import Recipe, catalogue
from reward_client.recipes.formatting import expected_in_words, head_in_words
from reward_client.testing import Fault

DOCS = Path(__file__).parents[2] / "docs"

# Statuses without a rule of their own that deserve a row: the redirects and the usual refusals.
_ALSO_SHOWN = (307, 400, 401, 403, 404, 405, 407, 413, 422, 501)
_PERMANENT = "the same request would get the same answer"

VERSION_RANGES = (*versions.VERSION_RANGES, versions.UNKNOWN_VERSION)
COUNTS = Path(__file__).with_name("cells.json")
EVIDENCE = ("live", "recorded", "emulated")
KINDS: dict[versions.ModelKind, str] = {
    "sequence": "one label, or several",
    "token": "each token",
    "steps": "steps",
    "hidden": "hidden states",
    "exported": "exported",
    "exported steps": "exported steps",
    "logit": "a token's logit",
    "difference": "yes or no",
    "text": "a text",
}


def era_name(version_range: versions.VersionRange) -> str:
    return (
        "later, or unknown"
        if version_range is versions.UNKNOWN_VERSION
        else ".".join(map(str, version_range.since))
    )


class Table(NamedTuple):
    """A table of a page: its header, and the cells of each of its rows."""

    page: Path
    header: str
    cells: Callable[[], Iterable[tuple[str, ...]]]

    def rows(self) -> list[str]:
        """The rows as the code has them."""
        return [f"| {' | '.join(cells)} |" for cells in self.cells()]

    def written(self) -> list[str]:
        """The rows as the page has them."""
        return written(self.page, self.header)

    def write(self) -> None:
        text = self.page.read_text(encoding="utf-8")
        body = "".join(row + "\n" for row in self.rows())
        old = "".join(row + "\n" for row in self.written())
        before, _, after = text.partition(self.header + "\n")
        rule, _, rest = after.partition("\n")
        rest = rest.removeprefix(old)
        self.page.write_text(f"{before}{self.header}\n{rule}\n{body}{rest}", encoding="utf-8")


def written(page: Path, header: str) -> list[str]:
    """The rows of the table with this header."""
    lines = page.read_text(encoding="utf-8").split(header + "\n", maxsplit=1)[1].splitlines()[1:]
    return lines[: next(n for n, line in enumerate([*lines, ""]) if not line.startswith("|"))]


def _yes_or_no(condition: object) -> str:
    return "yes" if condition else "no"


def _statuses() -> Iterator[tuple[str, ...]]:
    for status in sorted({*STATUS_RULES, *_ALSO_SHOWN}):
        kind, _ = error_kind(status, ErrorBody(""))
        why = STATUS_RULES[status][1] if status in STATUS_RULES else _PERMANENT
        yield str(status), f"`{kind.__name__}`", _yes_or_no(is_retried(kind, status)), why


def _faults() -> Iterator[tuple[str, ...]]:
    for fault, rule in NETWORK_ERROR_RULES.items():
        error = f"`{rule.error.__name__}`"
        yield fault.value, error, _yes_or_no(rule.retried), _yes_or_no(rule.server_lost), rule.why


def _ways() -> Iterator[tuple[str, ...]]:
    """Each kind's ways, from the first version that has one to the next that has another."""
    for kind in get_args(versions.ModelKind):
        eras = [
            version_range
            for version_range in VERSION_RANGES[:-1]
            if kind in version_range.strategies
        ]
        for way, same in groupby(eras, key=lambda version_range: version_range.strategies[kind]):
            alike = list(same)
            running = [version for version_range in alike for version in version_range.live]
            seen = ", ".join(running if way.live is None else way.live)
            unasked = way.default_activation + (f" ({way.exceptions})" if way.exceptions else "")
            yield (
                KINDS[kind],
                era_name(alike[0]),
                _way(way.request),
                "token IDs" if way.request.sends == "ids" else "text",
                way.request.encoding,
                way.shape,
                unasked,
                f"`{way.flag}`" if way.flag else "",
                seen or "no, its code was read",
            )


def _eras() -> Iterator[tuple[str, ...]]:
    for version_range in VERSION_RANGES:
        named = [_way(way.request) for ways in version_range.if_named.values() for way in ways]
        yield (
            era_name(version_range),
            version_range.errors,
            "; ".join(dict.fromkeys(named)),
            version_range.source,
        )


def _cells() -> Iterator[tuple[str, ...]]:
    """Versions, kinds and routes, with what comes of them and the tests of each evidence."""
    counts: dict[tuple[str, ...], Counter[str]] = {}
    for version, kind, route, outcome, evidence, count in json.loads(COUNTS.read_text("utf-8")):
        counts.setdefault((version, kind, route, outcome), Counter())[evidence] += count
    for key in sorted(counts, key=lambda key: (_numbers(key[0]), key[1:])):
        tests = (str(counts[key][evidence] or "") for evidence in EVIDENCE)
        yield *key, *tests


def _numbers(version: str) -> list[int]:
    return list(map(int, version.split(".")))


def _way(ask: ScoringRequest) -> str:
    sent = [f"task: {ask.task}"] if ask.task else []
    sent += [f"{key}: {str(value).lower()}" for key, value in ask.switches.items()]
    sent += ["logprob_token_ids"] if ask.names_tokens else []
    return f"`{ask.path}`" + (f" with `{', '.join(sent)}`" if sent else "")


def _injected() -> Iterator[tuple[str, ...]]:
    for name, kind in vars(Fault).items():
        if isinstance(kind, classmethod):
            maker = getattr(Fault, name)
            arguments = ", ".join(inspect.signature(maker).parameters)
            yield f"`Fault.{name}({arguments})`", (inspect.getdoc(maker) or "").splitlines()[0]


def _models() -> Iterator[tuple[str, ...]]:
    for model, recipe in _known():
        if recipe.refusal is None:
            values = "; ".join(map(expected_in_words, recipe.references)) or "none published"
            command = f"`{recipe.commands['today']}`"
            status = "partly confirmed" if recipe.unconfirmed else "confirmed"
            architectures = ", ".join(f"`{name}`" for name in recipe.architectures)
            yield model, architectures, head_in_words(recipe), command, values, status


def _refused() -> Iterator[tuple[str, ...]]:
    for recipe in catalogue().values():
        if recipe.refusal is not None:
            yield "<br>".join(recipe.models), recipe.refusal.replace("|", "\\|")


def _known() -> Iterator[tuple[str, Recipe]]:
    for recipe in catalogue().values():
        for model in recipe.models:
            yield model, recipe.for_model(model)


def _traps() -> Iterator[tuple[str, ...]]:
    for number, trap in _listed_traps().items():
        heads = chain([(str(number), trap.wrong)], repeat(("", "")))
        for head, cure in zip(heads, trap.cures, strict=False):
            yield *head, cure.does, "<br>".join(map(_test, cure.tests))


def _test(name: str) -> str:
    file, _, function = name.partition("::")
    return f"`{file}`: `{function}`"


def _limits() -> Iterator[tuple[str, ...]]:
    for number, trap in _listed_traps().items():
        if trap.limit:
            yield str(number), trap.limit


def _listed_traps() -> dict[int, Any]:
    # Not imported: this file is also run as a script, outside of any package.
    traps: dict[int, Any] = run_path(str(DOCS.parent / "tests/traps/cures.py"))["TRAPS"]
    return traps


TABLES = {
    "statuses": Table(
        DOCS / "errors-and-retries.md", "| Status | Error | Retried | Why |", _statuses
    ),
    "faults": Table(
        DOCS / "errors-and-retries.md",
        "| What happened | Error | Retried | Profile dropped | Why |",
        _faults,
    ),
    "ways": Table(
        DOCS / "versions.md",
        "| Served | vLLM from | Asked by | Takes | Encoding | A row for each | DefaultActivation | "
        "Flag for raw values | Seen running |",
        _ways,
    ),
    "eras": Table(
        DOCS / "versions.md", "| vLLM from | Errors | Other routes | Known from |", _eras
    ),
    "cells": Table(
        DOCS / "versions.md",
        "| vLLM | Served | Route | What comes | Live | Recorded | Emulated |",
        _cells,
    ),
    "models": Table(
        DOCS / "models.md",
        "| Model | Architecture | Reward | Command | Reference values | Status |",
        _models,
    ),
    "refused models": Table(DOCS / "models.md", "| Model | Why, and what to do |", _refused),
    "injected faults": Table(
        DOCS / "testing-your-pipeline.md", "| Fault | What happens |", _injected
    ),
    "traps": Table(
        DOCS / "traps.md", "| Trap | What goes wrong | What the client does | Test |", _traps
    ),
    "limits of the cures": Table(DOCS / "traps.md", "| Trap | Limit |", _limits),
}


def count_cells(path: Path) -> None:
    """Writes how many tests stand behind each cell of the table of versions."""
    # Named, since options of conftest.py files further down are known only then.
    folders = ("tests", "tests/server")
    command = [sys.executable, "-m", "pytest", *folders, "--all", "--collect-only", "-q"]
    command += ["-p", "no:cacheprovider", f"--cells={path}"]
    subprocess.run(command, cwd=DOCS.parent, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    count_cells(COUNTS)
    for table in TABLES.values():
        table.write()
