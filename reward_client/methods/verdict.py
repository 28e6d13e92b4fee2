"""`Verdict`: the prompt for a judge, and the number that its text stands for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from reward_client._base.choices import check_flags
from reward_client._base.json_values import as_mapping, is_text
from reward_client._base.numeric import is_finite_number
from reward_client._base.patterns import compile_pattern, last_group
from reward_client._base.samples import Conversation, Message
from reward_client.errors import GenerationError, InputError
from reward_client.methods.expectation import MAX_LABELS
from reward_client.methods.schedules import Schedule, is_schedule, pair_count
from reward_client.methods.specs import GeneratingMethod

_PLACEHOLDER = re.compile(r"\{(conversation|response|response_a|response_b)\}")
_PAIR = {"response_a", "response_b"}
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)")


@dataclass(frozen=True, slots=True)
class Verdict(GeneratingMethod):
    """A judge writes a text with a verdict: a grade for one answer, or the better of two answers.

    A judge of two answers ranks the responses to a prompt: with ``rank``, ``rank_many``, rows and
    files that hold several responses. It gives no reward for a single conversation. The client
    averages the values of all votes and of both orders. The schedule says which pairs of n
    responses are compared. Each pair takes ``votes`` texts in each order.

    * ``"all"`` compares every pair: n(n - 1)/2 pairs. The reward of a response is its mean win rate
      over all other responses, from 0 to 1; a tie counts half.
    * ``"circular"`` compares each response with its two neighbors on a circle, in the order of the
      responses: n pairs (one pair of two responses). The reward is the win rate as well. For a pair
      that was not compared, the probability by ``Ranking.strengths`` takes the place of the share.
    * A number compares so many pairs, at most all, with the same reward. The pairs come from a
      circle, in an order that ``seed`` shuffles: first neighbors, then responses two places apart,
      and so on. They connect all responses, and the numbers of pairs of two responses differ by two
      at most. Fewer pairs than n - 1 connect nothing, and are an ``InputError``.
    * ``"knockout"`` compares winners only: n - 1 pairs, round by round, in the order of the
      responses. A response without an opponent goes on. After a tie, the first of the two goes on.
      The reward is the share of the rounds that a response survived: 1 for the winner, 0 for those
      out in the first round. Responses that leave in the same round are not ranked: their rewards
      are equal. The second best may have met the best at once, and so stand far behind.

    Args:
        pattern: Regular expression of ``re`` whose first group is the verdict. The last match
            counts, and blanks around the verdict do not. Escape a brace that begins no repetition.
            A search that takes more than a second is an error.
        prompt: The judge's user turn. ``{conversation}`` is replaced by the turns before the
            answer, and ``{response}``, or ``{response_a}`` and ``{response_b}``, by the responses.
            None if ``roles`` is given.
        roles: Roles of the model's chat template for one or two responses, which then follow the
            conversation as messages.
        values: The value of each verdict; None if verdicts are numbers. For a judge of two answers,
            values range from -1 (the second is better) over 0 (a tie) to 1 (the first is better).
        system: The system message, or None.
        both_orders: True if two responses are compared in both orders, because judges may favor a
            position.
        schedule: The pairs of responses that a judge of two compares: ``"all"``, ``"circular"``,
            ``"knockout"``, or a number of pairs.
        expected: True for the mean of ``values``, weighted by the probabilities of their verdicts
            at the place of the verdict in the text (G-Eval, arXiv 2303.16634). Each verdict must be
            one token, and all together need a probability of 0.5. At temperature 0 or 1 only,
            without ``top_p`` and ``top_k``. The text stays as it is.

    Raises:
        InputError: If a parameter is invalid.
    """

    pattern: str
    prompt: str | None = None
    roles: tuple[str, ...] = ()
    values: Mapping[str, float] | None = None
    system: str | None = None
    both_orders: bool = True
    schedule: Schedule = "all"
    expected: bool = False

    def __post_init__(self) -> None:
        super(Verdict, self).__post_init__()
        check_flags(both_orders=self.both_orders, expected=self.expected)
        for problem in self._problems():
            raise InputError(problem)
        if self.values is not None:
            # A copy, so that later changes of the caller's dict have no effect.
            object.__setattr__(
                self, "values", {key: float(self.values[key]) for key in self.values}
            )

    def _problems(self) -> Iterator[str]:
        given = cast("Mapping[str, object]", {key: getattr(self, key) for key in self.__slots__})
        if not isinstance(given["pattern"], str) or compile_pattern(self.pattern).groups == 0:
            yield "pattern= must be a regular expression with a group, (…), for the verdict."
        for name in ("prompt", "system"):
            if not isinstance(given[name], str | None):
                yield f"{name}= must be a string, or None."
        roles = cast("tuple[object, ...]", self.roles)
        is_tuple = isinstance(given["roles"], tuple) and len(roles) <= len(_PAIR)
        if not (is_tuple and all(isinstance(role, str) and role for role in roles)):
            yield "roles= must be a tuple of one or two roles."
        if (self.prompt is None) == (not self.roles):
            yield "Verdict needs either prompt= or roles=."
        if self.prompt is not None and self._placeholders() not in ({"response"}, _PAIR):
            yield "prompt= must contain {response}, or both {response_a} and {response_b}."
        if not is_schedule(given["schedule"]):
            yield 'schedule= must be "all", "circular", "knockout" or a number of pairs above 0.'
        elif given["schedule"] != "all" and not self.compares:
            yield "schedule= is for a judge of two answers. Leave it out for marks."
        values: Mapping[str, object] | None = {}
        if given["values"] is not None:
            values = as_mapping(given["values"])
        if values is None or not all(map(is_text, values)):
            yield "values= must be a dict that maps verdicts to numbers."
            return
        numbers = [value for value in values.values() if is_finite_number(value)]
        if len(numbers) != len(values):
            yield "values= must be finite numbers."
        elif self.compares and (not numbers or max(map(abs, numbers)) > 1):
            yield "values= must map each verdict on two answers to a number from -1 to 1."

        elif self.expected:
            yield from self._problems_of_expectation(values)

    def _problems_of_expectation(self, values: Mapping[str, object]) -> Iterator[str]:
        if not 0 < len(values) <= MAX_LABELS:
            yield f"expected=True needs values= for 1 to {MAX_LABELS} verdicts."
        if any(not label or label != label.strip() for label in values):
            yield "expected=True needs verdicts without blanks around them."
        if self.effective_temperature not in (0, 1):
            yield (
                "expected=True needs temperature 0 or 1: at others, versions of vLLM report "
                "different probabilities. Omit temperature=."
            )
        if (self.top_p, self.top_k) != (None, None):
            yield "expected=True reads the probabilities of all tokens. Omit top_p= and top_k=."

    @property
    def labels(self) -> tuple[str, ...]:
        """The verdicts whose probabilities the method reads."""
        return tuple(self.values or ()) if self.expected else ()

    @property
    def compares(self) -> bool:
        """True if the judge compares two answers, False if it grades a single answer."""
        return len(self.roles) == len(_PAIR) or self._placeholders() == _PAIR

    def calls(self, responses: int) -> int:
        """Return the number of texts that the judge writes to ``rank`` this many responses.

        Raises:
            InputError: If ``schedule`` is a number of pairs that cannot connect them.
        """
        if not self.compares:
            return responses * self.votes
        return pair_count(self.schedule, responses) * (1 + self.both_orders) * self.votes

    def judge_prompt(self, turns: Sequence[Message], responses: Sequence[str]) -> Conversation:
        """Build the judge's conversation from the turns before the answer, and one or two answers.

        Raises:
            InputError: If a turn is not plain text.
        """
        if self.prompt is None:
            judged = [
                {"role": role, "content": text}
                for role, text in zip(self.roles, responses, strict=True)
            ]
            return Conversation([*self._opening(), *turns, *judged])
        given = {"conversation": _format_turns(turns)}
        names = ["response"] if len(responses) == 1 else ["response_a", "response_b"]
        given |= zip(names, responses, strict=True)
        # All at once, so that no placeholder inside a response is replaced.
        text = _PLACEHOLDER.sub(lambda match: given[match[1]], self.prompt)
        return Conversation([*self._opening(), {"role": "user", "content": text}])

    def value(self, text: str) -> float:
        """Return the value of the verdict in a judge's text.

        Raises:
            GenerationError: If the text contains no verdict with a known value, or if the search
                for it takes more than a second.
        """
        found, _ = self._found(text)
        if self.values is not None:
            return self.values[self._label(found, text)]
        if not _NUMBER.fullmatch(found.strip()) or not is_finite_number(value := float(found)):
            raise _no_verdict("contains a verdict that is not a finite number", text)
        return value

    def label(self, text: str) -> tuple[str, int]:
        """Return the verdict in a judge's text, one of ``values``, and the index of its end.

        Raises:
            GenerationError: As `value`.
        """
        found, start = self._found(text)
        label = self._label(found, text)
        return label, start + len(found) - len(found.lstrip()) + len(label)

    def _found(self, text: str) -> tuple[str, int]:
        found = last_group(self.pattern, text)
        if found is None:
            raise _no_verdict("contains no verdict", text)
        return found

    def _label(self, found: str, text: str) -> str:
        values = self.values or {}
        label = found if found in values else found.strip()
        if label not in values:
            raise _no_verdict("contains a verdict without a value in values=", text)
        return label

    def _placeholders(self) -> set[str]:
        return set(_PLACEHOLDER.findall(self.prompt or "")) - {"conversation"}

    def _opening(self) -> list[Message]:
        return [] if self.system is None else [{"role": "system", "content": self.system}]


def text_of(message: Message) -> str:
    """Return the text of a plain message.

    Raises:
        InputError: If the message has no text, or more than a role and a text, which the judge
            would not see.
    """
    content = message.get("content")
    if not isinstance(content, str) or set(message) != {"role", "content"}:
        raise InputError(
            "Cannot show this message to a judge: it is not a plain text. Give it a role and a "
            "string as its content, and no other key."
        )
    return content


def _format_turns(turns: Sequence[Message]) -> str:
    """Format a single turn as its text, and several turns with their roles."""
    texts = [text_of(turn) for turn in turns]
    if len(texts) == 1:
        return texts[0]
    return "\n\n".join(f"{turn['role']}: {text}" for turn, text in zip(turns, texts, strict=True))


def _no_verdict(problem: str, text: str) -> GenerationError:
    return GenerationError(f"The judge's text {problem}. Read it in error.text.", text=text)
