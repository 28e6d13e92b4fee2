"""The numbers of a client that knows nothing of rewards: the first one of each answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from math import isclose
from typing import TYPE_CHECKING, TypeAlias, cast
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from reward_client._base.activation import sigmoid
from reward_client._base.json_values import as_mapping, as_sequence

if TYPE_CHECKING:
    from reward_client import ServerProfile

Prompt: TypeAlias = Mapping[str, object]
"""The ways to write a prompt: ``"input"`` with its token IDs, ``"messages"`` if there are any."""

_PATHS = {"pooling": "/pooling", "classify": "/classify", "embeddings": "/v1/embeddings"}
_VALUES = ("data", "embedding", "probs")
_HERE = ("127.0.0.1", "::1", "localhost")
_SECONDS = 10.0
_DIGITS = 2e-3
"""The relative and absolute difference that counts as none in a table of three digits."""


def read_plainly(
    profile: ServerProfile, headers: Mapping[str, str], prompts: Sequence[Prompt]
) -> list[float] | None:
    """Send each prompt with nothing but the model's name; return the first numbers.

    The route of the profile comes first. If it answers no such request, another client would try
    the next one.

    Returns:
        None if no route answers all prompts.
    """
    routes = dict.fromkeys([_PATHS.get(profile.route, "/pooling"), "/pooling", "/classify"])
    for path, key in product(routes, ("input", "messages")):
        read = partial(_first_number, profile, path, headers, key)
        numbers = _until_none(read, prompts)
        if len(numbers) == len(prompts):
            return numbers
    return None


def explain(rewards: Sequence[float], plain: Sequence[float]) -> str:
    """Say what the numbers of a plain client are, next to the rewards."""
    if _are_close(plain, rewards):
        return "A plain client reads the same numbers from this server."
    if _are_close(plain, [1.0] * len(plain)):
        return "A plain client reads 1 for each answer: a softmax over one value, by default."
    if _are_close(plain, [sigmoid(reward) for reward in rewards]):
        return "A plain client reads the sigmoid of each reward, which the server sends by default."
    return "A plain client reads other numbers: the first one that the server sends is no reward."


def _until_none(read: Callable[[Prompt], float | None], prompts: Sequence[Prompt]) -> list[float]:
    numbers: list[float] = []
    for prompt in prompts:
        number = read(prompt)
        if number is None:
            break
        numbers.append(number)
    return numbers


def _are_close(some: Sequence[float], others: Sequence[float]) -> bool:
    return all(
        isclose(one, other, rel_tol=_DIGITS, abs_tol=_DIGITS)
        for one, other in zip(some, others, strict=True)
    )


def _first_number(
    profile: ServerProfile, path: str, headers: Mapping[str, str], key: str, prompt: Prompt
) -> float | None:
    if key not in prompt:
        return None
    request = Request(  # noqa: S310 - the client has checked that the URL begins with http
        profile.url + path,
        json.dumps({"model": profile.model, key: prompt[key]}).encode(),
        {"content-type": "application/json", **headers},
    )
    is_here = urlsplit(profile.url).hostname in _HERE  # no proxy leads there
    opener = build_opener(ProxyHandler({})) if is_here else build_opener()
    try:
        with opener.open(request, timeout=_SECONDS) as response:
            payload = cast("object", json.load(response))
    except (OSError, ValueError):
        return None
    rows = as_sequence((as_mapping(payload) or {}).get("data")) or [None]
    row = as_mapping(rows[0]) or {}
    value = next((row[name] for name in _VALUES if name in row), None)
    while isinstance(value, list) and value:
        value = cast("list[object]", value)[0]
    return float(value) if isinstance(value, int | float) else None
