"""The bodies that the frameworks sent: recorded from their own code, by `framework_callers`.

NeMo Gym's comes from `SimpleAgent.run` of nemo-gym 0.4.0 on Python 3.12, which took the reward out
of the gateway's answer. slime is on no package index: its body follows `remote_rm` at 0b420f1.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from reward_client.gateway.contracts import CONTRACTS

if TYPE_CHECKING:
    from reward_client import RewardClient

    from ..support.running_gateway import RunningGateway

RECORDED: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "data" / "bodies.json").read_text("utf-8")
)
READ: dict[str, Callable[[Any], list[float]]] = {
    "/get_reward": lambda answer: answer["rewards"],
    "/v1/score/evaluation": lambda answer: answer["scores"],
    "/classify": lambda answer: answer["data"][-1]["probs"],
    "/v1/embeddings": lambda answer: answer["data"][-1]["embedding"],
    "/verify": lambda answer: [answer["reward"]],
    "/remote_rm": lambda answer: [answer],
    "/seed_session": lambda answer: [*answer],
}
"""The part of an answer that each framework takes, as its code does."""


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda each: f"{each['sender']} {each['path']}")
def test_rewards_as_direct_ones(
    reading_gateway: RunningGateway, direct: RewardClient, recorded: dict[str, Any]
) -> None:
    answer = reading_gateway.post(recorded["path"], recorded["body"])
    assert answer.status_code == 200, answer.text
    question = {"role": "user", "content": "What is 45 + 43?"}
    expected = [
        float(direct.score([question, {"role": "assistant", "content": text}]))
        for text in ("88", "89")
    ]
    given = READ[recorded["path"]](answer.json())
    assert given == expected[: len(given)]
    (contract,) = [each for each in CONTRACTS if each.path == recorded["path"]]
    jsonschema.validate(recorded["body"], contract.request)
