"""What a row and a summary tell about failures."""

from __future__ import annotations

from pathlib import Path

import httpx

from reward_client import RewardClient
from reward_client.files import score_file
from reward_client.methods import Verdict

from ..support.fake_vllm import FakeVllm
from ..support.scribe import Scribe
from .conftest import Connect, read_rows, token_rows, write_rows

CHAT = [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]


def test_the_text_of_a_judge_without_a_verdict(connect: Connect, tmp_path: Path) -> None:
    writes = Scribe(lambda prompt, seed: "I cannot say.")
    client = connect(writes, method=Verdict(r"Mark: (\d)", "Judge {response}"))
    source = write_rows(tmp_path / "in", [{"messages": CHAT}, {"prompt": "2?", "responses": ["4"]}])
    score_file(client, source, tmp_path / "out")
    one, several = (row["error"] for row in read_rows(tmp_path / "out"))
    for error in (one, *several):
        assert error["type"] == "GenerationError"
        assert "error.text" in error["message"]
        assert error["text"] == "I cannot say."


def test_other_errors_name_no_text(client: RewardClient, tmp_path: Path) -> None:
    score_file(client, write_rows(tmp_path / "in", [{"text": ""}]), tmp_path / "out")
    (row,) = read_rows(tmp_path / "out")
    assert row["error"].keys() == {"type", "message"}


def test_the_first_reason_of_each_kind(client: RewardClient, tmp_path: Path) -> None:
    rows = [*token_rows(3), {"text": ""}, {"token_ids": [1] * 2000}, {"text": 3}, []]
    summary = score_file(client, write_rows(tmp_path / "in", rows), tmp_path / "out")
    assert [*summary.failures] == [*summary.reasons] == ["InputError", "PromptTooLongError"]
    assert summary.reasons["InputError"] == (
        3,
        "FormattedText needs a non-empty str, not an empty str.",
    )
    assert summary.reasons["PromptTooLongError"][0] == 4
    lines = str(summary).splitlines()
    assert lines[0] == "7 rows: 3 scored, 4 failed (3 InputError, 1 PromptTooLongError)"
    assert lines[1] == (
        "first InputError, in row 3: FormattedText needs a non-empty str, not an empty str."
    )
    assert lines[2].startswith("first PromptTooLongError, in row 4: ")
    again = score_file(client, tmp_path / "in", tmp_path / "out")
    assert (again.reasons, again.can_retry) == (summary.reasons, False)


def test_a_retry_helps_where_the_server_failed(
    client: RewardClient, fake: FakeVllm, tmp_path: Path
) -> None:
    client.servers()
    failed = httpx.Response(500, json={"error": {"message": "no", "code": 500}})
    fake.before = lambda request: failed if request.url.path == "/pooling" else None
    rows = [{"text": ""}, {"prompt": "2?", "responses": ["4", "5"]}]
    summary = score_file(client, write_rows(tmp_path / "in", rows), tmp_path / "out")
    assert (summary.failed, summary.can_retry) == (2, True)
