"""Options with a closed set of values are checked when a call is made, everywhere in public."""

from __future__ import annotations

import inspect
import types
from collections import abc
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, Union, Unpack, get_args, get_origin, get_type_hints

import httpx
import numpy as np
import openai
import pydantic
import pytest

from reward_client import (
    AsyncRewardClient,
    Conversation,
    FormattedText,
    RewardClient,
    export,
    files,
    heads,
    methods,
)
from reward_client.errors import RewardClientError
from reward_client.testing import GatewayKind, RewardServer, create_app, serve
from reward_client.testing._model.generate import LogprobsMode
from reward_client.testing._model.heads import Head
from reward_client.tokenizing import LocalTokenizer, Retokenizer

MODULES = [
    f"reward_client{name}"
    for name in ("", ".export", ".files", ".heads", ".methods", ".recipes", ".report", ".testing")
] + ["reward_client.tokenizing", "reward_client.errors"]
# Made by the package for its callers, and not by them.
RESULTS = {"ScoreResult", "RecordedRequest", "ReferenceValues", "ScoreSummary", "Verification"}
RESULTS |= {
    "Bin",
    "GroupSummary",
    "PairSummary",
    "ExportReport",
    "RewardStream",
    "AsyncRewardStream",
}

# What modules import for type checkers only.
ONLY_FOR_TYPE_CHECKERS = dict(vars(abc)) | {
    "httpx": httpx,
    "openai": openai,
    **dict.fromkeys(("ASGIApp", "Message", "Receive", "Scope", "Send"), object),
    "Head": Head,
    "LogprobsMode": LogprobsMode,
    "TracebackType": types.TracebackType,
}

CHECKS_ITSELF = (pydantic.BaseModel, Exception)

NOWHERE = "http://127.0.0.1:1"


@dataclass(frozen=True)
class Option:
    """A parameter of a public callable, with an annotation that allows only some values."""

    owner: str
    name: str
    allowed: tuple[Any, ...]

    def __str__(self) -> str:
        return f"{self.owner}:{self.name}"


def public_callables() -> Iterator[tuple[str, Callable[..., Any]]]:
    seen: set[int] = set()
    for module_name in MODULES:
        module = import_module(module_name)
        for name in module.__all__:
            item = getattr(module, name)
            if id(item) in seen or name in RESULTS:
                continue
            seen.add(id(item))
            if inspect.isfunction(item):
                yield name, item
            elif inspect.isclass(item) and not issubclass(item, CHECKS_ITSELF):
                yield name, item.__init__
                for method, function in inspect.getmembers(item, inspect.isroutine):
                    if not method.startswith("_"):
                        yield f"{name}.{method}", function


def parts(annotation: Any) -> Iterator[Any]:
    """Iterate over the members of an annotation: types, and the values of literals."""
    if get_origin(annotation) in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from parts(member)
    else:
        yield annotation


def allowed_values(annotation: Any) -> tuple[Any, ...] | None:
    """Return the allowed values of a closed annotation; None if it allows any text or number."""
    values: list[Any] = []
    for part in parts(annotation):
        if get_origin(part) is Literal:
            values += get_args(part)
        elif part is bool:
            values += [True, False]
        elif part in (None, type(None)):
            values.append(None)
        elif part in (str, int, float, object, Any):
            return None
    return tuple(values) if any(value is not None for value in values) else None


