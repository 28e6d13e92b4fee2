"""Servers that should give the same rewards and do not."""

from __future__ import annotations

from typing import Any

import pytest

from reward_client import ReplicaMismatchError, Reward, RewardClient, ServerProfile, StepReward
from reward_client._replicas.comparison import Fingerprint, compare
from reward_client.cli import main
from reward_client.testing import RewardServer

from .conftest import Connect
from .samples import CHAT

# Alike but for conversations with a system message.
TURNS = "{% for m in messages %}<|{{m.role}}|>{{m.content}}<|end|>{% endfor %}"
RULES = "{% if messages[0].role == 'system' %}Rules: {% endif %}" + TURNS


@pytest.fixture
def replica(connect: Connect) -> Fingerprint:
    """A real server's, and what it makes of a sample."""
    with RewardServer() as server:
        client = connect(server)
        return Fingerprint(client.servers()[0], client.tokenize(CHAT), client.score(CHAT))


def changed(replica: Fingerprint, **changes: Any) -> Fingerprint:
    profile = {key: value for key, value in changes.items() if key in ServerProfile.model_fields}
    reward = {key: value for key, value in changes.items() if key in Reward.model_fields}
    ids = changes.get("token_ids", replica.tokens.token_ids)
    return Fingerprint(
        replica.profile.model_copy(update={**profile, "url": "http://other"}),
        replica.tokens.model_copy(update={"token_ids": ids}),
        replica.reward.model_copy(update=reward),
    )


def test_25_the_same(replica: Fingerprint) -> None:
    assert compare(replica, replica) is None
    moved = "/mnt/models/sum-judge/"  # the same checkpoint from another place
    assert compare(replica, changed(replica, root=moved)) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"root": "reward-client/another"}, "another"),
        ({"version": "0.31.0"}, r"vLLM 0\.3[12]\.0 and 0\.3[12]\.0"),
        ({"version": None}, "vLLM"),
        ({"token_ids": (1, 2, 3)}, "different token IDs"),
    ],
)
def test_25_what_tells_them_apart(replica: Fingerprint, changes: Any, said: str) -> None:
    for pair in ((replica, changed(replica, **changes)), (changed(replica, **changes), replica)):
        with pytest.raises(ReplicaMismatchError, match=said):
            compare(*pair)


def test_25_token_ids_differ_from_a_position_on(replica: Fingerprint) -> None:
    ids = replica.tokens.token_ids
    other = changed(replica, token_ids=(*ids[:4], ids[4] + 1, *ids[5:]))
    with pytest.raises(ReplicaMismatchError, match="from position 4 on"):
        compare(replica, other)
    with pytest.raises(ReplicaMismatchError, match=f"from position {len(ids)} on"):
        compare(replica, changed(replica, token_ids=(*ids, 2)))


def test_25_templates_that_differ_beside_a_system_message() -> None:
    with (
        RewardServer(chat_template=TURNS) as one,
        RewardServer(chat_template=RULES) as two,
        RewardClient([one.url, two.url]) as client,
        pytest.raises(ReplicaMismatchError, match=r"conversation \(system message"),
    ):
        client.score(CHAT)


def test_25_the_doctor_compares_such_templates(capsys: pytest.CaptureFixture[str]) -> None:
    with RewardServer(chat_template=TURNS) as one, RewardServer(chat_template=RULES) as two:
        assert main(["doctor", one.url, two.url]) == 2
    assert "conversation (system message" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        (10.0, 10.19, True),
        (10.0, 10.21, False),
        (-10.0, -10.19, True),
        (-10.0, 10.0, False),
        (0.0, 0.019, True),
        (0.0, 0.021, False),
    ],
)
def test_25_rewards_within_2_percent_or_a_fiftieth(
    replica: Fingerprint, one: float, two: float, *, same: bool
) -> None:
    step = StepReward(value=0.5, logits=None, start=0, end=1)
    field = "value" if "value" in Reward.model_fields else "scalar"
    for make in (
        lambda number: {field: number},
        lambda number: {"objectives": {"label_0": 1.0, "label_1": number}},
        lambda number: {"steps": (step, step.model_copy(update={"value": number}))},
    ):
        first, second = changed(replica, **make(one)), changed(replica, **make(two))
        if same:
            assert compare(first, second) is None
        else:
            with pytest.raises(ReplicaMismatchError, match="for the same sample"):
                compare(first, second)


def test_25_what_only_deserves_a_look(replica: Fingerprint) -> None:
    assert "0.32.1" in str(compare(replica, changed(replica, version="0.32.1")))
    assert "2048" in str(compare(replica, changed(replica, max_model_len=2048)))


def test_25_the_doctor_compares_them(capsys: pytest.CaptureFixture[str]) -> None:
    with RewardServer() as one, RewardServer(head="token") as two:
        main(["doctor", one.url, two.url])
        assert "gives the same tokens and reward" in capsys.readouterr().out
    with RewardServer() as one, RewardServer(dialect="0.25") as two:
        assert main(["doctor", one.url, two.url]) == 2
        assert "are not replicas of each other: vLLM 0.32.0 and 0.25.1" in capsys.readouterr().out
    with RewardServer() as one, RewardServer(max_model_len=512) as two:
        assert main(["doctor", one.url, two.url]) == 1
        assert "scores a long sample and the other refuses it" in capsys.readouterr().out
