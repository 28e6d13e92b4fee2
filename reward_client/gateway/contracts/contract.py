"""The parts of every contract: what a body asks for, and the answer without rewards. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from reward_client._base.json_values import as_mapping, as_sequence
from reward_client._base.results import Reward
from reward_client._base.samples import Given, Sample
from reward_client._base.values import values
from reward_client._base.wording import describe_type
from reward_client._integrations.policy_text import PolicyText, Rollout
from reward_client._option_names import in_options
from reward_client._protocols.http import IF_STARTING
from reward_client.errors import InputError, RewardClientError

Outcome: TypeAlias = Reward | RewardClientError

INVALID_BODY = 400
UNPROCESSABLE = 422

TEXTS: Mapping[str, object] = {"type": "array", "items": {"type": "string"}, "minItems": 1}
"""The schema of `texts_of`."""
NUMBERS: Mapping[str, object] = {"type": "array", "items": {"type": "number"}}
"""The schema of `numbers`."""
MESSAGES: Mapping[str, object] = {"type": "array", "items": {"type": "object"}, "minItems": 1}
"""The schema of the messages of a conversation."""

MODEL: Mapping[str, object] = {"description": "Not read: the gateway has one model."}
"""The schema of the name of a model."""
DETAIL: Mapping[str, object] = {
    "type": "object",
    "required": ["detail"],
    "properties": {"detail": {"type": "string"}},
}
"""The schema of `detail`."""

OPTIONS = frozenset(
    (
        *("url", "model", "api_key", "headers", "ca", "recipe", "head", "method", "tokenizer"),
        *("policy_tokenizer", "strip_reasoning"),
        *("on_overlong", "on_control_tokens", "on_unanswered"),
    )
)
"""The options of the client and of the policy's texts that `reward-client gateway` has."""


def in_words_of_the_gateway(said: object) -> str:
    """Return the text of an error with the options of `reward-client gateway`.

    Callers and operators of a gateway see nothing of its client.
    """
    return in_options(str(said).replace(IF_STARTING, ""), OPTIONS)


class Refusal(Exception):
    """An answer without rewards.

    Attributes:
        status: The HTTP status.
        kind: The reason as a name, such as ``"InputError"``.
        reason: The reason in words, without prompts and keys. The options of a client become those
            of the gateway.
        retry_after: The seconds after which the caller should ask again; None for never.
    """

    def __init__(
        self, status: int, kind: str, reason: str, *, retry_after: int | None = None
    ) -> None:
        self.reason = in_words_of_the_gateway(reason)
        super().__init__(self.reason)
        self.status = status
        self.kind = kind
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Asked:
    """The samples of one body.

    Attributes:
        samples: The samples; an error in the place of one that cannot be read.
        answer: Returns the body of the answer, from the outcome of each sample.
        stripped: The number of characters of reasoning that are left out.
    """

    samples: Sequence[Given]
    answer: Callable[[Sequence[Outcome]], object]
    stripped: int = 0


@dataclass(frozen=True, slots=True)
class Contract:
    """The requests of one framework to its reward server.

    Attributes:
        name: The name in logs and metrics.
        path: The path, to which requests are sent by POST.
        summary: The purpose in a line.
        read: Reads a parsed body. It raises `Refusal` for one that does not fit.
        refusal: Returns the body of an answer without rewards.
        error: The JSON schema of an answer without rewards.
        request: The JSON schema of a body.
        response: The JSON schema of an answer.
        example: A body.
    """

    name: str
    path: str
    summary: str
    read: Callable[[object, PolicyText], Asked]
    refusal: Callable[[Refusal], object]
    error: Mapping[str, object]
    request: Mapping[str, object]
    response: Mapping[str, object]
    example: Mapping[str, object]


def detail(refusal: Refusal) -> object:
    """Return a refusal as FastAPI words it, which most reward servers are built on."""
    return {"detail": refusal.reason}


def fields_of(body: object) -> Mapping[str, object]:
    """Return the fields of a body.

    Raises:
        Refusal: If it is no JSON object.
    """
    fields = as_mapping(body)
    if fields is None:
        raise invalid(f"the body is {describe_type(body)}, not a JSON object")
    return fields


def texts_of(fields: Mapping[str, object], name: str) -> list[str]:
    """Return a list of texts.

    Raises:
        Refusal: If the field is missing, or anything else.
    """
    given = as_sequence(fields.get(name))
    texts = [each for each in given or () if isinstance(each, str)]
    if not given or len(texts) < len(given):
        raise invalid(f"{name!r} must be a non-empty list of texts")
    return texts


def invalid(reason: str) -> Refusal:
    """Return the refusal of a body that does not fit the contract."""
    return Refusal(INVALID_BODY, "InvalidBody", f"Cannot read the request: {reason}.")


def unscored(index: int, error: RewardClientError) -> Refusal:
    """Return the refusal of a request with a sample that has no reward."""
    return Refusal(UNPROCESSABLE, type(error).__name__, f"Cannot score sample {index}: {error}")


def asked_of(
    read: Callable[[], Sequence[Rollout]], answer: Callable[[Sequence[Outcome]], object]
) -> Asked:
    """Return what a body with text of a policy asks for.

    Args:
        read: Reads the rollouts.
        answer: As in `Asked`.

    Raises:
        Refusal: If a rollout cannot be read.
    """
    try:
        rollouts = read()
    except RewardClientError as error:  # the policy's tokenizer is wrong for all
        raise unscored(0, error) from error
    samples: list[Sample] = []
    for index, rollout in enumerate(rollouts):
        if isinstance(rollout.sample, InputError):
            raise unscored(index, rollout.sample)
        samples.append(rollout.sample)
    return Asked(samples, answer, sum(rollout.stripped for rollout in rollouts))


def numbers(outcomes: Sequence[Outcome]) -> list[float]:
    """Return the rewards as numbers, for a contract that has no word for a failed sample.

    Raises:
        Refusal: If a sample failed, or if a reward has several objectives and no single value.
    """
    for index, outcome in enumerate(outcomes):
        if isinstance(outcome, RewardClientError):
            raise unscored(index, outcome)
    try:
        return values(outcomes, failed="raise")
    except InputError as error:
        raise Refusal(UNPROCESSABLE, "InputError", str(error)) from error
