"""What `--help`, `--version` and `--completion` print, and what a wrong option says."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import reward_client
from reward_client import cli
from reward_client.testing import RewardServer, demo_pairs

from ..export.checkpoints import checkpoint, seqcls
from ..files.killing import COMMAND, ROOT

URL = "http://localhost:8000"
PROGRAM = [sys.executable, "-c", COMMAND]


def parsers() -> dict[str, argparse.ArgumentParser]:
    (subparsers,) = (
        action
        for action in cli._parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    return dict(subparsers.choices)


def examples() -> Iterator[tuple[str, str]]:
    for name, parser in parsers().items():
        for line in (parser.epilog or "").splitlines()[1:]:
            yield name, line.strip()


@pytest.mark.parametrize("command", parsers())
def test_every_command_has_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out.partition("examples:\n")[2]
    assert shown.count(f"reward-client {command}") >= 2


@pytest.fixture(scope="module")
def server() -> Iterator[RewardServer]:
    with RewardServer() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the examples name."""
    monkeypatch.chdir(tmp_path)
    rows = [{"messages": pair["chosen"]} for pair in demo_pairs()[:3]]
    pairs = [{**pair, "subset": "sums"} for pair in demo_pairs()[:3]]
    benchmark = [{**pair, "subset": "math-prm"} for pair in demo_pairs()[:3]]
    scored = [{**row, "reward": {"chosen": 1.5, "rejected": 0.5}} for row in benchmark]
    files = {
        "in.jsonl": rows,
        "pairs.jsonl": pairs,
        "rewardbench.jsonl": benchmark,
        "rewards.jsonl": scored,
        "scored.jsonl": [{**row, "form": "preference"} for row in scored],
    }
    for name, content in files.items():
        Path(name).write_text("".join(json.dumps(row) + "\n" for row in content), "utf-8")
    Path("key.txt").write_text("a-key\n", "utf-8")
    Path("shards").mkdir()
    shutil.copy("in.jsonl", "shards/0.jsonl")
    checkpoint(tmp_path / "my-reward-model", seqcls())
    qwen = {"architectures": ["Qwen3ForSequenceClassification"], "model_type": "qwen3"}
    checkpoint(tmp_path / "my-qwen", seqcls(), **qwen)
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("command", "example"), list(examples()))
def test_every_example_runs(command: str, example: str, server: RewardServer) -> None:
    line = example.replace(URL, server.url).replace("--port 8000", "--port 0")
    program = " ".join(map(shlex.quote, PROGRAM))
    line = line.replace("reward-client", program, 1)
    if command == "serve":
        line = line if "--port" in line else f"{line} --port 0"
        with subprocess.Popen(f"exec {line}", shell=True, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline().startswith(b"Serving ")
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=20) == 0
        return
    if command == "gateway":
        line = f"{line} --port 0"
        with subprocess.Popen(f"exec {line}", shell=True, stderr=subprocess.PIPE) as process:
            assert process.stderr is not None
            assert any(b'"event":"ready"' in each for each in process.stderr)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=20) == 0
        return
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr if command != "score" else "") == (0, "")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"reward-client {reward_client.__version__}\n"


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["reward-client", "sc"], {"score"}),
        (["reward-client", "score", "--retry"], {"--retry-failed"}),
        (["reward-client", "serve", "--head", "st"], {"steps"}),
    ],
)
def test_the_script_for_bash_completes(
    words: list[str], offered: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("shtab")
    with pytest.raises(SystemExit) as ended:
        cli.main(["--completion", "bash"])
    assert ended.value.code == 0
    script = capsys.readouterr().out
    (function,) = re.findall(r"complete .*-F (\w+) reward-client", script)
    ask = f"""
        COMP_WORDS=({" ".join(words)}); COMP_CWORD={len(words) - 1}
        {function}; echo "${{COMPREPLY[@]}}"
    """
    answer = subprocess.run(
        ["bash", "-c", script + ask], capture_output=True, text=True, check=True
    )
    assert set(answer.stdout.split()) == offered


def test_completion_without_its_extra(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert cli.main(["--completion", "zsh"]) == 1
    assert "Install reward-client[completion]." in capsys.readouterr().err


def test_every_option_with_a_number_has_a_range() -> None:
    for name, parser in parsers().items():
        for action in parser._actions:
            assert action.type not in (int, float), (name, action.option_strings)


WAIT = ["score", "in", "out", "--wait"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["serve", "--port", "80000"], "a whole number from 0 to 65535, not '80000'"),
        (["serve", "--port", "-1"], "a whole number from 0 to 65535, not '-1'"),
        (["serve", "--port", "80.5"], "a whole number from 0 to 65535, not '80.5'"),
        ([*WAIT, "nan"], "a number from 0 to 31536000, not 'nan'"),
        ([*WAIT, "inf"], "a number from 0 to 31536000, not 'inf'"),
        ([*WAIT, "-0.5"], "a number from 0 to 31536000, not '-0.5'"),
        (["doctor", "--wait", "soon"], "a number from 0 to 31536000, not 'soon'"),
    ],
)
def test_a_number_out_of_range(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith(f"must be {says}\n")
