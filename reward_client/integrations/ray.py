"""Rewards in Ray, on any number of machines: ``dataset.map_batches(RewardScorer, …)``, or files.

A sample that fails by its own fault has its error in the column ``error``. A fault of the server
is waited for, and then raised: the job ends. Another model behind the URL ends it as well.
"""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Unpack, cast

from reward_client._base.choices import check_flags
from reward_client._base.options import OnOverlong
from reward_client._base.results import Reward, Settings
from reward_client._client.base_url import BaseUrl
from reward_client._client.row_calls import RowsCall
from reward_client._client.sync_client import RewardClient, compares
from reward_client._integrations.agreement import Agreement
from reward_client._integrations.batches import (
    Parts,
    extended,
    lists_of,
    parts_of,
    rows_of,
    table_of,
)
from reward_client._integrations.clients import outcomes_async, rows_client_of
from reward_client._integrations.environment import ClientOptions, options_of
from reward_client._integrations.shards import (
    Shard,
    ShardsSummary,
    begin,
    shards_of,
    summary_of,
)
from reward_client._rows.forms import Columns
from reward_client._rows.layout import OneLayout
from reward_client._rows.results import names_by_options, refuse_clash
from reward_client._rows.scoring import check_options
from reward_client.errors import InputError, RewardClientError
from reward_client.files.arguments import checked_paths
from reward_client.files.summary import ScoreSummary

_WITHOUT = ("policy_tokenizer", "strip_reasoning", "failed")
_MOST_UNREAD = 100
"""Rows without any reward before: if a worker begins with so many, the others would fail too."""


class ScorerOptions(ClientOptions, total=False):
    """The options of a client, and the patience with its server.

    Attributes:
        patience: The seconds to wait for a server that is starting, restarting or away.
    """

    patience: float


class RewardScorer:
    """Adds rewards to batches of rows, as a class for ``map_batches``.

    Each actor of Ray has one client for all its batches. An actor a node is enough:
    ``compute=ray.data.ActorPoolStrategy(size=NODES)``, with ``num_cpus=0.1``: actors that hold all
    CPUs of Ray's count would stop the job. Batches may be NumPy arrays (the default), DataFrames of
    pandas or tables of pyarrow; ``batch_format="pyarrow"`` costs the least. The result is a table
    with the columns that `reward_client.RewardClient.score_rows` adds. They have one type in all
    batches.

    Args:
        base_url: The server's URL, or those of replicas; by default the environment variable
            ``REWARD_CLIENT_BASE_URL``.
        form: As in `reward_client.RewardClient.score_rows`.
        columns: As in `reward_client.RewardClient.score_rows`.
        **options: The options of `reward_client.RewardClient`, except ``transport``; and
            ``patience``. Those that are not given come from the environment of the worker.

    Raises:
        InputError: If an option or a variable of the environment is invalid.
        TypeError: If an option is unknown. The message names the right one.
    """

    def __init__(
        self,
        base_url: BaseUrl | None = None,
        *,
        form: str | None = None,
        columns: Columns | None = None,
        **options: Unpack[ScorerOptions],
    ) -> None:
        check_options(form, columns)
        self._options = options_of("RewardScorer", options, base_url, without=_WITHOUT)
        self._form = form
        self._columns = columns
        self._on_overlong = cast("OnOverlong | None", self._options.client.get("on_overlong"))
        self._agreement = Agreement(self._options)
        self._unread = 0

    async def __call__(self, batch: object) -> Any:
        """Return a batch as a ``pyarrow.Table`` with its rewards.

        Raises:
            InputError: If a column has the name of an added one, or if the first 100 rows all fail.
            ModelChangedError: If another model answers than at the first batch of the job.
            RewardClientError: If a sample has no reward by a fault of the server.
        """
        table = table_of(batch)
        refuse_clash(table.column_names)
        layout = OneLayout()
        is_contest = compares(rows_client_of(self._options))
        call = RowsCall(
            rows_of(table),
            self._form,
            self._columns,
            compares=is_contest,
            refuses_first=False,
            layout=layout,
        )
        samples = [*call.samples()]
        outcomes: list[Reward | RewardClientError] = []
        if samples:
            outcomes, settings = await outcomes_async(self._options, samples)
            self._agreement.check(settings)
        added = call.added(outcomes)
        layout.lists = lists_of(table.schema, self._form, self._columns, layout)
        parts = self._parts(added)
        names = names_by_options(self._on_overlong, compares=is_contest)
        return extended(table, added, layout, parts, names)

    def _parts(self, added: Sequence[Mapping[str, object]]) -> Parts:
        """Return the parts of the rewards of all batches.

        Raises:
            InputError: If there is no reward, and many rows have failed.
        """
        parts = self._agreement.parts(parts_of(added))
        if parts is not None:
            return parts
        self._unread += len(added)
        if self._unread >= _MOST_UNREAD:
            raise InputError(
                f"Cannot score the rows: the first {self._unread} all fail. The error of the last "
                f"one: {added[-1]['error']}. Name the form of the rows (form=) or the columns to "
                "read (columns=)."
            )
        return Parts()


