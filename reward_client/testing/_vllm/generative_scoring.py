"""`/generative_scoring`: the probability of the first label as the next token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reward_client.testing._model.generate import LogprobsMode, reported
from reward_client.testing._vllm.completions import check_logprobs
from reward_client.testing._vllm.errors import VllmError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reward_client.testing._vllm.completion_forms import GenerativeScoring
    from reward_client.testing._vllm.served_model import ServedModel


def check(served: ServedModel, form: GenerativeScoring) -> None:
    """Refuse options that are invalid for any prompt.

    Raises:
        VllmError: If an option is invalid.
    """
    size = served.judge.vocabulary_size
    unknown = next((label for label in form.label_token_ids if not 0 <= label < size), None)
    if unknown is not None:
        raise VllmError(
            f"label_token_id {unknown} is out of vocabulary range [0, {size}). "
            "Please provide valid token IDs."
        )
    if not form.label_token_ids:
        raise VllmError("label_token_ids must contain at least one token ID.")
    if not form.items:
        raise VllmError("items must contain at least one item.")
    check_logprobs(served, len(form.label_token_ids))


def scoring_prompts(served: ServedModel, form: GenerativeScoring) -> list[list[int]]:
    """Join the query with each item, and truncate to leave room for one more token."""
    encode = served.judge.tokenizer.encode
    query = form.query
    if isinstance(query, str):
        query = encode(query, add_special_tokens=form.add_special_tokens)
    prompts: list[list[int]] = []
    for item in form.items:
        ids = encode(item, add_special_tokens=False) if isinstance(item, str) else item
        prompts.append([*ids, *query] if form.item_first else [*query, *ids])
    return [prompt[: served.max_model_len - 1] for prompt in prompts]


def score(
    served: ServedModel, mode: LogprobsMode, form: GenerativeScoring, prompt: Sequence[int]
) -> float:
    """Return the probability of the first label, among the labels or in the vocabulary."""
    logits = served.judge.logits(prompt)
    numbers = reported(mode, logits, logits).astype(np.float64)
    first = numbers[form.label_token_ids[0]]
    if form.apply_softmax:
        return float(np.exp(first - np.logaddexp.reduce(numbers[sorted({*form.label_token_ids})])))
    # vLLM treats the reported number as a log-probability, even where it is a logit.
    return float(np.exp(first))
