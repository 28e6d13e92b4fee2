"""Whose fault an error is, and the one warning of a call that returns errors."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reward_client import (
    BatchError,
    InputError,
    RewardClient,
    ServerError,
    TokenizerUnavailableError,
    errors,
)
from reward_client.files import score_file
from reward_client.testing import RewardServer

from ..support.either import OPENERS, Kind

CHAT = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
SAMPLES: list[Any] = [CHAT, "2+2?", CHAT, [-1], [10**9]]
WARNING = "3 of 5 samples failed: 2 InputError (fault: sample), 1 BadRequestError (fault: sample)."

KINDS = [
    kind
    for kind in map(errors.__dict__.get, errors.__all__)
    if isinstance(kind, type) and issubclass(kind, errors.RewardClientError)
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_a_fault(kind: type[errors.RewardClientError]) -> None:
    assert kind in errors.FAULTS
    error = kind("no")
    assert error.fault == errors.FAULTS[kind]
    assert pickle.loads(pickle.dumps(error)).fault == copy.copy(error).fault == error.fault


def test_no_other_kind_is_listed() -> None:
    assert set(errors.FAULTS) == set(KINDS)


def test_a_batch_has_the_fault_of_its_cause() -> None:
    for cause in (InputError("no"), ServerError("no")):
        error = BatchError("no")
        error.__cause__ = cause
        assert error.fault == pickle.loads(pickle.dumps(error)).fault == cause.fault


def test_a_subclass_of_a_caller_has_that_of_its_parent() -> None:
    class Mine(errors.InputError):
        pass

    assert Mine("no").fault == "sample"


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.score_many(SAMPLES, on_error="return"),
        lambda client: list(client.stream(SAMPLES)),
        lambda client: list(client.stream(SAMPLES, ordered=False)),
    ],
    ids=["score_many", "stream", "stream out of order"],
)
def test_one_warning_a_call(
    caplog: pytest.LogCaptureFixture, kind: Kind, call: Callable[[Any], Any]
) -> None:
    with RewardServer() as server:
        client = OPENERS[kind](server.url)
        try:
            for _ in range(2):
                caplog.clear()
                call(client)
                assert warnings(caplog) == [WARNING]
            caplog.clear()
            client.score_many([CHAT] * 3, on_error="return")
            assert not warnings(caplog)
        finally:
            client.close()


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("on_error", ["raise", "return"])
def test_a_tokenizer_that_cannot_be_loaded(
    caplog: pytest.LogCaptureFixture, tmp_path: Path, kind: Kind, on_error: str
) -> None:
    """It is an error of the call: no sample is at fault, and none gets another result."""
    with RewardServer() as server:
        client = OPENERS[kind](server.url, tokenizer=str(tmp_path))
        try:
            for call in (
                lambda: client.score(CHAT),
                lambda: client.score_many([CHAT] * 100, on_error=on_error),
                lambda: list(client.stream([CHAT] * 100)),
            ):
                with pytest.raises(
                    TokenizerUnavailableError, match="Cannot load the tokenizer of"
                ) as caught:
                    call()
                assert caught.value.fault == "server"
        finally:
            client.close()
    assert not warnings(caplog)


def test_a_file_without_a_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "in").write_text('{"messages": [{"role": "user", "content": "2"}]}\n' * 3)
    with RewardServer() as server:
        options: Any = {"on_unanswered": "allow"}
        with (
            RewardClient(server.url, tokenizer="/nope", **options) as client,
            pytest.raises(TokenizerUnavailableError, match="Cannot load the tokenizer of '/nope'"),
        ):
            score_file(client, tmp_path / "in", tmp_path / "out")
        with RewardClient(server.url, **options) as client:
            assert score_file(client, tmp_path / "in", tmp_path / "out").failed == 0


def test_no_warning_of_an_error_that_is_raised(caplog: pytest.LogCaptureFixture) -> None:
    with RewardServer() as server, RewardClient(server.url) as client:
        with pytest.raises(BatchError) as caught:
            client.score_many(SAMPLES)
        assert caught.value.fault == "sample"
        with pytest.raises(InputError):
            client.score(SAMPLES[1])
    assert not warnings(caplog)


def test_one_warning_a_file(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    rows = ['{"token_ids": [1, 4]}', '{"text": ""}', "no JSON", '{"token_ids": [1000000]}', "[]"]
    (tmp_path / "in").write_text("\n".join(rows), encoding="utf-8")
    with RewardServer() as server, RewardClient(server.url) as client:
        score_file(client, tmp_path / "in", tmp_path / "out")
    assert warnings(caplog) == [
        "4 of 5 rows failed: 3 InputError (fault: sample), 1 BadRequestError (fault: sample)."
    ]
