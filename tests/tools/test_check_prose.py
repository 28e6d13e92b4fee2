"""The check for old phrases finds them, and nothing else."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

SCRIPT = Path(__file__).parents[2] / "tools" / "check_prose.py"


@pytest.fixture(scope="module")
def check_prose() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_prose", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where `dataclass` looks for the annotations
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("to be had", "The raw values are not to be had."),
        ("is had", "A method says how a reward is had."),
        ("go on with", "The file cannot be gone on with."),
        ("cannot be meant", "An option cannot be meant so."),
        ("of no use/account", "Its numbers are of no account."),
        ("as far as", "The doctor looks as far as it can."),
        ("has … scored", "It has those scored."),
        ("has … scored", "Has samples scored."),
        ("has … scored", "It has the server turn a conversation into token IDs."),
        ("is that of", "Its range is that of the marks."),
        ("lie apart", "Two values may lie apart."),
        ("known of", "Nothing is known of the model."),
        ("anew", "The file is written anew."),
        ("pack", "Samples of a pack share a request."),
        ("fleet", "A fleet of servers."),
        ("standard", "The servers agree with the standard."),
        ("wishes", "The wishes of a method."),
        ("untold", "A token's logit is untold."),
        ("heat", "The heat of a generated text."),
        ("era", "A server of this era."),
        ("reading of", "The reading of a head."),
        ("hear", "Whoever heard from it."),
        ("settle", "The prompts settle."),
    ],
)
@pytest.mark.parametrize("template", ['"""{}"""', "# {}", 'raise ValueError(f"{}")', "{}"])
def test_old_phrases_are_found(
    check_prose: ModuleType, tmp_path: Path, rule: str, text: str, template: str
) -> None:
    path = tmp_path / ("page.md" if template == "{}" else "module.py")
    path.write_text("\n\n" + template.replace("{}", text))
    [finding] = check_prose.check(path)
    assert (finding.rule.name, finding.line) == (rule, 3)


@pytest.mark.parametrize("word", ["What", "Who", "Whose", "Whether", "Where"])
def test_a_docstring_names_what_it_describes(
    check_prose: ModuleType, tmp_path: Path, word: str
) -> None:
    path = tmp_path / "module.py"
    path.write_text(f'def size():\n    """{word} it is."""\n\n\nLIMIT = 3\n"""{word} holds."""\n')
    assert [finding.line for finding in check_prose.check(path)] == [2, 6]


def test_a_phrase_is_found_across_lines(check_prose: ModuleType, tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text('"""Title.\n\nIt is not to\nbe had.\n"""\n\n# of\n# no use\n')
    page = tmp_path / "page.md"
    page.write_text("# Title\n\n```text\na fleet\n```\n\nIt is not to\nbe had.\n")
    assert [finding.line for finding in check_prose.check(module)] == [3, 7]
    assert [finding.line for finding in check_prose.check(page)] == [7]


def test_old_names_are_found(check_prose: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text("class FleetState: ...\n\n\ndef era_of(max_packs): ...\n")
    assert [finding.phrase for finding in check_prose.check(path)] == [
        *("FleetState", "era_of", "max_packs")
    ]


@pytest.mark.parametrize(
    "text",
    [
        "The request has already been sent, and the samples have been scored.",
        "The client has not read the file. The server has no tokenizer.",
        "The standard library, a standard deviation, and standard error.",
        "What the server returns stands in the response.",
        "Several operations share a package; the packing is tight.",
        "The Reading list; the value is meant for tests.",
        "`struct.pack` and ``settle`` are code.",
    ],
)
@pytest.mark.parametrize("template", ['"""Title.\n\n{}\n"""', "# {}", "{}"])
def test_plain_english_passes(
    check_prose: ModuleType, tmp_path: Path, text: str, template: str
) -> None:
    path = tmp_path / ("page.md" if template == "{}" else "module.py")
    path.write_text(template.replace("{}", text))
    assert check_prose.check(path) == []


def test_findings_are_printed_and_fail(
    check_prose: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "page.md"
    path.write_text("A fleet.\n")
    assert check_prose.main([str(path)]) == 1
    assert capsys.readouterr().out == f'{path}:1: fleet -> "replica pool"\n'
    assert check_prose.main(["--count", str(path)]) == 1
    assert "    0     1  fleet\n" in capsys.readouterr().out
    path.write_text("A replica pool.\n")
    assert check_prose.main([str(path)]) == 0
    assert capsys.readouterr().out == ""
