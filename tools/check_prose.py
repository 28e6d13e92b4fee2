"""Reject the phrases and names that this project gave up, in prose and in identifiers.

    python tools/check_prose.py [--count] [PATH ...]

It reads docstrings, comments, strings and identifiers of Python files, and the text of Markdown
pages. Code in backticks and fenced blocks of Markdown are not prose. Each finding is printed as
`file:line: phrase -> hint`. `--count` prints the number of findings for each rule instead. The
exit status is 1 if there is a finding.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import sys
import tokenize
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).parents[1]
PATHS = ("reward_client", "docs", "README.md", "CONTRIBUTING.md")


@dataclass(frozen=True)
class Rule:
    """A phrase that the project does not use.

    Attributes:
        name: The phrase, as `--count` lists it.
        pattern: Matches the phrase. A space matches any white space, line breaks included.
        hint: The words to write instead.
    """

    name: str
    pattern: str
    hint: str

    def matches(self, text: str) -> Iterator[re.Match[str]]:
        """Find every place where the phrase stands."""
        return re.finditer(self.pattern.replace(" ", r"\s+"), text, re.IGNORECASE)


@dataclass(frozen=True)
class Block:
    """A piece of prose, and the line where it begins."""

    line: int
    text: str
    is_docstring: bool = False


@dataclass(frozen=True)
class Finding:
    """A place that breaks a rule."""

    path: Path
    line: int
    phrase: str
    rule: Rule


DET = r"(?:the|an?|its?|them|their|those|these|this|each|every|all|both|some|any)"
DONE = (
    r"(?:answered|applied|asked|called|checked|compared|computed|counted|cut|judged|made|parsed|"
    r"posted|proven|read|rendered|scored|sent|shown|taken|tokenized|turned|verified|written)"
)
SERVANT = r"(?:server|client|model|caller|tokenizer|critic|judge|replica)s?"
DO = r"(?:answer|compute|count|generate|give|judge|make|return|score|send|tokenize|turn|write)"
NOUN_ENDS = r"(?=\s*[.,;:)]|\s*$| (?:agrees|and|are|as|at|by|for|from|has|in|is|of|or|was|with)\b)"

# A docstring may not open so.
OPENING = Rule(
    "What/Who/Whether/Where opens a docstring",
    r"\A(?:what|who|whose|whether|where)\b",
    'open with a verb or the name of the thing: "Return the …", "True if …"',
)

PHRASES = (
    Rule("to be had", r"\bto be had\b", '"is available", "can be determined", "does not exist"'),
    Rule("is had", r"\b(?:is|are|was|were|been|being) (?:\w+ )?had\b", '"exists", "is available"'),
    Rule("go on with", r"\b(?:go|goes|going|gone|went) on with\b", '"resume", "continue"'),
    Rule(
        "cannot be meant",
        r"\b(?:be|is|are|was|were) meant(?: so)?(?= ?[.,;:)]|\s*$| by\b)|\bmeant so\b",
        '"is invalid"',
    ),
    Rule("of no use/account", r"\bof no (?:use|account)\b", '"is unusable", "is ignored"'),
    Rule("as far as", r"\bas far as\b", '"if", "where", "up to"'),
    Rule(
        "has … scored",
        rf"\b(?:has|have|having) (?:{DET} (?:\w+ ){{0,3}}?|\w+s ){DONE}\b"
        rf"|\b(?:has|have|having) {DET} {SERVANT} {DO}\b",
        'name who acts: "the server scores …"',
    ),
    Rule("is that of", r"\b(?:is|are|be|was|were) (?:that|those) of\b", "repeat the noun"),
    Rule("lie apart", r"\b(?:lie|lies|lay|lying) apart\b", '"differ by"'),
    Rule("known of", r"\b(?:known|said|prove[sdn]? nothing) of\b", '"about"'),
    Rule("anew", r"\banew\b", '"again"'),
    Rule("pack", r"\bpacks?\b", '"batch"'),
    Rule("fleet", r"\bfleets?\b", '"replica pool"'),
    Rule("standard", rf"\b(?:{DET}|no) standards?{NOUN_ENDS}", '"baseline"'),
    Rule("wishes", r"\bwishes\b", '"discovery options"'),
    Rule("untold", r"\buntold\b", '"missing logprob"'),
    Rule("heat", r"\bheat\b", '"temperature"'),
    Rule("era", r"\beras?\b", '"version range"'),
    Rule("reading of", r"\breadings? of\b", '"output specification", "interpretation"'),
    Rule("hear", r"\b(?:hear|hears|heard|hearing)\b", '"receive", "return the outcome"'),
    Rule("settle", r"\b(?:settle|settles|settled|settling)\b", '"decide", "return the outcome"'),
)

# Parts of identifiers, in lower case.
NAMES = {
    "packs": "batches, batcher",
    "fleet": "replica_pool",
    "wishes": "discovery_options",
    "untold": "missing_logprob",
    "heat": "temperature",
    "era": "version_range",
    "hear": "outcomes that are returned",
    "settle": "outcomes that are returned",
}
NAME_RULES = {word: Rule(f"{word} in a name", "", hint) for word, hint in NAMES.items()}


def without_code(text: str) -> str:
    """Blank out code in backticks, and keep the line breaks in it."""
    code = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
    return code.sub(lambda match: "`" + "\n" * match[0].count("\n"), text)


def in_markdown(source: str) -> Iterator[Block]:
    """Yield the prose of a page, paragraph by paragraph."""
    fenced = re.compile(r"^ *(`{3,}|~{3,}).*?^ *\1 *$", re.MULTILINE | re.DOTALL)
    prose = fenced.sub(lambda match: "\n" * match[0].count("\n"), source)
    prose = re.sub(r"\]\([^)]*\)", "]", prose)
    line = 1
    for paragraph in re.split(r"(\n(?:\s*\n)+)", prose):
        yield Block(line, paragraph)
        line += paragraph.count("\n")


def in_strings(tree: ast.Module) -> Iterator[Block]:
    """Yield docstrings, those of attributes included, and strings of several words."""
    seen: set[int] = set()  # docstrings, and the parts of f-strings
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text)) as constant):
                seen.add(id(constant))
                yield Block(node.lineno, text, is_docstring=True)
            case ast.JoinedStr(values=parts):
                seen.update(map(id, parts))
                texts = [part.value if isinstance(part, ast.Constant) else "{}" for part in parts]
                yield Block(node.lineno, one_line("".join(map(str, texts))))
            case ast.Constant(value=str(text)) if " " in text and id(node) not in seen:
                yield Block(node.lineno, one_line(text))


def one_line(text: str) -> str:
    """Replace line breaks, which need not be line breaks of the source."""
    return text.replace("\n", " ")


def in_comments(tokens: list[tokenize.TokenInfo]) -> Iterator[Block]:
    """Yield comments; those on lines that follow each other are one block."""
    last = -1
    lines: list[str] = []
    for token in tokens:
        if token.type != tokenize.COMMENT:
            continue
        line = token.start[0]
        if lines and line != last + 1:
            yield Block(last - len(lines) + 1, "\n".join(lines))
            lines = []
        lines.append(token.string.lstrip("# "))
        last = line
    if lines:
        yield Block(last - len(lines) + 1, "\n".join(lines))


def names(path: Path, tokens: list[tokenize.TokenInfo]) -> Iterator[Finding]:
    """Find the identifiers that hold an old name."""
    for token in tokens:
        if token.type == tokenize.NAME:
            words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", token.string)
            for word in {word.lower() for word in words} & NAMES.keys():
                yield Finding(path, token.start[0], token.string, NAME_RULES[word])


def phrases(path: Path, blocks: Iterable[Block]) -> Iterator[Finding]:
    """Find the phrases in blocks of prose."""
    for block in blocks:
        text = without_code(block.text)
        for rule in (OPENING, *PHRASES) if block.is_docstring else PHRASES:
            for match in rule.matches(text):
                line = block.line + text.count("\n", 0, match.start())
                yield Finding(path, line, " ".join(match[0].split()), rule)


def check(path: Path) -> list[Finding]:
    """Find everything in one file that breaks a rule, in the order of its lines."""
    source = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        found = list(phrases(path, in_markdown(source)))
    else:
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
        blocks = [*in_strings(ast.parse(source)), *in_comments(tokens)]
        found = [*phrases(path, blocks), *names(path, tokens)]
    return sorted(found, key=lambda finding: finding.line)


def files(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the files that are checked: those named, and all Python and Markdown in folders."""
    for path in paths:
        if path.is_dir():
            found = sorted(item for suffix in ("py", "md") for item in path.rglob(f"*.{suffix}"))
            yield from (item for item in found if "_build" not in item.parts)
        else:
            yield path


def main(arguments: list[str] | None = None) -> int:
    """Check the paths that the command line names. Return the exit status."""
    parser = argparse.ArgumentParser(description="Reject old phrases and names.")
    parser.add_argument("paths", nargs="*", type=Path, default=[ROOT / path for path in PATHS])
    parser.add_argument("--count", action="store_true", help="count the findings for each rule")
    options = parser.parse_args(arguments)
    found = [finding for path in files(options.paths) for finding in check(path)]
    if options.count:
        code = Counter(item.rule.name for item in found if item.path.suffix != ".md")
        pages = Counter(item.rule.name for item in found if item.path.suffix == ".md")
        print(f"{'code':>5} {'pages':>5}  rule")
        for rule in (OPENING, *PHRASES, *NAME_RULES.values()):
            print(f"{code[rule.name]:5} {pages[rule.name]:5}  {rule.name}")
        print(f"{code.total():5} {pages.total():5}  in all")
    else:
        for finding in found:
            place = finding.path.resolve()
            shown = place.relative_to(ROOT) if place.is_relative_to(ROOT) else place
            print(f"{shown}:{finding.line}: {finding.phrase} -> {finding.rule.hint}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
