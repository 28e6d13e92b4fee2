"""The shipped reward model: is the sum in the answer right?"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reward_client.testing.llama import LlamaClassifier
from reward_client.testing.tokenizing import ChatTokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reward_client.testing.llama import Array

HERE = Path(__file__).parent
MODEL_FOLDER = HERE / "model"


class Judge:
    """A model and its tokenizer.

    Attributes:
        tokenizer: Makes token IDs of texts and conversations.
        vocabulary_size: Token IDs below this number are known.
    """

    def __init__(self, folder: Path) -> None:
        self.tokenizer = ChatTokenizer(folder)
        self._model = LlamaClassifier(folder)
        self.vocabulary_size = self._model.vocabulary_size

    def scores(self, token_ids: Sequence[int]) -> Array:
        """The raw score at every position."""
        return self._model.scores(token_ids)

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
