"""The shipped reward model, which judges the correctness of the sum in an answer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reward_client.testing._model.chat_tokenizer import ChatTokenizer
from reward_client.testing._model.heads import label_weights, outputs
from reward_client.testing._model.llama import Llama, linear

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reward_client.testing._model.heads import Head
    from reward_client.testing._model.llama import Array, KeyValueCache

_HERE = Path(__file__).parent
CHECKPOINT = _HERE / "checkpoint"
# An ordinary token that the tokenizer merges with no other character.
STEP_TOKEN = "~"  # noqa: S105 - a token of the vocabulary


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The model's outputs for one sequence.

    Attributes:
        hidden: The hidden states, of shape (positions, width).
        labels: The raw values of the labels, of shape (positions, labels); the first label is the
            reward.
        step_positions: The positions of the step tokens.
    """

    hidden: Array
    labels: Array
    step_positions: list[int]

    def outputs(self, head: Head) -> Array:
        """Return the raw output of a head, of shape (positions, values)."""
        return outputs(head, self.hidden, self.labels)


class SumJudge:
    """A model with its tokenizer.

    Attributes:
        tokenizer: The tokenizer with the chat template.
        vocabulary_size: The number of tokens; token IDs lie below it.
    """

    def __init__(self, folder: Path) -> None:
        self.tokenizer = ChatTokenizer(folder)
        self._model = Llama(folder)
        self._labels = label_weights(self._model.score_weight)
        (self._step_token_id,) = self.tokenizer.encode(STEP_TOKEN, add_special_tokens=False)
        self.vocabulary_size = self._model.vocabulary_size
        # Tests send the same few prompts again and again.
        self._evaluated = lru_cache(maxsize=256)(self._evaluate)

    def evaluate(self, token_ids: Sequence[int]) -> Evaluation:
        """Run the model on one sequence."""
        return self._evaluated(tuple(token_ids))

    def _evaluate(self, token_ids: tuple[int, ...]) -> Evaluation:
        hidden = self._model.hidden_states(token_ids)
        steps = np.flatnonzero(np.asarray(token_ids) == self._step_token_id).tolist()
        return Evaluation(hidden, linear(hidden, self._labels), steps)

    def logits(self, token_ids: Sequence[int], cache: KeyValueCache | None = None) -> Array:
        """Return the raw logits of the next token; see `Llama.logits`."""
        return self._model.logits(token_ids, cache)

    def scores(self, token_ids: Sequence[int]) -> Array:
        """Return the raw score at every position."""
        return self.evaluate(token_ids).outputs("token")[:, 0]

    def score(self, token_ids: Sequence[int]) -> float:
        """Return the raw score of a sequence, which is the score at its last position."""
        return float(self.scores(token_ids)[-1])


@cache
def load_sum_judge() -> SumJudge:
    """Load the shipped model, once per process."""
    return SumJudge(CHECKPOINT)


def demo_pairs() -> list[dict[str, list[dict[str, Any]]]]:
    """Load the 200 shipped pairs of a right answer (`chosen`) and a wrong one (`rejected`)."""
    lines = (_HERE / "pairs.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]
