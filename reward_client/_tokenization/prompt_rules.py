"""What a model needs of its prompts, beyond the chat template. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reward_client._base.json_values import as_mapping, as_sequence
from reward_client._base.samples import Conversation, FormattedText, Message, Prompt
from reward_client._base.token_ids import TokenIds
from reward_client.errors import InputError


@dataclass(frozen=True, slots=True)
class StepToken:
    """The token that ends each step: its ID, and the text that becomes it."""

    token_id: int
    text: str


@dataclass(frozen=True, slots=True)
class PromptRules:
    """What a model needs of its prompts.

    Attributes:
        generation_prompt: Whether the template opens another assistant turn at the end.
        bos: True demands exactly one BOS token and adds it to conversations whose template writes
            none; False demands none; None takes what the template writes.
        bos_token_id: That token, where the tokenizer has one.
        append: Token IDs that the prompt must end with; added where they are not there yet.
        step: The step token of a process reward model.
        separator: Splits the last assistant turn into steps, where the caller gave none; the step
            token takes its place.
        question: What follows the conversation as the user's turn.
        continues: Whether that turn is left open, for the model to go on with it.
        answers: Whether the model is asked something, by `question` or by the conversation itself.
    """

    generation_prompt: bool = False
    bos: bool | None = None
    bos_token_id: int | None = None
    append: tuple[int, ...] = ()
    step: StepToken | None = None
    separator: str | None = None
    question: str | None = None
    continues: bool = False
    answers: bool = False

    def with_question(self, prompt: Prompt) -> Prompt:
        """The prompt with the question that follows it.

        Raises:
            InputError: It is no conversation that ends with an answer.
        """
        if self.question is None:
            if self.answers and _is_answered(prompt):
                raise InputError(
                    "The model answers after the conversation, and its last turn is an answer: end "
                    "it with the question, as the user's turn."
                )
            return prompt
        if not isinstance(prompt, Conversation):
            raise InputError(
                "The method asks a question after the conversation, which it cannot do after text "
                "or token IDs: give messages (or YesNo(question=None), and the question in them)."
            )
        if not _is_answered(prompt):
            raise InputError(
                "The method asks about the assistant's answer, and the last message is not one."
            )
        asked = {"role": "user", "content": self.question}
        return replace(prompt, messages=[*prompt.messages, asked])

    def bos_count(self, ids: TokenIds) -> int:
        """How many BOS tokens the IDs start with."""
        return ids.leading(self.bos_token_id)

    def step_places(self, ids: Sequence[int]) -> tuple[int, ...]:
        """Where the step tokens are; nowhere for models without steps."""
        if self.step is None:
            return ()
        return tuple(place for place, token in enumerate(ids) if token == self.step.token_id)

    def with_steps(self, prompt: Prompt) -> Prompt:
        """The prompt with a step token after each step.

        Raises:
            InputError: It has steps and the model takes none, or the other way round; or a step
                token stands where no step ends.
        """
        if not isinstance(prompt, Conversation):
            return prompt
        if self.step is None:
            if prompt.steps is not None:
                raise InputError(
                    "This conversation has steps=, and the client no StepHead that scores them."
                )
            return prompt
        messages, text = prompt.messages, self.step.text
        if prompt.steps is not None:
            answer = {"role": "assistant", "content": _joined(prompt.steps, text)}
            messages = [*messages, answer]
        elif self.separator is not None:
            steps = _split(messages[-1], self.separator)
            messages = [*messages[:-1], {**messages[-1], "content": _joined(steps, text)}]
        self._check_places(messages, text)
        return replace(prompt, messages=messages, steps=None)

    def _check_places(self, messages: Sequence[Message], text: str) -> None:
        """Only the answer may hold step tokens: one in the question would count as a step."""
        for place, message in enumerate(messages[:-1]):
            if text in _text(message):
                raise InputError(
                    f"Message {place} holds the step token {text!r}, which would count as a step."
                )
        if text not in _text(messages[-1]):
            raise InputError(
                f"The last turn has no step token {text!r}. Give its steps: "
                "Conversation(messages, steps=[…]), or StepHead(separator=…)."
            )

    def step_count(self, prompt: Prompt) -> int | None:
        """How many step tokens the text of a prompt holds, None for token IDs."""
        if self.step is None or isinstance(prompt, TokenIds):
            return None
        text = prompt.text if isinstance(prompt, FormattedText) else _text(prompt.messages[-1])
        return text.count(self.step.text)

    def finished(self, ids: TokenIds, prompt: Prompt) -> TokenIds:
        """The token IDs with all that the model needs.

        Raises:
            InputError: They cannot be had so.
        """
        finished = self._with_bos(ids, prompt)
        tail = self.append
        if tail and finished[-len(tail) :] != tail:
            finished = TokenIds.of((*finished, *tail))
        self._check_steps(finished, prompt)
        return finished

    def _with_bos(self, ids: TokenIds, prompt: Prompt) -> TokenIds:
        if self.bos is None:
            return ids
        count, token = self.bos_count(ids), self.bos_token_id
        if count == int(self.bos):
            return ids
        if token is None:
            raise InputError("One BOS token is demanded, and the server's tokenizer has none.")
        if self.bos and count == 0 and isinstance(prompt, Conversation):
            return TokenIds.of((token, *ids))
        demanded = "exactly one BOS token" if self.bos else "no BOS token"
        raise InputError(f"The sample starts with {count} BOS tokens, and {demanded} is demanded.")

    def _check_steps(self, ids: Sequence[int], prompt: Prompt) -> None:
        if self.step is None:
            return
        count, expected = ids.count(self.step.token_id), self.step_count(prompt)
        if expected is not None and count != expected:
            raise InputError(
                f"The text holds {expected} step tokens {self.step.text!r}, and its token IDs "
                f"{count} of ID {self.step.token_id}: the tokenizer does not keep it whole."
            )
        if count == 0:
            raise InputError(
                f"The sample has no step token (ID {self.step.token_id}), so no step to score."
            )


def _is_answered(prompt: Prompt) -> bool:
    return isinstance(prompt, Conversation) and prompt.messages[-1].get("role") == "assistant"


def _split(answer: Message, separator: str) -> list[str]:
    """The steps of an answer."""
    content = answer.get("content")
    if answer.get("role") != "assistant" or not isinstance(content, str):
        raise InputError("The last turn must be the assistant's text, to be split into steps.")
    steps = [step for step in content.split(separator) if step.strip()]
    if not steps:
        raise InputError("The last turn is empty: there is no step to score.")
    return steps


def _joined(steps: Sequence[str], token: str) -> str:
    """The steps with the step token after each."""
    for place, step in enumerate(steps):
        if token in step:
            raise InputError(f"Step {place} holds the step token {token!r}.")
    return "".join(step + token for step in steps)


def _text(message: Message) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = map(as_mapping, as_sequence(content) or ())
    return "\n".join(str(part.get("text", "")) for part in parts if part is not None)