def hints(owner: Any, parameters: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """Iterate over parameters and their annotations, those of a TypedDict for options too."""
    known = getattr(owner, "__globals__", None) or vars(import_module(owner.__module__))
    resolved = get_type_hints(owner, known, {**ONLY_FOR_TYPE_CHECKERS, **known})
    for name in parameters:
        annotation = resolved.get(name, Any)
        if get_origin(annotation) is Unpack:
            (options,) = get_args(annotation)
            yield from hints(options, options.__annotations__)
        else:
            yield name, annotation


def closed_options() -> list[Option]:
    return [
        Option(owner, name, values)
        for owner, function in public_callables()
        for original in [inspect.unwrap(getattr(function, "__func__", function))]
        if inspect.isfunction(original)
        for name, annotation in hints(original, inspect.signature(original).parameters)
        if (values := allowed_values(annotation)) is not None
    ]


def carrier() -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{NOWHERE}/v1", api_key="k")


CALLS: dict[str, Callable[..., Any]] = {
    "RewardClient": lambda **o: RewardClient(NOWHERE, **o),
    "RewardClient.from_openai": lambda **o: RewardClient.from_openai(carrier(), **o),
    "RewardClient.score_many": lambda **o: RewardClient(NOWHERE).score_many([], **o),
    "RewardClient.score_rows": lambda **o: RewardClient(NOWHERE).score_rows([], **o),
    "RewardClient.stream_rows": lambda **o: RewardClient(NOWHERE).stream_rows([], **o),
    "RewardClient.rank_many": lambda **o: RewardClient(NOWHERE).rank_many([], [], **o),
    "RewardClient.stream": lambda **o: RewardClient(NOWHERE).stream([], **o),
    "AsyncRewardClient": lambda **o: AsyncRewardClient(NOWHERE, **o),
    "AsyncRewardClient.from_openai": lambda **o: AsyncRewardClient.from_openai(carrier(), **o),
    "AsyncRewardClient.score_many": lambda **o: (
        AsyncRewardClient(NOWHERE).score_many([], **o).send(None)
    ),
    "AsyncRewardClient.score_rows": lambda **o: (
        AsyncRewardClient(NOWHERE).score_rows([], **o).send(None)
    ),
    "AsyncRewardClient.stream_rows": lambda **o: AsyncRewardClient(NOWHERE).stream_rows([], **o),
    "AsyncRewardClient.rank_many": lambda **o: (
        AsyncRewardClient(NOWHERE).rank_many([], [], **o).send(None)
    ),
    "AsyncRewardClient.stream": lambda **o: AsyncRewardClient(NOWHERE).stream([], **o),
    "StepHead": lambda **o: heads.StepHead(
        **{"step_token": 1, "good_label": 1, "aggregate": "min", **o}
    ),
    "Pooled": lambda **o: (
        RewardClient(NOWHERE, method=methods.Pooled(**o)) if "head" in o else methods.Pooled(**o)
    ),
    "CritiqueThenScore": lambda **o: methods.CritiqueThenScore(critic=NOWHERE, **o),
    "TokenLogit": lambda **o: methods.TokenLogit(1, **o),
    "YesNo": lambda **o: methods.YesNo(**o),
    "Verdict": lambda **o: methods.Verdict(pattern="(a)", prompt="{response}", **o),
    "export_checkpoint": lambda **o: export.export_checkpoint("/no/source", "/no/target", **o),
    "add_zero_bias": lambda **o: export.add_zero_bias("/no/source", "/no/target", **o),
    "score_file": lambda **o: files.score_file(RewardClient(NOWHERE), "/no/in", "/no/out", **o),
    "LocalTokenizer": lambda **o: LocalTokenizer("x", **o),
    "LocalTokenizer.ids": lambda **o: LocalTokenizer("x").ids(FormattedText("a"), **o),
    "LocalTokenizer.text_ids": lambda **o: LocalTokenizer("x").text_ids("a", **o),
    "LocalTokenizer.shown": lambda **o: LocalTokenizer("x").shown(
        Conversation([{"role": "user", "content": "a"}]), **{"generation_prompt": False, **o}
    ),
    "LocalTokenizer.rendered": lambda **o: LocalTokenizer("x").rendered(
        Conversation([{"role": "user", "content": "a"}]), **{"generation_prompt": False, **o}
    ),
    "LocalTokenizer.ids_of_each": lambda **o: LocalTokenizer("x").ids_of_each([], **o),
    "Retokenizer": lambda **o: Retokenizer("x", **o),
    "GatewayKind": GatewayKind,
    "RewardServer": RewardServer,
    "create_app": create_app,
    "serve": lambda **o: serve(port=0, **o),
}
"""How to call each public callable that has such options, otherwise correctly."""

# The commonest mistakes: another case, a text for a flag, a number for a flag, an array.
WRONG = ("Raise", "no", "false", "", 0, 1, None, (), np.array([1, 2]))


@pytest.mark.parametrize("option", closed_options(), ids=str)
def test_40_a_value_outside_of_a_closed_set_is_refused(option: Option) -> None:
    call = CALLS[option.owner]
    for wrong in WRONG:
        if any(isinstance(wrong, type(value)) and wrong == value for value in option.allowed):
            continue
        with pytest.raises((RewardClientError, ValueError)) as caught:
            call(**{option.name: wrong})
        assert option.name in str(caught.value), (option, wrong)


def test_the_walk_finds_the_options() -> None:
    found = {str(option) for option in closed_options()}
    assert {
        "RewardClient.score_many:on_error",
        "AsyncRewardClient.stream:ordered",
        "RewardClient.from_openai:route",
        "StepHead:aggregate",
        "Pooled:route",
        "export_checkpoint:link",
        "score_file:retry_failed",
        "LocalTokenizer:trust_remote_code",
        "RewardServer:head",
    } <= found
