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
    assert "rewardbench: RewardBench (arXiv 2403.13787)\n  file: allenai/reward-bench, " in out
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


def test_two_scored_files(capsys: pytest.CaptureFixture[str]) -> None:
    write(Path("a.jsonl"), [pair(2.0, 1.0, id=n) for n in range(8)])
    write(Path("b.jsonl"), [pair(float(n % 2), 0.5, id=n) for n in range(8)])
    assert run("rewardbench", "a.jsonl", "--against", "b.jsonl") == 0
    out = capsys.readouterr().out
    assert re.search(r"^average +100\.00 +50\.00 +\+50\.00 +\+\d", out, re.MULTILINE)
    assert "1,000 resamples of the pairs, seed 0" in out
    assert run("rewardbench", "a.jsonl", "--against", "b.jsonl", "--json") == 0
    parsed = json.loads(capsys.readouterr().out)
    assert (parsed["difference"], parsed["a"]["value"], parsed["b"]["value"]) == (0.5, 1.0, 0.5)


def test_two_servers(server: RewardServer, capsys: pytest.CaptureFixture[str]) -> None:
    def value(ids: list[int]) -> float:
        return sum(ids) % 97 / 8

    with RewardServer(values=value, model_name="other") as other:
        urls = ("--url", server.url, "--against-url", other.url)
        assert run("rewardbench", "rewardbench.jsonl", *urls) == 0
        out = capsys.readouterr().out
        assert out.startswith("RewardBench, 60 rows\nA: sum-judge\nB: other\n")
        scored = ("rewardbench.scored.jsonl", "rewardbench.scored.against.jsonl")
        assert run("rewardbench", scored[0], "--against", scored[1]) == 0
        assert capsys.readouterr().out == out
        assert run("rewardbench", "rewardbench.jsonl", *urls) == 0  # both runs resume
        assert capsys.readouterr().out == out


def test_another_model_of_the_same_server(
    server: RewardServer, capsys: pytest.CaptureFixture[str]
) -> None:
    models = ("--model", "sum-judge", "--against-model", "none-such")
    assert run("rewardbench", "rewardbench.jsonl", "--url", server.url, *models) == 1
    assert "none-such" in capsys.readouterr().err
    models = ("--model", "sum-judge", "--against-model", "sum-judge")
    assert run("rewardbench", "rewardbench.jsonl", "--url", server.url, *models) == 0
    assert re.search(r"^average .* \+0\.00 ", capsys.readouterr().out, re.MULTILINE)


def test_steps(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"id": f"gsm8k-{n}", "problem": "1 + 1?", "steps": ["1 + 1 is 2."], "label": -n}
        for n in (0, 1)
    ]
    write(Path("steps.jsonl"), rows)
    with RewardServer(head="steps") as server:
        head = f'StepHead(step_token="{server.step_token}", good_label=1, aggregate="min")'
        arguments = ("steps.jsonl", "--url", server.url, "--head", head, "--threshold", "1")
        assert run("processbench", *arguments) == 0
        out = capsys.readouterr().out
        assert re.search(r"^F1 +0\.00 ", out, re.MULTILINE)  # every step is wrong
        assert re.search(r"^  wrong solutions +100\.00 ", out, re.MULTILINE)
        assert "a step is wrong if its reward is at most 1" in out


def test_a_page(server: RewardServer, capsys: pytest.CaptureFixture[str]) -> None:
    page = Path("page.html")
    page.write_text("mine", encoding="utf-8")
    asked = len(server.requests)
    arguments = ("rewardbench", "rewardbench.jsonl", "--url", server.url, "--report", "page.html")
    assert run(*arguments) == 1  # before any request
    assert "it exists, and is no report" in capsys.readouterr().err
    assert len(server.requests) == asked
    page.unlink()
    assert run(*arguments) == 0
    assert capsys.readouterr().out.endswith("\nwrote page.html\n")
    text = page.read_text(encoding="utf-8")
    headings = re.findall(r"<h2[^>]*>(.*?)</h2>", text)
    assert headings[:2] == ["Overview", "RewardBench"]
    assert "- alpacaeval-easy" in text
    scored = "rewardbench.scored.jsonl"
    assert run("rewardbench", scored, "--against", scored, "--report", "page.html", "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["difference"] == 0
    assert err == "wrote page.html\n"
    headings = re.findall(r"<h2[^>]*>(.*?)</h2>", page.read_text(encoding="utf-8"))
    assert headings[:3] == ["Overview", "RewardBench", "Two models"]


def test_rows_that_differ(capsys: pytest.CaptureFixture[str]) -> None:
    write(Path("a.jsonl"), [pair(2.0, 1.0, id=1)])
    write(Path("b.jsonl"), [pair(2.0, 1.0, id=2)])
    assert run("rewardbench", "a.jsonl", "--against", "b.jsonl") == 1
    assert "the rows are not the same" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "Name a benchmark and its file."),
        (("rewardbench",), "Name a benchmark and its file."),
        (
            ("rewardbench", "scored.jsonl", "--url", "http://localhost:1"),
            "Omit the options of servers",
        ),
        (("rewardbench", "scored.jsonl", "--against-model", "m"), "Omit the options of servers"),
        (("rewardbench", "scored.jsonl", "--against", "a", "--against-url", "b"), "two others"),
    ],
)
def test_options_that_do_not_fit(
    arguments: tuple[str, ...], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(Path("scored.jsonl"), [pair(2.0, 1.0)])
    assert run(*arguments) == 2
    assert reason in capsys.readouterr().err
