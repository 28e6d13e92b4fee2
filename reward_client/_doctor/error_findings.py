"""From an error to the finding that tells what it means. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from reward_client._doctor.findings import KEY_FITS, REACHED, failed
from reward_client._doctor.report import Check, Finding
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

# Where a sentence ends and the next begins.
_NEXT_SENTENCE = re.compile(r"(?<=[.?!]) (?=[A-Z`])")

# What to do, where an error does not say it, or only for Python.
_KEY = (
    "Give the key that the server was started with: --api-key, api_key= or REWARD_CLIENT_API_KEY."
)
_MODEL = (
    "Name a model that the server lists: --model, or model= in Python. (A vLLM lists one at least.)"
)
_ANOTHER_SERVER = (
    "Serve the model by `vllm serve MODEL --runner pooling` and give the address that it prints, "
    "http://HOST:PORT: with what a gateway puts before its paths, without the path of a request."
)
_REFUSED = (
    "Serve the model by `vllm serve MODEL --runner pooling`, with its own tokenizer. If it is, "
    "please report what the server says."
)
_LATER = "Try again later: a gateway limits the requests; vLLM itself never does."
_LOG = "Look into the log of the server, and of the proxy before it if there is one."
_MIXED_UP = (
    "Ask the server itself, without the proxy or router before it, to see which of the two changes "
    "requests or mixes replies up."
)
_RECIPE = (
    "Serve the model as `reward-client recipe` shows it, or name what is really served: --recipe, "
    "or recipe= in Python (none, or None, goes on without)."
)
_TEMPLATE = (
    "If the model has no chat template, start the server with --chat-template FILE, or score "
    "FormattedText. If it has one, the template refuses this conversation."
)
_GATEWAY = "Let the gateway pass /tokenize and /detokenize on to vLLM, which always has them."
_OF_PYTHON = " The command takes the head from a recipe: --recipe NAME or FILE.toml."
_OTHER_HEAD = " If it is served so, it is no model of the recipe or head that was named."
_CURES: Mapping[type[RewardClientError], str] = {
    AuthenticationError: _KEY,
    BadRequestError: _REFUSED,
    RateLimitedError: _LATER,
    ResponseMismatchError: _MIXED_UP,
    ServerError: _LOG,
    ModelNotFoundError: _MODEL,
    RecipeError: _RECIPE,
}
_OURS = "This is a fault of reward_client: please report it, with what --json prints."

# Which check a failure of the discovery belongs to, the first that fits.
_DISCOVERY: Sequence[tuple[type[RewardClientError], Check]] = (
    (ActivationError, "activation"),
    (NotARewardError, "head"),
    (ShapeError, "head"),
    (InputError, "head"),
    (RecipeError, "recipe"),
    (ModelNotFoundError, "model"),
)


def failure(check: Check, error: Exception) -> Finding:
    """A check that ended in an error."""
    if not isinstance(error, RewardClientError):
        return failed(check, f"{type(error).__name__}: {error}", _OURS)
    detail, advice = _parts(error)
    cure = next((cure for kind, cure in _CURES.items() if isinstance(error, kind)), advice)
    if "StepHead" in cure or "ObjectiveHead" in cure:
        cure += _OF_PYTHON
    return failed(check, detail, cure or _LOG)


def first_failures(error: Exception) -> tuple[Finding, ...]:
    """The server could not even be asked who it is."""
    if isinstance(error, AuthenticationError):
        return REACHED, failure("key", error)
    if isinstance(error, ModelNotFoundError):
        return REACHED, KEY_FITS, failure("model", error)
    if isinstance(error, ProtocolError | RouteNotFoundError | BadRequestError):
        return REACHED, failed("server", _parts(error)[0], _ANOTHER_SERVER)
    return (failure("reach", error),)


def discovery_failure(error: Exception, *, head_named: bool) -> Finding:
    """There is no way to a reward.

    Args:
        error: Why.
        head_named: Whether the caller or a recipe says what kind of model is served.
    """
    if isinstance(error, RewardClientError) and (error.endpoint or "").endswith("tokenize"):
        return tokens_failure(error)
    if isinstance(error, RecipeError) and error.__cause__ is None:
        detail, instead = _parts(error)  # a refusal
        return failed("recipe", detail, instead or _RECIPE)
    if isinstance(error, RouteNotFoundError) and head_named:
        detail, cure = _parts(error)
        return failed("route", detail, cure + _OTHER_HEAD)
    for kind, check in _DISCOVERY:
        if isinstance(error, kind):
            return failure(check, error)
    return failure("route", error)


def tokens_failure(error: Exception) -> Finding:
    """The sample could not be tokenized."""
    if isinstance(error, BadRequestError):
        return failed("tokens", _parts(error)[0], _TEMPLATE)
    if isinstance(error, RouteNotFoundError):
        return failed("tokens", _parts(error)[0], _GATEWAY)
    return failure("tokens", error)


def what_happened(error: RewardClientError) -> str:
    """The error without its advice."""
    return _parts(error)[0]


def in_two(text: str) -> tuple[str, str]:
    """A message's first sentence, and the others: what happened, and what to do."""
    first, *others = _NEXT_SENTENCE.split(text, maxsplit=1)
    return first, "".join(others)


def _parts(error: RewardClientError) -> tuple[str, str]:
    """What happened, and where; and what to do."""
    message = str(error.args[0])
    where = str(error).removeprefix(message)
    if isinstance(error, StatusError) and error.server_message:
        # The server's own words may be any number of sentences.
        status, said, advice = message.partition(f": {error.server_message}")
        if said:
            return f"{status}{said.rstrip('.')}.{where}", advice.lstrip(". ")
    if isinstance(error, RecipeError) and isinstance(error.__cause__, RewardClientError):
        return f"{in_two(message)[0]} {what_happened(error.__cause__)}", ""
    happened, advice = in_two(message)
    return f"{happened}{where}", advice
