"""Heads and methods on a command line, and the other options that say how rows are read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from reward_client import InputError, ObjectiveHead, RewardClient, StepHead
from reward_client._client.from_text import head_of, method_of
from reward_client.cli import main
from reward_client.heads import LinearHead, ScalarHead
from reward_client.methods import Pooled, TokenLogit, Verdict, YesNo
from reward_client.testing import RewardServer

from ..files.conftest import read_rows, write_rows

CHAT = [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]


@pytest.fixture(scope="module")
def server() -> Iterator[RewardServer]:
    with RewardServer(head="labels") as server:
        yield server


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ScalarHead()", ScalarHead()),
        (
            " ObjectiveHead(5, weights={'label_0': 1.5}) ",
            ObjectiveHead(5, weights={"label_0": 1.5}),
        ),
        ("ObjectiveHead(('a', 'b'))", ObjectiveHead(("a", "b"))),
        ("LinearHead([0.5, -1], bias=2)", LinearHead([0.5, -1], bias=2)),
        (
            'StepHead(step_token="<s>", good_label=1, aggregate="min")',
            StepHead(step_token="<s>", good_label=1, aggregate="min"),
        ),
    ],
)
def test_heads(text: str, expected: Any) -> None:
    assert head_of(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("TokenLogit(0)", TokenLogit(0)),
        ("TokenLogit('Yes', classifier_from_token=True)", None),
        ("YesNo()", YesNo()),
        ("Pooled(head=ObjectiveHead(3))", Pooled(head=ObjectiveHead(3))),
        (r"Verdict(prompt='{response}', pattern=r'(\d)')", None),
    ],
)
def test_methods(text: str, expected: Any) -> None:
    found: Any = method_of(text)
    if expected is None:
        assert isinstance(found, TokenLogit | Verdict)
    else:
        assert found == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("TokenLogit", "it is no call"),
        ("TokenLogit(0", "was never closed"),
        ("", "invalid syntax"),
        ("print('x')", "there is no print"),
        ("__import__('os').system('touch hit')", "it is no call"),
        ("TokenLogit(open('hit', 'w'))", "there is no open"),
        ("TokenLogit(__import__('os'))", "there is no __import__"),
        ("TokenLogit(x)", "malformed node"),
        ("TokenLogit(*[1])", "malformed node"),
        ("TokenLogit(**{'token': 1})", "unexpected keyword"),
        ("TokenLogit()", "missing 1 required"),
        ("TokenLogit(1.5)", "1.5|token"),
        ("ScalarHead()", "there is no ScalarHead"),
        ("(" * 300 + "0" + ")" * 300, "Write one of"),
    ],
)
def test_what_is_no_method(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        method_of(text)
    assert not Path("hit").exists()


def test_the_head_and_the_columns_of_a_command(server: RewardServer) -> None:
    rows = [{"task": "2 + 2?", "reply": "4", "other": n} for n in range(3)]
    write_rows(Path("in.jsonl"), rows)
    options = ["--head", "ObjectiveHead(5, weights={'label_0': 1})", "--url", server.url]
    columns = ["--columns", "prompt=task,response=reply"]
    assert main(["score", "in.jsonl", "out.parquet", *columns, *options]) == 0
    found = pyarrow.parquet.read_table("out.parquet").to_pylist()
    chosen = ObjectiveHead(5, weights={"label_0": 1})
    with RewardClient(server.url, head=chosen) as client:
        expected = client.score([{"role": "user", "content": "2 + 2?"}, CHAT[1]])
    for row in found:
        assert row["reward"] == pytest.approx(expected.value, abs=1e-4)
        assert row["objectives"] == pytest.approx(expected.objectives, abs=1e-4)
        assert row["form"] == "response"
    assert main(["score", "in.jsonl", "out.parquet", *options]) == 1


@pytest.mark.parametrize("text", ["", "a,,b", "a=", "=a", "a,a", "a=b,a=c"])
def test_what_is_no_list_of_columns(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["score", "in", "out", "--columns", text])
    assert ended.value.code == 2
    assert "names with commas between them" in capsys.readouterr().err


def test_several_inputs_and_servers(tmp_path: Path) -> None:
    write_rows(Path("a.jsonl"), [{"messages": CHAT, "id": n} for n in range(3)])
    write_rows(Path("b.jsonl"), [{"messages": CHAT, "id": n} for n in range(3, 5)])
    with RewardServer() as one, RewardServer() as two:
        urls = ["--url", one.url, "--url", two.url]
        assert main(["score", "a.jsonl", "b.jsonl", "out.jsonl", *urls]) == 0
    assert [row["id"] for row in read_rows(Path("out.jsonl"))] == [*range(5)]


def test_a_form_of_another_name(server: RewardServer, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(Path("in.jsonl"), [{"messages": CHAT, "chosen": "4", "rejected": "5"}] * 2)
    options = ["--url", server.url, "--head", "ObjectiveHead(5)"]
    assert main(["score", "in.jsonl", "out.jsonl", "--form", "messages", *options]) == 0
    assert {row["form"] for row in read_rows(Path("out.jsonl"))} == {"messages"}
    capsys.readouterr()
    assert main(["score", "in.jsonl", "out.jsonl", *options]) == 1
    assert "is read by another form or other columns" in capsys.readouterr().err
