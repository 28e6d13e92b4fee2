"""vLLM 0.10.2 takes only texts for a classifier: scored so where the text gives the same tokens."""

from __future__ import annotations

import pytest

from reward_client import InputError, RouteNotFoundError

from ...support.cells import cell
from .recording import BOS_TOKEN_ID, Recording, switches
from .scoring import TOLERANCE, score, score_all

NAME = "0.10.2-seqcls"


@cell("0.10.2", "one label", "classify", "raw")
def test_rewards_are_raw_and_have_one_bos() -> None:
    recording = Recording(NAME)
    rewards = score_all(recording)
    assert [reward.value for reward in rewards] == pytest.approx(recording.rewards, abs=TOLERANCE)
    assert {reward.bos_count for reward in rewards} == {1}
    assert [reward.token_count for reward in rewards] == list(map(len, recording.token_ids))
    provenance = rewards[0].provenance
    assert (provenance.route, provenance.activation) == ("classify", "none")
    assert provenance.activation_known_by == "request"
    assert switches(recording.scored[-1]["json"]) == {"activation": False}


def test_token_ids_are_scored_by_their_text() -> None:
    recording = Recording(NAME)
    reward = score(recording, recording.token_ids[5])
    assert reward.value == pytest.approx(recording.rewards[5], abs=TOLERANCE)


def test_tokens_with_two_bos_are_scored_as_they_are() -> None:
    recording = Recording(NAME)
    reward = score(recording, [BOS_TOKEN_ID, *recording.token_ids[0]])
    expected = recording.reference[0]["reward_double_bos"]
    assert reward.value == pytest.approx(expected[0], abs=TOLERANCE)
    assert reward.bos_count == 2


def test_tokens_without_the_bos_that_the_server_adds_are_refused() -> None:
    recording = Recording(NAME)
    with pytest.raises(InputError):
        score(recording, recording.token_ids[0][1:])


def test_tokens_that_their_text_does_not_give_are_refused() -> None:
    recording = Recording(NAME)
    letters = [token for letter in "The answer" for token in recording.encode(letter, False)]
    assert letters != recording.encode("The answer", False)
    with pytest.raises(InputError):
        score(recording, [BOS_TOKEN_ID, *letters])


@pytest.mark.parametrize(
    "route",
    [
        pytest.param(route, marks=cell("0.10.2", "one label", route, "error"))
        for route in ("pooling", "embeddings")
    ],
)
def test_no_other_route_is_served(route: str) -> None:
    with pytest.raises(RouteNotFoundError):
        score(Recording(NAME), route=route)
