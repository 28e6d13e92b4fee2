"""From the file of a benchmark to its table, over the built-in server."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from reward_client import EvaluationError, InputError, RewardClient
from reward_client.evaluation import compare, evaluate, evaluate_scored
from reward_client.testing import RewardServer, demo_pairs

from ..files.killing import COMMAND, ROOT
from .rows import Row
from .test_rows import write


def benchmark_rows(count: int = 60) -> list[Row]:
    """Pairs whose chosen answer the built-in model prefers most of the time."""
    subsets = ("alpacaeval-easy", "llmbar-natural", "donotanswer", "math-prm")
    return [
        {
            "prompt": pair["chosen"][0]["content"],
            "chosen": pair["chosen"][1]["content"],
            "chosen_model": "m",
            "rejected": pair["rejected"][1]["content"],
            "rejected_model": "n",
            "subset": subsets[number % 4],
            "id": number,
        }
        for number, pair in enumerate(demo_pairs()[:count])
    ]


@pytest.fixture(scope="module")
def server() -> Iterator[RewardServer]:
    with RewardServer() as server:
        yield server


@pytest.fixture
def client(server: RewardServer) -> Iterator[RewardClient]:
    with RewardClient(server.url) as client:
        yield client


def test_file_to_table(client: RewardClient, server: RewardServer, tmp_path: Path) -> None:
    rows = benchmark_rows()
    evaluation = evaluate("rewardbench", write(tmp_path / "rewardbench.jsonl", rows), client)
    won: list[bool] = []
    for row in rows:
        sides = [
            [
                {"role": "user", "content": row["prompt"]},
                {"role": "assistant", "content": row[side]},
            ]
            for side in ("chosen", "rejected")
        ]
        chosen, rejected = [server.reference(client.tokenize(side).token_ids) for side in sides]
        won.append(chosen > rejected)
    subsets = [sum(won[start::4]) / len(won[start::4]) for start in range(4)]
    assert [measure.value for measure in evaluation.measures if len(measure.path) == 2] == subsets
    assert evaluation.value == sum(subsets) / 4
    assert (evaluation.rows, evaluation.failed, evaluation.model) == (60, 0, "sum-judge")
    scored = tmp_path / "rewardbench.scored.jsonl"
    assert evaluate_scored("rewardbench", scored) == evaluation
    assert evaluate_scored("rewardbench", client.score_rows(rows)).measures == evaluation.measures


def test_a_second_evaluation_scores_nothing(
    client: RewardClient, server: RewardServer, tmp_path: Path
) -> None:
    source = write(tmp_path / "rewardbench.jsonl", benchmark_rows(8))
    first = evaluate("rewardbench", source, client, scored=tmp_path / "mine.jsonl")
    before = len(server.requests)
    assert evaluate("rewardbench", source, client, scored=tmp_path / "mine.jsonl") == first
    asked = {request.path for request in server.requests[before:]}
    assert not asked & {"/pooling", "/classify", "/v1/embeddings"}


def test_the_wrong_file_is_refused_before_any_request(
    client: RewardClient, server: RewardServer, tmp_path: Path
) -> None:
    before = len(server.requests)
    source = write(tmp_path / "rewardbench.jsonl", benchmark_rows(2))
    with pytest.raises(InputError, match="looks like RewardBench"):
        evaluate("rm-bench", source, client)
    with pytest.raises(EvaluationError, match="has no rows"):
        evaluate("rm-bench", write(tmp_path / "empty.jsonl", []), client)
    assert len(server.requests) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.jsonl", "rewardbench.jsonl"]


@pytest.mark.parametrize("suffix", [".json", ".parquet", ".jsonl.gz"])
def test_other_formats(client: RewardClient, tmp_path: Path, suffix: str) -> None:
    rows = benchmark_rows(12)
    lines = evaluate("rewardbench", write(tmp_path / "lines.jsonl", rows), client)
    path = tmp_path / f"test{suffix}"
    if suffix == ".json":
        path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    elif suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_bytes(gzip.compress((tmp_path / "lines.jsonl").read_bytes()))
    evaluation = evaluate("rewardbench", path, client)
    assert evaluation == lines
    assert compare(evaluation, lines, resamples=100).difference == 0
    assert (tmp_path / "test.scored.jsonl").exists()


def test_scored_rows_in_parquet(client: RewardClient, tmp_path: Path) -> None:
    rows = benchmark_rows(8)
    rows[5]["rejected"] = "no " * 2000
    rows[2]["seen"] = "by one row alone"
    source = write(tmp_path / "rewardbench.jsonl", rows)
    lines = evaluate("rewardbench", source, client, allow_failed=True)
    scored = tmp_path / "scored.parquet"
    table = evaluate("rewardbench", source, client, scored=scored, allow_failed=True)
    assert table == lines
    assert evaluate_scored("rewardbench", scored, allow_failed=True) == lines
    assert compare(lines, table, resamples=100).difference == 0


def test_a_folder_of_files(client: RewardClient, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    rows = benchmark_rows(12)
    write(folder / "a.jsonl", rows[:5])
    write(folder / "b.jsonl", rows[5:])
    whole = evaluate("rewardbench", write(tmp_path / "whole.jsonl", rows), client)
    assert evaluate("rewardbench", folder, client) == whole
    assert (tmp_path / "parts.scored.jsonl").exists()


def test_a_pipe_is_refused(client: RewardClient, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b'{"subset": "x"}\n',))
    writer.start()
    with pytest.raises(InputError, match="it is a pipe"):
        evaluate("rewardbench", pipe, client)
    writer.join()


def test_a_column_that_results_have_too(client: RewardClient, tmp_path: Path) -> None:
    rows = [{**row, "error": "wrong number"} for row in benchmark_rows(2)]
    with pytest.raises(InputError, match=r"'error': the row has one\. Rename it or leave it out"):
        evaluate("rewardbench", write(tmp_path / "rewardbench.jsonl", rows), client)


def test_rows_of_rmb_are_scored(client: RewardClient, tmp_path: Path) -> None:
    pair = demo_pairs()[0]
    prompt = [{**pair["chosen"][0], "language": "English"}]
    answers = [{"llm_name": "m", "answer": pair[side][1]["content"]} for side in pair]
    rows = [
        {
            "conversation_input": prompt,
            "bon_best": answers[0],
            "loser_list": answers[1:] * 2,
            "bon_uid": "1",
            "category_path": "BoN_set/Harmlessness/S1",
        }
    ]
    evaluation = evaluate("rmb", write(tmp_path / "rmb.jsonl", rows), client)
    right, wrong = client.score(pair["chosen"]), client.score(pair["rejected"])
    assert evaluation.value == float(right > wrong)


def test_a_row_that_is_too_long_fails(client: RewardClient, tmp_path: Path) -> None:
    rows = benchmark_rows(8)
    rows[3]["rejected"] = "no " * 2000
    source = write(tmp_path / "rewardbench.jsonl", rows)
    with pytest.raises(EvaluationError, match=r"1 of 8 rows failed \(1 PromptTooLongError\)"):
        evaluate("rewardbench", source, client)
    evaluation = evaluate("rewardbench", source, client, allow_failed=True)
    assert (evaluation.failed, evaluation.rows) == (1, 8)


def test_a_killed_run_resumes_to_the_same_table(tmp_path: Path) -> None:
    def value(ids: list[int]) -> float:
        time.sleep(0.002)
        return sum(ids) % 97 / 8

    write(tmp_path / "rewardbench.jsonl", benchmark_rows(200))
    with RewardServer(values=value) as server:

        def start(name: str) -> subprocess.Popen[str]:
            command = [sys.executable, "-c", COMMAND, "evaluate", "rewardbench"]
            return subprocess.Popen(
                [*command, "rewardbench.jsonl", "--url", server.url, "--out", name],
                cwd=tmp_path,
                env={"PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                text=True,
            )

        scored = tmp_path / "killed.jsonl"
        run = start(scored.name)
        while not scored.exists() or scored.read_bytes().count(b"\n") < 20:
            assert run.poll() is None
            time.sleep(0.005)
        run.send_signal(signal.SIGKILL)
        run.communicate()
        assert 20 <= scored.read_bytes().count(b"\n") < 200
        resumed, whole = start(scored.name), start("whole.jsonl")
        assert resumed.communicate()[0] == whole.communicate()[0]
        assert resumed.returncode == whole.returncode == 0
    assert scored.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert len(json.loads(scored.read_bytes().splitlines()[-1])["digest"]) == 32


@pytest.mark.parametrize(
    ("source", "scored"),
    [
        *(("data/rb.jsonl", "rb.scored.jsonl"), ("data/rb.jsonl.gz", "rb.scored.jsonl")),
        *(("data/test-00.parquet", "test-00.scored.jsonl"), ("data/v1.2", "v1.2.scored.jsonl")),
    ],
)
def test_the_scored_rows_lie_beside_the_source(source: str, scored: str) -> None:
    from reward_client.evaluation.runner import scored_path

    assert scored_path(source) == Path("data") / scored


CHOICE: Row = {"prompt": "2 + 2?", "responses": ["4", "5"], "correct": [True, False]}
JUDGED: Row = {"question": "2 + 2?", "response_A": "4", "response_B": "5", "label": "A>B"}
STEPS: Row = {"id": "gsm8k-0", "problem": "2 + 2?", "steps": ["4", "So 4."], "label": -1}


@pytest.mark.parametrize(
    ("name", "good", "change", "reason"),
    [
        ("best-of-n", CHOICE, {"correct": [True]}, "correct has 1 values for 2 responses"),
        ("best-of-n", CHOICE, {"correct": [], "responses": []}, "correct is empty"),
        ("best-of-n", CHOICE, {"correct": None}, "correct holds no list"),
        ("judgebench", JUDGED, {"label": "A=B"}, "its label is neither A>B nor B>A"),
        ("processbench", STEPS, {"label": 2}, "its label is neither the position of a step"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_before_any_is_scored(
    server: RewardServer, tmp_path: Path, name: str, good: Row, change: Row, reason: str
) -> None:
    source = write(tmp_path / "in.jsonl", [good] * 40 + [{**good, **change}])
    before = len(server.requests)
    refused = pytest.raises(EvaluationError, match=f"Cannot evaluate row 40: .*{reason}")
    with RewardClient(server.url) as client, refused:
        evaluate(name, source, client)
    assert len(server.requests) == before
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]
