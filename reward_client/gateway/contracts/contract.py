"""The parts of every contract: what a body asks for, and the answer without rewards. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from reward_client._base.json_values import as_mapping, as_sequence
from reward_client._base.results import Reward
from reward_client._base.samples import Conversation, Given, Message
from reward_client._base.values import values
from reward_client._base.wording import describe_type
from reward_client.errors import InputError, RewardClientError

Outcome: TypeAlias = Reward | RewardClientError

INVALID_BODY = 400
UNPROCESSABLE = 422


class Refusal(Exception):
    """An answer without rewards.

    Attributes:
        status: The HTTP status.
        kind: The reason as a name, such as ``"InputError"``.
        reason: The reason in words, without prompts and keys.
        retry_after: The seconds after which the caller should ask again; None for never.
    """

    def __init__(
        self, status: int, kind: str, reason: str, *, retry_after: int | None = None
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.kind = kind
        self.reason = reason
        self.retry_after = retry_after


class PolicyText(Protocol):
    """Reads what a policy wrote, in its own chat template."""

    def conversation(self, text: str) -> Conversation:
        """Return the conversation behind a whole text: prompt and response.

        Raises:
            RewardClientError: If the text is none of this policy.
        """
        ...

    def continued(self, prompt: Sequence[Message], response: str) -> Conversation:
        """Return the conversation of a prompt as messages, and of a response as text.

        Raises:
            RewardClientError: If the response is none of this policy.
        """
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """The samples of one body.

    Attributes:
        samples: The samples; an error in the place of one that cannot be read.
        answer: Returns the body of the answer, from the outcome of each sample.
    """

    samples: Sequence[Given]
    answer: Callable[[Sequence[Outcome]], object]


@dataclass(frozen=True, slots=True)
class Contract:
    """The requests of one framework to its reward server.

    Attributes:
        name: The name in logs and metrics.
        path: The path, to which requests are sent by POST.
        summary: The purpose in a line.
        read: Reads a parsed body. It raises `Refusal` for one that does not fit.
        refusal: Returns the body of an answer without rewards.
        request: The JSON schema of a body.
        response: The JSON schema of an answer.
        example: A body.
    """

    name: str
    path: str
    summary: str
    read: Callable[[object, PolicyText | None], Asked]
    refusal: Callable[[Refusal], object]
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


def needs_tokenizer() -> Refusal:
    """Return the refusal of a policy's text that nobody can read."""
    return Refusal(
        UNPROCESSABLE,
        "NoPolicyTokenizer",
        "Cannot read text in the policy's chat template: the gateway does not know that template. "
        "Start it with --policy-tokenizer and the policy's folder or hub name.",
    )


def unscored(index: int, error: RewardClientError) -> Refusal:
    """Return the refusal of a request with a sample that has no reward."""
    return Refusal(UNPROCESSABLE, type(error).__name__, f"Cannot score sample {index}: {error}")


def read_each(texts: Sequence[str], policy: PolicyText | None) -> list[Conversation]:
    """Return the conversation behind each text of a policy.

    Raises:
        Refusal: If one cannot be read.
    """
    if policy is None:
        raise needs_tokenizer()
    conversations: list[Conversation] = []
    for index, text in enumerate(texts):
        try:
            conversations.append(policy.conversation(text))
        except RewardClientError as error:
            raise unscored(index, error) from error
    return conversations


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
