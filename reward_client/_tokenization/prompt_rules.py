"""The rules of a model for its prompts, beyond the chat template. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reward_client._base.json_values import as_mapping, as_sequence
from reward_client._base.samples import Conversation, FormattedText, Message, OpenedText, Prompt
from reward_client._base.token_ids import TokenIds
from reward_client._protocols.engine import Renderer, Served
from reward_client.errors import InputError


@dataclass(frozen=True, slots=True)
class StepToken:
    """The token that ends each step: its ID and its text."""

    token_id: int
    text: str


@dataclass(frozen=True, slots=True)
class PromptRules:
    """The rules of a model for its prompts.

    Attributes:
        generation_prompt: True if the template opens another assistant turn at the end.
        bos: True requires exactly one BOS token, and adds one to conversations whose template
            writes none. False requires no BOS token. None follows the template.
        bos_token_id: The BOS token, if the tokenizer has one.
        append: The token IDs at the end of the prompt, which are added if they are missing.
        step: The step token of a process reward model.
        separator: The text that separates the steps in the last assistant turn, if the caller gives
            no steps. The step token replaces it.
        question: The question to add as the user's turn.
        continues: True if the last turn is left open, for the model to continue.
        answers: True if the model answers, to `question` or to the conversation itself.
        max_model_len: The most tokens of a prompt, if there is a limit.
        vocabulary: The number of token IDs, if one past them ends the server.
        server_tokenizes: False if a gateway hides ``/tokenize``.
        renderer: Renders conversations of which the server makes wrong token IDs, if there is one.
        others: Replicas with another way to token IDs. What one of them cannot take, none takes.
        tokenize_refusal: What ``/tokenize`` answers then, as a sentence.
        headers: The markers and plain texts that the template writes between turns.
        system: The system message that the model was trained with, unless the template writes it.
        trained_tokens: The length of the longest prompt in the model's training, if it is known.
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
    max_model_len: int | None = None
    vocabulary: int | None = None
    server_tokenizes: bool = True
    renderer: Renderer | None = None
    others: tuple[Served, ...] = ()
    tokenize_refusal: str = ""
    headers: tuple[str, ...] = ()
    system: str | None = None
    trained_tokens: int | None = None

    def with_question(self, prompt: Prompt) -> Prompt:
        """Add the question to a prompt.

        Raises:
            InputError: If the prompt is no conversation that ends with an answer.
        """
        if self.question is None:
            if self.answers and _is_answered(prompt):
                raise InputError(
                    "The model answers after the conversation, but the last turn is an answer. End "
                    "the conversation with the question, as the user's turn."
                )
            return prompt
        if not isinstance(prompt, Conversation):
            raise InputError(
                "Cannot add the method's question to text or token IDs. Give messages, or "
                "YesNo(question=None) with the question in the text."
            )
        if not _is_answered(prompt):
            raise InputError(
                "The method asks about the assistant's answer, but the last message is not one. "
                "End the conversation with the answer."
            )
        asked = {"role": "user", "content": self.question}
        return replace(prompt, messages=[*prompt.messages, asked])

    def bos_count(self, ids: TokenIds) -> int:
        """Return the number of BOS tokens at the start."""
        return ids.leading(self.bos_token_id)

    def step_places(self, ids: Sequence[int]) -> tuple[int, ...]:
        """Return the positions of the step tokens; none for models without steps."""
        if self.step is None:
            return ()
        return tuple(index for index, token in enumerate(ids) if token == self.step.token_id)

    def with_steps(self, prompt: Prompt) -> Prompt:
        """Add a step token after each step of a prompt.

        Raises:
            InputError: If the prompt has steps and the model takes none, or the reverse; or a step
                token is not at the end of a step.
        """
        if not isinstance(prompt, Conversation):
            return prompt
        if self.step is None:
            if prompt.steps is not None:
                raise InputError(
                    "This conversation has steps=, but the client has no StepHead to score them. "
                    "Give head=StepHead(…)."
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
        """Refuse step tokens outside of the answer, which would count as steps."""
        for index, message in enumerate(messages[:-1]):
            if text in _text(message):
                raise InputError(
                    f"Message {index} holds the step token {text!r}, which would count as a step."
                )
        if text not in _text(messages[-1]):
            raise InputError(
                f"The last turn has no step token {text!r}. Give its steps: "
                "Conversation(messages, steps=[…]), or StepHead(separator=…)."
            )

    def step_count(self, prompt: Prompt) -> int | None:
        """Return the number of step tokens in the text of a prompt; None for token IDs."""
        if self.step is None or isinstance(prompt, TokenIds):
            return None
        text = prompt.text if isinstance(prompt, FormattedText) else _text(prompt.messages[-1])
        return text.count(self.step.text)

    def finished(self, ids: TokenIds, prompt: Prompt) -> TokenIds:
        """Apply the rules to the token IDs of a prompt.

        Raises:
            InputError: If the token IDs cannot follow the rules.
        """
        bos = True if isinstance(prompt, OpenedText) else self.bos
        finished = ids if bos is None else self._with_bos(ids, prompt, bos)
        tail = self.append
        if tail and finished[-len(tail) :] != tail:
            finished = TokenIds.of((*finished, *tail))
        if self.step is not None:
            self._check_steps(finished, prompt, self.step)
        if self.vocabulary is not None and finished.largest() >= self.vocabulary:
            raise InputError(
                f"Cannot score token ID {finished.largest()}: the vocabulary of the server's "
                f"tokenizer ends at {self.vocabulary - 1}, and another ID would end the server. "
                "Tokenize with the tokenizer of the served model."
            )
        return finished

    def _with_bos(self, ids: TokenIds, prompt: Prompt, bos: bool) -> TokenIds:  # noqa: FBT001
        count, token = self.bos_count(ids), self.bos_token_id
        if count == int(bos):
            return ids
        if token is None:
            raise InputError(
                "Cannot add a BOS token: the server's tokenizer has none. Give bos=None."
            )
        if bos and count == 0 and isinstance(prompt, Conversation | OpenedText):
            return TokenIds.of((token, *ids))
        required = "exactly one BOS token" if bos else "no BOS token"
        raise InputError(f"The sample starts with {count} BOS tokens, but {required} is required.")

    def _check_steps(self, ids: Sequence[int], prompt: Prompt, step: StepToken) -> None:
        count, expected = ids.count(step.token_id), self.step_count(prompt)
        if expected is not None and count != expected:
            raise InputError(
                f"The text holds {expected} step tokens {step.text!r}, but its token IDs hold "
                f"{count} of ID {step.token_id}: the tokenizer does not keep it whole."
            )
        if count == 0:
            raise InputError(
                f"Cannot score steps: the sample has no step token (ID {step.token_id})."
            )


def _is_answered(prompt: Prompt) -> bool:
    return isinstance(prompt, Conversation) and prompt.messages[-1].get("role") == "assistant"


def _split(answer: Message, separator: str) -> list[str]:
    """Split an answer into its steps."""
    content = answer.get("content")
    if answer.get("role") != "assistant" or not isinstance(content, str):
        raise InputError("Cannot split the last turn into steps: it must be text of the assistant.")
    steps = [step for step in content.split(separator) if step.strip()]
    if not steps:
        raise InputError("Cannot score steps: the last turn is empty.")
    return steps


def _joined(steps: Sequence[str], token: str) -> str:
    """Join the steps with the step token after each."""
    for index, step in enumerate(steps):
        if token in step:
            raise InputError(f"Step {index} holds the step token {token!r}.")
    return "".join(step + token for step in steps)


def _text(message: Message) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = map(as_mapping, as_sequence(content) or ())
    return "\n".join(str(part.get("text", "")) for part in parts if part is not None)
