"""The shipped model: its arithmetic, its tokens, and how good it is.

`data/reference.json` is what torch and transformers make of it (`tests/sum_model/reference.py`).
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reward_client.testing import demo_pairs
from reward_client.testing._model.sum_judge import CHECKPOINT, load_sum_judge

REFERENCE = json.loads((Path(__file__).parent / "data" / "reference.json").read_text("utf-8"))
# float32 in another order of summation: differences of a few 1e-6 were seen at scores around 10.
TOLERANCE = 1e-4


@pytest.fixture(params=REFERENCE, ids=lambda row: row["name"])
def row(request):
    return request.param


def ids_of(messages, **options):
    tokenizer = load_sum_judge().tokenizer
    return tokenizer.encode(tokenizer.render(messages, **options), add_special_tokens=False)


def test_tokens_equal_transformers(row):
    assert ids_of(row["messages"]) == row["ids"]
    assert ids_of(row["messages"], add_generation_prompt=True) == row["ids"] + row["opened"]


def test_bos_is_doubled_as_by_transformers(row):
    tokenizer = load_sum_judge().tokenizer
    doubled = tokenizer.encode(tokenizer.render(row["messages"]), add_special_tokens=True)
    assert doubled == [row["ids"][0], *row["ids"]]
    assert row["doubled"][:2] == row["ids"][:1] * 2


def test_scores_equal_torch(row):
    scores = load_sum_judge().scores(row["ids"])
    assert scores[-1] == pytest.approx(row["score"], abs=TOLERANCE)
    assert scores[:3] == pytest.approx(row["first_scores"], abs=TOLERANCE)


def test_any_text_survives_the_tokenizer():
    tokenizer = load_sum_judge().tokenizer
    text = "Ω≈ç√ 👩\u200d🚀 \u0000\u001f\ttab 日本"
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_accuracy_on_held_out_pairs():
    judge = load_sum_judge()
    pairs = demo_pairs()
    assert len(pairs) == 200
    scores = [
        [judge.score(ids_of(pair[side])) for side in ("chosen", "rejected")] for pair in pairs
    ]
    assert sum(chosen > rejected for chosen, rejected in scores) / len(pairs) >= 0.9
    # Raw scores are not probabilities: an activation on the way would show.
    assert min(map(min, scores)) < -2
    assert max(map(max, scores)) > 2


def test_files_are_small_and_name_no_machine():
    assert (CHECKPOINT / "model.safetensors").stat().st_size < 1_500_000
    for path in CHECKPOINT.glob("*.json"):
        assert "_name_or_path" not in path.read_text("utf-8")