def score_files(
    client: RewardClient,
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    folder: str | os.PathLike[str],
    *,
    form: str | None = None,
    columns: Columns | None = None,
    retry_failed: bool = False,
) -> ShardsSummary:
    """Score files on all machines of a Ray cluster, one client a machine, or resume such a run.

    Each file is scored by one machine, as `reward_client.files.score_file` does, into a Parquet
    file of the same name. The files and the folder have the same paths on all machines.

    A Parquet file is in the folder once all its rows are scored. The folder ``_work`` has the
    results of the other files, row by row. After a kill, of a machine or of all of it, the same
    call scores the missing rows only.

    Args:
        client: The client. Each machine has a copy of it.
        source: The files and folders, in any format that `reward_client.files.score_file` reads.
        folder: The output. It is new, or that of an earlier run.
        form: As in `reward_client.files.score_file`.
        columns: As in `reward_client.files.score_file`.
        retry_failed: Score rows again that failed in an earlier run.

    Returns:
        The counts over all files that this run has scored.

    Raises:
        InputError: If an argument is invalid.
        FileError: As `reward_client.files.score_file`. All results are kept.
        ModelChangedError: If a machine reaches another model than the one that began the run.
        RewardClientError: As `reward_client.files.score_file`; and if Ray fails, such as a cluster
            that cannot be reached. All results are kept.
        ImportError: If Ray is not installed (extra ``ray``).
    """
    paths = checked_paths("score_files", client, source, folder)
    check_options(form, columns)
    check_flags(retry_failed=retry_failed)
    ray = _ray()
    shards = shards_of(paths, Path(folder))
    settings = client.settings()
    begin(Path(folder), settings, form, columns)
    missing = [shard for shard in shards if retry_failed or not shard.is_whole()]
    started = time.monotonic()
    options = {"form": form, "columns": columns, "retry_failed": retry_failed}
    with _errors_of_ray():
        outcomes = _scored(ray, missing, client=client, settings=settings, options=options)
    return summary_of(shards, outcomes, time.monotonic() - started)


def _scored(ray: Any, shards: Sequence[Shard], **given: Any) -> list[tuple[Shard, ScoreSummary]]:
    """Score files by an actor on each machine.

    Raises:
        RewardClientError: The first error of a file.
    """
    if not shards:
        return []
    ray.init(ignore_reinit_error=True)
    machines = sum(node["Alive"] and node["Resources"].get("CPU", 0) >= 1 for node in ray.nodes())
    data = ray.data.from_items(
        [{"shard": pickle.dumps(shard)} for shard in shards], override_num_blocks=len(shards)
    )
    # A machine that dies gives back one file, and none that waits for it.
    pool = ray.data.ActorPoolStrategy(
        size=max(1, min(machines, len(shards))), max_tasks_in_flight_per_actor=1
    )
    scored = data.map_batches(_ShardScorer, fn_constructor_kwargs=given, batch_size=1, compute=pool)
    outcomes: list[tuple[Shard, ScoreSummary]] = []
    for row in scored.iter_rows():
        shard, outcome = pickle.loads(row["outcome"])  # noqa: S301 - our own worker wrote it
        if isinstance(outcome, RewardClientError):
            raise outcome
        outcomes.append((shard, outcome))
    return outcomes


@contextmanager
def _errors_of_ray() -> Generator[None]:
    """Raise the errors of Ray itself as `RewardClientError`. Some have no class of their own."""
    try:
        yield
    except RewardClientError:
        raise
    except Exception as error:
        # Its last line has the reason: the lines before it show the traceback of a worker.
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1].rstrip(".")
        raise RewardClientError(
            f"Ray ended the run: {reason}. All written results are kept. Check the cluster "
            "(`ray status`, RAY_ADDRESS), and start the run again to resume."
        ) from error


class _ShardScorer:
    """Scores files on a machine."""

    def __init__(
        self, client: RewardClient, settings: Settings, options: Mapping[str, Any]
    ) -> None:
        self._client = client
        self._settings = settings
        self._options = options

    def __call__(self, batch: Mapping[str, Sequence[bytes]]) -> dict[str, list[bytes]]:
        """Return the summary of each file, or its error."""
        shards = [pickle.loads(shard) for shard in batch["shard"]]  # noqa: S301 - our driver wrote it
        return {"outcome": [pickle.dumps((shard, self._outcome(shard))) for shard in shards]}

    def _outcome(self, shard: Shard) -> ScoreSummary | RewardClientError:
        try:
            return shard.score(self._client, self._settings, **self._options)
        except RewardClientError as error:  # Ray would end the job with a text
            return error


def _ray() -> Any:
    try:
        import_module("ray.data")
        return import_module("ray")
    except ImportError as error:
        raise ImportError(
            "Scoring on many machines needs Ray. Run: pip install 'reward-client[ray]'", name="ray"
        ) from error
