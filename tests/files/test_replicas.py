"""Files that replicas score which differ by engine or patch version, and in no reward."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from reward_client import FileError, Limits, RewardClient
from reward_client._client.equal_settings import each_server, settings_of_replicas
from reward_client.files import score_file
from reward_client.testing import RewardServer

from .conftest import read_rows, write_rows

ROWS = [
    {
        "messages": [
            {"role": "user", "content": f"What is {number} + 3?"},
            {"role": "assistant", "content": str(number + 3)},
        ]
    }
    for number in range(40)
]
WRITTEN = 15
VLLM = {"version": "0.32.0"}
PATCHED = {"version": "0.32.1"}
SGLANG = {"engine": "sglang", "dialect": "0.5.23"}
EARLIER_SGLANG = {"engine": "sglang", "dialect": "0.5.22"}
ENGINES, PATCHES, SGLANGS = (VLLM, SGLANG), (VLLM, PATCHED), (EARLIER_SGLANG, SGLANG)
AWAY = "http://127.0.0.1:9"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "in.jsonl", ROWS)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def started(stack: ExitStack, options: Mapping[str, Any]) -> RewardServer:
    return stack.enter_context(RewardServer(**options))


def connected(*urls: str) -> RewardClient:
    limits = Limits(max_batch_items=4, max_concurrency=2)
    return RewardClient([*urls], tokenizer=RewardServer.checkpoint, limits=limits, retry=1)


def run(source: Path, target: Path, *urls: str) -> list[float]:
    with connected(*urls) as client:
        summary = score_file(client, source, target)
    assert (summary.rows, dict(summary.failures)) == (len(ROWS), {})
    return [row["reward"] for row in read_rows(target)]


def stop_early(target: Path) -> None:
    """Leave what a run leaves that was stopped in the middle."""
    target.write_bytes(b"".join(target.read_bytes().splitlines(keepends=True)[:WRITTEN]))


def scored_by(server: RewardServer) -> int:
    return sum(request.path in ("/pooling", "/classify") for request in server.requests)


@pytest.mark.parametrize("both", [ENGINES, PATCHES, SGLANGS], ids=["engine", "patch", "sglang"])
@pytest.mark.parametrize("step", [1, -1], ids=["one first", "other first"])
def test_25_replicas_score_a_file_to_its_end(
    stack: ExitStack, source: Path, target: Path, both: tuple[dict[str, str], ...], step: int
) -> None:
    servers = [started(stack, each) for each in both]
    urls = [server.url for server in servers][::step]
    rewards = run(source, target, *urls)
    for server in servers:
        server.requests.clear()
    for resumed in (urls, urls[::-1], [urls[0], AWAY], [AWAY, urls[1]], urls[:1], urls[1:]):
        stop_early(target)
        assert run(source, target, *resumed) == pytest.approx(rewards, abs=1e-4)
    assert all(map(scored_by, servers))


@pytest.mark.parametrize("both", [ENGINES, PATCHES, SGLANGS], ids=["engine", "patch", "sglang"])
def test_25_their_order_changes_no_fingerprint(
    stack: ExitStack, both: tuple[dict[str, str], ...]
) -> None:
    urls = [started(stack, each).url for each in both]
    with connected(*urls) as client, connected(*urls[::-1]) as other:
        assert client.settings() == other.settings()
        assert client.settings().fingerprint == other.settings().fingerprint
        each = [*each_server(client.settings())]
    assert len(each) == 2
    assert settings_of_replicas(each) == settings_of_replicas(each[::-1])


@pytest.mark.parametrize(("away", "stays"), [(VLLM, SGLANG), (SGLANG, VLLM)])
def test_25_one_that_goes_away_changes_no_fingerprint(
    stack: ExitStack, away: dict[str, str], stays: dict[str, str]
) -> None:
    """Also if the other one was the first to be found."""
    with ExitStack() as while_up:
        urls = [started(while_up, away).url, started(stack, stays).url]
        client = stack.enter_context(connected(*urls))
        settings = client.settings()
        assert len(settings.replicas) == 1
    client.score_many([row["messages"] for row in ROWS])
    assert len(client.servers()) == 1
    assert client.settings() == settings


def test_25_one_that_joins_a_run_may_end_it(stack: ExitStack, source: Path, target: Path) -> None:
    server, other = started(stack, VLLM), started(stack, SGLANG)
    rewards = run(source, target, server.url, AWAY)
    for urls in ([other.url, server.url], [other.url]):
        stop_early(target)
        assert run(source, target, *urls) == pytest.approx(rewards, abs=1e-4)


def test_25_equal_servers_are_written_once(stack: ExitStack, source: Path, target: Path) -> None:
    run(source, target, started(stack, VLLM).url, started(stack, VLLM).url)
    settings = json.loads(target.with_name("out.jsonl.settings.json").read_bytes())
    assert settings["replicas"] == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (PATCHED, "server_version was '0.32.0' and is '0.32.1' now"),
        ({"model_name": "another"}, "model was .* and is 'another' now"),
    ],
)
def test_25_a_server_that_was_none_of_them_ends_the_run(
    stack: ExitStack, source: Path, target: Path, options: dict[str, str], said: str
) -> None:
    run(source, target, *(started(stack, each).url for each in ENGINES))
    stop_early(target)
    with (
        connected(started(stack, options).url) as client,
        pytest.raises(FileError, match=f"Cannot resume .*{said}"),
    ):
        score_file(client, source, target)
    assert len(read_rows(target)) == WRITTEN
