"""`reward-client evaluate`: its table, its JSON, its exit status."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from reward_client.cli import main
from reward_client.testing import RewardServer

from ..evaluation.rows import failed_pair, pair
from ..evaluation.test_evaluate import benchmark_rows
from ..evaluation.test_rows import write


@pytest.fixture(scope="module")
def server() -> Iterator[RewardServer]:
    with RewardServer() as server:
        yield server


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("rewardbench.jsonl"), benchmark_rows())


def run(*arguments: str) -> int:
    return main(["evaluate", *arguments])


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--list") == 0
    out = capsys.readouterr().out
    assert "rewardbench: RewardBench (arXiv 2403.13787)\n  columns: prompt, chosen, " in out
    assert len(re.findall(r"^[a-z0-9-]+: ", out, re.MULTILINE)) == out.count("columns: ")


def test_a_table_and_then_json(server: RewardServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("rewardbench", "rewardbench.jsonl", "--url", server.url) == 0
    out, err = capsys.readouterr()
    assert out.startswith("RewardBench, sum-judge: 60 rows\n\n")
    assert re.search(r"^average  +\d+\.\d\d +60$", out, re.MULTILINE)
    assert err == ""
    assert run("rewardbench", "rewardbench.scored.jsonl", "--json") == 0
    parsed = json.loads(capsys.readouterr().out)
    assert (parsed["benchmark"], parsed["model"], parsed["rows"]) == (
        "rewardbench",
        "sum-judge",
        60,
    )


def test_failed_rows(capsys: pytest.CaptureFixture[str]) -> None:
    write(Path("scored.jsonl"), [pair(2.0, 1.0), failed_pair()])
    assert run("rewardbench", "scored.jsonl") == 1
    assert "(--retry-failed), or count them as wrong (--allow-failed)." in capsys.readouterr().err
    assert run("rewardbench", "scored.jsonl", "--allow-failed") == 3
    assert "failed rows count as wrong: 1 PromptTooLongError" in capsys.readouterr().out


def test_the_wrong_file(server: RewardServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("rm-bench", "rewardbench.jsonl", "--url", server.url) == 1
    assert "It looks like RewardBench: evaluate it as rewardbench." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "Name a benchmark and its file."),
        (("rewardbench",), "Name a benchmark and its file."),
        (("rewardbench", "scored.jsonl", "--url", "http://localhost:1"), "Omit --url and --out."),
    ],
)
def test_options_that_do_not_fit(
    arguments: tuple[str, ...], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(Path("scored.jsonl"), [pair(2.0, 1.0)])
    assert run(*arguments) == 2
    assert reason in capsys.readouterr().err
