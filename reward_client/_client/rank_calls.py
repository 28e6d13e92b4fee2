"""Calls with prompts and responses: what both clients do before the responses are scored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import cast

from reward_client._base.advice import first, in_place_of_table
from reward_client._base.json_values import as_mapping
from reward_client._base.ranking import Ranking, ranking
from reward_client._base.results import Reward
from reward_client._base.samples import (
    Conversation,
    FormattedText,
    Message,
    response_texts,
    responses_to,
)
from reward_client._base.turns import check_prompt_of_rank, check_roles
from reward_client._base.wording import describe_type
from reward_client._client.config import Config
from reward_client.errors import InputError, RewardClientError


@dataclass(frozen=True, slots=True)
class Group:
    """The responses to one prompt.

    Attributes:
        responses: The texts.
        conversations: One conversation for each response; none if the prompt is invalid.
        error: The error of the prompt, or None.
    """

    responses: tuple[str, ...] = field(repr=False)
    conversations: tuple[Conversation, ...] = field(repr=False)
    error: InputError | None = None

    def failed(self, error: RewardClientError) -> Ranking:
        """Return the ranking of a group that an error as a whole kept from its rewards."""
        return ranking(self.responses, [copy(error) for _ in self.responses])


def group_of(config: Config, prompt: str | Sequence[Message], responses: Sequence[str]) -> Group:
    """Return the responses to a prompt as conversations.

    Raises:
        InputError: If the responses are no list of texts. A fault of the prompt is in the group.
    """
    texts = response_texts(responses)
    try:
        conversations = responses_to(prompt, texts)
        check_roles(conversations[0].messages, config.own_roles)
        if config.on_unanswered == "raise":
            check_prompt_of_rank(conversations[0].messages[:-1])
    except InputError as error:
        return Group(texts, (), error)
    read = (str(each.messages[-1]["content"]) for each in conversations)
    return Group(tuple(read), conversations)


def groups_of(
    config: Config,
    prompts: Iterable[str | Sequence[Message]],
    responses: Iterable[Sequence[str]],
    *,
    refuses: bool,
) -> list[Group]:
    """Read many prompts with their responses.

    Args:
        config: The options of the client.
        prompts: The prompts.
        responses: A list of responses for each prompt.
        refuses: True to raise the error of an invalid prompt.

    Raises:
        InputError: If there are not as many prompts as lists of responses, or one is invalid.
    """
    _refuse_single(prompts, responses)
    groups: list[Group] = []
    for index, (prompt, texts) in enumerate(_pairs(prompts, responses)):
        try:
            group = group_of(config, prompt, texts)
        except InputError as error:
            raise InputError(f"Cannot rank the responses to prompt {index}: {error}") from error
        if refuses and group.error is not None:
            raise InputError(f"Cannot read prompt {index}: {group.error}") from group.error
        groups.append(group)
    return groups


def grouped(
    groups: Sequence[Group], outcomes: Iterable[Reward | RewardClientError]
) -> list[Ranking]:
    """Return the ranking of each group.

    Args:
        groups: The groups.
        outcomes: The outcomes of all their conversations, in order.

    Raises:
        InputError: If the rewards have no single value.
    """
    each = iter(outcomes)
    return [
        group.failed(group.error)
        if group.error is not None
        else ranking(group.responses, [next(each) for _ in group.conversations])
        for group in groups
    ]


def outcomes_of(
    groups: Sequence[Group], results: Sequence[Ranking | Exception]
) -> list[Reward | Exception]:
    """Return the outcome of each response; the error of a group counts for each response."""
    outcomes: list[Reward | Exception] = []
    for group, result in zip(groups, results, strict=True):
        if isinstance(result, Exception):
            outcomes += [result] * len(group.responses)
        else:
            outcomes += [reward for reward in result.rewards if reward is not None]
            outcomes += [error for error in result.errors if error is not None]
    return outcomes


def name_of_response(groups: Sequence[Group], index: int) -> str:
    """Return the name of a response in errors, by its number among all."""
    for prompt, group in enumerate(groups):
        if index < len(group.conversations):
            return f"Response {index} to prompt {prompt}"
        index -= len(group.conversations)
    raise IndexError(index)


def _refuse_single(prompts: object, responses: object) -> None:
    table = in_place_of_table(prompts) or in_place_of_table(responses)
    if table is not None:
        raise InputError(table)
    is_one = isinstance(prompts, str | bytes | Mapping | Conversation | FormattedText)
    start = first(prompts)
    if is_one or "role" in (as_mapping(start) or ()):
        raise InputError(
            "Many prompts are expected, but this is a single one. Write [prompt], or call "
            "rank(prompt, responses)."
        )
    if isinstance(responses, str | bytes | Mapping) or isinstance(first(responses), str):
        raise InputError(
            "A list of responses is expected for each prompt. Write [[response, …], …]."
        )
    for name, given in (("prompts", prompts), ("lists of responses", responses)):
        if not isinstance(given, Iterable):
            raise InputError(f"An iterable of {name} is expected, not {describe_type(given)}.")


def _pairs(
    prompts: Iterable[str | Sequence[Message]], responses: Iterable[Sequence[str]]
) -> Iterator[tuple[str | Sequence[Message], Sequence[str]]]:
    missing = object()
    pairs = zip_longest(
        cast("Iterable[object]", prompts), cast("Iterable[object]", responses), fillvalue=missing
    )
    for index, (prompt, texts) in enumerate(pairs):
        if prompt is missing or texts is missing:
            lacking, more = "prompts", "lists of responses"
            if texts is missing:
                lacking, more = more, lacking
            raise InputError(
                f"Cannot rank: there are {index} {lacking}, and more {more}. Give one list of "
                "responses for each prompt."
            )
        yield cast("str | Sequence[Message]", prompt), cast("Sequence[str]", texts)
