"""The report on a real run: its texts by every form of rows, and its settings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reward_client import RewardClient, StepHead
from reward_client.cli import main
from reward_client.files import score_file
from reward_client.report import write_report
from reward_client.testing import RewardServer, demo_pairs

from ..files.conftest import write_rows
from .conftest import Page

QUESTION = {"role": "user", "content": "What is 12 + 30?"}
RIGHT = {"role": "assistant", "content": "12 + 30 = 42."}
WRONG = {"role": "assistant", "content": "It is 57."}
TEXT = "<|bos|><|user|>What is 1 + 1?<|end|><|assistant|>2<|end|>"


@pytest.fixture(scope="module")
def server() -> Iterator[RewardServer]:
    with RewardServer() as server:
        yield server


def reported(client: RewardClient, folder: Path, *rows: Any, **options: Any) -> Page:
    source = write_rows(folder / "in.jsonl", rows)
    score_file(client, source, folder / "out.jsonl")
    write_report(folder / "out.jsonl", folder / "out.html", **options)
    return Page(folder / "out.html")


@pytest.mark.parametrize(
    ("row", "texts"),
    [
        ({"messages": [QUESTION, RIGHT]}, "user What is 12 + 30? assistant 12 + 30 = 42."),
        ({"text": TEXT}, f"text {TEXT}"),
        ({"token_ids": [1, 5, 9, 12]}, "token IDs 1 5 9 12"),
        (
            {"prompt": QUESTION["content"], "responses": ["42", "57"], "id": 7},
            "user What is 12 + 30? [1]: assistant 57",
        ),
        (
            {"system": "Be brief.", "prompt": "2 + 2?", "response": "4", "score": 3},
            "system Be brief. user 2 + 2? assistant 4",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_texts_of_each_form(
    server: RewardServer, tmp_path: Path, row: dict[str, Any], texts: str
) -> None:
    with RewardClient(server.url) as client:
        words = reported(client, tmp_path, row).words
    assert texts in words.replace("answer: ", "").replace("answer ", "")


def test_conversations_of_pairs_show_what_they_share_once(
    server: RewardServer, tmp_path: Path
) -> None:
    row = {"chosen": [QUESTION, WRONG], "rejected": [QUESTION, RIGHT]}
    with RewardClient(server.url) as client:
        words = reported(client, tmp_path, row).words
    assert (
        "user What is 12 + 30? chosen: assistant It is 57. rejected: assistant 12 + 30 = 42."
    ) in words


def test_a_report_on_a_resumed_run_is_the_same(server: RewardServer, tmp_path: Path) -> None:
    rows = [{**pair, "subset": n % 3} for n, pair in enumerate(demo_pairs()[:40])]
    with RewardClient(server.url) as client:
        whole = reported(client, tmp_path, *rows, {"text": ""})
        lines = (tmp_path / "out.jsonl").read_bytes().splitlines(keepends=True)
        (tmp_path / "out.jsonl").write_bytes(b"".join(lines[:17]))
        resumed = reported(client, tmp_path, *rows, {"text": ""})
    assert (
        whole.html.split("<main>")[1].split("<footer>")[0]
        == (resumed.html.split("<main>")[1].split("<footer>")[0])
    )
    assert whole.sections == [
        "Overview",
        "Distribution of rewards",
        "By subset",
        "Length and reward",
        "Margins and calibration",
        "Most wrong pairs",
        "Failures",
        "Settings and provenance",
    ]


def test_settings_of_the_run(tmp_path: Path) -> None:
    with (
        RewardServer(api_key="secret-key", root="someone/<ours>") as server,
        RewardClient(server.url, api_key="secret-key") as client,
    ):
        page = reported(client, tmp_path, {"messages": [QUESTION, RIGHT]})
        fingerprint, url = client.settings().fingerprint, server.url
    table = dict(page.table("Everything that the rewards depend on")[1:])
    assert table["model"] == "sum-judge"
    assert table["root"] == "someone/<ours>"
    assert table["head"] == "scalar"
    assert table["fingerprint"] == fingerprint
    assert len(table["rewards of eight fixed prompts"].split(", ")) == 8
    assert "secret-key" not in page.html
    assert url not in page.html


def test_without_settings(server: RewardServer, tmp_path: Path) -> None:
    pairs = demo_pairs()[:3]
    with RewardClient(server.url) as client:
        reported(client, tmp_path, *pairs)
    settings = tmp_path / "out.jsonl.settings.json"
    for content, reason in (
        (None, "There is no file out.jsonl.settings.json beside the scored file"),
        ("{}", "The file out.jsonl.settings.json holds no settings of this version"),
    ):
        settings.unlink()
        if content is not None:
            settings.write_text(content)
        write_report(tmp_path / "out.jsonl", tmp_path / "out.html")
        words = Page(tmp_path / "out.html").words
        assert f"{reason}, so that the model and the settings of the rewards are unknown." in words
        assert "The settings are missing, so that this is a guess." in words
        settings.touch()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"method": "verdict"}, "marks that a judge wrote"),
        ({"method": "yes or no"}, "log-odds of one answer to a question"),
        ({"head": "3 objectives (weighted)"}, "weighted sums of objectives"),
        ({"head": "steps (min, 2 labels, good 1)"}, "probabilities of steps"),
        ({"method": "messages"}, None),
    ],
)
def test_which_rewards_are_logits(
    server: RewardServer, tmp_path: Path, changes: dict[str, str], reason: str | None
) -> None:
    with RewardClient(server.url) as client:
        reported(client, tmp_path, *demo_pairs()[:3])
    settings = tmp_path / "out.jsonl.settings.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | changes))
    write_report(tmp_path / "out.jsonl", tmp_path / "out.html")
    words = Page(tmp_path / "out.html").words
    assert ("expected calibration error" in words) == (reason is None)
    assert (reason or "Bradley-Terry") in words


def test_rewards_of_steps(tmp_path: Path) -> None:
    rows = [
        {"problem": "2 + 2?", "steps": ["It is 4.", "So 4."]},
        {"problem": "2 + 3?", "steps": ["It is 6."]},
    ]
    with (
        RewardServer(head="steps") as server,
        RewardClient(
            server.url, head=StepHead(step_token="~", good_label=1, aggregate="min")
        ) as client,
    ):
        words = reported(client, tmp_path, *rows).words
    assert "It is 4. So 4." in words


def test_the_command(
    server: RewardServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{**pair, "subset": n % 2} for n, pair in enumerate(demo_pairs()[:6])]
    write_rows(tmp_path / "in.jsonl", rows)
    score = ["score", "in.jsonl", "out.jsonl", "--url", server.url]
    assert main([*score, "--report", "a.html", "--by", "subset"]) == 0
    assert capsys.readouterr().out.endswith("wrote a.html\n")
    assert "By subset" in Page(tmp_path / "a.html").sections
    assert main(["report", "out.jsonl"]) == 0
    assert capsys.readouterr().out == "wrote out.jsonl.html\n"
    assert Page(tmp_path / "out.jsonl.html").sections
    assert main(["report", "out.jsonl", "b.html", "--by", "row", "--title", "Ours"]) == 0
    assert "<h1>Ours</h1>" in Page(tmp_path / "b.html").html
    capsys.readouterr()
    assert main(["report", "out.jsonl", "--by", "none"]) == 2
    assert main(["report", "out.jsonl", "in.jsonl"]) == 1
    assert main(["report", "in.jsonl", "c.html"]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert [error.split(":")[1] for error in errors] == [
        " Cannot group by 'none'",
        " Cannot write in.jsonl",
        " Cannot report on in.jsonl",
    ]


def test_a_report_leaves_the_status_of_the_run(
    server: RewardServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "in.jsonl", [*demo_pairs()[:2], {"text": ""}])
    score = ["score", "in.jsonl", "out.jsonl", "--url", server.url]
    assert main([*score, "--report", "a.html"]) == 3
    assert "Failures" in Page(tmp_path / "a.html").sections
    capsys.readouterr()
    (tmp_path / "mine.html").write_text("mine")
    assert main([*score, "--report", "mine.html"]) == 1
    assert "no report of this program" in capsys.readouterr().err
    assert main(["score", "in.jsonl", "-", "--url", server.url, "--report", "b.html"]) == 2
    assert "--report" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name",
    ["out.jsonl.gz", "out.jsonl.zst", "out.json", "out.csv", "out.parquet", "out.arrow", "out/"],
)
def test_a_report_on_a_file_of_any_format(server: RewardServer, tmp_path: Path, name: str) -> None:
    rows = [
        {"prompt": "2 + 2?", "chosen": "4", "rejected": f"{n}", "subset": n % 3} for n in range(30)
    ]
    source = write_rows(tmp_path / "in.jsonl", [*rows, {"prompt": "?", "chosen": None}])
    main_parts = []
    with RewardClient(server.url) as client:
        for output in ("plain.jsonl", name):
            score_file(client, source, f"{tmp_path}/{output}")
            write_report(f"{tmp_path}/{output}", tmp_path / "out.html", title="Ours")
            page = Page(tmp_path / "out.html")
            main_parts.append(page.html.split("<main>")[1].split("<footer>")[0])
    assert main_parts[1] == main_parts[0]
