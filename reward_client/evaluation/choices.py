"""Benchmarks of many answers to one prompt, of which some are correct: PPE, and best-of-n."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import comb

from reward_client._base.arrays import to_builtin
from reward_client._base.json_values import as_sequence
from reward_client.evaluation.benchmark import EQUAL, Benchmark, Row, each, is_list_of, undecided
from reward_client.evaluation.measures import Measure, plain
from reward_client.evaluation.preferences import Preferences
from reward_client.evaluation.rows import BenchmarkRow
from reward_client.evaluation.units import Slot, Totals, Unit

_LIST = "sampled_conflict_pairs"
_CHOSEN, _RANDOM, _ORACLE = "best of n", "random", "oracle"


def best_of(rewards: Sequence[float], points: Sequence[float], count: int) -> float:
    """Return the expected points of the answer with the top reward among some of all answers.

    The answers are drawn without replacement, and the expectation is exact: of n answers in
    descending order, the one at rank r (from 1) is the best of k in C(n - r, k - 1) of C(n, k)
    draws. Answers with equal rewards share their ranks.

    Args:
        rewards: The rewards of all answers.
        points: Their points, such as 1 for a correct answer.
        count: The number of answers that are drawn, k.
    """
    total = len(rewards)
    shared: dict[float, list[float]] = {}
    for reward, point in sorted(zip(rewards, points, strict=True), reverse=True):
        shared.setdefault(reward, []).append(point)
    expected, rank = 0.0, 0
    for group in shared.values():
        draws = sum(
            comb(total - place, count - 1) for place in range(rank + 1, rank + len(group) + 1)
        )
        expected += draws * sum(group) / len(group)
        rank += len(group)
    return expected / comb(total, count)


def _sizes(total: int) -> Iterator[int]:
    """Iterate over the powers of two up to a number of answers, and that number."""
    size = 2
    while size < total:
        yield size
        size *= 2
    yield total


def _is_best_of_n(row: Row) -> bool:
    responses, correct = (
        as_sequence(to_builtin(row.get(name))) for name in ("responses", "correct")
    )
    return bool(responses) and correct is not None and len(correct) == len(responses or ())


def _best_of_n_units(rows: Iterable[BenchmarkRow], _: float) -> Iterator[Unit]:
    for row in rows:
        points = _points(row, "correct", len(row.list_of("responses")))
        rewards = None if row.error is not None else row.responses()
        if rewards is not None and len(rewards) != len(points):
            raise row.problem(f"it has {len(rewards)} rewards for {len(points)} responses")
        yield Unit(row.key, "prompts", tuple(_choice_parts(rewards, points)))


def _choice_parts(
    rewards: Sequence[float] | None, points: Sequence[float]
) -> Iterator[tuple[Slot, float, float]]:
    """Yield what one prompt adds: the chosen answer, a random one, and the best possible one."""
    chosen = 0.0 if rewards is None else best_of(rewards, points, len(points))
    yield (_CHOSEN,), chosen, 1.0
    yield (_RANDOM,), sum(points) / len(points), 1.0
    yield (_ORACLE,), max(points), 1.0
    if rewards is not None:
        tops = {
            point for reward, point in zip(rewards, points, strict=True) if reward == max(rewards)
        }
        yield EQUAL, float(len(tops) > 1), 1.0


def _best_of_n_table(totals: Totals) -> list[Measure]:
    return [plain((name,), totals.share(name)) for name in (_CHOSEN, _RANDOM, _ORACLE)]


def _points(row: BenchmarkRow, name: str, count: int) -> list[float]:
    """Return the points of the responses, from 0 to 1."""
    values = row.list_of(name)
    if not values:
        raise row.problem(f"its column {name} is empty")
    if len(values) != count:
        raise row.problem(f"its column {name} has {len(values)} values for {count} responses")
    points = [float(value) for value in values if isinstance(value, int | float)]
    if len(points) != count or not all(0 <= point <= 1 for point in points):
        raise row.problem(f"its column {name} must hold true, false, or numbers from 0 to 1")
    return points


def _responses(row: Row) -> list[str]:
    """Return the names of the columns response_1, response_2 and so on."""
    names: list[str] = []
    while (name := f"response_{len(names) + 1}") in row:
        names.append(name)
    return names


def _is_ppe_correctness(row: Row) -> bool:
    return (
        is_list_of(row.get(_LIST), (list, tuple)) and "scores" in row and len(_responses(row)) > 1
    )


def _ppe_unit(row: BenchmarkRow) -> Unit:
    names = _responses(row.columns)
    points = _points(row, "scores", len(names))
    rewards = None if row.error is not None else [row.side(name)[0] for name in names]
    preferences = Preferences(row.scored)
    won, equal, pairs = 0, 0, 0
    for pair in row.list_of(_LIST):
        better, worse = _ordered_pair(row, pair, points)
        pairs += 1
        if rewards is not None:
            margin = preferences.margin(names[better], names[worse])
            won += margin > 0
            equal += margin == 0
    domain = str(row.columns.get("domain", ""))
    parts: list[tuple[Slot, float, float]] = [
        (("accuracy",), float(won), float(pairs)),
        *([((domain, "accuracy"), float(won), float(pairs))] if domain else []),
    ]
    parts += [
        ((f"best of {size}",), best_of(rewards, points, size) if rewards else 0.0, 1.0)
        for size in _sizes(len(names))
    ]
    parts += [((_RANDOM,), sum(points) / len(points), 1.0), ((_ORACLE,), max(points), 1.0)]
    return Unit(row.key, domain, (*parts, (undecided(row), float(equal > 0), 1.0)))


def _ordered_pair(row: BenchmarkRow, pair: object, points: Sequence[float]) -> tuple[int, int]:
    """Return the positions of the correct and the wrong answer of a pair."""
    places = [place for place in as_sequence(pair) or () if isinstance(place, int)]
    if len(places) != 2 or not all(0 <= place < len(points) for place in places):
        raise row.problem(f"its column {_LIST} must hold pairs of positions")
    if points[places[0]] == points[places[1]]:
        raise row.problem(f"a pair of {_LIST} has two answers with the same score")
    worse, better = sorted(places, key=points.__getitem__)
    return better, worse


def _ppe_table(totals: Totals) -> list[Measure]:
    names = [name for name in totals.groups() if name]
    flat = [name for name in names if totals.share(name).count]
    domains = [name for name in names if name not in flat]
    whole, *rest = [plain((name,), totals.share(name)) for name in flat]
    parts = [plain(("accuracy", name), totals.share(name, "accuracy")) for name in domains]
    return [whole, *parts, *rest]


PPE_CORRECTNESS = Benchmark(
    name="ppe-correctness",
    title="PPE Correctness",
    paper="arXiv 2410.14872",
    home="lmarena-ai/PPE-MMLU-Pro-Best-of-K, and the same for MATH, GPQA, IFEval, MBPP-Plus",
    needs=f"prompt, response_1, response_2, …, scores, {_LIST}",
    rule="accuracy over the sampled pairs of a correct and a wrong answer",
    fits=_is_ppe_correctness,
    units=each(_ppe_unit),
    table=_ppe_table,
    drawn="prompts",
)
BEST_OF_N = Benchmark(
    name="best-of-n",
    title="Best of n",
    paper="arXiv 2110.14168",
    home="your own rows",
    needs="prompt, responses, correct (true or false for each response)",
    rule="share of prompts whose answer with the highest reward is correct; random is the mean of "
    "all answers (mean@n), oracle the share of prompts with a correct answer (pass@n)",
    fits=_is_best_of_n,
    units=_best_of_n_units,
    table=_best_of_n_table,
    drawn="prompts",
)
