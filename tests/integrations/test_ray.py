"""Ray Data on two nodes: `nox -s integrations -- --all` installs Ray. The first tests need none."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from reward_client import (
    AsyncRewardClient,
    FileError,
    InputError,
    ModelChangedError,
    RetryPolicy,
    RewardClient,
    RewardTimeoutError,
    ServerError,
    ServerUnreachableError,
    cli,
)
from reward_client._client import watch
from reward_client._integrations import clients
from reward_client._integrations.shards import begin, shards_of
from reward_client._transport import http_transport
from reward_client.heads import ObjectiveHead, StepHead
from reward_client.integrations import ray as integration
from reward_client.integrations.ray import RewardScorer, score_files
from reward_client.testing import Fault, RewardServer

from ..methods.test_verdict import PAIR as DUEL
from ..methods.test_verdict import better
from ..replicas.restarting import free_port
from ..support.fake_vllm import text_of
from ..support.scribe import Scribe
from .conftest import blocks_of, port_of

needs_ray = pytest.mark.skipif(
    find_spec("ray") is None, reason="nox -s integrations -- --all installs it"
)
# Of other libraries, which say them on import and in their own threads.
pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.timeout(600)]

Rows = list[dict[str, Any]]

LONG = "1" * 3000
DATED = (
    "{{ strftime_now('%d %b %Y') }}"
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
)
"""A chat template with today's date."""


