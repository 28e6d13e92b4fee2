"""The same figures as the authors' own code, on seeded files with many equal rewards.

`authors.json` holds what that code printed for the files of `python -m tests.evaluation.synthetic`:

* rewardbench 0.1.4 from PyPI, installed with --no-deps beside numpy, pandas and datasets, the other
  imports of its `utils.py` replaced by mocks. `calculate_scores_per_section` gave the sections,
  from the results of `run_rm.py` (1 if chosen > rejected). The average is computed as in
  `get_average_over_rewardbench`. `reroll_and_score_dataset` and `process_single_model` gave the
  subsets of RewardBench 2, and their mean is the average.
* `compute_accuracy` of scripts/utils.py of THU-KEG/RM-Bench, commit 659399c.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reward_client.evaluation import evaluate_scored

from .synthetic import files

AUTHORS = json.loads((Path(__file__).parent / "authors.json").read_text(encoding="utf-8"))
OURS = {
    "average": "total_avg_acc",
    "easy": "easy_acc",
    "normal": "normal_acc",
    "hard": "hard_acc",
}


@pytest.mark.parametrize(("name", "rows"), list(files()), ids=[name for name, _ in files()])
def test_figures(name: str, rows: list[dict[str, object]]) -> None:
    evaluation = evaluate_scored(name.removesuffix("-prior"), rows)
    names = OURS if name == "rm-bench" else {}
    ours = {
        names.get(measure.name, measure.name): measure.value
        for measure in evaluation.measures
        if name.startswith("rewardbench") or len(measure.path) == 1
    }
    # The parts of the Ties score are printed nowhere.
    assert {key: ours.get(key) for key in AUTHORS[name]} == AUTHORS[name]
    assert len(rows) >= 500
