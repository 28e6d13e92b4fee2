"""Whatever a server answers, a call ends in the right reward or in a typed error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward_client import Reward, RewardClientError, TransportError
from reward_client.errors import InputError, ProtocolError, StatusError

from ...support.fake_vllm import ITEM_KEY
from . import oracle
from .damage import (
    Answer,
    Edit,
    Plan,
    ScorePlan,
    answers,
    edited,
    edits,
    huge_edits,
    plans,
    score_edits,
    squashing,
)
from .running import Running, count, examples
from .vllm import CASES, SCORING, Case, Damage, Vllm

DISCOVERY = ["/v1/models", "/version", "/openapi.json", "/tokenize", "/detokenize"]
TOKENS = {"/v1/models", "/tokenize", "/detokenize"}
"""What these say can make a right sample a wrong one: too long, or with other step tokens."""

cases = st.sampled_from(CASES)


def check(runner: Running, case: Case, plan: Damage) -> None:
    """The promise, for one server and what it was made to say."""
    server = Vllm(case, plan)
    outcome = runner.score(server, case.sample)
    if isinstance(outcome, Reward):
        oracle.check(case, server.exchanges, outcome)
    else:
        check_family(server, outcome)
    count(outcome)


def check_family(server: Vllm, error: RewardClientError) -> None:
    """The error is one about replies; the sample and the connections are right here."""
    assert server.damaged, "nothing was damaged"
    if isinstance(error, InputError):
        assert server.damaged & TOKENS
        return
    assert not isinstance(error, TransportError) or "was lost" in str(error)
    assert isinstance(error, StatusError | ProtocolError | TransportError)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_server_tells_the_truth(runner: Running, case: Case) -> None:
    server = Vllm(case)
    reward = runner.score(server, case.sample)
    assert isinstance(reward, Reward), reward
    oracle.check(case, server.exchanges, reward)


@examples(500, 70_000)
@given(case=cases, data=st.data())
def test_edited_scores(runner: Running, case: Case, data: st.DataObject) -> None:
    edits_of_case = score_edits(ITEM_KEY[case.path])
    answer = data.draw(edited(edits_of_case, 2, st.sampled_from([200, 200, 201, 400])))
    check(runner, case, ScorePlan(answer, probes=data.draw(st.integers(0, 4)) == 4))


@examples(60, 3_000)
@given(
    case=st.sampled_from([case for case in CASES if case.text]),
    plan=plans(["/tokenize", "/detokenize"], edited(edits, 1), st.integers(0, 12), most=1),
)
def test_edited_texts(runner: Running, case: Case, plan: Plan) -> None:
    check(runner, case, plan)


@examples(60, 3_000)
@given(case=cases, first=st.integers(0, 2), edit=edits)
def test_squashed_scores(runner: Running, case: Case, first: int, edit: Edit) -> None:
    """All scores are squashed from some reply on, whatever the switches say."""
    answer = Answer(edits=(squashing, edit) if first else (squashing,))
    check(runner, case, Plan(((case.path, first, True, answer),)))


@examples(400, 50_000)
@given(case=cases, plan=plans(DISCOVERY, edited(edits, 2), st.integers(0, 2)))
def test_edited_discovery(runner: Running, case: Case, plan: Plan) -> None:
    check(runner, case, plan)


@examples(500, 70_000)
@given(case=cases, plan=plans([*DISCOVERY, *SCORING], answers, st.integers(0, 2), most=3))
def test_anything_anywhere(runner: Running, case: Case, plan: Plan) -> None:
    check(runner, case, plan)


@examples(40, 3_000)
@given(case=cases, plan=plans([*DISCOVERY, *SCORING], edited(huge_edits, 1), st.integers(0, 2)))
def test_huge_values(runner: Running, case: Case, plan: Plan) -> None:
    check(runner, case, plan)
