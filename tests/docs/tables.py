"""The tables of the documentation that come from the code.

`python -m tests.docs.refresh` writes them.
"""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from runpy import run_path
from typing import Any, NamedTuple, get_args

from reward_client import errors
from reward_client._integrations.environment import VARIABLES
from reward_client._protocols.engine import Engine
from reward_client._protocols.engines import ENGINES
from reward_client._protocols.scoring_request import ScoringRequest
from reward_client._protocols.strategies import ModelKind, Rendering, VersionRange
from reward_client._protocols.vllm.gateways import GATEWAYS
from reward_client._transport.network_errors import NETWORK_ERROR_RULES
from reward_client._transport.status_errors import STATUS_RULES, ErrorBody, error_kind, is_retried
from reward_client.evaluation import BENCHMARKS
from reward_client.recipes import Recipe, catalogue
from reward_client.recipes.formatting import expected_in_words, head_in_words
from reward_client.testing import Fault

DOCS = Path(__file__).parents[2] / "docs"

# Statuses without their own rule that deserve a row: a redirect and the usual refusals.
_ALSO_SHOWN = (307, 400, 401, 403, 404, 405, 407, 413, 422, 501)
_PERMANENT = "the same request would get the same answer"

VLLM, SGLANG = ENGINES["vllm"], ENGINES["sglang"]
COUNTS = Path(__file__).with_name("cells.json")
EVIDENCE = ("live", "recorded", "emulated")
ROUTES = ("classify", "embeddings", "pooling")
OUTCOMES = {"raw, by the server's flag": "raw by flag"}
USUAL_COMMANDS = {
    "today": "vllm serve MODEL --runner pooling",
    "SGLang": "python -m sglang.launch_server --model-path MODEL --is-embedding",
}
RENDERINGS: dict[Rendering, str] = {
    "all": "the server",
    "unproven": "the server, once a comparison has shown that it does not rewrite the answer",
    "questions": "the client, with the model's tokenizer",
    "none": "the client, with the model's tokenizer",
}
NAMED_TOKENS = {"completions": "logprob_token_ids", "generate": "token_ids_logprob"}
KINDS: dict[ModelKind, str] = {
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


def ranges_of(engine: Engine) -> tuple[VersionRange, ...]:
    return (*engine.ranges, engine.unknown)


def range_name(span: VersionRange) -> str:
    is_unknown = any(span is engine.unknown for engine in ENGINES.values())
    return "later, or unknown" if is_unknown else ".".join(map(str, span.since))


class Table(NamedTuple):
    """A table of a page: its header, and a function that yields the cells of each row."""

    page: Path
    header: str
    cells: Callable[[], Iterable[tuple[str, ...]]]

    def rows(self) -> list[str]:
        """Return the rows that the code gives."""
        return [f"| {' | '.join(cells)} |" for cells in self.cells()]

    def written(self) -> list[str]:
        """Return the rows that the page shows."""
        return written(self.page, self.header)

    def write(self) -> None:
        text = self.page.read_text(encoding="utf-8")
        body = "".join(row + "\n" for row in self.rows())
        old = "".join(row + "\n" for row in self.written())
        before, _, after = text.partition(self.header + "\n")
        rule, _, rest = after.partition("\n")
        rest = rest.removeprefix(old)
        self.page.write_text(f"{before}{self.header}\n{rule}\n{body}{rest}", encoding="utf-8")


class Listing(NamedTuple):
    """Paragraphs of a page between two comments, and a function that yields their lines."""

    page: Path
    name: str
    lines: Callable[[], Iterable[str]]

    def rows(self) -> list[str]:
        """Return the lines that the code gives."""
        return list(self.lines())

    def written(self) -> list[str]:
        """Return the lines that the page shows."""
        return self._parts()[1].splitlines()

    def write(self) -> None:
        before, _, after = self._parts()
        body = "".join(line + "\n" for line in self.rows())
        self.page.write_text(before + body + after, encoding="utf-8")

    def _parts(self) -> tuple[str, str, str]:
        begin, end = f"<!-- {self.name} -->\n\n", f"<!-- end of {self.name} -->"
        before, _, rest = self.page.read_text(encoding="utf-8").partition(begin)
        body, _, after = rest.partition(end)
        return before + begin, body, end + after


def written(page: Path, header: str) -> list[str]:
    """Return the rows of the table with this header."""
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


class _Span(NamedTuple):
    """Consecutive versions that ask for one kind of model in the same way."""

    kind: ModelKind
    way: Any
    ranges: Sequence[VersionRange]

    @property
    def named(self) -> tuple[str, str]:
        return KINDS[self.kind], range_name(self.ranges[0])


def _spans(engine: Engine) -> Iterator[_Span]:
    for kind in get_args(ModelKind):
        known = [span for span in engine.ranges if kind in span.strategies]
        for way, alike in groupby(known, key=lambda span: span.strategies[kind]):
            yield _Span(kind, way, list(alike))


def _requests(engine: Engine) -> Iterator[tuple[str, ...]]:
    for span in _spans(engine):
        ask = span.way.request
        sent = "token IDs" if ask.sends == "ids" else "text"
        yield *span.named, _request(ask), sent, f"{span.way.shape}, {ask.encoding}"


def _raw_values() -> Iterator[tuple[str, ...]]:
    for span in _spans(VLLM):
        flag = f"`{span.way.flag}`" if span.way.flag else ""
        yield *span.named, _default(span), flag, _seen(span)


def _sglang() -> Iterator[tuple[str, ...]]:
    for span in _spans(SGLANG):
        yield *span.named, _request(span.way.request), _default(span), _seen(span)


def _default(span: _Span) -> str:
    exceptions = f" ({span.way.exceptions})" if span.way.exceptions else ""
    return f"{span.way.default_activation}{exceptions}"


def _seen(span: _Span) -> str:
    """Name the versions of a span that were seen running."""
    running = [
        version
        for known in span.ranges
        for version in known.live
        if span.way.live is None or version in span.way.live
    ]
    return ", ".join(running) or "no, its code was read"


def _ranges() -> Iterator[tuple[str, ...]]:
    for span in ranges_of(VLLM):
        yield range_name(span), span.errors, _others(span), span.source


def _sglang_ranges() -> Iterator[tuple[str, ...]]:
    for span in ranges_of(SGLANG):
        yield range_name(span), RENDERINGS[span.renders], _others(span), span.source


def _others(span: VersionRange) -> str:
    named = [_request(way.request) for ways in span.if_named.values() for way in ways]
    return "; ".join(dict.fromkeys(named))


def _engines() -> Iterator[tuple[str, ...]]:
    for kind, words in KINDS.items():
        yield words, *(_first_raw(engine, kind) for engine in ENGINES.values())


def _first_raw(engine: Engine, kind: ModelKind) -> str:
    """Name the first version whose values are raw, or can be made so by a flag."""
    for span in _spans(engine):
        if span.kind == kind and (span.way.flag or span.way.default_activation != "normalized"):
            return range_name(span.ranges[0])
    return "no"


def _cells() -> Iterator[tuple[str, ...]]:
    """Yield versions and kinds with the outcomes of each route and their tests by evidence."""
    counts: dict[tuple[str, str], dict[str, dict[str, Counter[str]]]] = {}
    for version, kind, route, outcome, evidence, count in json.loads(COUNTS.read_text("utf-8")):
        routes = counts.setdefault((version, kind), {route: {} for route in ROUTES})
        routes[route].setdefault(outcome, Counter())[evidence] += count
    for version, kind in sorted(counts, key=lambda key: (_numbers(key[0]), key[1])):
        yield version, kind, *map(_outcomes, counts[version, kind].values())


def _outcomes(tests: Mapping[str, Counter[str]]) -> str:
    return "<br>".join(_outcome(outcome, tests[outcome]) for outcome in sorted(tests))


def _outcome(outcome: str, tests: Counter[str]) -> str:
    numbers = "/".join(str(tests[evidence]) for evidence in EVIDENCE)
    return f"{OUTCOMES.get(outcome, outcome)} ({numbers})"


def _numbers(version: str) -> list[int]:
    return list(map(int, version.split(".")))


def _request(ask: ScoringRequest) -> str:
    sent = [f"task: {ask.task}"] if ask.task else []
    sent += [f"{key}: {str(value).lower()}" for key, value in ask.switches.items()]
    sent += [NAMED_TOKENS[ask.route]] if ask.names_tokens else []
    return f"`{ask.path}`" + (f" with `{', '.join(sent)}`" if sent else "")


def _injected() -> Iterator[tuple[str, ...]]:
    for name, kind in vars(Fault).items():
        if isinstance(kind, classmethod):
            maker = getattr(Fault, name)
            arguments = ", ".join(inspect.signature(maker).parameters)
            yield f"`Fault.{name}({arguments})`", (inspect.getdoc(maker) or "").splitlines()[0]


def _models() -> Iterator[tuple[str, ...]]:
    for model, recipe in _served():
        values = "; ".join(map(expected_in_words, recipe.references)) or "none published"
        status = "partly confirmed" if recipe.unconfirmed else "confirmed"
        architectures = "<br>".join(f"`{name}`" for name in recipe.architectures)
        sglang = recipe.engines["SGLang"].since or "no"
        yield f"{model}<br>{architectures}", head_in_words(recipe), values, status, sglang


def _commands(server: str) -> Iterator[tuple[str, ...]]:
    """Yield the commands that differ from the usual one, each with its models."""
    models: dict[str, list[str]] = {}
    for model, recipe in _served():
        if server in recipe.commands:
            command = recipe.commands[server].replace(model, "MODEL")
            models.setdefault(command, []).append(model)
    for command, served in models.items():
        if command != USUAL_COMMANDS[server]:
            yield "<br>".join(served), f"`{command}`"


def _refused() -> Iterator[tuple[str, ...]]:
    for recipe in catalogue().values():
        if recipe.refusal is not None:
            yield "<br>".join(recipe.models), recipe.refusal.replace("|", "\\|")


def _served() -> Iterator[tuple[str, Recipe]]:
    return ((model, recipe) for model, recipe in _known() if recipe.refusal is None)


def _known() -> Iterator[tuple[str, Recipe]]:
    for recipe in catalogue().values():
        for model in recipe.models:
            yield model, recipe.for_model(model)


def _pitfalls() -> Iterator[str]:
    for number, trap in _listed_traps().items():
        yield from (f"**{number}. {trap.wrong}.**", "")
        for cure in trap.mutations:
            tests = ", ".join(dict.fromkeys(f"`{test.partition('::')[2]}`" for test in cure.tests))
            yield f"* {cure.does} ({tests})"
        yield ""


def _gateways() -> Iterator[tuple[str, ...]]:
    makers = {"server": "the server", "local": "`tokenizer=`, or the caller"}
    for row in GATEWAYS:
        yield (
            row.name,
            row.forwards,
            row.changes,
            row.gives,
            makers[row.ids],
            row.proof,
            row.source,
        )


def _limits() -> Iterator[tuple[str, ...]]:
    for number, trap in _listed_traps().items():
        if trap.limit:
            yield str(number), trap.limit


def _listed_traps() -> dict[int, Any]:
    traps: dict[int, Any] = run_path(str(DOCS.parent / "tests/integration/pitfalls/mutations.py"))[
        "PITFALLS"
    ]
    return traps


def _benchmarks() -> Iterable[tuple[str, ...]]:
    for each in BENCHMARKS.values():
        yield f"`{each.name}`", each.home, each.needs, each.rule, each.paper


def _variables() -> Iterator[tuple[str, ...]]:
    for each in VARIABLES:
        yield f"`{each.name}`", each.meaning, f"`{each.example}`"


TABLES: dict[str, Table | Listing] = {
    "statuses": Table(
        DOCS / "reference/errors.md", "| Status | Error | Retried | Reason |", _statuses
    ),
    "faults": Table(
        DOCS / "reference/errors.md",
        "| Failure | Error | Retried | Profile renewed | Reason |",
        _faults,
    ),
    "requests": Table(
        DOCS / "reference/versions.md",
        "| Model | vLLM from | Request | Sends | Answer |",
        partial(_requests, VLLM),
    ),
    "raw values": Table(
        DOCS / "reference/versions.md",
        "| Model | vLLM from | Applied by default | Server flag for raw values | Seen running |",
        _raw_values,
    ),
    "ranges": Table(
        DOCS / "reference/versions.md",
        "| vLLM from | Errors | Other routes | Known from |",
        _ranges,
    ),
    "SGLang": Table(
        DOCS / "reference/versions.md",
        "| Model | SGLang from | Request | Applied by default | Seen running |",
        _sglang,
    ),
    "ranges of SGLang": Table(
        DOCS / "reference/versions.md",
        "| SGLang from | Token IDs of conversations by | Other routes | Known from |",
        _sglang_ranges,
    ),
    "engines": Table(
        DOCS / "how-to/engines.md", "| The model answers | vLLM from | SGLang from |", _engines
    ),
    "cells": Table(
        DOCS / "reference/versions.md",
        "| vLLM | Model | `/classify` | `/v1/embeddings` | `/pooling` |",
        _cells,
    ),
    "models": Table(
        DOCS / "reference/models.md",
        "| Model | Reward | Reference values | Status | SGLang from |",
        _models,
    ),
    "commands": Table(
        DOCS / "reference/models.md", "| Models | Command |", partial(_commands, "today")
    ),
    "commands of SGLang": Table(
        DOCS / "reference/models.md", "| Models | Command of SGLang |", partial(_commands, "SGLang")
    ),
    "refused models": Table(
        DOCS / "reference/models.md", "| Model | Reason and way out |", _refused
    ),
    "gateways": Table(
        DOCS / "how-to/gateways.md",
        "| Gateway | Forwards | Changes | Rewards | Token IDs by | Proof | Known from |",
        _gateways,
    ),
    "benchmarks": Table(
        DOCS / "how-to/evaluate.md",
        "| Benchmark | File | Columns | Score | Paper |",
        _benchmarks,
    ),
    "variables": Table(
        DOCS / "reference/environment.md", "| Variable | Meaning | Example |", _variables
    ),
    "injected faults": Table(DOCS / "how-to/testing.md", "| Fault | Effect |", _injected),
    "pitfalls": Listing(DOCS / "explanation/pitfalls.md", "pitfalls", _pitfalls),
    "limits": Table(DOCS / "explanation/pitfalls.md", "| Pitfall | Limit |", _limits),
}


def error_tree() -> str:
    """Return the tree of errors as the module draws it."""
    (tree,) = (part for part in (errors.__doc__ or "").split("\n\n") if "├──" in part)
    lines = [line.removeprefix("    ") for line in tree.replace("``", "").splitlines()]
    return "".join(line + "\n" for line in lines)


def count_cells(path: Path) -> None:
    """Write the number of tests behind each cell of the table of versions."""
    # Named one by one: no other test is behind a cell, and all of them take long to collect.
    files = [
        str(file)
        for file in sorted((DOCS.parent / "tests").rglob("test_*.py"))
        if "cells import" in file.read_text(encoding="utf-8")
    ]
    command = [sys.executable, "-m", "pytest", *files, "--all", "--collect-only", "-q"]
    command += ["-p", "no:cacheprovider", f"--cells={path}"]
    subprocess.run(command, cwd=DOCS.parent, check=True, stdout=subprocess.DEVNULL)
