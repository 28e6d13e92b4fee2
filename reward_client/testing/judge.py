"""The shipped reward model: is the sum in the answer right?"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reward_client.testing.heads import label_weights, outputs
from reward_client.testing.llama import Llama, linear
from reward_client.testing.tokenizing import ChatTokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reward_client.testing.heads import Head
    from reward_client.testing.llama import Array, Past

HERE = Path(__file__).parent
MODEL_FOLDER = HERE / "model"
# Not a special token, but one that no other character is merged with.
STEP_TOKEN = "~"  # noqa: S105 - a token of the vocabulary


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What the model makes of one sequence.

    Attributes:
        hidden: The hidden state of every position.
        labels: The raw value of every label at every position; the first label is the reward.
        step_positions: Where the step tokens are.
    """

    hidden: Array
    labels: Array
    step_positions: list[int]

    def outputs(self, head: Head) -> Array:
        """The raw output of a head at every position."""
        return outputs(head, self.hidden, self.labels)


class Judge:
    """A model and its tokenizer.

    Attributes:
        tokenizer: Makes token IDs of texts and conversations.
        vocabulary_size: Token IDs below this number are known.
    """

    def __init__(self, folder: Path) -> None:
        self.tokenizer = ChatTokenizer(folder)
        self._model = Llama(folder)
        self._labels = label_weights(self._model.score_weight)
        (self._step_token_id,) = self.tokenizer.encode(STEP_TOKEN, add_special_tokens=False)
        self.vocabulary_size = self._model.vocabulary_size

    def evaluate(self, token_ids: Sequence[int]) -> Evaluation:
        """Run the model."""
        hidden = self._model.hidden_states(token_ids)
        steps = np.flatnonzero(np.asarray(token_ids) == self._step_token_id).tolist()
        return Evaluation(hidden, linear(hidden, self._labels), steps)

    def logits(self, token_ids: Sequence[int], past: Past | None = None) -> Array:
        """The raw logit of every token at the next position, the embeddings being the head.

        With `past`, the token IDs are those that come after it, and are added to it.
        """
        return self._model.logits(token_ids, past)

    def scores(self, token_ids: Sequence[int]) -> Array:
        """The raw score at every position."""
        return self.evaluate(token_ids).outputs("token")[:, 0]

    def score(self, token_ids: Sequence[int]) -> float:
        """The raw score of the sequence: that of its last position."""
        return float(self.scores(token_ids)[-1])


@cache
def load_judge() -> Judge:
    """The shipped judge, read once per process."""
    return Judge(MODEL_FOLDER)


def demo_pairs() -> list[dict[str, list[dict[str, Any]]]]:
    """The shipped pairs: 200 rows with a right answer (`chosen`) and a wrong one (`rejected`)."""
    lines = (HERE / "pairs.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]
