"""Judges of two in fewer texts than a round robin: which pairs, and what they say of the rest."""

from __future__ import annotations

import itertools
import math
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from reward_client import BatchError, GenerationError, InputError, Ranking, values
from reward_client._base.ranking import Comparison, FailedComparison
from reward_client._base.results import Usage
from reward_client._scoring.tournament import next_round, survival, win_rates
from reward_client.methods import Verdict
from reward_client.methods.schedules import matches, pair_count, pairs_of

from ..support.either import OPENERS, EitherClient, Kind
from ..support.fake_vllm import text_of
from ..support.scribe import Scribe

PAIR = Verdict(
    r"\[\[(A|B|C)\]\]",
    "Q: {conversation}\nA: {response_a}\nB: {response_b}",
    values={"A": 1, "B": -1, "C": 0},
)
USAGE = Usage(prompt_tokens=1, generated_tokens=1)


def by_length(prompt: str, seed: int) -> str:
    first, second = (
        prompt.partition(f"\n{name}: ")[2].split("\n")[0].split("<")[0] for name in "AB"
    )
    return f"[[{'A' if len(first) > len(second) else 'B' if len(second) > len(first) else 'C'}]]"


def client_of(kind: Kind, scribe: Scribe, method: Verdict) -> EitherClient:
    return OPENERS[kind]("http://vllm", transport=scribe.transport(), method=method)


def texts_of(scribe: Scribe) -> list[str]:
    return [text_of(body["prompt"]) for body in scribe.asked("/v1/completions") if "seed" in body]


def compared(first: int, second: int, preference: float, votes: int = 1) -> Comparison:
    return Comparison(
        first=first, second=second, preference=preference, critiques=("t",) * votes, usage=USAGE
    )


def failed(first: int, second: int) -> FailedComparison:
    return FailedComparison(first=first, second=second, error=GenerationError("no verdict"))


def pairs_in(ranking: Ranking) -> set[frozenset[int]]:
    return {frozenset((each.first, each.second)) for each in ranking.comparisons}


@pytest.mark.parametrize("size", range(1, 18))
def test_any_number_of_pairs_connects_and_is_balanced(size: int) -> None:
    most = size * (size - 1) // 2
    for number in range(max(1, size - 1), most + 2):
        pairs = pairs_of(number, range(size), seed=5)
        assert len(pairs) == len({frozenset(pair) for pair in pairs}) == min(number, most)
        assert pair_count(number, size) == len(pairs)
        part_of = {place: {place} for place in range(size)}
        for one, other in pairs:
            joined = part_of[one] | part_of[other]
            part_of.update(dict.fromkeys(joined, joined))
        assert len(part_of[0]) == size
        counts = [sum(place in pair for pair in pairs) for place in range(size)]
        assert max(counts) - min(counts) <= 2


def test_a_seed_decides_the_pairs() -> None:
    one, same, other = (pairs_of(9, range(8), seed) for seed in (0, 0, 1))
    assert one == same
    assert {frozenset(pair) for pair in one} != {frozenset(pair) for pair in other}


def test_a_circle() -> None:
    assert pairs_of("circular", [0, 1, 2, 3], 0) == [(0, 1), (1, 2), (2, 3), (3, 0)]
    assert pairs_of("circular", [4, 7], 0) == [(4, 7)]
    assert pairs_of("circular", [4], 0) == []


