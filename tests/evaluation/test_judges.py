"""Benchmarks by a judge of two: its verdicts in both orders count as the benchmark's authors say.

The judge reads its verdicts in the question: the first letter is its verdict on the answers in
their order, the second one that in the reverse order, and ``X`` is a text without a verdict. An
authors' rule stands beside each test, written anew from their code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from reward_client import EvaluationError, InputError, RewardClient
from reward_client.cli import main
from reward_client.evaluation import compare, evaluate, evaluate_scored

from ..files.conftest import read_rows, write_rows
from ..files.test_contests import METHOD
from ..methods.test_verdict import PAIR, better
from ..support.raw_server import RawServer, answering
from ..support.scribe import Scribe
from .rows import Row, values

VERDICTS = ["".join(pair) for pair in product("ABC", repeat=2)]


def writes(prompt: str, seed: int) -> str:
    """The verdict of this order; the answers begin with ``1`` and ``2``."""
    question, _, answers = prompt.partition("Q: ")[2].partition("\nA: ")
    verdict = question[0 if answers.startswith("1") else 1]
    return "I cannot tell." if verdict == "X" else f"So [[{verdict}]]"


@pytest.fixture
def client() -> Iterator[RewardClient]:
    with RewardClient("http://vllm", transport=Scribe(writes).transport(), method=PAIR) as client:
        yield client


def judgebench(verdicts: str, label: str) -> Row:
    return {
        "question": verdicts,
        "response_A": "1st",
        "response_B": "2nd",
        "label": label,
        "source": "mmlu-pro-law",
        "pair_id": f"{verdicts} {label}",
    }


def rewardbench(verdicts: str) -> Row:
    return {"prompt": verdicts, "chosen": "1st", "rejected": "2nd", "subset": "hep-cpp"}


def judgebench_points(verdicts: str, label: str) -> int:
    """`compute_final_metrics` of JudgeBench: 1 if the decisions equal to the label outnumber the
    reverse ones. The decision in the reverse order is turned around."""
    decisions = [{"A": "A>B", "B": "B>A", "C": "A=B"}[verdict] for verdict in verdicts]
    decisions[1] = {"A>B": "B>A", "B>A": "A>B"}.get(decisions[1], decisions[1])
    other = {"A>B": "B>A", "B>A": "A>B"}[label]
    return int(decisions.count(label) > decisions.count(other))


def rewardbench_points(verdicts: str) -> float:
    """`run_generative.py` of RewardBench, over both of its random orders: 1 for chosen, 0 for
    rejected, 0.5 for anything else."""
    first = {"A": 1.0, "B": 0.0}.get(verdicts[0], 0.5)
    second = {"B": 1.0, "A": 0.0}.get(verdicts[1], 0.5)
    return (first + second) / 2


def test_judgebench_with_all_pairs_of_verdicts(client: RewardClient, tmp_path: Path) -> None:
    rows = [judgebench(each, label) for each in VERDICTS for label in ("A>B", "B>A")]
    source = write_rows(tmp_path / "judgebench.jsonl", rows)
    evaluation = evaluate("judgebench", source, client)
    points = [judgebench_points(row["question"], row["label"]) for row in rows]
    # Right by A>B: AB, AC, CB; and by B>A: BA, BC, CA. Each of 18 has another label or verdict.
    assert sum(points) == 6
    assert values(evaluation) == {"accuracy": 6 / 18, "Knowledge": 6 / 18}
    # AA, BB and CC decide nothing, with either label.
    note = "pairs whose verdicts are a tie or opposite, which is not right: 6"
    assert note in evaluation.notes
    for row, point in zip(read_rows(tmp_path / "judgebench.scored.jsonl"), points, strict=True):
        assert evaluate_scored("judgebench", [{**row, "row": 0}]).value == point


def test_rewardbench_with_all_pairs_of_verdicts(client: RewardClient, tmp_path: Path) -> None:
    rows = [{**rewardbench(each), "id": each} for each in VERDICTS]
    evaluation = evaluate("rewardbench", write_rows(tmp_path / "rb.jsonl", rows), client)
    points = [rewardbench_points(each) for each in VERDICTS]
    # AA 0.5, AB 1, AC 0.75, BA 0, BB 0.5, BC 0.25, CA 0.25, CB 0.75, CC 0.5
    assert points == [0.5, 1, 0.75, 0, 0.5, 0.25, 0.25, 0.75, 0.5]
    assert evaluation.value == pytest.approx(sum(points) / 9, abs=1e-12)
    note = "pairs whose verdicts are a tie or opposite, which is half right: 3"
    assert note in evaluation.notes


def test_a_reward_model_has_no_half_points() -> None:
    row = {**rewardbench("AA"), "form": "preference", "reward": {"chosen": 0.5, "rejected": 0.5}}
    assert evaluate_scored("rewardbench", [row]).value == 0


def compared(first: str, second: str, preference: float | None) -> Row:
    return {"first": first, "second": second, "preference": preference}


def test_the_size_of_a_preference_does_not_count() -> None:
    """As authors do, who read ``A>>B`` as ``A>B``: a clear and a slight verdict are opposite."""
    comparisons = [
        compared("response_A", "response_B", 1.0),
        compared("response_B", "response_A", 0.5),
    ]
    row = {
        **judgebench("", "A>B"),
        "reward": {"response_A": 0.625, "response_B": 0.375},
        "comparisons": comparisons,
    }
    assert evaluate_scored("judgebench", [row]).value == 0


def test_texts_without_a_verdict(client: RewardClient, tmp_path: Path) -> None:
    """They fail their rows; where failed rows are allowed, they count as their authors say."""
    verdicts = ["AB", "AX", "XB", "XX", "BX", "AA"]
    source = write_rows(tmp_path / "in.jsonl", [judgebench(each, "A>B") for each in verdicts])
    with pytest.raises(EvaluationError, match=r"4 of 6 rows failed \(4 GenerationError\)"):
        evaluate("judgebench", source, client)
    evaluation = evaluate("judgebench", source, client, allow_failed=True)
    # The decisions are None in `compute_final_metrics`, and neither the label nor its reverse.
    assert evaluation.value == 3 / 6
    assert evaluation.failed == 4
    note = "pairs with a text without a verdict, where it counts as a tie instead: 4"
    assert note in evaluation.notes
    write_rows(tmp_path / "rb.jsonl", [{**rewardbench(each), "id": each} for each in verdicts])
    evaluation = evaluate("rewardbench", tmp_path / "rb.jsonl", client, allow_failed=True)
    # 1, 0.75, 0.75, 0.5, 0.25, 0.5: "error" is 0.5 in `run_generative.py`.
    points = [rewardbench_points(each) for each in verdicts]
    assert evaluation.value == pytest.approx(sum(points) / 6, abs=1e-12) == 3.75 / 6


def test_rm_bench_takes_the_verdict_on_each_two(tmp_path: Path) -> None:
    """Each chosen answer is compared with each rejected one, whatever they do against others."""
    wins = {
        ("chosen[0]", "rejected[0]"),
        ("chosen[1]", "rejected[0]"),
        ("chosen[0]", "rejected[2]"),
    }
    tie = ("chosen[2]", "rejected[2]")
    comparisons: list[Row] = []
    for one, other in product(range(3), repeat=2):
        pair = (f"chosen[{one}]", f"rejected[{other}]")
        preference = 0 if pair == tie else 1 if pair in wins else -1
        comparisons += [compared(*pair, preference), compared(*reversed(pair), -preference)]
    row = {
        "prompt": "q",
        "chosen": ["a", "b", "c"],
        "rejected": ["d", "e", "f"],
        "domain": "math",
        "reward": {"chosen": [1.0, 1.0, 1.0], "rejected": [0.0, 0.0, 0.0]},
        "comparisons": comparisons,
    }
    found = values(evaluate_scored("rm-bench", [row]))
    # normal: (0,0) of three; easy, the plainer rejected one: (1,0) of three; hard: (0,2) of three.
    assert [found[f"math/{level}"] for level in ("easy", "normal", "hard")] == [1 / 3] * 3
    fewer = {**row, "comparisons": comparisons[:2]}  # all others by their rewards
    assert evaluate_scored("rm-bench", [fewer]).value == 1


def test_a_pair_of_which_one_order_failed_is_compared_by_the_rewards() -> None:
    row = {
        "prompt": "q",
        "response_1": "a",
        "response_2": "b",
        "winner": "model_a",
        "reward": {"response_1": 0.4, "response_2": 0.6},
        "comparisons": [
            compared("response_1", "response_2", 1.0),
            {**compared("response_2", "response_1", None), "error": {"type": "GenerationError"}},
        ],
    }
    assert evaluate_scored("ppe-human-preference", [row]).value == 0


def lengths(**columns: Any) -> Row:
    return {"prompt": "q", **columns}


def by_length(rows: Sequence[Row], tmp_path: Path, **options: Any) -> RewardClient:
    write_rows(tmp_path / "in.jsonl", rows)
    judge = replace(PAIR, **options)
    return RewardClient("http://vllm", transport=Scribe(better).transport(), method=judge)


def test_best_of_n_and_ppe_correctness(tmp_path: Path) -> None:
    rows = [
        lengths(responses=["a", "bbb", "cc"], correct=[False, True, False]),
        lengths(responses=["aaa", "bbb", "cc"], correct=[False, True, False]),  # two are best
    ]
    with by_length(rows, tmp_path) as client:
        evaluation = evaluate("best-of-n", tmp_path / "in.jsonl", client)
    assert values(evaluation)["best of n"] == 0.75
    row = {
        **lengths(response_1="a", response_2="bbb", response_3="cc", response_4="dd"),
        "scores": [False, True, True, False],
        "sampled_conflict_pairs": [[0, 1], [2, 3], [1, 3]],
    }
    with by_length([row], tmp_path) as client:
        evaluation = evaluate(
            "ppe-correctness", tmp_path / "in.jsonl", client, scored=tmp_path / "ppe.jsonl"
        )
    assert values(evaluation)["accuracy"] == 2 / 3  # the second pair is equal
    assert "prompts whose verdicts are a tie or opposite, which is not right: 1" in evaluation.notes


def test_rewardbench_2_without_its_ties(tmp_path: Path) -> None:
    """The authors have the answers of Ties rated, which a judge of two cannot."""
    common = {"prompt": "q", "num_correct": 1}
    rows = [
        {**common, "id": "1", "subset": "Math", "chosen": ["aaa"], "rejected": ["b", "cc", "d"]},
        {**common, "id": "2", "subset": "Math", "chosen": ["aa"], "rejected": ["b", "cc", "d"]},
        {**common, "id": "ref:1", "subset": "Ties", "chosen": ["aaa"], "rejected": ["b"]},
        {**common, "id": "tied:1", "subset": "Ties", "chosen": ["aaa", "bb"], "rejected": ["b"]},
    ]
    with by_length(rows, tmp_path) as client:
        evaluation = evaluate("rewardbench-2", tmp_path / "in.jsonl", client)
    assert values(evaluation) == {"average": 0.75, "Math": 0.75}
    note = "prompts of Ties, left out: they need ratings, and a judge of two gives none: 2"
    assert note in evaluation.notes
    scored = read_rows(tmp_path / "in.scored.jsonl")
    rated = [{key: row[key] for key in row if key != "comparisons"} for row in scored]
    other = evaluate_scored("rewardbench-2", rated)
    assert values(other)["Ties"] > 0
    assert compare(evaluation, evaluation).measures


def test_rmb_and_other_formats(tmp_path: Path) -> None:
    rows = [
        {
            "conversation_input": [{"role": "user", "content": "q"}],
            "bon_best": {"llm_name": "m", "answer": "aaa"},
            "loser_list": [{"llm_name": "n", "answer": each} for each in losers],
            "category_path": "BoN_set/Helpfulness/Chat",
        }
        for losers in (["a", "bb"], ["a", "bbb"])
    ]
    for name in ("out.jsonl", "out.parquet", "out.csv"):
        with by_length(rows, tmp_path) as client:
            evaluation = evaluate("rmb", tmp_path / "in.jsonl", client, scored=tmp_path / name)
        assert evaluation.value == 0.5
        assert "rows whose verdicts are a tie or opposite, which is not right: 1" in (
            evaluation.notes
        )


def test_steps_are_no_answers(client: RewardClient, tmp_path: Path) -> None:
    row = {"id": "gsm8k-1", "problem": "q", "steps": ["a", "b"], "label": 1}
    source = write_rows(tmp_path / "in.jsonl", [row])
    with pytest.raises(InputError, match="compares two responses: it has a single one"):
        evaluate("processbench", source, client)
    assert not (tmp_path / "in.scored.jsonl").exists()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [judgebench("AB", "A>B"), judgebench("AA", "A>B"), judgebench("CB", "A>B")]
    source = str(write_rows(tmp_path / "judgebench.jsonl", rows))
    page = tmp_path / "page.html"
    with RawServer(answering(Scribe(writes))) as server:
        options = ["--url", server.url, "--method", METHOD]
        assert main(["evaluate", "judgebench", source, *options, "--report", str(page)]) == 0
        out = capsys.readouterr().out
        assert "accuracy   66.67" in out
        again = str(tmp_path / "judgebench.scored.jsonl")
        assert main(["evaluate", "judgebench", again, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["measures"][0]["value"] == pytest.approx(2 / 3)
    assert "comparisons" not in page.read_text().partition("</table>")[0]
