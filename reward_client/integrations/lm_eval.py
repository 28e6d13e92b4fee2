"""The best of several responses in lm-eval, by reward: a filter for a task with ``repeats``.

In the YAML file of the task::

    filter_list:
      - name: best-of-n
        filter:
          - function: !function reward_client.integrations.lm_eval.best_of_n
            base_url: http://localhost:8000
            prompt: "{{question}}"
          - function: take_first

A response that fails by its own fault is never the best. A document without any reward is an error,
as is a fault of the server after all patience: no response is chosen without a reward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any, Unpack

from reward_client._base.wording import describe_type
from reward_client._client.base_url import BaseUrl
from reward_client._integrations.clients import policy_text_of, score
from reward_client._integrations.environment import IntegrationOptions, options_of
from reward_client._integrations.outcomes import BatchRewards, Transform
from reward_client.errors import InputError

Prompt = str | Callable[[Mapping[str, Any]], object]
"""A column, a template of Jinja over the columns, or a function of a document."""


class BestOfN:
    """A filter of lm-eval, see `best_of_n`."""

    def __init__(
        self,
        base_url: BaseUrl | None,
        prompt: Prompt,
        transform: Transform | None,
        options: Mapping[str, object],
    ) -> None:
        self._prompt = prompt
        self._transform = transform
        self._options = options_of("best_of_n", options, base_url)

    def apply(
        self, resps: Iterable[Sequence[object]], docs: Sequence[Mapping[str, Any]]
    ) -> list[list[object]]:
        """Return the best response of each document, in a list of its own.

        Raises:
            InputError: If a document has no prompt, or if none of its responses has a reward.
            RewardClientError: If a reward is missing by a fault of the server, or if another model
                answers than at the first call.
        """
        groups = [*resps]
        prompts = [
            self._prompt_of(document)
            for document, group in zip(docs, groups, strict=True)
            for _ in group
        ]
        responses = [response for group in groups for response in group]
        rollouts = policy_text_of(self._options).answered(prompts, responses)
        batch = score(self._options, rollouts, self._transform)
        chosen: list[list[object]] = []
        start = 0
        for position, group in enumerate(groups):
            best = _best(batch, range(start, start + len(group)), position)
            chosen.append([group[best - start]])
            start += len(group)
        return chosen

    def _prompt_of(self, document: Mapping[str, Any]) -> object:
        prompt = self._prompt
        if callable(prompt):
            return prompt(document)
        if prompt in document:
            return document[prompt]
        if "{" not in prompt:
            raise InputError(
                f"Cannot find the prompt: the documents have no column {prompt!r}. They have "
                f"{', '.join(document)}. Give prompt= one of them, or a template of Jinja."
            )
        return import_module("lm_eval.utils").apply_template(prompt, document)


def best_of_n(
    base_url: BaseUrl | None = None,
    *,
    prompt: Prompt,
    transform: Transform | None = None,
    **options: Unpack[IntegrationOptions],
) -> BestOfN:
    """Return a filter that keeps the response with the highest reward; of equal ones the first.

    Args:
        base_url: The server's URL, or those of replicas; by default the environment variable
            ``REWARD_CLIENT_BASE_URL``.
        prompt: The prompt of a document: a column with a text or with messages, a template of Jinja
            as in ``doc_to_text``, or a function. The text is the user's turn.
        transform: Makes a number of a `reward_client.Reward`; by default its value.
        **options: The options of `reward_client.RewardClient`, except ``transport``; ``patience``,
            ``policy_tokenizer``, ``strip_reasoning`` and ``failed``. Those that are not given come
            from the environment.

    Raises:
        InputError: If an option or a variable of the environment is invalid.
        TypeError: If an option is unknown. The message names the right one.
    """
    if not isinstance(prompt, str) and not callable(prompt):
        raise InputError(f"prompt= must be a text or a function, not {describe_type(prompt)}.")
    return BestOfN(base_url, prompt, transform, options)


def _best(batch: BatchRewards, indices: range, position: int) -> int:
    """Return the index of the highest reward, the first one of equal ones."""
    values = {index: value for index in indices if (value := batch.values[index]) is not None}
    if not values:
        error = next((batch.errors[index] for index in indices), None)
        reason = "it has no responses." if error is None else f"none has a reward. {error}"
        raise InputError(f"Cannot choose a response of document {position}: {reason}") from error
    return max(values, key=lambda index: values[index])
