"""`add_rewards`: rewards in the cache of `datasets`, under a fingerprint of the model too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import httpx
import pytest
from datasets import Dataset

from reward_client import (
    AuthenticationError,
    InputError,
    RewardClient,
    ServerError,
    ServerUnreachableError,
)
from reward_client.integrations.datasets import add_rewards
from reward_client.testing import Fault, RewardServer

from ..methods.test_verdict import PAIR as DUEL
from ..methods.test_verdict import better
from ..support.fake_vllm import text_of
from ..support.scribe import Scribe

PAIR = {"prompt": "What is 12 + 30?", "chosen": "12 + 30 = 42.", "rejected": "It is 57."}
LONG = {**PAIR, "rejected": "1" * 3000}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


@pytest.fixture
def server() -> Iterator[RewardServer]:
    with RewardServer() as server:
        yield server


@pytest.fixture
def client(server: RewardServer) -> Iterator[RewardClient]:
    with RewardClient(server.url, retry=1) as client:
        yield client


def on_disk(folder: Path, rows: list[dict[str, Any]]) -> Dataset:
    """A data set with a cache: one in memory has none."""
    Dataset.from_list(rows).save_to_disk(folder)
    return datasets.load_from_disk(folder)


def port_of(server: RewardServer) -> int:
    return int(server.url.rpartition(":")[2])


def server_url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def test_rewards_are_those_of_score_rows(client: RewardClient, tmp_path: Path) -> None:
    rows = [PAIR, LONG, {**PAIR, "chosen": None}] * 3
    expected = client.score_rows(rows)
    for batch_size in (2, 100):
        scored = add_rewards(
            on_disk(tmp_path / f"{batch_size}", rows), client, batch_size=batch_size
        )
        assert [*scored.column_names] == [*PAIR, "form", "reward", "token_count", "error"]
        assert scored["form"][:] == [row["form"] for row in expected]
        for found, row in zip(scored["reward"], expected, strict=True):
            for side, reward in (row["reward"] or {}).items():
                assert found[side] == (reward and pytest.approx(reward, abs=1e-4))
            assert found is not None or row["reward"] is None
        assert scored[1]["error"]["rejected"]["type"] == "PromptTooLongError"


def test_no_rows(client: RewardClient, tmp_path: Path) -> None:
    scored = add_rewards(Dataset.from_list([PAIR]).select([]), client)
    assert [*scored.column_names] == [*PAIR, "form", "reward", "error"]


def test_all_batches_have_one_layout(client: RewardClient, tmp_path: Path) -> None:
    other = {"prompt": PAIR["prompt"], "response": PAIR["chosen"]}
    dataset = on_disk(tmp_path / "in", [{**PAIR, "response": None}, other, {**PAIR}])
    for _ in range(2):  # the second one comes from the cache
        first, second, _ = add_rewards(dataset, client, batch_size=1)
        assert first["reward"]["chosen"] > first["reward"]["rejected"]
        assert second["form"] is None
        assert second["error"]["rejected"]["type"] == "InputError"


def test_77_the_cache_is_of_one_model(tmp_path: Path) -> None:
    dataset = on_disk(tmp_path / "data", [{**PAIR, "id": str(n)} for n in range(20)])
    with RewardServer() as server:
        port = port_of(server)
        with RewardClient(server.url) as client:
            first = add_rewards(dataset, client)
        with RewardClient(server.url) as client:
            client.settings()
            asked = len(server.requests)
            again = add_rewards(dataset, client)
            assert len(server.requests) == asked
        assert again[:] == first[:]
    # Another model at the same address, under the same name.
    with (
        RewardServer(port=port, values=lambda ids: len(ids) / 7) as server,
        RewardClient(server.url) as client,
    ):
        other = add_rewards(dataset, client)
    tokens = other[0]["token_count"]["chosen"]
    assert other[0]["reward"]["chosen"] == pytest.approx(tokens / 7, abs=1e-4)
    assert first[0]["reward"]["chosen"] != pytest.approx(tokens / 7, abs=1e-4)


def test_the_cache_is_of_one_form(client: RewardClient, tmp_path: Path) -> None:
    row = {"prompt": "1 + 1?", "response": "2.", "answer": "3."}
    dataset = on_disk(tmp_path / "data", [row] * 3)
    response = add_rewards(dataset, client)
    answer = add_rewards(dataset, client, columns={"prompt": "prompt", "response": "answer"})
    assert response[0]["reward"] != answer[0]["reward"]


def test_77_failures_of_the_server_are_not_cached(tmp_path: Path) -> None:
    dataset = on_disk(tmp_path / "data", [PAIR] * 5)
    with RewardServer() as server, RewardClient(server.url, retry=1) as client:
        client.settings()
        server.inject(Fault.status(401), path="/pooling", times=20)
        with pytest.raises(AuthenticationError):
            add_rewards(dataset, client)
        port = port_of(server)
    with RewardClient(server_url(port), retry=1) as client, pytest.raises(ServerUnreachableError):
        add_rewards(dataset, client)
    with RewardServer(port=port) as server, RewardClient(server.url) as client:
        assert add_rewards(dataset, client)["error"][:] == [None] * 5


@pytest.mark.parametrize(
    ("dataset", "says"), [([PAIR], "needs a datasets.Dataset"), (5, "needs a datasets.Dataset")]
)
def test_other_arguments(client: RewardClient, dataset: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        add_rewards(dataset, client)
    with pytest.raises(InputError, match="needs a RewardClient"):
        add_rewards(Dataset.from_list([PAIR]), "client")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no form has these"):
        add_rewards(Dataset.from_list([{"a": 1}]), client)


def test_a_judge_of_two(tmp_path: Path) -> None:
    """A comparison that a fault of the server ended is not kept in the cache."""
    rows = [{"prompt": "q", "responses": ["a", "bbb", "cc"]}, {"prompt": "q", "responses": ["a"]}]
    scribe = Scribe(better)
    data = on_disk(tmp_path / "data", rows)

    def breaks(request: httpx.Request) -> httpx.Response | None:
        body = json.loads(request.content or b"{}")
        if "seed" in body and "A: a\nB: cc" in text_of(body["prompt"]):
            return httpx.Response(500, json={"error": "broken"})
        return None

    with RewardClient("http://vllm", transport=scribe.transport(), method=DUEL, retry=1) as client:
        with pytest.raises(InputError, match="it has a single one"):
            add_rewards(on_disk(tmp_path / "single", rows[1:]), client)
        scribe.before = breaks
        with pytest.raises(ServerError):
            add_rewards(data, client)
        scribe.before = lambda request: None
        scored = add_rewards(data, client)
        expected = client.score_rows(rows)
    assert scored["reward"][:] == [[0.0, 1.0, 0.5], None]
    assert scored["comparisons"][0] == expected[0]["comparisons"]
