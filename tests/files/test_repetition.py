"""A run whose rows all fail alike ends early, keeps everything, and can be resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from reward_client import FileError, RewardClient
from reward_client._rows.scored import ScoredRow
from reward_client.files import repetition, score_file

from ..support.fake_vllm import FakeVllm
from .conftest import read_rows, token_rows, write_rows

BAD = {"history": [{"role": "user", "content": "2 + 2?"}], "text": "4"}
LONG = {"token_ids": [100] * 2000}


def score(client: RewardClient, folder: Path, rows: list[Any], **options: Any) -> Any:
    return score_file(
        client, write_rows(folder / "in.jsonl", rows), folder / "out.jsonl", **options
    )


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (BAD, "InputError: Cannot score a row with the column 'history'"),
        (LONG, "PromptTooLongError: "),
        ([], "InputError: Cannot read the line: it is not a JSON object."),
        ({"prompt": "2 + 2?", "responses": ["4", 5]}, "InputError: A response must be"),
        ({"chosen": [], "rejected": []}, "InputError: "),
    ],
)
def test_73_errors_of_every_row_end_the_run(
    client: RewardClient, tmp_path: Path, row: Any, says: str
) -> None:
    with pytest.raises(FileError) as caught:
        score(client, tmp_path, [row] * 60_000)
    assert "its first 100 rows failed alike" in str(caught.value)
    assert says in str(caught.value)
    assert "--retry-failed" not in str(caught.value)
    assert len(read_rows(tmp_path / "out.jsonl")) == 100


def test_73_the_same_command_scores_the_remaining_rows(
    client: RewardClient, tmp_path: Path
) -> None:
    """A file may begin with its longest conversations."""
    rows = [*[LONG] * 250, *token_rows(30)]
    with pytest.raises(FileError, match="run the same command again"):
        score(client, tmp_path, rows)
    summary = score(client, tmp_path, rows)
    assert (summary.rows, summary.kept, dict(summary.failures)) == (
        280,
        100,
        {"PromptTooLongError": 250},
    )


@pytest.mark.parametrize(
    "rows",
    [
        [BAD] * 99,
        [*[BAD] * 99, *token_rows(1), *[BAD] * 500],
        [*[BAD] * 50, *[LONG] * 60, *[BAD] * 500],
    ],
    ids=["few", "one was scored", "unlike"],
)
def test_73_other_failures_do_not(client: RewardClient, tmp_path: Path, rows: list[Any]) -> None:
    assert score(client, tmp_path, rows).rows == len(rows)


ERROR = {"type": "InputError", "message": "no"}


@pytest.mark.parametrize(
    "errors", [[ERROR, None], [None, ERROR], {"chosen": ERROR, "rejected": None}]
)
def test_73_a_row_with_a_reward_does_not(errors: object) -> None:
    watched = repetition.Repetition(Path("in.jsonl"))
    for rows in range(1, 300):
        watched.check(ScoredRow({"error": errors}), rows)
    for rows in range(1, 100):
        watched.check(ScoredRow({"error": [ERROR, ERROR]}), rows)
    with pytest.raises(FileError):
        watched.check(ScoredRow({"error": [ERROR, ERROR]}), 100)


def broken(request: httpx.Request) -> httpx.Response | None:
    """A server that fails for all rows from the thirtieth on."""
    if request.url.path == "/pooling" and any(
        ids[0] >= 130 for ids in json.loads(request.content)["input"]
    ):
        return httpx.Response(401, json={"error": {"message": "revoked", "code": 401}})
    return None


def test_73_a_server_that_fails_for_good(
    client: RewardClient, fake: FakeVllm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repetition, "_LATER", 50)
    rows = token_rows(200)
    fake.before = broken
    with pytest.raises(FileError) as caught:
        score(client, tmp_path, rows)
    assert "50 rows in succession failed alike. AuthenticationError: " in str(caught.value)
    assert "run the same command again with --retry-failed" in str(caught.value)
    written = len(read_rows(tmp_path / "out.jsonl"))
    assert 77 <= written <= 80  # a request that fails holds up to four samples
    fake.before = lambda request: None
    summary = score(client, tmp_path, rows, retry_failed=True)
    assert (summary.rows, summary.failed, summary.kept) == (200, 0, written - 50)


def test_73_rows_that_fail_by_themselves_go_on(
    client: RewardClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repetition, "_LATER", 50)
    assert score(client, tmp_path, [*token_rows(1), *[BAD] * 200]).failed == 200
