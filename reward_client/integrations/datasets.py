"""Rewards as further columns of a `datasets.Dataset`, in its cache under a true fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from importlib import import_module
from itertools import chain
from typing import Any, TypeVar, cast

import orjson

from reward_client._base.contest import errors_of
from reward_client._base.wording import describe_type
from reward_client._client.equal_settings import difference
from reward_client._client.row_calls import RowsCall
from reward_client._client.sync_client import RewardClient, compares
from reward_client._rows.forms import Columns
from reward_client._rows.layout import OneLayout
from reward_client._rows.scoring import as_columns
from reward_client._rows.tables import ColumnTable, Library, library_of
from reward_client.errors import InputError, ModelChangedError

DatasetT = TypeVar("DatasetT", bound=ColumnTable)

_COLUMN = "added"


def add_rewards(
    dataset: DatasetT,
    client: RewardClient,
    *,
    form: str | None = None,
    columns: Columns | None = None,
    batch_size: int = 10_000,
) -> DatasetT:
    """Return a data set with its rewards as further columns.

    The cache of `datasets` keeps the rewards. Their fingerprint holds the settings of the client:
    another model behind the same URL gives other rewards, which ``dataset.map`` does not notice.

    Args:
        dataset: The ``datasets.Dataset``, in a form that `RewardClient.score_rows` takes.
        client: The client that scores the rows.
        form: As in `RewardClient.score_rows`.
        columns: As in `RewardClient.score_rows`.
        batch_size: The number of rows that are scored and written together.

    Returns:
        The data set with the columns that `RewardClient.score_rows` adds.

    Raises:
        InputError: As `RewardClient.score_rows`.
        ModelChangedError: If another model answers than at the start.
        RewardClientError: If a sample fails by a fault of the server. The cache keeps no such
            failure, and no rewards of a run that fails.
    """
    library = _checked(dataset, client)
    datasets, table = import_module("datasets"), cast("Any", dataset)
    settings = client.settings()
    layout = OneLayout()

    def score(batch: Mapping[str, Sequence[object]], indices: Sequence[int]) -> dict[str, object]:
        rows = [dict(zip(batch, row, strict=True)) for row in zip(*batch.values(), strict=True)]
        call = RowsCall(
            rows,
            form,
            columns,
            compares=compares(client),
            refuses_first=0 in indices,
            layout=layout,
        )
        outcomes = client.score_many(call.samples(), on_error="return")
        for error in chain.from_iterable(map(errors_of, outcomes)):
            if error.fault == "server":
                raise error
        changed = difference(settings, client.settings())
        if changed is not None:
            raise ModelChangedError(f"Cannot add rewards of two models: {changed}.")
        return {_COLUMN: [orjson.dumps(row).decode() for row in call.added(outcomes)]}

    model = settings.fingerprint
    data = table._fingerprint  # noqa: SLF001 - has no public name
    # As texts, since `datasets` takes the type of a column from its first rows.
    cached = table.with_format(None).map(
        score,
        with_indices=True,
        batched=True,
        batch_size=batch_size,
        remove_columns=table.column_names,
        features=datasets.Features({_COLUMN: datasets.Value("string")}),
        new_fingerprint=_fingerprint(data, model, form, columns),
        desc="Rewards",
    )
    texts = cached[_COLUMN] if len(cached) else ()  # without rows there is no column either
    added = as_columns([orjson.loads(text) for text in texts], is_typed=library.is_typed)
    return cast("DatasetT", library.extended(dataset, added))


def _checked(dataset: object, client: object) -> Library:
    """Return the library of the data set, after a check of both arguments."""
    if not isinstance(client, RewardClient):
        raise InputError(f"add_rewards() needs a RewardClient, not {describe_type(client)}.")
    library = library_of(dataset)
    if library is None or not hasattr(dataset, "add_column"):
        raise InputError(f"add_rewards() needs a datasets.Dataset, not {describe_type(dataset)}.")
    return library


def _fingerprint(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
