"""The tables of the documentation that come from the code.

`python tests/docs/tables.py` writes them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from reward_client.recipes import Recipe, catalogue
from reward_client.recipes.describing import expected_in_words, head_in_words
from reward_client.server import versions
from reward_client.testing import Fault
from reward_client.transport.faults import FAULT_RULES
from reward_client.transport.statuses import STATUS_RULES, ErrorBody, error_kind, is_retried

DOCS = Path(__file__).parents[2] / "docs"

# Statuses without a rule of their own that deserve a row: the redirects and the usual refusals.
_ALSO_SHOWN = (307, 400, 401, 403, 404, 405, 407, 413, 422, 501)
_PERMANENT = "the same request would get the same answer"

ERAS = (*versions._ERAS, versions.UNKNOWN)


def era_name(era: versions.Era) -> str:
    return "later, or unknown" if era is versions.UNKNOWN else ".".join(map(str, era.since))


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
    for fault, rule in FAULT_RULES.items():
        error = f"`{rule.error.__name__}`"
        yield fault.value, error, _yes_or_no(rule.retried), _yes_or_no(rule.server_lost), rule.why


def _versions() -> Iterator[tuple[str, ...]]:
    for era in ERAS:
        ways = ", then ".join(map(_way, era.asks)) or "none"
        yield era_name(era), ways, f"`{era.raw_flag}`", era.source


def _way(ask: versions.Ask) -> str:
    sent = [f"task: {ask.task}"] if ask.task else []
    sent += [f"{key}: {str(value).lower()}" for key, value in ask.switches.items()]
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


TABLES = {
    "statuses": Table(
        DOCS / "errors-and-retries.md", "| Status | Error | Retried | Why |", _statuses
    ),
    "faults": Table(
        DOCS / "errors-and-retries.md",
        "| What happened | Error | Retried | Profile dropped | Why |",
        _faults,
    ),
    "versions": Table(
        DOCS / "how-it-works.md",
        "| vLLM from | Asked by | Flag for raw values | Known from |",
        _versions,
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
}

if __name__ == "__main__":
    for table in TABLES.values():
        table.write()
