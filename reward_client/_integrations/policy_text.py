"""Conversations from what a policy wrote: messages, a prompt with its answer, or the whole text."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple, ParamSpec, cast

from reward_client._base.json_values import as_mapping, listed
from reward_client._base.samples import Conversation, Given, Message
from reward_client._base.wording import describe_type, shorten
from reward_client._integrations.reasoning import closes_first, open_block, without_reasoning
from reward_client._tokenization import Retokenizer
from reward_client._tokenization.control_tokens import suspects, without_end
from reward_client._tokenization.retokenizer import generation_prompt
from reward_client._tokenization.template_parser import PLACEHOLDER
from reward_client.errors import InputError, TokenizerMismatchError

P = ParamSpec("P")

_REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")
"""Keys of messages in which frameworks put the reasoning that they have parsed already."""
_TAG_AT_END = re.compile(r"<([A-Za-z_][\w.-]*)>\s*$")
_SHOWN_CHARACTERS = 40
_KNOWN_PROMPTS = 1024
"""A prompt comes again with each answer of its group."""


class Rollout(NamedTuple):
    """The text or the messages of a policy, as a sample.

    Attributes:
        sample: The conversation, or its error.
        stripped: The number of characters of reasoning that are left out.
    """

    sample: Given
    stripped: int = 0


class _Opening(NamedTuple):
    """A prompt in the policy's template.

    Attributes:
        messages: The messages of the prompt.
        text: The text that an answer follows, such that the template gives it again.
        block: The block of reasoning that the prompt has opened, if any.
        ends_with_space: True if the text has a space that the prompt lacks.
    """

    messages: Sequence[Message]
    text: str
    block: str | None
    ends_with_space: bool


class PolicyText:
    """Reads what a policy wrote.

    Args:
        tokenizer: The policy's tokenizer, as `Retokenizer` takes it; None if it is unknown.
        reasoning: The names of the tags around reasoning, which is stripped.
        keeps_ends: True leaves end tokens at the end of an answer to messages.

    Raises:
        InputError: As `Retokenizer`.
        ImportError: As `Retokenizer`.
    """

    def __init__(
        self, tokenizer: object | None, reasoning: Sequence[str] = (), *, keeps_ends: bool = False
    ) -> None:
        self._retokenizer = None if tokenizer is None else Retokenizer(tokenizer)
        self._reasoning = reasoning
        self._keeps_ends = keeps_ends
        self._has_read = False
        self._opening = lru_cache(maxsize=_KNOWN_PROMPTS)(self._read_prompt)

    def answered(self, prompts: Sequence[object], answers: Sequence[object]) -> list[Rollout]:
        """Return a rollout for each prompt with its answer.

        Args:
            prompts: A prompt is a list of messages, or a text: in the policy's chat template if
                its tokenizer is known, and otherwise the user's words.
            answers: An answer is a list of messages, or a text. End tokens and padding at its end
                are left out.
        """
        # The chat template is the same for all of them: it opens each block, or none.
        texts = [text for answer in answers if (text := _first_text(answer)) is not None]
        opened = next(filter(None, (closes_first(text, self._reasoning) for text in texts)), None)
        return [
            self._rollout(prompt, answer, opened)
            for prompt, answer in zip(prompts, answers, strict=True)
        ]

    def whole(self, texts: Sequence[object], prompts: Sequence[object]) -> list[Rollout]:
        """Return a rollout for each text that begins with its prompt, in the policy's template."""
        return [self._continued(text, prompt) for text, prompt in zip(texts, prompts, strict=True)]

    def unsplit(self, texts: Sequence[object]) -> list[Rollout]:
        """Return a rollout for each text, prompt and answer in one, whose prompt is unknown."""
        return [self._caught(self._alone, text) for text in texts]

    def conversations(self, conversations: Sequence[object]) -> list[Rollout]:
        """Return a rollout for each list of messages, which ends with the policy's answer."""
        pairs = [_split(messages) for messages in conversations]
        return self.answered([prompt for prompt, _ in pairs], [answer for _, answer in pairs])

    def _continued(self, text: object, prompt: object) -> Rollout:
        if not isinstance(text, str) or not isinstance(prompt, str):
            return Rollout(InputError(f"A text is expected, not {describe_type(text)}."))
        if self._retokenizer is None or text.startswith(prompt):
            return self._rollout(prompt, text.removeprefix(prompt), None)
        return self._caught(self._decoded, self._retokenizer, text, prompt)

    def _rollout(self, prompt: object, answer: object, opened: str | None) -> Rollout:
        if isinstance(prompt, str) and self._retokenizer is not None:
            return self._caught(self._in_template, self._retokenizer, prompt, answer)
        return self._caught(self._with_messages, prompt, answer, opened)

    def _caught(self, read: Callable[P, Rollout], *args: P.args, **kwargs: P.kwargs) -> Rollout:
        """Return what a function reads, or the error of the sample."""
        try:
            return read(*args, **kwargs)
        except TokenizerMismatchError as error:
            if not self._has_read:
                raise  # the wrong tokenizer is wrong for all
            return Rollout(InputError(f"Cannot read the prompt: {error}"))
        except InputError as error:
            return Rollout(error)

    def _with_messages(self, prompt: object, answer: object, opened: str | None) -> Rollout:
        turns = _turns(prompt)
        if self._retokenizer is not None and self._reasoning:
            before = generation_prompt(self._retokenizer, turns)
            opened = open_block(before, self._reasoning)
        stripped = 0
        kept: list[object] = []
        for reply in _replies(answer):
            message, characters = self._without_reasoning(reply, opened)
            kept.append(message)
            stripped += characters
        conversation = Conversation(cast("Sequence[Message]", [*turns, *kept]))
        if not self._keeps_ends:
            conversation = without_end(conversation, suspects(conversation))
        return Rollout(conversation, stripped)

    def _without_reasoning(self, reply: object, opened: str | None) -> tuple[object, int]:
        message = as_mapping(reply)
        if not self._reasoning or message is None or message.get("role") != "assistant":
            return reply, 0
        parsed = {key: message[key] for key in _REASONING_KEYS if isinstance(message.get(key), str)}
        kept = {key: value for key, value in message.items() if key not in _REASONING_KEYS}
        characters = sum(len(str(text)) for text in parsed.values())
        content = kept.get("content")
        if isinstance(content, str):
            # A framework that has parsed the reasoning has taken its block out of the content.
            text = without_reasoning(content, self._reasoning, None if parsed else opened)
            return {**kept, "content": text.answer}, characters + text.characters
        return kept, characters

    def _in_template(self, retokenizer: Retokenizer, prompt: str, answer: object) -> Rollout:
        if not isinstance(answer, str):
            raise InputError(f"An answer to a text is a text, not {describe_type(answer)}.")
        opening = self._opening(retokenizer, prompt)
        if opening.ends_with_space:  # which is the policy's first character
            answer = answer.removeprefix(" ")
        kept = without_reasoning(answer, self._reasoning, opening.block)
        try:
            conversation = retokenizer.conversation(opening.text + kept.answer)
        except TokenizerMismatchError as error:  # the prompt follows the template
            raise InputError(
                f"The answer breaks the chat template of the policy: {error}"
            ) from error
        if [*conversation.messages[:-1]] != [*opening.messages]:
            raise InputError(
                "The answer holds further turns in the chat template of the policy. Stop the "
                "generation at the end of a turn."
            )
        return Rollout(conversation, kept.characters)

    def _decoded(self, retokenizer: Retokenizer, text: str, prompt: str) -> Rollout:
        """Read a text that begins with another spelling of its prompt.

        Some tokenizers put a space after each special token when they decode.
        """
        opening = self._opening(retokenizer, prompt)
        turns: list[Message] = []
        last: Message = {}
        with suppress(TokenizerMismatchError):
            *turns, last = retokenizer.conversation(text).messages
        if turns != [*opening.messages]:
            raise InputError(
                "The text does not begin with its prompt: the trainer has cut it. Allow longer "
                "prompts."
            )
        kept = without_reasoning(str(last["content"]), self._reasoning, opening.block)
        return Rollout(Conversation([*turns, {**last, "content": kept.answer}]), kept.characters)

    def _alone(self, text: object) -> Rollout:
        if self._retokenizer is None:
            raise InputError(
                "Cannot tell the prompt from the answer in a text of the policy. Give "
                "policy_tokenizer= to read its messages."
            )
        if not isinstance(text, str):
            raise InputError(f"A text is expected, not {describe_type(text)}.")
        *turns, last = self._retokenizer.conversation(text).messages
        self._has_read = True
        opened = open_block(generation_prompt(self._retokenizer, turns), self._reasoning)
        kept = without_reasoning(str(last["content"]), self._reasoning, opened)
        return Rollout(Conversation([*turns, {**last, "content": kept.answer}]), kept.characters)

    def _read_prompt(self, retokenizer: Retokenizer, prompt: str) -> _Opening:
        """Read a prompt in the policy's template.

        Raises:
            TokenizerMismatchError: If the template does not give it.
        """
        block = open_block(prompt, self._reasoning)
        # Some templates open a block of reasoning for an answer, and write none in a conversation.
        texts = [prompt, f"{prompt} "]
        if block is not None:
            texts.append(prompt.rstrip().removesuffix(f"<{block}>"))
        failure: InputError | None = None
        for text in texts:
            try:
                *turns, last = retokenizer.conversation(text + PLACEHOLDER).messages
            except InputError as error:
                failure = failure or error
                continue
            if last["content"] == PLACEHOLDER:
                self._has_read = True
                return _Opening(turns, text, block, ends_with_space=text == f"{prompt} ")
        tag = _TAG_AT_END.search(prompt)
        if block is None and tag is not None:
            raise TokenizerMismatchError(
                f"The prompt ends with {tag[0].strip()}, which the chat template of the policy "
                f'writes for an answer only. Give strip_reasoning="{tag[1]}".'
            )
        raise failure or TokenizerMismatchError(
            "The prompt does not end where the chat template of the policy begins an answer. "
            "Apply the template with add_generation_prompt=True."
        )


