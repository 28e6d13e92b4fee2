"""From the token IDs of a policy back to the messages that they were made of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial, reduce
from itertools import product
from os import PathLike

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
    """Turns the token IDs of a policy into a `Conversation`, which any reward model can score.

    The policy's chat template is rendered around contents that are not known, to find them in the
    decoded text. Rendered with them, it must give that text again: otherwise there is an error.

    Args:
        policy_tokenizer: A folder with the policy's tokenizer files, its name on the Hugging Face
            hub, or the tokenizer itself, as transformers loaded it (extra ``local``).
        trust_remote_code: Run Python code that comes with the tokenizer.

    Raises:
        InputError: The tokenizer cannot be loaded, or its chat template is missing or does not tell
            turns apart.
        ImportError: transformers is not installed.
    """

    def __init__(
        self, policy_tokenizer: str | PathLike[str] | object, *, trust_remote_code: bool = False
    ) -> None:
        self._given = policy_tokenizer
        self._trust_remote_code = trust_remote_code
        self._policy = PolicyTokenizer(policy_tokenizer, trust_remote_code=trust_remote_code)
        self._answer = self._before_answers()
        marks = {*self._policy.special, *self._between_turns()}
        # Marks may overlap, and so are looked for at every character.
        self._marks = re.compile(f"(?=({any_of(marks)}))")

    def conversation(
        self, token_ids: Sequence[int], *, prompt: Sequence[Message] | None = None
    ) -> Conversation:
        """The conversation of a rollout.

        The last turn is the assistant's, with or without its end. Padding, a BOS that is missing or
        doubled, and an EOS after the end make no difference.

        Args:
            token_ids: The prompt and the response in the policy's chat template; with ``prompt``,
                those of the response alone.
            prompt: The messages before the response, where they are known.

        Raises:
            InputError: They are no token IDs of this policy, are no UTF-8, or hold no response.
            TokenizerMismatchError: The policy's chat template does not give their text again.
        """
        ids = parse_token_ids(token_ids)
        if prompt is not None:
            turns = Conversation(prompt).messages
            before = self._policy.rendered(turns, generation_prompt=True)
            return self._read(turns, [["assistant"]], before + self._policy.continuation(ids))
        text = self._policy.text(ids)
        exchanges = [*_EXCHANGE] * max(1, text.count(self._answer))
        # A system turn that the template writes by itself is no message: without one goes first.
        return self._read([], [exchanges, ["system", *exchanges]], text)

    def _read(
        self, known: Sequence[Message], shapes: Sequence[Sequence[str]], text: str
    ) -> Conversation:
        """The conversation of a text: messages that are known, and turns of the first such roles.

        Raises:
            InputError: There is no response.
            TokenizerMismatchError: The text is not what the template writes of such messages.
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
                f"The chat template of {self._policy.name!r} does not take such messages."
            )
        furthest = max(differences)
        raise TokenizerMismatchError(
            f"The token IDs are not what the chat template of {self._policy.name!r} makes of "
            f"messages, first at character {furthest.position}: {furthest.template!r} there, "
            f"{furthest.text!r} here. They are of another model, or have turns other than at most "
            "one of the system and then the user's and the assistant's by turns; or the template "
            "leaves something out, or writes it otherwise."
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
            raise InputError("The token IDs hold no response: they end where it would begin.")
        response = rest.removesuffix(self._ending(rest, pieces[-1]))
        contents = [*earlier, response]
        inside = self._mark_inside(pieces, contents, text)
        if inside is not None:
            return inside
        turns = zip(roles, contents, strict=True)
        messages = [*known, *({"role": role, "content": content} for role, content in turns)]
        rendered = self._policy.rendered(messages)
        # A template may trim the response, or write more before it than the policy did. The
        # policy's words are known all the same.
        answers = (response, response.strip())
        frames = (pieces, whole)
        if any(rendered == joined(each, [*earlier, a]) for each in frames for a in answers):
            return Conversation(messages)
        return Difference.between(rendered, joined(pieces, contents))

    def _ending(self, rest: str, end: str) -> str:
        """The end of the last turn, as much of it as there is, and the EOS."""
        eos = self._policy.eos
        # Some templates write an EOS after the last turn's own end.
        own = end.removesuffix(eos)
        own = own if own.strip() else end
        endings = (end + eos, end, own, own.rstrip() + eos, own.rstrip(), eos)
        return next(filter(rest.endswith, endings), "")

    def _mark_inside(
        self, pieces: Sequence[str], contents: Sequence[str], text: str
    ) -> Difference | None:
        """What parts turns, in a content: the text could be parted in another way as well."""
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
        """What a text may have before, between and after contents that are not known.

        And with it, what the template writes there itself.
        """
        turns = placeholder_turns(roles)
        with suppress(InputError):
            pieces = around_placeholders(self._policy.rendered([*known, *turns]), len(turns))
            if pieces is None:
                return
            yield pieces, pieces
            # What a template writes before an answer, a model that thinks may write itself.
            prompt = [*known, *turns[:-1]]
            opened = self._policy.rendered(prompt, generation_prompt=True)
            before = around_placeholders(opened, len(turns) - 1)
            if before is not None and opened != self._policy.rendered(prompt):
                own = [*before, pieces[-1]]
                yield own, pieces if pieces[-2].startswith(own[-2]) else own

    def _before_answers(self) -> str:
        """What stands between a user's turn and each answer; there are as many as answers."""
        both = [piece for pieces, _ in self._pieces([], _EXCHANGE * 2) for piece in pieces[1::2]]
        common = reduce(
            lambda one, other: one[: common_prefix_length(one, other)], both or [""]
        ).strip()
        if not common:
            raise InputError(
                f"The chat template of {self._policy.name!r} does not tell turns apart: messages "
                "cannot be found in its text."
            )
        return common

    def _between_turns(self) -> set[str]:
        pairs = product(_ROLES, repeat=2)
        skeletons = (each for roles in (_EXCHANGE * 2, *pairs) for each in self._pieces([], roles))
        return {piece.strip() for pieces, _ in skeletons for piece in pieces[1:]} - {""}

    def __repr__(self) -> str:
        return f"Retokenizer({self._policy.name!r})"

    def __reduce__(self) -> tuple[object, ...]:
        rebuild = partial(Retokenizer, trust_remote_code=self._trust_remote_code)
        return rebuild, (self._given,)
