"""From the token IDs or the text of a policy back to the messages behind them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial, reduce
from itertools import product
from os import PathLike

from reward_client._base.choices import check_flags
from reward_client._base.samples import Conversation, Message, parse_token_ids
from reward_client._base.sequences import common_prefix_length
from reward_client._tokenization.policy_tokenizer import PolicyTokenizer, any_of
from reward_client._tokenization.template_parser import (
    PLACEHOLDER,
    Difference,
    around_placeholders,
    contents_between,
    joined,
    placeholder_turns,
)
from reward_client.errors import InputError, TokenizerMismatchError

_ROLES = ("system", "user", "assistant", "tool")
_EXCHANGE = ("user", "assistant")


class Retokenizer:
    """Turns what a policy wrote into a `Conversation`, which any reward model can score.

    The policy's chat template, rendered around placeholders, shows where the contents of the
    messages are in the decoded text. Rendered with these contents, the template must give the same
    text again. Otherwise the conversion is an error.

    Args:
        policy_tokenizer: A folder with the policy's tokenizer files, its name on the Hugging Face
            hub, or the tokenizer itself, as transformers loads it (extra ``local``).
        trust_remote_code: True runs Python code that comes with the tokenizer.

    Raises:
        InputError: If the tokenizer cannot be loaded, has no chat template, or its template does
            not separate turns.
        ImportError: If transformers is not installed.
    """

    def __init__(
        self, policy_tokenizer: str | PathLike[str] | object, *, trust_remote_code: bool = False
    ) -> None:
        check_flags(trust_remote_code=trust_remote_code)
        self._given = policy_tokenizer
        self._trust_remote_code = trust_remote_code
        self._policy = PolicyTokenizer(policy_tokenizer, trust_remote_code=trust_remote_code)
        self._answer = self._before_answers()
        marks = {*self._policy.special, *self._between_turns()}
        # Marks may overlap, so the pattern looks for one at every character.
        self._marks = re.compile(f"(?=({any_of(marks)}))")

    def conversation(
        self, token_ids: Sequence[int] | str, *, prompt: Sequence[Message] | None = None
    ) -> Conversation:
        """Return the conversation of a rollout.

        The last turn is the assistant's, with or without its end-of-turn token. Padding, a missing
        or doubled BOS, and an EOS after the end make no difference.

        Args:
            token_ids: The token IDs of prompt and response, in the policy's chat template; or
                their text, with its special tokens. With ``prompt``, the response alone.
            prompt: The messages before the response, if they are known.

        Raises:
            InputError: If these are no token IDs of this policy, are no UTF-8, or hold no response.
            TokenizerMismatchError: If the policy's chat template does not give their text again.
        """
        policy = self._policy
        if prompt is not None:
            turns = Conversation(prompt).messages
            before = policy.rendered(turns, generation_prompt=True)
            if isinstance(token_ids, str):
                after = policy.end_of_text(token_ids)
            else:
                after = policy.continuation(parse_token_ids(token_ids))
            return self._read(turns, [["assistant"]], before + after)
        if not isinstance(token_ids, str):
            return self._conversation_in(policy.text(parse_token_ids(token_ids)))
        first, *others = policy.whole_texts(token_ids)
        for text in others:
            with suppress(InputError):
                return self._conversation_in(text)
        return self._conversation_in(first)

    def _conversation_in(self, text: str) -> Conversation:
        exchanges = [*_EXCHANGE] * max(1, text.count(self._answer))
        # A system turn that the template writes itself is no message, so try without one first.
        return self._read([], [exchanges, ["system", *exchanges]], text)

    def _read(
        self, known: Sequence[Message], shapes: Sequence[Sequence[str]], text: str
    ) -> Conversation:
        """Parse a text: known messages, then turns of the first roles that fit.

        Raises:
            InputError: If the text holds no response.
            TokenizerMismatchError: If the template does not give the text for such messages.
        """
        differences: list[Difference] = []
        for roles in shapes:
            for pieces, whole in self._pieces(known, roles):
                found = self._found(known, roles, pieces, whole, text)
                if isinstance(found, Conversation):
                    return found
                differences.append(found)
        if not differences:
            raise InputError(
                f"Cannot parse the rollout: the chat template of {self._policy.name!r} refuses "
                "such messages."
            )
        furthest = max(differences)
        raise TokenizerMismatchError(
            f"The rollout does not follow the chat template of {self._policy.name!r}, first at "
            f"character {furthest.position}: {furthest.template!r} in the template, "
            f"{furthest.text!r} in the rollout. Either it comes from another model; or it "
            "holds turns other than one of the system, then the user's and the assistant's in "
            "alternation; or the template drops or rewrites content."
        )

    def _found(
        self,
        known: Sequence[Message],
        roles: Sequence[str],
        pieces: Sequence[str],
        whole: Sequence[str],
        text: str,
    ) -> Conversation | Difference:
        contents = contents_between(pieces, text)
        if isinstance(contents, Difference):
            return contents
        *earlier, rest = contents
        if not rest:
            raise InputError("The rollout holds no response: it ends before one.")
        response = rest.removesuffix(self._ending(rest, pieces[-1]))
        contents = [*earlier, response]
        inside = self._mark_inside(pieces, contents, text)
        if inside is not None:
            return inside
        turns = zip(roles, contents, strict=True)
        messages = [*known, *({"role": role, "content": content} for role, content in turns)]
        rendered = self._policy.rendered(messages)
        # A template may trim the response, or write more before it than the policy did. In both
        # cases the policy's words are known.
        answers = (response, response.strip())
        frames = (pieces, whole)
        if any(rendered == joined(frame, [*earlier, a]) for frame in frames for a in answers):
            return Conversation(messages)
        return Difference.between(rendered, joined(pieces, contents))

    def _ending(self, rest: str, end: str) -> str:
        """Return the end of the last turn in the text, complete or partial, with the EOS."""
        eos = self._policy.eos
        # Some templates write an EOS after the end of the last turn.
        own = end.removesuffix(eos)
        own = own if own.strip() else end
        endings = (end + eos, end, own, own.rstrip() + eos, own.rstrip(), eos)
        return next(filter(rest.endswith, endings), "")

    def _mark_inside(
        self, pieces: Sequence[str], contents: Sequence[str], text: str
    ) -> Difference | None:
        """Return the position of a turn separator within a content: such a text is ambiguous."""
        position = 0
        for before, content, after in zip(pieces, contents, pieces[1:], strict=False):
            position += len(before)
            around = joined([before, after], [PLACEHOLDER])
            if self._marks.findall(before + content + after) != self._marks.findall(around):
                inside = self._marks.search(content)
                return Difference.between("", text, position + (inside.start() if inside else 0))
            position += len(content)
        return None

    def _pieces(
        self, known: Sequence[Message], roles: Sequence[str]
    ) -> Iterator[tuple[list[str], list[str]]]:
        """Yield the pieces that a text may have around the contents of its turns.

        Each comes with the pieces that the template itself writes.
        """
        turns = placeholder_turns(roles)
        with suppress(InputError):
            pieces = around_placeholders(self._policy.rendered([*known, *turns]), len(turns))
            if pieces is None:
                return
            yield pieces, pieces
            # A thinking model may write the opening of its answer itself, instead of the template.
            prompt = [*known, *turns[:-1]]
            opened = self._policy.rendered(prompt, generation_prompt=True)
            before = around_placeholders(opened, len(turns) - 1)
            if before is not None and opened != self._policy.rendered(prompt):
                own = [*before, pieces[-1]]
                yield own, pieces if pieces[-2].startswith(own[-2]) else own

    def _before_answers(self) -> str:
        """Return the text between a user's turn and an answer; it occurs once for each answer."""
        both = [piece for pieces, _ in self._pieces([], _EXCHANGE * 2) for piece in pieces[1::2]]
        common = reduce(
            lambda one, other: one[: common_prefix_length(one, other)], both or [""]
        ).strip()
        if not common:
            raise InputError(
                f"Cannot find messages in a text: the chat template of {self._policy.name!r} does "
                "not separate turns."
            )
        return common

    def _between_turns(self) -> set[str]:
        pairs = product(_ROLES, repeat=2)
        frames = (frame for roles in (_EXCHANGE * 2, *pairs) for frame in self._pieces([], roles))
        return {piece.strip() for pieces, _ in frames for piece in pieces[1:]} - {""}

    def __repr__(self) -> str:
        return f"Retokenizer({self._policy.name!r})"

    def __reduce__(self) -> tuple[object, ...]:
        rebuild = partial(Retokenizer, trust_remote_code=self._trust_remote_code)
        return rebuild, (self._given,)


def generation_prompt(retokenizer: Retokenizer, messages: Sequence[Message]) -> str:
    """Return messages as the policy gets them, up to the beginning of its answer.

    Raises:
        InputError: If the chat template refuses the messages.
    """
    policy = retokenizer._policy  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    return policy.rendered(messages, generation_prompt=True)