def _turns(prompt: object) -> Sequence[Message]:
    """Return the messages of a prompt."""
    if not isinstance(prompt, str):
        turns = listed(prompt)
        if turns is None:
            raise InputError(f"A prompt is messages or a text, not {describe_type(prompt)}.")
        return Conversation(cast("Sequence[Message]", turns)).messages
    messages: list[Message] = [{"role": "user", "content": prompt}]
    token = next(iter(suspects(Conversation(messages))), None)
    if token is not None:
        raise InputError(
            f"The prompt is a text with {shorten(token, _SHOWN_CHARACTERS)!r}, as if a chat "
            "template had been applied. Give policy_tokenizer= to read its messages, or "
            "messages."
        )
    return messages


def _replies(answer: object) -> Sequence[object]:
    """Return the messages of an answer.

    Raises:
        InputError: If there are none: a prompt alone has no reward, whatever the client allows.
    """
    if isinstance(answer, str):
        return [{"role": "assistant", "content": answer}]
    replies = listed(answer)
    if replies is None:
        raise InputError(f"An answer is messages or a text, not {describe_type(answer)}.")
    if not replies:
        raise InputError("There is no answer after the prompt.")
    return replies


def _split(conversation: object) -> tuple[Sequence[object], Sequence[object]]:
    """Split a conversation after the last message that is not of the policy or its tools."""
    messages = listed(conversation) or ()
    roles = [(as_mapping(message) or {}).get("role") for message in messages]
    end = next(
        (index for index in range(len(roles), 0, -1) if roles[index - 1] in ("user", "system")), 0
    )
    return messages[:end], messages[end:]


def _first_text(answer: object) -> str | None:
    """Return the text that an answer begins with, if it is a plain one."""
    if isinstance(answer, str):
        return answer
    first = as_mapping(next(iter(listed(answer) or ()), None)) or {}
    content = first.get("content")
    return content if isinstance(content, str) else None
