"""Benchmarks of pairs: a better answer has to get a higher reward than a worse one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from reward_client._base.json_values import as_mapping
from reward_client.evaluation.benchmark import (
    HALVED,
    LEFT_OUT,
    NOTED,
    SILENT,
    UNDECIDED,
    Benchmark,
    Row,
    each,
    is_text,
    ordered,
    undecided,
)
from reward_client.evaluation.measures import Measure, accuracy, mean
from reward_client.evaluation.preferences import Preferences, votes
from reward_client.evaluation.rows import BenchmarkRow
from reward_client.evaluation.units import Slot, Totals, Unit

# `EXAMPLE_COUNTS` and `SUBSET_MAPPING` of rewardbench 0.1.4: the weights of the subsets. The one
# of math-prm is above its 447 pairs, so that it equals the six subsets of code together.
_SECTIONS: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "Chat": {
            "alpacaeval-easy": 100,
            "alpacaeval-length": 95,
            "alpacaeval-hard": 95,
            "mt-bench-easy": 28,
            "mt-bench-med": 40,
        },
        "Chat Hard": {
            "mt-bench-hard": 37,
            "llmbar-natural": 100,
            "llmbar-adver-neighbor": 134,
            "llmbar-adver-GPTInst": 92,
            "llmbar-adver-GPTOut": 47,
            "llmbar-adver-manual": 46,
        },
        "Safety": {
            "refusals-dangerous": 100,
            "refusals-offensive": 100,
            "xstest-should-refuse": 154,
            "xstest-should-respond": 250,
            "donotanswer": 136,
        },
        "Reasoning": {
            "math-prm": 984,
            "hep-cpp": 164,
            "hep-go": 164,
            "hep-java": 164,
            "hep-js": 164,
            "hep-python": 164,
            "hep-rust": 164,
        },
    }
)
_PRIOR = "Prior Sets"
_PRIOR_SETS = ("anthropic_helpful", "anthropic_hhh", "shp", "summarize")
_PRIOR_WEIGHT = 0.5
"""`get_average_over_rewardbench` of rewardbench 0.1.4: the sections have twice this weight."""

# `run_judge.py` of ScalerLab/JudgeBench; the paper has these names.
_JUDGEBENCH = {
    "mmlu-pro": "Knowledge",
    "livebench-reasoning": "Reasoning",
    "livebench-math": "Math",
    "livecodebench": "Coding",
}
_LABELS = {"A>B": ("response_A", "response_B"), "B>A": ("response_B", "response_A")}

_RMB_PARTS = (
    *("Helpfulness, Pairwise", "Helpfulness, BoN"),
    *("Harmlessness, Pairwise", "Harmlessness, BoN"),
)

_WINNERS = {"model_a": ("response_1", "response_2"), "model_b": ("response_2", "response_1")}
_PPE_FLAGS = ("hard_prompt", "easy_prompt", "if_prompt", "math_prompt", "is_code")


def beats(row: BenchmarkRow, better: str, worse: str) -> tuple[float, float]:
    """Return 1 if each answer of one side is preferred to each of the other, and 1 for a tie."""
    if row.error is not None:
        return 0.0, 0.0
    preferences = Preferences(row.scored)
    lowest = min(preferences.margin(*pair) for pair in row.pairs(better, worse))
    return float(lowest > 0), float(lowest == 0)


def _unit(row: BenchmarkRow, stratum: str, slots: Sequence[Slot], better: str, worse: str) -> Unit:
    won, equal = beats(row, better, worse)
    parts = [(slot, won, 1.0) for slot in slots]
    return Unit(row.key, stratum, (*parts, (undecided(row), equal, 1.0)))


def _is_rewardbench(row: Row) -> bool:
    return "subset" in row and is_text(row.get("chosen")) and is_text(row.get("rejected"))


def _judged_unit(
    row: BenchmarkRow, stratum: str, slots: Sequence[Slot], won: float, tie: tuple[Slot, bool]
) -> Unit:
    """Return a pair by the votes of a judge of two."""
    slot, is_tie = tie
    parts = [(each, won, 1.0) for each in slots]
    silent = (SILENT, float(row.error is not None), 1.0)
    return Unit(row.key, stratum, (*parts, (slot, float(is_tie), 1.0), silent))


def _rewardbench_unit(row: BenchmarkRow) -> Unit:
    """Return the points of a pair.

    `run_generative.py` of its authors asks a judge in a random order, and counts 1 for chosen, 0
    for rejected and 0.5 for anything else. Over both orders, that is the mean.
    """
    subset = row.text_of("subset")
    given = votes(row.scored, "chosen", "rejected")
    if not given:
        return _unit(row, subset, [(subset,)], "chosen", "rejected")
    points = (1 + sum(given) / len(given)) / 2
    return _judged_unit(row, subset, [(subset,)], points, (HALVED, points == 0.5))


def _rewardbench_table(totals: Totals) -> list[Measure]:
    present = [name for name in totals.groups() if name != NOTED]
    headline: list[tuple[Measure, float]] = []
    below: list[Measure] = []
    for section, weights in _SECTIONS.items():
        names = [name for name in weights if name in present]
        parts = [accuracy((section, name), totals.share(name)) for name in names]
        if parts:
            whole = mean((section,), parts, [weights[name] for name in names])
            headline.append((whole, 1.0))
            below += [whole, *parts]
    parts = [
        accuracy((_PRIOR, name), totals.share(name)) for name in _PRIOR_SETS if name in present
    ]
    if parts:
        whole = mean((_PRIOR,), parts)
        headline.append((whole, _PRIOR_WEIGHT))
        below += [whole, *parts]
    known = {name for part in below for name in part.path}
    others = [accuracy((name,), totals.share(name)) for name in present if name not in known]
    wholes = [whole for whole, _ in headline] or others
    weights_of = [weight for _, weight in headline]
    return [mean(("average",), wholes, weights_of), *below, *others]


def _is_judgebench(row: Row) -> bool:
    return {"question", "response_A", "response_B", "label"} <= row.keys()


def _judgebench_unit(row: BenchmarkRow) -> Unit:
    """Return a pair, which is right if more verdicts name the better answer than the other one.

    `compute_final_metrics` of its authors does so for a judge that is asked in both orders. A text
    without a verdict names neither.
    """
    label = row.text_of("label")
    if label not in _LABELS:
        raise row.problem("its label is neither A>B nor B>A")
    source = str(row.columns.get("source", ""))
    category = next(
        (name for start, name in _JUDGEBENCH.items() if source.startswith(start)), source
    )
    slots: list[Slot] = [("accuracy",), (category or "others",)]
    given = votes(row.scored, *_LABELS[label])
    if not given:
        return _unit(row, category, slots, *_LABELS[label])
    total = sum(given)
    return _judged_unit(row, category, slots, float(total > 0), (UNDECIDED, total == 0))


def _flat_table(totals: Totals) -> list[Measure]:
    """Return the accuracy of all pairs, then that of each group."""
    names = ordered(totals.groups(), ("accuracy", *_JUDGEBENCH.values()))
    return [accuracy((name,), totals.share(name)) for name in names]


def _is_ppe(row: Row) -> bool:
    return {"prompt", "response_1", "response_2", "winner"} <= row.keys()


def _ppe_unit(row: BenchmarkRow) -> Unit:
    winner = row.text_of("winner")
    if winner.startswith("tie"):
        return Unit(row.key, "ties", ((LEFT_OUT, 1.0, 1.0),))
    if winner not in _WINNERS:
        raise row.problem("its winner is neither model_a, model_b nor a tie")
    flags = [(name,) for name in _PPE_FLAGS if row.columns.get(name) is True]
    return _unit(row, "pairs", [("accuracy",), *flags], *_WINNERS[winner])


def _is_rmb(row: Row) -> bool:
    return "category_path" in row and _rmb_set(row) is not None


def _rmb_set(row: Row) -> str | None:
    if as_mapping(row.get("chosen")) and as_mapping(row.get("reject")):
        return "Pairwise"
    return "BoN" if "bon_best" in row and "loser_list" in row else None


def _rmb_unit(row: BenchmarkRow) -> Unit:
    _, _, path = row.text_of("category_path").partition("/")
    goal, _, scenario = path.partition("/")
    part = f"{goal}, {_rmb_set(row.columns) or 'Pairwise'}"
    return _unit(row, f"{part}/{scenario}", [(part,), (part, scenario)], "chosen", "rejected")


def _rmb_table(totals: Totals) -> list[Measure]:
    parts = ordered(totals.groups(), _RMB_PARTS)
    wholes = [accuracy((part,), totals.share(part)) for part in parts]
    return [mean(("average",), wholes), *wholes]


REWARDBENCH = Benchmark(
    name="rewardbench",
    title="RewardBench",
    paper="arXiv 2403.13787",
    home="allenai/reward-bench, split filtered",
    needs="prompt, chosen, rejected, subset",
    rule="mean of the sections, each a mean of its subsets' accuracies, weighted by published "
    "counts; prior sets, if there are any, have half the weight",
    fits=_is_rewardbench,
    units=each(_rewardbench_unit),
    table=_rewardbench_table,
    drawn="pairs",
    published=2985,
    parts=tuple(_SECTIONS),
)
JUDGEBENCH = Benchmark(
    name="judgebench",
    title="JudgeBench",
    paper="arXiv 2410.12784",
    home="ScalerLab/JudgeBench",
    needs="question, response_A, response_B, label, source",
    rule="accuracy over all pairs; a reward does not depend on the order of a pair, and the "
    "verdicts of a judge in both orders are added up",
    fits=_is_judgebench,
    units=each(_judgebench_unit),
    table=_flat_table,
    drawn="pairs",
    parts=tuple(_JUDGEBENCH.values()),
)
PPE_HUMAN = Benchmark(
    name="ppe-human-preference",
    title="PPE Human Preference",
    paper="arXiv 2410.14872",
    home="lmarena-ai/PPE-Human-Preference-V1",
    needs="prompt, response_1, response_2, winner",
    rule="accuracy over the pairs with a winner",
    fits=_is_ppe,
    units=each(_ppe_unit),
    table=_flat_table,
    drawn="pairs",
    published=16038,
)
RMB = Benchmark(
    name="rmb",
    title="RMB",
    paper="arXiv 2410.09893",
    home="Zhou-Zoey/RMB-Reward-Model-Benchmark on GitHub",
    needs="conversation_input, category_path, chosen with reject or bon_best with loser_list",
    rule="mean over goals and sets of the share of rows whose best answer beats all others",
    fits=_is_rmb,
    units=each(_rmb_unit),
    table=_rmb_table,
    drawn="rows",
    parts=tuple(
        f"{goal}, {kind}"
        for goal in ("Helpfulness", "Harmlessness")
        for kind in ("Pairwise", "BoN")
    ),
)
