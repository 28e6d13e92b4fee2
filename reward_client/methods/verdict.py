"""`Verdict`: how a judge is asked, and how what it writes becomes a number. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import cast

from reward_client._base.json_values import as_mapping, is_text
from reward_client._base.samples import Conversation, Message
from reward_client.errors import GenerationError, InputError
from reward_client.methods.specs import Writing, is_finite

_PLACES = re.compile(r"\{(conversation|response|response_a|response_b)\}")
_TWO = {"response_a", "response_b"}
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)")


@dataclass(frozen=True, slots=True)
class Verdict(Writing):
    """A judge writes, and its text holds a mark for one answer, or says which of two is better.

    A judge of two compares the responses of ``rank``, each with each (a round robin); it has no
    reward for a single conversation. Of several votes, and of both orders, the verdicts' values are
    averaged. The reward of a response is then the mean over all others of how often it is better, a
    tie counting half: from 0 to 1.

    Args:
        pattern: A regular expression whose first group is the verdict; the last match counts.
        prompt: What the judge is told, in the user's turn. ``{conversation}`` stands for the turns
            before the answer, and ``{response}``, or ``{response_a}`` and ``{response_b}``, for
            what is judged. None where ``roles`` say how.
        roles: The roles that the model's chat template has for one response or two, which then
            follow the conversation as messages.
        values: What each verdict is worth; None where it is a number. Where two are compared: from
            -1 (the second is better) to 1 (the first is), 0 for a tie.
        system: The system message, where there is one.
        both_orders: Whether two responses are compared in both orders, as judges favour one place.

    Raises:
        InputError: One of them cannot be meant so.
    """

    pattern: str
    prompt: str | None = None
    roles: tuple[str, ...] = ()
    values: Mapping[str, float] | None = None
    system: str | None = None
    both_orders: bool = True

    def __post_init__(self) -> None:
        super(Verdict, self).__post_init__()
        for problem in self._problems():
            raise InputError(problem)
        if self.values is not None:
            # A copy, so that what becomes of the caller's changes no verdict.
            object.__setattr__(
                self, "values", {key: float(self.values[key]) for key in self.values}
            )

    def _problems(self) -> Iterator[str]:
        given = cast("Mapping[str, object]", {key: getattr(self, key) for key in self.__slots__})
        try:
            groups = re.compile(self.pattern).groups if isinstance(given["pattern"], str) else 0
        except re.error as error:
            yield f"pattern= is no regular expression: {error}."
        else:
            if groups == 0:
                yield "pattern= needs a regular expression with a group, (…), which is the verdict."
        for name in ("prompt", "system"):
            if not isinstance(given[name], str | None):
                yield f"{name}= must be a text."
        roles = cast("tuple[object, ...]", self.roles)
        is_tuple = isinstance(given["roles"], tuple) and len(roles) <= len(_TWO)
        if not (is_tuple and all(isinstance(role, str) and role for role in roles)):
            yield "roles= must be a tuple of one role or two."
        if not isinstance(given["both_orders"], bool):
            yield "both_orders= must be True or False."
        if (self.prompt is None) == (not self.roles):
            yield "Verdict needs either prompt= or roles=."
        if self.prompt is not None and self._places() not in ({"response"}, _TWO):
            yield "prompt= needs {response} for what is judged, or {response_a} and {response_b}."
        values: Mapping[str, object] | None = {}
        if given["values"] is not None:
            values = as_mapping(given["values"])
        if values is None or not all(map(is_text, values)):
            yield "values= must be a dict of verdicts and what they are worth."
            return
        worth = [each for each in values.values() if is_finite(each)]
        if len(worth) != len(values):
            yield "values= must be finite numbers."
        elif self.compares and (not worth or max(map(abs, worth)) > 1):
            yield "values= must say for each verdict on two answers a number from -1 to 1."

    @property
    def compares(self) -> bool:
        """Whether it judges two answers at a time."""
        return len(self.roles) == len(_TWO) or self._places() == _TWO

    def calls(self, responses: int) -> int:
        """How many texts ``rank`` has written for so many responses."""
        if not self.compares:
            return responses * self.votes
        return responses * (responses - 1) // 2 * (1 + self.both_orders) * self.votes

    def asked(self, turns: Sequence[Message], responses: Sequence[str]) -> Conversation:
        """What the judge is sent, of the turns before the answers and one answer or two.

        Raises:
            InputError: A turn is no text, which a prompt cannot hold.
        """
        if self.prompt is None:
            judged = [
                {"role": role, "content": text}
                for role, text in zip(self.roles, responses, strict=True)
            ]
            return Conversation([*self._opening(), *turns, *judged])
        given = {"conversation": _written(turns)}
        names = ["response"] if len(responses) == 1 else ["response_a", "response_b"]
        given |= zip(names, responses, strict=True)
        # In one go, so that nothing in a response is taken for a place of the prompt.
        text = _PLACES.sub(lambda match: given[match[1]], self.prompt)
        return Conversation([*self._opening(), {"role": "user", "content": text}])

    def value(self, text: str) -> float:
        """What a text's verdict is worth.

        Raises:
            GenerationError: It holds none.
        """
        *_, found = [None, *(match[1] for match in re.finditer(self.pattern, text))]
        if found is None:
            raise _no_verdict("holds no verdict", text)
        if self.values is not None:
            if found not in self.values:
                raise _no_verdict("gives a verdict that has no value", text)
            return self.values[found]
        if not _NUMBER.fullmatch(found.strip()) or not isfinite(value := float(found)):
            raise _no_verdict("gives a verdict that is no number", text)
        return value

    def _places(self) -> set[str]:
        return set(_PLACES.findall(self.prompt or "")) - {"conversation"}

    def _opening(self) -> list[Message]:
        return [] if self.system is None else [{"role": "system", "content": self.system}]


def text_of(message: Message) -> str:
    """The text of a message that is nothing else.

    Raises:
        InputError: It has no text, or more than that, which a judge would not see.
    """
    content = message.get("content")
    if not isinstance(content, str) or set(message) != {"role", "content"}:
        raise InputError(
            "A judge reads text: a message has none, comes in parts, or holds something else than "
            "its role and its text."
        )
    return content


def _written(turns: Sequence[Message]) -> str:
    """Turns as text: a single one as it is, several with their roles."""
    texts = [text_of(turn) for turn in turns]
    if len(texts) == 1:
        return texts[0]
    return "\n\n".join(f"{turn['role']}: {text}" for turn, text in zip(turns, texts, strict=True))


def _no_verdict(problem: str, text: str) -> GenerationError:
    return GenerationError(f"What the judge wrote {problem}: see error.text.", text=text)