def chat(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def chats(number: int) -> Rows:
    return [{"id": n, "messages": chat(f"{n} + {n}?", f"{n * 2}")} for n in range(number)]


FORMS: dict[str, Rows] = {
    "messages": chats(3),
    "token_ids": [{"token_ids": [5, 6, 7 + n]} for n in range(3)],
    "response": [{"prompt": "2 + 2?", "response": f"{n}"} for n in range(3)],
    "responses": [{"prompt": "2 + 2?", "responses": ["4"] * (n + 1)} for n in range(3)],
    "preference": [{"prompt": "2 + 2?", "chosen": "4", "rejected": f"{n}"} for n in range(3)],
    "conversations": [{"chosen": chat("1?", "4"), "rejected": chat("1?", f"{n}")} for n in (0, 1)],
    "comparison": [{"prompt": "2?", "response_a": "4", "response_b": f"{n}"} for n in range(3)],
}


def as_arrays(table: pa.Table) -> dict[str, Any]:
    """Return a batch as Ray gives it by default: lists and objects are arrays within arrays."""

    def nested(value: Any) -> Any:
        if isinstance(value, list):
            return objects(value)
        return {k: nested(v) for k, v in value.items()} if isinstance(value, dict) else value

    def objects(values: Sequence[Any]) -> Any:
        plain = np.array(values) if all(type(each) is int for each in values) else None
        array = np.empty(len(values), dtype=object)
        array[:] = [nested(each) for each in values]
        return array if plain is None else plain

    columns = {name: table[name].to_pylist() for name in table.column_names}
    return {name: objects(values) for name, values in columns.items()}


BATCHES = {"arrays": as_arrays, "pandas": lambda table: table.to_pandas(), "pyarrow": lambda t: t}


def scored(scorer: RewardScorer, batch: Any) -> pa.Table:
    return asyncio.run(scorer(batch))


def added(rows: Sequence[Any]) -> list[dict[str, object]]:
    """Return the added columns without what is None: a typed column holds it for all rows."""

    def given(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: given(each) for k, each in value.items() if given(each) not in (None, {})}
        return list(map(given, value)) if isinstance(value, list | tuple) else value

    names = ("form", "reward", "objectives", "step_rewards", "token_count", "error")
    return [given({name: row.get(name) for name in names}) for row in rows]


def direct(url: str, rows: Rows, **options: Any) -> list[dict[str, object]]:
    with RewardClient(url, **options) as client:
        return added(client.score_rows(rows))


# Without Ray: as its actors call


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", BATCHES)
def test_a_batch_gets_the_columns_of_score_rows(form: str, kind: str, server: RewardServer) -> None:
    rows = FORMS[form]
    table = pa.Table.from_pylist(rows)
    out = scored(RewardScorer(server.url), BATCHES[kind](table))
    assert added(out.to_pylist()) == direct(server.url, rows)
    given = out.select(table.column_names)
    assert given.to_pylist() == rows
    assert set(out.column_names) - {*table.column_names} == {
        *("form", "reward", "token_count", "error")
    }


@pytest.mark.parametrize("form", FORMS)
def test_columns_have_one_type_in_every_batch(form: str, server: RewardServer) -> None:
    good = pa.Table.from_pylist(FORMS[form])
    lost = pa.Table.from_pylist([dict.fromkeys(good.column_names)] * 2, schema=good.schema)
    mixed = pa.concat_tables([lost, good, lost])
    for batches in ((good, mixed, lost), (lost, mixed, good), (good.slice(0, 0), good)):
        scorer = RewardScorer(server.url)
        schemas = [scored(scorer, batch).schema for batch in batches]
        assert all(schema.equals(schemas[0]) for schema in schemas)
    rows = scored(RewardScorer(server.url), mixed).to_pylist()
    assert added(rows[2:-2]) == direct(server.url, FORMS[form])
    assert [row["form"] for row in rows[:2]] == [None, None]


def test_a_fault_of_a_sample_is_in_its_row(server: RewardServer) -> None:
    rows = [*chats(2), {"id": 9, "messages": chat("1?", LONG)}, {"id": 10, "messages": []}]
    out = scored(RewardScorer(server.url), pa.Table.from_pylist(rows)).to_pylist()
    assert added(out) == direct(server.url, rows)
    assert [row["error"] and row["error"]["type"] for row in out] == [
        *(None, None, "PromptTooLongError", "InputError")
    ]


def test_objectives_and_steps_are_columns() -> None:
    names = ["a", "b", "c", "d", "e"]
    token = RewardServer.step_token
    steps = StepHead(step_token=token, good_label=1, aggregate="min")
    cases = (
        ("labels", ObjectiveHead(names), "objectives", chats(3)),
        ("steps", steps, "step_rewards", [{"messages": chat("1?", f"1{token}2{token}")}] * 2),
    )
    for kind, head, column, rows in cases:
        with RewardServer(head=kind) as server:
            scorer = RewardScorer(server.url, head=head)
            table = pa.Table.from_pylist(rows)
            out = scored(scorer, table)
            assert added(out.to_pylist()) == direct(server.url, rows, head=head)
            lost = pa.Table.from_pylist([dict.fromkeys(rows[0])], schema=table.schema)
            assert scored(scorer, lost).schema.equals(out.schema)
            assert column in out.column_names


def test_a_truncated_conversation_is_marked(server: RewardServer) -> None:
    turns = [*chat("1?", "1" * 600), *chat("2?", "2" * 600)]
    rows = [{"messages": turns}, {"messages": chat("1?", "1")}]
    out = scored(RewardScorer(server.url, on_overlong="drop_turns"), pa.Table.from_pylist(rows))
    assert out["truncated"].to_pylist() == [True, None]


def test_the_options_are_those_of_a_client_and_of_the_environment(
    server: RewardServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REWARD_CLIENT_BASE_URL", server.url)
    rows = [{"question": "2 + 2?", "text_of_it": "4", "response": "5"}]
    given = {"prompt": "question", "response": "text_of_it"}
    out = scored(RewardScorer(columns=given), pa.Table.from_pylist(rows))
    assert out["reward"].to_pylist() == [
        each["reward"] for each in direct(server.url, [{"prompt": "2 + 2?", "response": "4"}])
    ]
    with pytest.raises(TypeError, match="takes no failed="):
        RewardScorer(server.url, failed=0)  # type: ignore[call-arg]
    with pytest.raises(InputError, match="form="):
        RewardScorer(server.url, form="pairs")


def test_rows_that_all_fail_are_one_error(server: RewardServer) -> None:
    table = pa.Table.from_pylist([{"messages": chat("1?", LONG)}] * 99)
    scorer = RewardScorer(server.url)
    assert scored(scorer, table)["reward"].null_count == 99
    with pytest.raises(InputError, match=r"the first 100 all fail.*PromptTooLongError"):
        scored(scorer, table.slice(0, 1))
    scorer = RewardScorer(server.url)
    scored(scorer, pa.Table.from_pylist(chats(1)))
    assert scored(scorer, pa.concat_tables([table, table]))["reward"].null_count == 198


def test_what_cannot_be_scored_is_refused(server: RewardServer) -> None:
    scorer = RewardScorer(server.url)
    with pytest.raises(InputError, match="Cannot add the column 'reward'"):
        scored(scorer, pa.Table.from_pylist([{"messages": chat("1?", "1"), "reward": 1.0}]))
    with pytest.raises(InputError, match="A batch is a dict of arrays"):
        scored(scorer, [1])


def judged(scribe: Scribe) -> RewardScorer:
    """Return a scorer whose client sends to a scripted judge of two answers."""
    scorer = RewardScorer("http://vllm", method=DUEL, patience=1)
    client = AsyncRewardClient(
        "http://vllm", transport=scribe.transport(), method=DUEL, retry=RetryPolicy(attempts=1)
    )
    clients.rows_client_of._made.append((scorer._options, client))
    return scorer


def test_a_judge_of_two_answers() -> None:
    rows = [{"prompt": "q", "responses": ["a", "bbb", "cc"]}, {"prompt": "q", "responses": ["a"]}]
    scribe = Scribe(better)
    with RewardClient("http://vllm", transport=scribe.transport(), method=DUEL) as client:
        expected = client.score_rows(rows)
    table, scorer = pa.Table.from_pylist(rows), judged(scribe)
    out = scored(scorer, table).to_pylist()
    assert added(out)[0] == added(expected)[0]
    assert out[0]["reward"] == [0.0, 1.0, 0.5]
    assert "it has a single one" in out[1]["error"][0]["message"]
    compared = [{**each, "error": None} for each in expected[0]["comparisons"]]
    assert [row["comparisons"] for row in out] == [compared, None]
    lost = table.slice(1)
    assert scored(scorer, lost).schema.equals(scored(scorer, table).schema)


def test_a_comparison_lost_by_the_server_ends_the_job() -> None:
    rows = [{"prompt": "q", "responses": ["a", "bbb", "cc"]}]

    def breaks(request: httpx.Request) -> httpx.Response | None:
        body = json.loads(request.content or b"{}")
        if "seed" in body and "A: a\nB: cc" in text_of(body["prompt"]):
            return httpx.Response(500, json={"error": "broken"})
        return None

    scribe = Scribe(better)
    scribe.before = breaks
    with pytest.raises(ServerError, match="broken"):
        scored(judged(scribe), pa.Table.from_pylist(rows))


def test_a_batch_takes_no_request_for_the_date_of_a_template() -> None:
    table = pa.Table.from_pylist(chats(3))
    asked: list[int] = []
    for template in (None, DATED):
        with RewardServer(chat_template=template) as server:
            scorer = RewardScorer(server.url)
            scored(scorer, table)
            before = len(server.requests)
            scored(scorer, table)
            paths = [request.path for request in server.requests[before:]]
            asked.append(len(paths) - paths.count("/pooling"))  # one or two, by chance
    assert asked[0] == asked[1]


def test_a_fault_of_the_server_is_one_clear_error(server: RewardServer) -> None:
    table = pa.Table.from_pylist(chats(3))
    dead = RewardScorer(f"http://127.0.0.1:{free_port()}", patience=0.5)
    with pytest.raises(RewardTimeoutError, match=r"No server was ready within 0\.5 s"):
        scored(dead, table)


def test_another_model_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_INTERVAL", 0)  # a proof at the end of each call
    table = pa.Table.from_pylist(chats(3))
    with RewardServer() as first:
        port, scorer = port_of(first), RewardScorer(first.url)
        scored(scorer, table)
    with RewardServer(port=port, values=lambda ids: 1.0), pytest.raises(ModelChangedError):
        scored(scorer, table)


# Files, without Ray: what machines and runs agree on


def jsonl(path: Path, rows: Rows) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_each_file_has_its_output(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        jsonl(tmp_path / "in" / name, chats(1))
    shards = shards_of([tmp_path / "in"], tmp_path / "out")
    assert [(each.source.name, each.output.name) for each in shards] == [
        *(("a.jsonl", "a.parquet"), ("b.jsonl", "b.parquet"))
    ]
    jsonl(tmp_path / "other" / "a.json", chats(1))
    with pytest.raises(FileError, match=r"both would be a\.parquet"):
        shards_of([tmp_path / "in", tmp_path / "other"], tmp_path / "out")
    with pytest.raises(FileError, match="it is in the input folder"):
        shards_of([tmp_path / "in"], tmp_path / "in" / "out")
    with pytest.raises(FileError, match="No such file"):
        shards_of([tmp_path / "c.jsonl"], tmp_path / "out")


def test_a_folder_belongs_to_one_run(tmp_path: Path, server: RewardServer) -> None:
    folder = tmp_path / "out"
    with RewardClient(server.url) as client:
        settings = client.settings()
    begin(folder, settings, None, ["messages"])
    begin(folder, settings, None, ["messages"])
    with pytest.raises(FileError, match="another form or other columns"):
        begin(folder, settings, "messages", ["messages"])
    other = settings.model_copy(update={"model": "other"})
    with pytest.raises(FileError, match=r"Cannot resume .* model was"):
        begin(folder, other, None, ["messages"])
    jsonl(tmp_path / "full" / "a.jsonl", chats(1))
    with pytest.raises(FileError, match="it is not empty, and no run has begun in it"):
        begin(tmp_path / "full", settings, None, None)
    (tmp_path / "new.settings.json").write_text("mine")
    with pytest.raises(FileError, match=r"new\.settings\.json exists, and holds no settings"):
        begin(tmp_path / "new", settings, None, None)
    (tmp_path / "cut" / "_work").mkdir(parents=True)  # as a kill before the options leaves it
    begin(tmp_path / "cut", settings, None, None)


def test_a_file_is_there_once_it_is_whole(tmp_path: Path, server: RewardServer) -> None:
    rows = chats(9)
    source = jsonl(tmp_path / "in.jsonl", rows)
    (shard,) = shards_of([source], tmp_path / "out")
    given: Any = {"form": None, "columns": None, "retry_failed": False}
    with RewardClient(server.url) as client:
        settings = client.settings()
        begin(tmp_path / "out", settings, None, None)
        assert not shard.is_whole()
        other = settings.model_copy(update={"model": "other"})
        with pytest.raises(ModelChangedError, match="model was 'other'"):
            shard.score(client, other, **given)
        summary = shard.score(client, settings, **given)
        assert shard.is_whole()
        assert [path.name for path in (tmp_path / "out").glob("[!_]*")] == ["in.parquet"]
        # As after the death of a machine that could not tell any more.
        again = shard.score(client, settings, **given)
    assert (summary.rows, summary.kept, again.rows, again.kept) == (9, 0, 9, 9)
    table = pa.parquet.read_table(tmp_path / "out")
    assert added(table.to_pylist()) == direct(server.url, rows)
    os.utime(source)
    with pytest.raises(FileError, match="has changed since its rows were scored"):
        shard.is_whole()


def test_a_report_on_the_files_of_a_run(
    tmp_path: Path, server: RewardServer, capsys: pytest.CaptureFixture[str]
) -> None:
    shards(tmp_path / "in", 2, 3)
    with RewardClient(server.url) as client:
        settings = client.settings()
        begin(tmp_path / "out", settings, None, None)
        for shard in shards_of([tmp_path / "in"], tmp_path / "out"):
            shard.score(client, settings, form=None, columns=None, retry_failed=False)
    page = tmp_path / "page.html"
    assert cli.main(["report", str(tmp_path / "out"), str(page), "--by", "part"]) == 0
    text = page.read_text()
    assert "By part" in text
    assert settings.fingerprint in text
    command = ["score", str(tmp_path / "in"), str(tmp_path / "out"), "--ray", "--url", server.url]
    assert cli.main([*command, "--report", str(page), "--by", "prat"]) == 2
    assert "prat" in capsys.readouterr().err


def test_all_files_have_the_same_columns(tmp_path: Path, server: RewardServer) -> None:
    """Whatever happened to their rows: readers of a folder take the columns of its first file."""
    cut = [*chat("1?", "1" * 600), *chat("2?", "2" * 600)]
    kinds = {"cut": cut, "plain": chat("1?", "1"), "long": chat("1?", LONG), "unread": []}
    for name, messages in kinds.items():
        jsonl(tmp_path / "in" / f"{name}.jsonl", [{"messages": messages}, *chats(2)[:1]])
    jsonl(tmp_path / "in" / "lost.jsonl", [{"messages": chat("1?", LONG)}])
    with RewardClient(server.url, on_overlong="drop_turns") as client:
        settings = client.settings()
        begin(tmp_path / "out", settings, None, None)
        for shard in shards_of([tmp_path / "in"], tmp_path / "out"):
            shard.score(client, settings, form=None, columns=None, retry_failed=False)
    names = ["form", "reward", "truncated", "token_count", "error"]
    schemas = [
        pa.parquet.read_schema(path) for path in sorted((tmp_path / "out").glob("*.parquet"))
    ]
    added_columns = [pa.schema([schema.field(name) for name in names]) for schema in schemas]
    assert len(schemas) == 5
    assert all(each.equals(added_columns[0]) for each in added_columns)
    assert pa.parquet.read_table(tmp_path / "out")["truncated"].to_pylist().count(True) == 1


def test_other_arguments_are_refused(tmp_path: Path, server: RewardServer) -> None:
    source = jsonl(tmp_path / "in.jsonl", chats(1))
    out = tmp_path / "out"
    wrong: list[tuple[Any, Any, dict[str, Any], str]] = [
        (AsyncRewardClient(server.url), source, {}, r"score_files\(\) needs a RewardClient"),
        (server.url, source, {}, r"score_files\(\) needs a RewardClient"),
        (None, [], {}, "list of paths is empty"),
        (None, chats(2), {}, "is no path"),
        (None, source, {"form": "pairs"}, "form="),
        (None, source, {"retry_failed": "no"}, "retry_failed="),
    ]
    with RewardClient(server.url) as client:
        for given, paths, options, reason in wrong:
            with pytest.raises(InputError, match=reason):
                score_files(given or client, paths, out, **options)
    assert not out.exists()


def test_a_failure_of_ray_is_one_clear_error(
    tmp_path: Path,
    server: RewardServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def init(**given: object) -> None:
        raise Exception("ray::worker\nThe current node timed out during startup.")

    monkeypatch.setattr(integration, "_ray", lambda: SimpleNamespace(init=init))
    source = jsonl(tmp_path / "in.jsonl", chats(1))
    command = ["score", str(source), str(tmp_path / "out"), "--ray", "--url", server.url]
    assert cli.main(command) == 1
    error = capsys.readouterr().err
    assert "Ray ended the run: The current node timed out during startup. All written" in error


def test_a_machine_waits_for_a_server_that_it_has_not_met(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client is new, as on a machine that takes over: the server may be restarting."""
    monkeypatch.setattr(http_transport, "_FIRST_CONTACT_SECONDS", 0.0)
    (shard,) = shards_of([jsonl(tmp_path / "in.jsonl", chats(3))], tmp_path / "out")
    with RewardServer() as server, RewardClient(server.url) as client:
        settings, port = client.settings(), port_of(server)
        begin(tmp_path / "out", settings, None, None)
    servers: list[RewardServer] = []
    timer = threading.Timer(1, lambda: servers.append(RewardServer(port=port).__enter__()))
    timer.start()
    with RewardClient(f"http://127.0.0.1:{port}", retry=RetryPolicy(budget=60)) as client:
        summary = shard.score(client, settings, form=None, columns=None, retry_failed=False)
    timer.join()
    servers[0].__exit__(None, None, None)
    assert summary.rows == 3


def test_a_lock_of_a_dead_machine_is_waited_for(tmp_path: Path, server: RewardServer) -> None:
    from reward_client.files.results import Results

    (shard,) = shards_of([jsonl(tmp_path / "in.jsonl", chats(3))], tmp_path / "out")
    with RewardClient(server.url) as client:
        settings = client.settings()
        begin(tmp_path / "out", settings, None, None)
        lingering = Results(shard.unfinished.with_name("in.parquet.rewards.jsonl"))
        lingering.__enter__()
        timer = threading.Timer(1, lingering.__exit__, [None, None, None])
        timer.start()
        summary = shard.score(client, settings, form=None, columns=None, retry_failed=False)
        timer.join()
    assert summary.rows == 3


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["-", "out"], "Cannot use a pipe with --ray"),
        (["in.jsonl", "-"], "Cannot use a pipe with --ray"),
        (["in.jsonl", "out", "--by", "id"], "Add --report"),
    ],
)
def test_options_that_machines_cannot_share(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["score", *arguments, "--ray", "--url", "http://127.0.0.1:9"]) == 2
    assert reason in capsys.readouterr().err


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_the_extra_is_named(
    tmp_path: Path, server: RewardServer, capsys: pytest.CaptureFixture[str]
) -> None:
    source = jsonl(tmp_path / "in.jsonl", chats(1))
    command = ["score", str(source), str(tmp_path / "out"), "--ray", "--url", server.url]
    assert cli.main(command) == 1
    assert "pip install 'reward-client[ray]'" in capsys.readouterr().err


# In Ray


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """Start a cluster of two nodes: that of the driver, and another one."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False}
    )
    cluster.add_node(num_cpus=2)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.wait_for_min_actors_s = 120  # the first actor would be done before the second is there
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def pool(size: int = 2) -> Any:
    from ray.data import ActorPoolStrategy

    return ActorPoolStrategy(size=size)


def in_ray(rows: Rows, url: str, *, blocks: int = 8, **given: Any) -> Rows:
    """Score rows by two actors; return them in the order of their IDs."""
    import ray

    options = {"base_url": url, **given.pop("options", {})}
    data = ray.data.from_items(rows, override_num_blocks=blocks)
    out = data.map_batches(
        given.pop("scorer", RewardScorer),
        fn_constructor_kwargs=options,
        compute=pool(),
        **given,
    )
    return sorted(out.take_all(), key=lambda row: row["id"])


class Located(RewardScorer):
    """Adds the node of the actor, as the test has to know it."""

    async def __call__(self, batch: Any) -> Any:
        import ray

        table = await super().__call__(batch)
        node = ray.get_runtime_context().get_node_id()
        return table.append_column("node", pa.array([node] * table.num_rows))


@needs_ray
@pytest.mark.parametrize("kind", ["default", "pandas", "pyarrow"])
def test_rows_of_two_nodes_equal_direct_ones(kind: str, nodes: Any, server: RewardServer) -> None:
    rows = [*chats(200), {"id": 200, "messages": chat("1?", LONG)}]
    out = in_ray(rows, server.url, scorer=Located, batch_size=16, batch_format=kind)
    assert added(out) == direct(server.url, rows)
    assert len({row["node"] for row in out}) == 2


@needs_ray
def test_the_columns_can_be_written(nodes: Any, server: RewardServer, tmp_path: Any) -> None:
    import ray

    rows = [*chats(60), *({"id": 60 + n, "messages": chat("1?", LONG)} for n in range(20))]
    data = ray.data.from_items(rows, override_num_blocks=8)
    out = data.map_batches(
        RewardScorer, fn_constructor_kwargs={"base_url": server.url}, compute=pool()
    )
    out.write_parquet(str(tmp_path))
    table = pa.parquet.read_table(tmp_path).sort_by("id")
    assert added(table.to_pylist()) == direct(server.url, rows)
    assert table["messages"].to_pylist() == [row["messages"] for row in rows]


@needs_ray
def test_a_node_that_dies_loses_and_doubles_nothing(nodes: Any) -> None:
    rows = chats(600)
    with RewardServer() as server:
        expected = direct(server.url, rows)
        victim = nodes.add_node(num_cpus=2)
        killed = threading.Event()
        before = len(server.requests)

        def kill() -> None:
            while len(server.requests) < before + 60:
                killed.wait(0.01)
            nodes.remove_node(victim, allow_graceful=False)
            killed.set()

        server.inject(Fault.delay(0.1), path="/pooling", times=10**6)
        thread = threading.Thread(target=kill)
        thread.start()
        try:
            out = in_ray(rows, server.url, blocks=60, batch_size=10)
        finally:
            thread.join()
    assert killed.is_set()
    assert [row["id"] for row in out] == [row["id"] for row in rows]
    assert added(out) == expected


@needs_ray
def test_a_dead_server_ends_the_job_with_its_reason(nodes: Any) -> None:
    with pytest.raises(Exception, match=r"No server was ready within 1 s at http") as raised:
        in_ray(chats(40), f"http://127.0.0.1:{free_port()}", options={"patience": 1})
    assert "RewardTimeoutError" in str(raised.value)


@needs_ray
def test_a_restart_costs_time_only(nodes: Any) -> None:
    rows = chats(400)
    with RewardServer() as first:
        port, expected = port_of(first), direct(first.url, rows)
        begun = len(first.requests)
        out: list[Rows] = []
        job = threading.Thread(
            target=lambda: out.append(in_ray(rows, first.url, blocks=40, batch_size=10))
        )
        first.inject(Fault.delay(0.05), path="/pooling", times=10**6)
        job.start()
        while len(first.requests) < begun + 40:
            job.join(0.01)
    with RewardServer(port=port):
        job.join()
    assert added(out[0]) == expected


@needs_ray
def test_all_workers_of_a_job_agree_on_the_model(nodes: Any) -> None:
    rows = chats(40)
    with RewardServer() as first:
        port, url = port_of(first), first.url
        in_ray(rows, url)
    with (
        RewardServer(port=port, values=lambda ids: (ids[0] * 31 + ids[-1] * 17) % 997 / 10 - 50),
        pytest.raises(Exception, match="Another model answers than at the first batch"),
    ):
        in_ray(rows, url)


# Files in Ray


def shards(folder: Path, number: int, rows: int) -> list[Rows]:
    parts = [
        [
            {"id": f"{part}-{n}", "part": part, "messages": chat(f"{part} + {n}?", f"{n}")}
            for n in range(rows)
        ]
        for part in range(number)
    ]
    for part, each in enumerate(parts):
        jsonl(folder / f"part-{part}.jsonl", each)
    return parts


def assert_whole(folder: Path, parts: list[Rows], url: str) -> None:
    """Check that the folder has each row once, in order, with its direct reward."""
    assert sorted(path.name for path in folder.glob("[!_]*")) == sorted(
        f"part-{part}.parquet" for part in range(len(parts))
    )
    for part, rows in enumerate(parts):
        table = pa.parquet.read_table(folder / f"part-{part}.parquet")
        assert [row["id"] for row in table.to_pylist()] == [row["id"] for row in rows]
        assert added(table.to_pylist()) == direct(url, rows)


@needs_ray
def test_a_second_run_does_only_what_is_missing(
    nodes: Any, server: RewardServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = shards(tmp_path / "in", 5, 40)
    command = ["score", str(tmp_path / "in"), str(tmp_path / "out"), "--ray", "--url", server.url]
    assert cli.main(command) == 0
    assert "200 rows: 200 scored, 0 failed" in capsys.readouterr().out
    assert_whole(tmp_path / "out", parts, server.url)
    (tmp_path / "out" / "part-3.parquet").unlink()
    shutil.rmtree(tmp_path / "out" / "_work" / "part-3.parquet.rewards.jsonl", ignore_errors=True)
    assert cli.main(command) == 0
    assert "5 files, 4 of them in earlier runs" in capsys.readouterr().out
    assert_whole(tmp_path / "out", parts, server.url)
    page = tmp_path / "page.html"
    assert cli.main([*command, "--report", str(page), "--by", "part"]) == 0
    assert "5 files, 5 of them in earlier runs" in capsys.readouterr().out
    assert "By part" in page.read_text()


@needs_ray
def test_failed_rows_and_their_retry(nodes: Any, tmp_path: Path) -> None:
    parts = shards(tmp_path / "in", 2, 5)
    parts[1].append({"id": "long", "messages": chat("1?", LONG)})
    jsonl(tmp_path / "in" / "part-1.jsonl", parts[1])
    with RewardServer() as server, RewardClient(server.url) as client:
        summary = score_files(client, tmp_path / "in", tmp_path / "out")
        assert summary.failures == {"PromptTooLongError": 1}
        file, row, message = summary.reasons["PromptTooLongError"]
        assert (file.endswith("part-1.jsonl"), row) == (True, 5)
        assert "3007 tokens" in message or "tokens" in message
        again = score_files(client, tmp_path / "in", tmp_path / "out", retry_failed=True)
        assert (again.rows, again.kept, again.failed) == (11, 10, 1)
        assert_whole(tmp_path / "out", parts, server.url)


@needs_ray
def test_files_survive_the_death_of_a_node(nodes: Any, tmp_path: Path) -> None:
    parts = shards(tmp_path / "in", 8, 100)
    with RewardServer() as server, RewardClient(server.url) as client:
        victim = nodes.add_node(num_cpus=2)
        before = len(server.requests)
        done = threading.Event()

        def kill() -> None:
            while len(server.requests) < before + 200:
                done.wait(0.01)
            nodes.remove_node(victim, allow_graceful=False)
            done.set()

        server.inject(Fault.delay(0.3), path="/pooling", times=10**6)
        thread = threading.Thread(target=kill)
        thread.start()
        try:
            score_files(client, tmp_path / "in", tmp_path / "out")
        finally:
            thread.join()
        assert done.is_set()
    with RewardServer() as calm:
        assert_whole(tmp_path / "out", parts, calm.url)


@needs_ray
def test_a_killed_command_is_resumed(nodes: Any, tmp_path: Path) -> None:
    parts = shards(tmp_path / "in", 4, 200)
    with RewardServer() as server:
        before = len(server.requests)
        server.inject(Fault.delay(0.2), path="/pooling", times=10**6)
        program = "import sys; from reward_client.cli import main; sys.exit(main())"
        command = ["score", str(tmp_path / "in"), str(tmp_path / "out"), "--ray"]
        command += ["--url", server.url]
        running = subprocess.Popen(
            [sys.executable, "-c", program, *command],
            env={**os.environ, "RAY_ADDRESS": nodes.address},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while len(server.requests) < before + 300:
            assert running.poll() is None
            threading.Event().wait(0.01)
        running.kill()
        running.wait()
        work = tmp_path / "out" / "_work"
        lines = sum(len(path.read_bytes().splitlines()) for path in work.glob("*.rewards.jsonl"))
        assert lines < 800
        assert cli.main(command) == 0
    with RewardServer() as calm:
        assert_whole(tmp_path / "out", parts, calm.url)


@needs_ray
def test_a_lost_server_stops_the_files_and_keeps_their_rows(nodes: Any, tmp_path: Path) -> None:
    parts = shards(tmp_path / "in", 2, 300)
    with RewardServer() as server:
        port, stops = port_of(server), threading.Event()
        client = RewardClient(server.url, retry=RetryPolicy(budget=5))
        server.inject(Fault.delay(0.2), path="/pooling", times=10**6)
        failures: list[Exception] = []

        def run() -> None:
            try:
                score_files(client, tmp_path / "in", tmp_path / "out")
            except Exception as error:
                failures.append(error)

        job = threading.Thread(target=run)
        job.start()
        work = tmp_path / "out" / "_work"
        while job.is_alive() and not any(
            path.stat().st_size for path in work.glob("*.rewards.jsonl")
        ):
            stops.wait(0.01)
    job.join()
    assert [type(error) for error in failures] == [ServerUnreachableError]
    client.close()
    with RewardServer(port=port) as server, RewardClient(server.url) as patient:
        summary = score_files(patient, tmp_path / "in", tmp_path / "out")
        assert summary.kept > 0
        assert_whole(tmp_path / "out", parts, server.url)


@needs_ray
def test_the_blocks_of_the_page(
    nodes: Any, server: RewardServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in blocks_of("many-machines.md", "Files", server.url):
        exec(block, names)
    assert sorted(path.name for path in Path("scored").glob("[!_]*")) == [
        *("part-0.parquet", "part-1.parquet")
    ]
    (block,) = blocks_of("many-machines.md", "In a pipeline of Ray Data", server.url)
    Path("rows").mkdir()
    pa.parquet.write_table(pa.Table.from_pylist(chats(20)), "rows/part.parquet")
    block = block.replace("s3://bucket/scored", str(tmp_path / "out_of_ray"))
    exec(block.replace("s3://bucket", str(tmp_path)), {})
    found = pa.parquet.read_table(tmp_path / "out_of_ray")
    assert added(found.sort_by("id").to_pylist()) == direct(server.url, chats(20))
