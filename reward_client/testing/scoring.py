"""From a request for pooled output to its reply, as one vLLM version does it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from reward_client.testing import forms
from reward_client.testing.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from reward_client.testing.dialects import Activation, Dialect, Head
    from reward_client.testing.judge import Judge
    from reward_client.testing.llama import Array


class BrokenReply(Exception):
    """What vLLM answers with a bare 500."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """A served model.

    Attributes:
        judge: The model.
        dialect: The vLLM version.
        head: One value per sequence, or one per token.
        raw: The server was told to apply no activation.
        max_model_len: The most tokens of a sequence.
    """

    judge: Judge
    dialect: Dialect
    head: Head
    raw: bool
    max_model_len: int

    def chat_ids(self, chat: forms.Chat, *, opens_turn: bool) -> list[int]:
        """The token IDs of a conversation."""
        return self.judge.tokenizer.encode(
            self._render(chat, opens_turn=opens_turn), add_special_tokens=chat.add_special_tokens
        )

    def _render(self, chat: forms.Chat, *, opens_turn: bool) -> str:
        if not chat.messages:
            raise Refusal(self.dialect.no_messages)
        if chat.chat_template is not None and not self.dialect.takes_template:
            raise Refusal(
                "Chat template is passed with request, but --trust-request-chat-template is not "
                "set. Refused request with untrusted chat template."
            )
        if chat.continue_final_message and opens_turn:
            raise Refusal(self.dialect.continue_conflict)
        try:
            return self.judge.tokenizer.render(
                [message.model_dump() for message in chat.messages],
                add_generation_prompt=opens_turn,
                continue_final_message=chat.continue_final_message,
                tools=chat.tools,
                template=chat.chat_template,
                variables=chat.chat_template_kwargs,
            )
        except ValueError as error:
            raise Refusal(str(error)) from error

    def prompts(self, form: forms.PooledForm) -> list[list[int]]:
        """The token IDs of every prompt of a request, truncated and checked as vLLM does."""
        if isinstance(form, forms.Chat):
            opens_turn = form.add_generation_prompt and self.dialect.opens_turns
            prompts = [self.chat_ids(form, opens_turn=opens_turn)]
        elif isinstance(form, forms.Input):
            prompts = self._input_ids(form)
        else:
            raise Refusal(
                "No IOProcessor plugin installed. Please refer to the documentation and to the "
                "'prithvi_geospatial_mae_io_processor' offline inference example for more "
                "details. (parameter=task)",
                parameter="task",
            )
        prompts = [self._truncated(prompt, form) for prompt in prompts]
        for prompt in prompts:
            self._check(prompt)
        return prompts

    def _input_ids(self, form: forms.Input) -> list[list[int]]:
        given = form.input
        if isinstance(given, str):
            given = [given]
        if not given or (self.dialect.empty_batch_is_no_prompt and given == [[]]):
            raise Refusal(self.dialect.no_prompt)
        prompts: list[list[int]] = []
        token_ids: list[int] = []
        for item in given:
            if isinstance(item, int):
                token_ids.append(item)
            elif isinstance(item, str):
                special = form.add_special_tokens
                prompts.append(self.judge.tokenizer.encode(item, add_special_tokens=special))
            else:
                prompts.append(item)
        return [token_ids] if token_ids else prompts

    def _truncated(self, prompt: list[int], form: forms.PooledForm) -> list[int]:
        keep = form.truncate_prompt_tokens
        if keep is None:
            return prompt
        keep = self.max_model_len if keep == -1 else keep
        side = form.truncation_side if isinstance(form, forms.Switches) else None
        keeps_last = side == "left" if side else self.dialect.truncation_keeps == "last"
        return prompt[max(0, len(prompt) - keep) :] if keeps_last else prompt[:keep]

    def _check(self, prompt: Sequence[int]) -> None:
        if not prompt:
            raise Refusal("The decoder prompt cannot be empty")
        if len(prompt) > self.max_model_len:
            counted = len(prompt) if self.dialect.counts_overlong else self.max_model_len + 1
            raise Refusal(
                self.dialect.too_long.format(limit=self.max_model_len, tokens=counted),
                parameter=self.dialect.too_long_parameter,
            )
        limit = self.judge.vocabulary_size + self.dialect.vocabulary_slack
        unknown = next((token for token in prompt if token >= limit), None)
        if min(prompt) < 0:
            if not self.dialect.checks_sign:
                raise BrokenReply
            unknown = min(prompt)
        if unknown is not None:
            raise Refusal(f"Token id {unknown} is out of vocabulary")

    def values(self, prompt: Sequence[int], form: forms.PooledForm) -> Array:
        """The pooled output of one prompt: shape (1,), or (tokens, 1) of a per-token head."""
        # An ID one past the vocabulary passes 0.8's check and reads what lies there.
        known = [min(token, self.judge.vocabulary_size - 1) for token in prompt]
        scores = self.judge.scores(known)[:, None]
        pooled = scores if self.head == "token" else scores[-1]
        return _ACTIVATIONS[self._activation(form)](pooled)

    def _activation(self, form: forms.PooledForm) -> Activation:
        asked = form.use_activation if isinstance(form, forms.Switches) else None
        if asked is None:
            return "none" if self.raw else self.dialect.activation[self.head]
        # Asked for, a head that applies none by default gets what any one-label head gets.
        return self.dialect.activation["sequence"] if asked else "none"

    def check_pooling_body(self, body: Mapping[str, Any]) -> None:
        """Refuse the keys and tasks of the past before the body is read closely."""
        for key, message in self.dialect.refused_keys.items():
            if key in body:
                parameter = key if self.dialect.nested_errors else None
                raise Refusal(message, parameter=parameter)
        removed = self.dialect.removed_tasks.get(str(body.get("task")))
        if removed and self.dialect.tasks[self.head]:
            raise Refusal(f"{removed} (parameter=task)", parameter="task")

    def check_task(self, form: forms.PooledForm) -> None:
        """Refuse a task that the served head does not do.

        Raises:
            Refusal: Another task was asked for.
        """
        task = form.task if isinstance(form, forms.Task) else None
        supported = self.dialect.tasks[self.head]
        if task is None or task == supported[0]:
            return
        if task in supported:
            message = f"Try switching the model's pooling_task via --pooler-config.task {task}."
        else:
            message = f"Unsupported task: {task!r} Supported tasks: {list(supported)}"
        raise Refusal(f"{message} (parameter=task)", parameter="task")


def encoded(values: Array, encoding_format: str) -> list[Any] | str:
    """The pooled output as JSON numbers, or as base64 of its little-endian float32."""
    if encoding_format.startswith("bytes"):
        raise Refusal(
            f"The test server has no encoding_format {encoding_format!r}, though vLLM has.",
            status=501,
            kind="NotImplementedError",
        )
    if encoding_format == "base64":
        return base64.b64encode(values.astype("<f4").tobytes()).decode()
    numbers: list[Any] = values.tolist()
    return numbers


def _sigmoid(x: Array) -> Array:
    # Written with tanh, which cannot overflow.
    half = np.float32(0.5)
    squashed: Array = half * (1 + np.tanh(x * half))
    return squashed


# Softmax over the one label is what 0.8 applies: every reward is 1.0.
_ACTIVATIONS: dict[Activation, Callable[[Array], Array]] = {
    "none": np.positive,
    "sigmoid": _sigmoid,
    "softmax": np.ones_like,
}
