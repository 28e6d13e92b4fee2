"""What the tests of files share: a server that can be told anything, and files of rows."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from reward_client import Limits, RetryPolicy, RewardClient

from ..support.fake_vllm import FakeVllm

Connect = Callable[..., RewardClient]

ONCE = RetryPolicy(attempts=1)


def value_of(ids: list[int]) -> list[float]:
    """A raw reward that hardly any two lists share."""
    return [(ids[0] * 31 + ids[-1] * 17 + len(ids) * 7) % 1009 / 8 - 60]


def token_rows(count: int) -> list[dict[str, Any]]:
    return [{"id": f"r{n}", "token_ids": [100 + n, 7, *range(5, 5 + n % 9)]} for n in range(count)]


def write_rows(path: Path, rows: Iterable[Any]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def scored_lists(fake: FakeVllm) -> list[list[int]]:
    """Every token list that was scored, without those that found the server out."""
    lists = [ids for body in fake.asked("/pooling") for ids in body["input"]]
    return [ids for ids in lists if ids[0] >= 100]


@pytest.fixture
def fake() -> FakeVllm:
    return FakeVllm(pool=value_of)


@pytest.fixture
def connect(fake: FakeVllm) -> Iterator[Connect]:
    """Opens clients to the server that can be told anything."""
    with ExitStack() as opened:

        def open_client(server: FakeVllm = fake, **options: Any) -> RewardClient:
            settings = {
                "transport": server.transport(),
                "retry": ONCE,
                "limits": Limits(max_concurrency=4, max_batch_items=4),
                **options,
            }
            return opened.enter_context(RewardClient("http://fake", **settings))

        yield open_client


@pytest.fixture
def client(connect: Connect) -> RewardClient:
    return connect()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Forty rows."""
    return write_rows(tmp_path / "in.jsonl", token_rows(40))


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"
