"""Scored rows: the columns of a benchmark's row, with the rewards that a run added."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from os import PathLike
from pathlib import Path

from reward_client._base.arrays import to_builtin
from reward_client._base.json_values import as_mapping, as_sequence
from reward_client._base.numeric import is_finite_number
from reward_client._base.wording import describe_type
from reward_client._rows.results import RESULTS
from reward_client._rows.scored import RowError, ScoredRow
from reward_client.errors import EvaluationError, InputError
from reward_client.files.inputs.source import Source
from reward_client.files.json_text import as_json
from reward_client.files.scored import read_rows

Scored = str | PathLike[str] | Iterable[Mapping[str, object]]
"""A scored file, or scored rows such as those of ``client.score_rows(rows)``."""

ADDED = (*RESULTS, "row", "digest")
"""The columns that a run adds to a row of a file."""

_KEY_BYTES = 16
_UNSCORED = RowError("InputError", "The row is not scored yet.")


@dataclass(frozen=True, slots=True)
class BenchmarkRow:
    """A row of a benchmark with its rewards.

    Attributes:
        position: The position of the row, from 0.
        columns: The columns of the benchmark.
        scored: The rewards.
        error: The first error of the row; None if every sample has its reward.
    """

    position: int
    columns: Mapping[str, object]
    scored: ScoredRow
    error: RowError | None

    @property
    def key(self) -> bytes:
        """A digest of the benchmark's columns, which tells whether two rows are the same."""
        # A table holds null for a column that the row of another format lacks.
        given = {name: value for name, value in self.columns.items() if value is not None}
        text = as_json(given, sort_keys=True)
        return hashlib.blake2b(text, digest_size=_KEY_BYTES).digest()

    def side(self, name: str) -> list[float]:
        """Return the rewards of one side, one or several.

        Raises:
            EvaluationError: If the row has no such side, or no number there.
        """
        rewards = self.scored.side(name)
        if not rewards:
            raise self.problem(f"its reward has no side {name!r}")
        return self._numbers(rewards)

    def pairs(self, better: str, worse: str) -> list[tuple[str, str]]:
        """Return the names of each answer of one side, with each of the other side.

        Raises:
            EvaluationError: If the row lacks a side, or has no number there.
        """
        for side in (better, worse):
            self.side(side)
        return [*product(self.scored.names_of(better), self.scored.names_of(worse))]

    def responses(self) -> list[float]:
        """Return the rewards of a list of responses.

        Raises:
            EvaluationError: If the reward is no list of numbers.
        """
        if as_sequence(to_builtin(self.scored.columns["reward"])) is None:
            raise self.problem("its reward is no list")
        return self._numbers(self.scored.rewards)

    def steps(self, count: int) -> list[float]:
        """Return the rewards of the steps.

        Raises:
            EvaluationError: If there is not one reward for each of ``count`` steps.
        """
        given = as_sequence(self.scored.columns.get("step_rewards"))
        if given is None:
            raise self.problem(
                "it has no step_rewards. Score it with a process reward model: a recipe with "
                "steps, or head=StepHead(…)"
            )
        if len(given) != count:
            raise self.problem(f"it has {len(given)} step rewards for {count} steps")
        values = [(as_mapping(step) or {}).get("value") for step in given]
        return self._numbers([value if is_finite_number(value) else None for value in values])

    def list_of(self, name: str) -> Sequence[object]:
        """Return the list in a column of the benchmark.

        Raises:
            EvaluationError: If the column is missing, or holds no list.
        """
        value = as_sequence(to_builtin(self.columns.get(name)))
        if value is None:
            raise self.problem(f"its column {name} holds no list")
        return value

    def text_of(self, name: str) -> str:
        """Return the text in a column of the benchmark.

        Raises:
            EvaluationError: If the column is missing, or holds no text.
        """
        value = self.columns.get(name)
        if not isinstance(value, str):
            raise self.problem(f"its column {name} holds no text")
        return value

    def problem(self, what: str) -> EvaluationError:
        """Return the error that the row cannot be evaluated."""
        return EvaluationError(f"Cannot evaluate row {self.position}: {what}.")

    def _numbers(self, rewards: Sequence[float | None]) -> list[float]:
        numbers = [reward for reward in rewards if reward is not None]
        if len(numbers) < len(rewards):
            raise self.problem(
                "it has no number for each response. A model with several objectives needs "
                "head=ObjectiveHead(names, weights)"
            )
        return numbers


def scored_rows(scored: Scored) -> Iterator[BenchmarkRow]:
    """Iterate over scored rows.

    Raises:
        EvaluationError: If a row has no reward, or if rows of a file are missing or repeated.
        FileError: If the file cannot be read.
        InputError: If there are no rows at all.
    """
    for position, row in enumerate(_rows(scored)):
        if "reward" not in row:
            raise EvaluationError(
                f"Cannot evaluate row {position}: it has no column reward. Score the file first, "
                "with evaluate(name, source, client) or `reward-client score`."
            )
        number = row.get("row", position)
        if number != position:
            raise EvaluationError(
                f"Cannot evaluate row {position}: it is row {number} of its run, so that rows are "
                "missing or repeated. Give the whole file of results."
            )
        given = ScoredRow(row)
        error = next((each for each in given.errors() if each is not None), None)
        yield BenchmarkRow(position, given_columns(row), given, error)


def unscored_rows(source: str | PathLike[str]) -> Iterator[BenchmarkRow]:
    """Iterate over the rows of a file as if none of their samples had a reward.

    Raises:
        FileError: If the file cannot be read.
        InputError: If a row cannot be read.
    """
    for position, row in enumerate(_rows(source)):
        yield BenchmarkRow(position, given_columns(row), ScoredRow({"reward": None}), _UNSCORED)


def first_row(source: str | PathLike[str]) -> Mapping[str, object]:
    """Return the first row of a file; an empty mapping without rows.

    Raises:
        FileError: If the file cannot be read.
        InputError: If the file is a pipe, or if the row is no JSON object.
    """
    with Source(Path(source)) as opened:
        if not opened.is_repeatable:
            raise InputError(
                f"Cannot evaluate {source}: it is a pipe, and its rows are read more than once. "
                "Save them in a file."
            )
        return next(read_rows(opened), dict[str, object]())


def given_columns(row: Mapping[str, object]) -> dict[str, object]:
    """Return the columns that no run has added."""
    return {name: value for name, value in row.items() if name not in ADDED}


def _rows(scored: Scored) -> Iterator[Mapping[str, object]]:
    if not isinstance(scored, str | PathLike):
        for row in scored:
            given = as_mapping(row)
            if given is None:
                raise InputError(f"A row is a mapping of columns, not {describe_type(row)}.")
            yield given
        return
    with Source(Path(scored)) as source:
        yield from read_rows(source)