@pytest.mark.parametrize("size", range(1, 12))
def test_calls_are_exact(size: int) -> None:
    counts = {"all": size * (size - 1) // 2, "knockout": size - 1}
    counts |= {"circular": size if size > 2 else size - 1}
    for schedule, pairs in counts.items():
        scribe = Scribe(by_length)
        method = replace(PAIR, schedule=schedule)  # type: ignore[arg-type]
        with closing(client_of("sync", scribe, method)) as client:
            ranking = client.rank("Which?", ["a" * (1 + place) for place in range(size)])
        assert len(texts_of(scribe)) == method.calls(size) == 2 * pairs
        assert len(ranking.comparisons) == 2 * pairs
        assert ranking.best_index == size - 1
        assert replace(method, both_orders=False).calls(size) == pairs


def test_too_few_pairs_and_more_than_there_are() -> None:
    method = replace(PAIR, schedule=5)
    assert (method.calls(6), method.calls(4), method.calls(3)) == (10, 10, 6)
    assert replace(PAIR, schedule=100).calls(4) == PAIR.calls(4)
    with pytest.raises(InputError, match=r"7 responses by 5 pairs: 6 are the fewest"):
        method.calls(7)
    scribe = Scribe(by_length)
    for kind in OPENERS:
        with closing(client_of(kind, scribe, method)) as client:
            with pytest.raises(InputError, match="7 responses by 5 pairs"):
                client.rank("Which?", list("abcdefg"))
            for on_error in ("raise", "return"):
                with pytest.raises(InputError, match="7 responses by 5 pairs"):
                    client.rank_many(["x", "y"], [["a"], list("abcdefg")], on_error=on_error)
    assert texts_of(scribe) == []


@pytest.mark.parametrize("schedule", ["All", "swiss", 0, -1, True, 2.0, None, ["all"]])
def test_schedules_that_are_none(schedule: Any) -> None:
    with pytest.raises(InputError, match="schedule="):
        replace(PAIR, schedule=schedule)


def test_marks_have_no_schedule() -> None:
    with pytest.raises(InputError, match="for a judge of two answers"):
        Verdict("(x)", "{response}", schedule="circular")


def test_a_complete_round_robin_is_the_share_of_wins() -> None:
    comparisons = [compared(0, 1, 1), compared(1, 0, 0), compared(0, 2, -1), compared(2, 0, 0.5)]
    comparisons += [compared(1, 2, 0), compared(2, 1, -0.5)]
    # 0 against 1: (1 + 0.5) / 2; 0 against 2: (0 + 0.25) / 2; 1 against 2: (0.5 + 0.75) / 2.
    assert win_rates([0, 1, 2], comparisons, []) == pytest.approx(
        {0: (0.75 + 0.125) / 2, 1: (0.25 + 0.625) / 2, 2: (0.875 + 0.375) / 2}
    )


def test_a_missing_pair_has_its_probability() -> None:
    """0 ties with 1, and 1 with 2, so that 0 and 2 are equal as well."""
    comparisons = [compared(0, 1, 0), compared(1, 2, 0)]
    assert win_rates([0, 1, 2], comparisons, []) == pytest.approx({0: 0.5, 1: 0.5, 2: 0.5})
    # 0 beats 1, and 1 beats 2: by their strengths x, 0 and -x, 0 beats 2.
    rates = win_rates([0, 1, 2], [compared(0, 1, 1), compared(1, 2, 1)], [])
    ranking = Ranking(
        responses=("a", "b", "c"),
        order=(0, 1, 2),
        rewards=(None,) * 3,
        errors=(None,) * 3,
        comparisons=(compared(0, 1, 1), compared(1, 2, 1)),
    )
    best, middle, worst = ranking.strengths
    assert best is not None
    assert middle is not None
    assert worst is not None
    # The derivative for x: 1 - sigmoid(x) - x / 9.
    assert 1 / (1 + math.exp(best.value)) == pytest.approx(best.value / 9, abs=1e-9)
    assert (middle.value, worst.value) == pytest.approx((0.0, -best.value), abs=1e-9)
    chance = 1 / (1 + math.exp(worst.value - best.value))
    assert rates == pytest.approx({0: (1 + chance) / 2, 1: 0.5, 2: (1 - chance) / 2})


def test_votes_are_trials() -> None:
    def strength(votes: int) -> float:
        ranking = Ranking(
            responses=("a", "b"),
            order=(0, 1),
            rewards=(None, None),
            errors=(None, None),
            comparisons=(compared(0, 1, 0.5, votes),),
        )
        best, _ = ranking.strengths
        assert best is not None
        assert best.low < best.value < best.high
        return best.high - best.low

    assert strength(100) < strength(10) < strength(1)


def test_only_the_largest_part_is_ranked() -> None:
    """Nothing says how 3 and 4 stand to the others."""
    comparisons = [compared(0, 1, 1), compared(1, 2, 1), compared(3, 4, 1), compared(2, 3, 1)]
    rates = win_rates(range(5), comparisons, [failed(3, 2)])
    assert rates.keys() == {0, 1, 2}
    assert rates == win_rates([0, 1, 2], comparisons[:2], [])
    assert win_rates([0, 1], [], [failed(0, 1)]) == {}
    assert win_rates([5], [], []) == {5: 0.5}
    assert win_rates([], [], []) == {}


def test_rounds_of_a_knockout() -> None:
    assert matches([0, 1, 2, 3, 4]) == ([(0, 1), (2, 3)], [4])
    shares = {(0, 1): 0.5, (1, 0): 0.5, (2, 3): 0.25, (3, 2): 0.75}
    assert next_round([0, 1, 2, 3, 4], shares) == [4, 0, 3]
    # 4 goes on without a match, then meets 0; 3 waits for the winner.
    comparisons = [compared(0, 1, 0), compared(2, 3, -0.5), compared(4, 0, -1), compared(3, 0, 1)]
    assert survival(range(5), comparisons) == {0: 2 / 3, 1: 0, 2: 0, 3: 1, 4: 1 / 3}
    assert survival([7], []) == {7: 0.5}


def test_a_tie_of_a_later_one_with_an_earlier_one() -> None:
    assert next_round([4, 0], {(4, 0): 0.5, (0, 4): 0.5}) == [0]


@pytest.mark.parametrize("kind", OPENERS)
def test_a_knockout(kind: Kind) -> None:
    scribe = Scribe(by_length)
    answers = ["one", "two22", "th", "four444", "five555", "s"]
    with closing(client_of(kind, scribe, replace(PAIR, schedule="knockout"))) as client:
        ranking, other = client.rank_many(["Which?", "Or?"], [answers, ["only"]])
    # Round 1: 1, 3, 4; then 4 waits while 1 meets 3; last 4 ties with 3, the first of the two.
    assert values(ranking.rewards) == [0, 1 / 3, 0, 1, 2 / 3, 0]
    assert pairs_in(ranking) == {frozenset(p) for p in [(0, 1), (2, 3), (4, 5), (1, 3), (3, 4)]}
    assert (ranking.best, ranking.margin) == ("four444", pytest.approx(1 / 3))
    assert values(other.rewards) == [0.5]
    strengths = ranking.strengths
    assert len(strengths) == 6
    assert other.strengths == ()
    assert sum(each.value for each in strengths if each) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("kind", OPENERS)
def test_a_failure_leaves_a_knockout_undecided(kind: Kind) -> None:
    """Nobody is out by a comparison that failed, so that nobody has reached a round."""

    def writes(prompt: str, seed: int) -> str:
        return "hm" if "A: bbb\nB: aaaa" in prompt else by_length(prompt, seed)

    scribe = Scribe(writes)
    method = replace(PAIR, schedule="knockout")
    with closing(client_of(kind, scribe, method)) as client:
        with pytest.raises(BatchError, match="contains no verdict"):
            client.rank("x", ["a", "bbb", "cc", "aaaa"])
        (ranking,) = client.rank_many(["x"], [["a", "bbb", "cc", "aaaa"]], on_error="return")
    assert ranking.order == ()
    assert [type(error) for error in ranking.errors] == [GenerationError] * 4
    assert len(ranking.comparisons) == 5
    assert len(ranking.failed_comparisons) == 1
    assert ranking.strengths == (None,) * 4


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("schedule", ["circular", 9, 12])
def test_the_best_of_fewer_pairs_never_lost(kind: Kind, schedule: Any) -> None:
    scribe = Scribe(by_length)
    answers = ["a" * length for length in (3, 8, 1, 6, 2, 7, 5, 4)]
    with closing(client_of(kind, scribe, replace(PAIR, schedule=schedule))) as client:
        ranking = client.rank("Which?", answers)
    assert len(pairs_in(ranking)) == (8 if schedule == "circular" else schedule)
    for each in ranking.comparisons:
        assert (each.first if each.preference < 0 else each.second) != ranking.best_index
    numbers = [number for number in values(ranking.rewards) if number is not None]
    assert all(0 < number < 1 for number in numbers)
    assert sum(numbers) == pytest.approx(4)  # of each pair, the two shares make 1


@pytest.mark.parametrize("kind", OPENERS)
def test_a_circle_with_a_gap_is_a_chain(kind: Kind) -> None:
    def writes(prompt: str, seed: int) -> str:
        return "hm" if "A: aa\nB: a<" in prompt else by_length(prompt, seed)

    scribe = Scribe(writes)
    method = replace(PAIR, schedule="circular")
    with closing(client_of(kind, scribe, method)) as client:
        (ranking,) = client.rank_many(["x"], [["a", "aa", "aaa", "aaaa"]], on_error="return")
    assert len(ranking.failed_comparisons) == 1
    # 3 beat 0 and 2, and 2 beat 1; 0 and 1 have not met.
    assert ranking.order == (3, 2, 0, 1)
    assert ranking.errors == (None,) * 4


def test_a_schedule_is_part_of_the_settings() -> None:
    digests = set()
    for schedule in ("all", "circular", 7):
        with closing(client_of("sync", Scribe(by_length), replace(PAIR, schedule=schedule))) as c:  # type: ignore[arg-type]
            ranking = c.rank("x", ["a", "bb", "ccc"])
            reward = ranking.rewards[0]
            assert reward is not None
            digests.add(reward.provenance.method_digest)
    assert len(digests) == 3


def test_strengths_of_a_full_round_robin() -> None:
    scribe = Scribe(by_length)
    with closing(client_of("sync", scribe, PAIR)) as client:
        ranking = client.rank("Which?", ["aa", "aaaa", "a", "aaa"])
    found = [each for each in ranking.strengths if each is not None]
    assert sorted(range(4), key=lambda i: -found[i].value) == [1, 3, 0, 2] == [*ranking.order]
    for each in found:
        assert each.low < each.value < each.high
    for one, other in itertools.pairwise(sorted(found, key=lambda each: each.value)):
        assert one.value < other.value
