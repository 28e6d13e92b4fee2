"""`/generative_scoring`: how probable the first of some labels is as the next token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reward_client.testing.completions import check_logprobs
from reward_client.testing.generating import LogprobsMode, reported
from reward_client.testing.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reward_client.testing.generating_forms import GenerativeScoring
    from reward_client.testing.serving import Serving


def check(serving: Serving, form: GenerativeScoring) -> None:
    """Refuses what vLLM refuses whatever the prompts are.

    Raises:
        Refusal: The request asks for it.
    """
    size = serving.judge.vocabulary_size
    unknown = next((label for label in form.label_token_ids if not 0 <= label < size), None)
    if unknown is not None:
        raise Refusal(
            f"label_token_id {unknown} is out of vocabulary range [0, {size}). "
            "Please provide valid token IDs."
        )
    if not form.label_token_ids:
        raise Refusal("label_token_ids must contain at least one token ID.")
    if not form.items:
        raise Refusal("items must contain at least one item.")
    check_logprobs(serving, len(form.label_token_ids))


def prompts(serving: Serving, form: GenerativeScoring) -> list[list[int]]:
    """The query with each of the items; what is too long for one more token is cut off."""
    encode = serving.judge.tokenizer.encode
    query = form.query
    if isinstance(query, str):
        query = encode(query, add_special_tokens=form.add_special_tokens)
    joined: list[list[int]] = []
    for item in form.items:
        ids = encode(item, add_special_tokens=False) if isinstance(item, str) else item
        joined.append([*ids, *query] if form.item_first else [*query, *ids])
    return [each[: serving.max_model_len - 1] for each in joined]


def score(
    serving: Serving, mode: LogprobsMode, form: GenerativeScoring, prompt: Sequence[int]
) -> float:
    """The probability of the first label: among the labels, or in the whole vocabulary."""
    logits = serving.judge.logits(prompt)
    numbers = reported(mode, logits, logits).astype(np.float64)
    first = numbers[form.label_token_ids[0]]
    if form.apply_softmax:
        return float(np.exp(first - np.logaddexp.reduce(numbers[sorted({*form.label_token_ids})])))
    # vLLM takes what is reported for a log-probability, though it may be a logit.
    return float(np.exp(first))
