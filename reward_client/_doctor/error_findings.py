"""Findings that explain an error. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from reward_client._doctor.report import KEY_FITS, Check, Finding, failed, reached
from reward_client.errors import (
    ActivationError,
    AuthenticationError,
    BadRequestError,
    InputError,
    ModelNotFoundError,
    NotARewardError,
    ProtocolError,
    RateLimitedError,
    RecipeError,
    ResponseMismatchError,
    RewardClientError,
    RouteNotFoundError,
    ServerError,
    ShapeError,
    StatusError,
)

_SENTENCE_BREAK = re.compile(r"(?<=[.?!]) (?=[A-Z`])")

# Cures for errors whose own hint is missing, or fits only Python.
_KEY = "Give the server's API key: --api-key, api_key= or REWARD_CLIENT_API_KEY."
_MODEL = (
    "Name a model that the server lists: --model, or model= in Python. (It lists at least one.)"
)
_ANOTHER_SERVER = (
    "Serve the model with vLLM (`vllm serve MODEL --runner pooling`) or SGLang (`python -m "
    "sglang.launch_server --model-path MODEL --is-embedding`), and give the address that it "
    "prints: http://HOST:PORT, with the prefix of a gateway, without the path of a request."
)
_REPORT = "If you do, please report the server's message."
_REFUSED = f"Serve the model as `reward-client recipe` shows, with its own tokenizer. {_REPORT}"
_LATER = "Try again later: a gateway limits the requests; the server itself never does."
_LOG = "Read the log of the server, and the log of any proxy in front of it."
_MIXED_UP = (
    "Ask the server itself, without a proxy or router in front of it. That shows which of the two "
    "changes requests or mixes up responses."
)
_RECIPE = (
    "Serve the model as `reward-client recipe` shows, or name the recipe of the served model: "
    "--recipe, or recipe= in Python (none, or None, to use no recipe)."
)
_TEMPLATE = (
    "If the model has no chat template, start the server with --chat-template FILE, or score "
    "FormattedText. If it has one, the template refuses this conversation."
)
_GATEWAY = (
    "Let the gateway forward /tokenize and /detokenize to the server, if there is one. Or give the "
    "model's tokenizer: tokenizer= in Python."
)
_FOR_THE_COMMAND = " The command takes the head from a recipe: --recipe NAME or FILE.toml."
_OTHER_HEAD = " If it runs that way already, the named recipe or head does not fit the model."
_CURES: Mapping[type[RewardClientError], str] = {
    AuthenticationError: _KEY,
    BadRequestError: _REFUSED,
    RateLimitedError: _LATER,
    ResponseMismatchError: _MIXED_UP,
    ServerError: _LOG,
    ModelNotFoundError: _MODEL,
    RecipeError: _RECIPE,
}
_BUG = "This is a bug in reward_client. Please report it with the output of --json."

# The check that an error of the discovery belongs to; the first match counts.
_CHECKS: Sequence[tuple[type[RewardClientError], Check]] = (
    (ActivationError, "activation"),
    (NotARewardError, "head"),
    (ShapeError, "head"),
    (InputError, "head"),
    (RecipeError, "recipe"),
    (ModelNotFoundError, "model"),
)


def error_finding(check: Check, error: Exception) -> Finding:
    """Return the finding for a check that ended in an error."""
    if not isinstance(error, RewardClientError):
        return failed(check, f"{type(error).__name__}: {error}", _BUG)
    detail, hint = _parts(error)
    cure = next((cure for kind, cure in _CURES.items() if isinstance(error, kind)), hint)
    if "StepHead" in cure or "ObjectiveHead" in cure:
        cure += _FOR_THE_COMMAND
    return failed(check, detail, cure or _LOG)


def identity_findings(error: Exception, proxy: str | None = None) -> tuple[Finding, ...]:
    """Return the findings for a server that could not be identified.

    Args:
        error: The error.
        proxy: The proxy to the server, for messages.
    """
    answers = reached(proxy)
    if isinstance(error, AuthenticationError):
        return answers, error_finding("key", error)
    if isinstance(error, ModelNotFoundError):
        return answers, KEY_FITS, error_finding("model", error)
    if isinstance(error, ProtocolError | RouteNotFoundError | BadRequestError):
        return answers, failed("server", _parts(error)[0], _ANOTHER_SERVER)
    return (error_finding("reach", error),)


def discovery_finding(error: Exception, *, head_named: bool, hint: str) -> Finding:
    """Return the finding for a server on which no strategy gives rewards.

    Args:
        error: The error of the discovery.
        head_named: True if the caller or a recipe names the kind of model.
        hint: How the engine serves reward models.
    """
    if isinstance(error, RewardClientError) and (error.endpoint or "").endswith("tokenize"):
        return tokens_finding(error)
    if isinstance(error, RecipeError) and not isinstance(error.__cause__, ProtocolError):
        detail, instead = _parts(error)  # the recipe refuses this server
        return failed("recipe", detail, instead or _RECIPE)
    if isinstance(error, RouteNotFoundError) and head_named:
        detail, cure = _parts(error)
        return failed("route", detail, cure + _OTHER_HEAD)
    for kind, check in _CHECKS:
        if isinstance(error, kind):
            return error_finding(check, error)
    if isinstance(error, BadRequestError):
        return failed("route", _parts(error)[0], f"{hint} {_REPORT}")
    return error_finding("route", error)


def tokens_finding(error: Exception) -> Finding:
    """Return the finding for a sample that could not be tokenized."""
    if isinstance(error, BadRequestError):
        return failed("tokens", _parts(error)[0], _TEMPLATE)
    if isinstance(error, RouteNotFoundError):
        return failed("tokens", _parts(error)[0], _GATEWAY)
    return error_finding("tokens", error)


def without_hint(error: RewardClientError) -> str:
    """Return the message of an error without its hint."""
    return _parts(error)[0]


def split_hint(message: str) -> tuple[str, str]:
    """Split a message into its first sentence, the problem, and the others, the hint."""
    problem, *hint = _SENTENCE_BREAK.split(message, maxsplit=1)
    return problem, "".join(hint)


def _parts(error: RewardClientError) -> tuple[str, str]:
    """Return the problem with its place, and the hint."""
    message = str(error.args[0])
    where = str(error).removeprefix(message)
    if isinstance(error, StatusError) and error.server_message:
        # The server's own message may have any number of sentences.
        status, quoted, hint = message.partition(f": {error.server_message}")
        if quoted:
            return f"{status}{quoted.rstrip('.')}.{where}", hint.lstrip(". ")
    if isinstance(error, RecipeError) and isinstance(error.__cause__, RewardClientError):
        return f"{split_hint(message)[0]} {without_hint(error.__cause__)}", ""
    problem, hint = split_hint(message)
    return f"{problem}{where}", hint
