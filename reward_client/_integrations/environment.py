"""Options of an integration, by argument or from the environment: most hooks take no arguments."""

from __future__ import annotations

import inspect
import logging
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, NamedTuple, NoReturn, cast, get_args
from uuid import uuid4

from reward_client._base.options import (
    Connection,
    OnControlTokens,
    OnOverlong,
    OnUnanswered,
    RetryPolicy,
    RouteChoice,
    ServerActivation,
)
from reward_client._base.wording import describe_type
from reward_client._client.base_url import BaseUrl
from reward_client._client.config import Config, SharedOptions
from reward_client._client.from_text import head_of, header_of, method_of, recipe_of
from reward_client._client.spelling import SPELLINGS, refuse_unknown
from reward_client._client.sync_client import RewardClient
from reward_client._integrations.reasoning import checked_names
from reward_client.errors import InputError

PREFIX = "REWARD_CLIENT_"
PATIENCE = 1800.0
"""Seconds that an integration waits for the server: a large model loads for most of an hour."""

_logger = logging.getLogger("reward_client")


class ClientOptions(SharedOptions, total=False):
    """The options of a client in an integration, besides ``base_url``."""

    api_key: str | None
    headers: Mapping[str, str] | None
    connection: Connection


class IntegrationOptions(ClientOptions, total=False):
    """`ClientOptions`, and those that only integrations have.

    Attributes:
        patience: The seconds to wait for a server that is starting, restarting or away.
        policy_tokenizer: The tokenizer of the policy, as `Retokenizer` takes it.
        strip_reasoning: The names of the tags around reasoning, such as ``"think"``.
        failed: The number for a failed sample, if the framework cannot leave one out.
    """

    patience: float
    policy_tokenizer: object | None
    strip_reasoning: str | Sequence[str] | None
    failed: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of an integration. They pickle, and compare equal if they mean the same.

    Attributes:
        client: The arguments of a client. The retries follow from the patience, unless given.
        patience: The seconds to wait for the server.
        policy_tokenizer: The tokenizer of the policy, or its name; None if unknown.
        strip_reasoning: The names of the tags around reasoning.
        failed: The number for a failed sample; None leaves it out.
        identity: The same for all copies that pickle makes. Tokenizers compare equal to none.
    """

    client: Mapping[str, object]
    patience: float = PATIENCE
    policy_tokenizer: object | None = None
    strip_reasoning: tuple[str, ...] = ()
    failed: float | None = None
    identity: str = field(
        init=False, repr=False, compare=False, default_factory=lambda: uuid4().hex
    )

    def is_same_as(self, other: Options) -> bool:
        """Return True for a copy, and for options that compare equal."""
        return self.identity == other.identity or self == other


class Variable(NamedTuple):
    """A variable of the environment.

    Attributes:
        option: The name of the option, in lower case.
        parse: Parses a value.
        example: A value.
        meaning: The option in a few words.
    """

    option: str
    parse: Callable[[str], object]
    example: str
    meaning: str

    @property
    def name(self) -> str:
        """The name of the variable."""
        return PREFIX + self.option.upper()


def _choice(*choices: object) -> Callable[[str], object]:
    by_text = {"none" if each is None else str(each).lower(): each for each in choices}

    def parse(text: str) -> object:
        if text.lower() not in by_text:
            *others, last = by_text
            raise InputError(f"it must be {', '.join(others)} or {last}, not {text!r}")
        return by_text[text.lower()]

    return parse


def _urls(text: str) -> BaseUrl:
    urls = [url.strip() for url in text.split(",")]
    return urls if len(urls) > 1 else urls[0]


def _headers(text: str) -> dict[str, str]:
    pairs = [header_of(pair.strip()) for pair in text.split(",")]
    if len(dict(pairs)) < len(pairs):
        raise InputError("it names a header twice")
    return dict(pairs)


def _head(text: str) -> object:
    return text if text == "auto" else head_of(text)


def _names(text: str) -> tuple[str, ...]:
    return () if text == "none" else checked_names(text.split(","))


_BOS = (True, False, None)

VARIABLES = (
    Variable("base_url", _urls, "http://a:8000,http://b:8000", "the servers of one model"),
    Variable("api_key", str, "KEY", "key of the server"),
    Variable("headers", _headers, "x-team=a,x-stage=b", "headers of every request"),
    Variable("model", str, "my-model", "name of the model on the server"),
    Variable("recipe", recipe_of, "recipe.toml", "as `recipe=`; `none` for no recipe"),
    Variable("method", method_of, "TokenLogit(0)", "as `method=`, in Python's notation"),
    Variable("head", _head, "ObjectiveHead(5, weights={'label_0': 1})", "as `head=`, likewise"),
    Variable("route", _choice(*get_args(RouteChoice)), "pooling", "as `route=`"),
    Variable("tokenizer", str, "local", "as `tokenizer=`"),
    Variable("bos", _choice(*_BOS), "true", "as `bos=`: `true`, `false` or `none`"),
    Variable("on_overlong", _choice(*get_args(OnOverlong)), "drop_turns", "as `on_overlong=`"),
    Variable(
        "on_control_tokens", _choice(*get_args(OnControlTokens)), "strip", "as `on_control_tokens=`"
    ),
    Variable("on_unanswered", _choice(*get_args(OnUnanswered)), "allow", "as `on_unanswered=`"),
    Variable(
        "server_activation",
        _choice(*get_args(ServerActivation), None),
        "sigmoid",
        "as `server_activation=`",
    ),
    Variable("timeout", float, "600", "seconds for one sample in total"),
    Variable("patience", float, f"{PATIENCE:g}", "seconds to wait for the server"),
    Variable("policy_tokenizer", str, "Qwen/Qwen3-8B", "tokenizer of the policy, for its texts"),
    Variable("strip_reasoning", _names, "think", "tags around reasoning, with commas"),
    Variable("failed", float, "-10", "number for a sample that fails by its own fault"),
)
"""The variables, in the order of the documentation."""

_ANY_PREFIX = "REWARD"
_NEARLY_EQUAL = 0.9
"""Of two names: more than those of another program have in common."""
_OF_OTHERS = ("gateway_key",)
"""Options that only a command reads."""

_OWN = ("patience", "policy_tokenizer", "strip_reasoning", "failed")
_BY_OPTION: Mapping[str, Variable] = {variable.option: variable for variable in VARIABLES}
_CLIENT = tuple(inspect.signature(RewardClient).parameters)


def options_of(
    name: str,
    given: Mapping[str, object],
    base_url: BaseUrl | None = None,
    *,
    without: Sequence[str] = (),
) -> Options:
    """Return the options that are given, and those of the environment in place of the others.

    Args:
        name: The name of the integration, for errors.
        given: The options by argument, see `IntegrationOptions`.
        base_url: The servers; None for those of the environment.
        without: The names of options that the integration does not have.

    Raises:
        InputError: If a value is invalid, or a variable has the name of none, but nearly.
        TypeError: If there is no option of a name. The message names the right one.
    """
    known = [each for each in _CLIENT if each != "transport"]
    refuse_unknown(name, given, [each for each in (*known, *_OWN) if each not in without])
    options = {**from_environment(), **given}
    if base_url is not None:
        options["base_url"] = base_url
    client = {key: value for key, value in options.items() if key not in _OWN}
    patience = _seconds(options.get("patience", PATIENCE))
    client.setdefault("retry", RetryPolicy(budget=patience))
    Config(**cast("Any", {"base_url": None, **client}))  # its errors come now, not in training
    return Options(
        client=client,
        patience=patience,
        policy_tokenizer=options.get("policy_tokenizer"),
        strip_reasoning=checked_names(options.get("strip_reasoning")),
        failed=_number(options.get("failed")),
    )


def from_environment() -> dict[str, object]:
    """Return the options that the environment gives. Empty variables count as not set.

    Raises:
        InputError: If a value cannot be read, or the name of a variable is misspelt.
    """
    written = {name: value.strip() for name, value in os.environ.items() if value.strip()}
    _check_prefix(written)
    given = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in written.items()
        if name.startswith(PREFIX)
    }
    _check_spelling(given)
    return {
        variable.option: _parsed(variable, given[variable.option])
        for variable in VARIABLES
        if variable.option in given
    }


def _parsed(variable: Variable, text: str) -> object:
    try:
        return variable.parse(text)
    except ValueError as error:
        reason = error if isinstance(error, InputError) else "it must be a number"
        raise InputError(
            f"Cannot read the environment variable {variable.name}: {str(reason).rstrip('.')}. "
            f"Write {variable.name}={variable.example!r}, for example."
        ) from error


def _check_prefix(names: Iterable[str]) -> None:
    """Refuse variables of which only the prefix is misspelt, such as ``REWARDCLIENT_MODEL``."""
    known = [variable.name for variable in VARIABLES]
    for name in names:
        if name.upper().startswith(_ANY_PREFIX) and not name.startswith(PREFIX):
            for near in get_close_matches(name.upper(), known, n=1, cutoff=_NEARLY_EQUAL):
                _refuse(name, near)


def _check_spelling(given: Mapping[str, str]) -> None:
    """Refuse variables that nearly have a known name; warn of others."""
    for option in given:
        if option in _BY_OPTION or option in _OF_OTHERS:
            continue
        usual = SPELLINGS.get(option, "").partition("=")[0]
        begun = (each for each in _BY_OPTION if each.startswith(f"{option}_"))
        near = [usual] if usual in _BY_OPTION else [*begun]
        near = near or get_close_matches(option, _BY_OPTION, n=1)
        name = PREFIX + option.upper()
        if near:
            _refuse(name, _BY_OPTION[near[0]].name)
        _logger.warning("%s is set, but is no option of an integration.", name)


def _refuse(name: str, right: str) -> NoReturn:
    raise InputError(f"There is no environment variable {name}. Write {right}.")


def _seconds(patience: object) -> float:
    if isinstance(patience, int | float) and not isinstance(patience, bool):
        if 0 < patience < float("inf"):
            return float(patience)
        raise InputError(f"patience={patience} is no number of seconds above 0.")
    raise InputError(f"patience= must be a number of seconds, not {describe_type(patience)}.")


def _number(failed: object) -> float | None:
    if failed is None:
        return None
    if isinstance(failed, int | float) and not isinstance(failed, bool):
        if math.isfinite(failed):
            return float(failed)
        raise InputError(f"failed={failed} is no finite number. Leave it out for no number.")
    raise InputError(f"failed= must be a number or None, not {describe_type(failed)}.")
