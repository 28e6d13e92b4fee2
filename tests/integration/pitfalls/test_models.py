"""Knowledge of another model, or of none: names of models, and adapters."""

from __future__ import annotations

import pytest

from reward_client import ModelNotFoundError, RecipeError

from ...support.fake_vllm import CHAT, CHAT_TOKENS, FakeVllm, card
from .conftest import Connect
from .doctor import diagnose, finding

END = 92527
"""The token that InternLM2's reward models need at the end, and that no server appends."""

ROOTS = [
    "internlm/internlm2-7b-reward",
    "/cache/models--internlm--internlm2-7b-reward/snapshots/0123abcd",
    "/cache/modelscope/hub/models/Shanghai_AI_Laboratory/internlm2-7b-reward/",
    "/mnt/internlm--internlm2-7b-reward",
    "s3://bucket/internlm2-7b-reward/3",
    "copies/internlm2-7b-reward-AWQ",
]


def asked_tokens(server: FakeVllm) -> list[int]:
    return server.asked("/pooling")[-1]["input"][0]


@pytest.mark.parametrize("root", ROOTS)
def test_56_a_model_is_recognized_by_the_name_of_its_folder(connect: Connect, root: str) -> None:
    server = FakeVllm(cards=[card("judge", root=root)])
    reward = connect(server).score(CHAT)
    assert asked_tokens(server) == [*CHAT_TOKENS, END]
    assert reward.provenance.recipe == "internlm2-reward"


@pytest.mark.parametrize("root", [None, "/mnt/models", "/models/7", "/data/run-12"])
@pytest.mark.parametrize("name", ["internlm/internlm2-7b-reward", "internlm2-7b-reward"])
def test_56_the_served_name_counts_if_the_root_says_nothing(
    connect: Connect, root: str | None, name: str
) -> None:
    server = FakeVllm(cards=[card(name, root=root)])
    client = connect(server)
    reward = client.score(CHAT)
    assert asked_tokens(server) == [*CHAT_TOKENS, END]
    assert reward.provenance.recipe == "internlm2-reward (by served name)"
    assert "(by served name)" in finding(diagnose(client, CHAT), "recipe").detail


def test_56_a_root_that_names_another_model_wins(connect: Connect) -> None:
    server = FakeVllm(cards=[card("internlm/internlm2-7b-reward", root="mine/other-reward")])
    assert connect(server).score(CHAT).provenance.recipe is None
    assert asked_tokens(server) == CHAT_TOKENS


def test_56_a_refusal_by_the_served_name_can_be_overridden(connect: Connect) -> None:
    server = FakeVllm(cards=[card("nicolinho/QRM-Llama3.1-8B-v2", root="/mnt/models")])
    with pytest.raises(RecipeError, match=r"qrm \(by served name\): .* recipe=None ignores"):
        connect(server).score(CHAT)
    assert connect(server, recipe=None).score(CHAT).provenance.recipe is None


def test_57_a_base_model_is_not_taken_for_its_adapter(connect: Connect) -> None:
    cards = [card("base"), card("reward", root="/adapters/reward", parent="base")]
    with pytest.raises(ModelNotFoundError) as caught:
        connect(FakeVllm(cards=cards)).score(CHAT)
    assert "lists base and its adapters reward. Name one of them by model=." in str(caught.value)
    for model in ("base", "reward"):
        assert connect(FakeVllm(cards=cards), model=model).score(CHAT).provenance.model == model
    client = connect(FakeVllm(cards=cards), model="reward")
    assert "reward, an adapter of base, " in finding(diagnose(client, CHAT), "model").detail
