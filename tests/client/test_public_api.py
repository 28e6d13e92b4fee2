"""The public surface: the same on both clients, complete, light to import."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
from copy import copy
from typing import Any

import pytest

import reward_client
from reward_client import AsyncRewardClient, BatchError, RewardClient, RewardClientError, errors

ASYNC_NAMES = {"close": "aclose", "__enter__": "__aenter__", "__exit__": "__aexit__"}
# What differs on purpose: an OpenAI client's kind, asynchronous samples, the kind of stream.
ASYNC_TYPES = (
    ("openai.OpenAI | openai.AsyncOpenAI", "openai.AsyncOpenAI"),
    ("Iterable[Sample] | AsyncIterable[Sample]", "Iterable[Sample]"),
    ("AsyncRewardStream", "RewardStream"),
    ("AsyncGenerator", "Generator"),
)


def public_methods(cls: type) -> dict[str, Any]:
    names = [name for name in vars(cls) if not name.startswith("_") or name in ASYNC_NAMES]
    names += [name for name in vars(cls) if name in ASYNC_NAMES.values()]
    return {name: inspect.getattr_static(cls, name) for name in (*names, "__init__")}


def signature(method: Any) -> list[tuple[str, Any, Any, str]]:
    function = method.__func__ if isinstance(method, classmethod) else method

    def plain(annotation: Any) -> str:
        text = str(annotation)
        for one, other in ASYNC_TYPES:
            text = text.replace(one, other)
        return text

    parsed = inspect.signature(function)
    parameters = [
        (p.name, p.kind, p.default, plain(p.annotation)) for p in parsed.parameters.values()
    ]
    return [*parameters, ("return", None, None, plain(parsed.return_annotation))]


def test_both_clients_have_the_same_methods_and_signatures() -> None:
    sync = {ASYNC_NAMES.get(k, k): signature(v) for k, v in public_methods(RewardClient).items()}
    asynchronous = {k: signature(v) for k, v in public_methods(AsyncRewardClient).items()}
    assert sync.keys() == asynchronous.keys()
    assert {"score", "score_many", "stream", "rank", "tokenize", "servers"} < sync.keys()
    for name, expected in sync.items():
        assert asynchronous[name] == expected, name


def test_async_methods_are_awaited() -> None:
    for name, method in public_methods(AsyncRewardClient).items():
        waits = name not in {"stream", "stream_rows", "stats", "from_openai", "__init__"}
        assert inspect.iscoroutinefunction(method) == waits, name


def test_everything_public_is_documented() -> None:
    for name in reward_client.__all__:
        member = getattr(reward_client, name)
        if inspect.isclass(member) and name not in {"Message", "Sample"}:
            assert inspect.getdoc(member), name
            for attribute, value in vars(member).items():
                if inspect.isfunction(value) and not attribute.startswith("_"):
                    assert inspect.getdoc(value), f"{name}.{attribute}"


def test_all_is_sorted_and_complete() -> None:
    assert reward_client.__all__ == sorted(reward_client.__all__)
    assert set(errors.__all__) < set(reward_client.__all__)
    public = {name for name in vars(errors) if name.endswith("Error") and name[0] != "_"}
    assert public == set(errors.__all__)


def test_the_error_tree_of_the_docstring_is_the_real_one() -> None:
    assert errors.__doc__ is not None
    drawn: list[tuple[int, str]] = []
    for line in errors.__doc__.splitlines():
        name = line.strip("│├└─ ").split(" ")[0]
        if name in errors.__all__:
            drawn.append((line.index(name) // 4, name))
    assert sorted(name for _, name in drawn) == sorted(errors.__all__)
    parents = {0: "Exception"}
    for depth, name in drawn:
        base = getattr(errors, name).__bases__[0].__name__
        assert base == parents[depth - 1], name
        parents[depth] = name


@pytest.mark.parametrize("name", errors.__all__)
def test_errors_pickle_and_copy(name: str) -> None:
    error: RewardClientError = getattr(errors, name)("what to do")
    error.endpoint, error.request_id, error.attempts = "POST http://h/x", "rc-1", ("HTTP 503",)
    for twin in (pickle.loads(pickle.dumps(error)), copy(error)):
        assert type(twin) is type(error)
        assert vars(twin) == vars(error)
        assert str(twin) == str(error)
        assert "after 2 attempts: HTTP 503" in str(twin)


def test_a_batch_error_pickles_with_its_cause() -> None:
    error = BatchError("one failed", results=())
    error.__cause__ = reward_client.ServerError("broken", status=500)
    twin = pickle.loads(pickle.dumps(error))
    assert isinstance(twin.__cause__, reward_client.ServerError)
    assert twin.__cause__.status == 500


def test_importing_loads_no_http_stack() -> None:
    heavy = ["httpx", "aiohttp", "openai", "transformers", "torch", "tenacity", "numpy", "tqdm"]
    code = f"import sys, reward_client; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
