"""Knowledge of another model, or of none: names of models, and adapters."""

from __future__ import annotations

import logging
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from reward_client import ModelNotFoundError, NotARewardError, RecipeError
from reward_client.methods import TokenLogit, YesNo

from ...support.fake_vllm import CHAT, CHAT_TOKENS, NO, YES, FakeVllm, card
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
    "oci://registry/internlm2-7b-reward@sha256:abcdef0123456789",
    "models:/internlm2-7b-reward@champion",
    "copies/internlm2-7b-reward-AWQ",
]


RECIPE = """
models = ["lab/judge"]
special_tokens = { "<s>" = 1, "<pad>" = 2 }

[head]
type = "scalar"

[prompt]
system = "Be strict."
max_tokens = 3

[[references]]
text = "A published sample."
expected = -4.5
tolerance = 0.1
source = "the card"
"""
"""The reward of the sample is the true one of `FakeVllm`: 40 tokens give 34.5."""


def asked_tokens(server: FakeVllm) -> list[int]:
    return server.asked("/pooling")[-1]["input"][0]


@pytest.mark.parametrize("root", ROOTS)
def test_55_a_model_is_recognized_by_the_name_of_its_folder(connect: Connect, root: str) -> None:
    server = FakeVllm(cards=[card("judge", root=root)], tokens={"<s>": 1})
    reward = connect(server).score(CHAT)
    assert asked_tokens(server) == [*CHAT_TOKENS, END]
    assert reward.provenance.recipe == "internlm2-reward"


@pytest.mark.parametrize(
    "name",
    [
        *("internlm2-7b-reward-FP8-KV", "internlm2-7b-reward-EXL2-6.0bpw"),
        *("internlm2-7b-reward.UD-Q5_K_M.gguf", "/mnt/internlm2-7b-reward-GPTQ-4bit-128g/final"),
        *("/mnt/internlm2-7b-reward/fp16", "internlm2-7b-reward:q4_K_M"),
        *("kaggle/internlm2-7b-reward/transformers/default/1", "./internlm2-7b-reward/."),
    ],
)
def test_55_a_copy_goes_on_with_words_of_a_quantization(connect: Connect, name: str) -> None:
    server = FakeVllm(cards=[card("judge", root=name)], tokens={"<s>": 1})
    assert connect(server).score(CHAT).provenance.recipe == "internlm2-reward"
    assert asked_tokens(server) == [*CHAT_TOKENS, END]


@pytest.mark.parametrize(
    ("name", "root"),
    [
        ("judge", "mine/internlm2-7b-reward-v2"),
        ("judge", "/data/internlm2-7b-reward-FP8-tuned"),
        ("internlm2-7b-reward-math-AWQ", "/mnt/models"),
        ("judge", "/srv/mirror_internlm2-7b-reward"),
        ("judge", "/runs/internlm2-7b-reward/checkpoint-1200"),
        ("internlm2-7b-reward@candidate-3", None),
        ("internlm-27b-reward", "/mnt/models"),
    ],
)
def test_55_a_name_that_looks_like_a_known_one_is_a_warning(
    connect: Connect, caplog: pytest.LogCaptureFixture, name: str, root: str
) -> None:
    server = FakeVllm(cards=[card(name, root=root)], tokens={"<s>": 1})
    client = connect(server)
    assert client.score(CHAT).provenance.recipe is None
    (warned,) = [each for each in caplog.messages if "looks like" in each]
    assert "give recipe='internlm/internlm2-7b-reward' for a copy of it, or recipe=None" in warned
    found = finding(diagnose(client, CHAT), "recipe")
    assert (found.verdict, "looks like" in found.detail) == ("warning", True)
    caplog.clear()
    assert connect(server, recipe=None).score(CHAT).provenance.recipe is None
    named = connect(server, recipe="internlm/internlm2-7b-reward")
    assert named.score(CHAT).provenance.recipe == "internlm2-reward"
    assert not [each for each in caplog.messages if "looks like" in each]


@pytest.mark.parametrize("root", ["mnt/models", "models/judge", "./judge", "weights/run-12"])
def test_55_a_relative_folder_is_no_hub_id(connect: Connect, root: str) -> None:
    server = FakeVllm(cards=[card("internlm2-7b-reward", root=root)], tokens={"<s>": 1})
    assert connect(server).score(CHAT).provenance.recipe == "internlm2-reward (by served name)"
    server = FakeVllm(cards=[card("nicolinho/QRM-Llama3.1-8B-v2", root=root)])
    with pytest.raises(RecipeError, match="by served name"):
        connect(server).score(CHAT)


@pytest.mark.parametrize("root", [None, "/mnt/models", "/models/7", "/data/run-12"])
@pytest.mark.parametrize("name", ["internlm/internlm2-7b-reward", "internlm2-7b-reward"])
def test_55_the_served_name_counts_if_the_root_says_nothing(
    connect: Connect, root: str | None, name: str
) -> None:
    server = FakeVllm(cards=[card(name, root=root)], tokens={"<s>": 1})
    client = connect(server)
    reward = client.score(CHAT)
    assert asked_tokens(server) == [*CHAT_TOKENS, END]
    assert reward.provenance.recipe == "internlm2-reward (by served name)"
    assert "(by served name)" in finding(diagnose(client, CHAT), "recipe").detail


def test_55_a_root_that_names_another_model_wins(connect: Connect) -> None:
    server = FakeVllm(cards=[card("internlm/internlm2-7b-reward", root="mine/other-reward")])
    assert connect(server).score(CHAT).provenance.recipe is None
    assert asked_tokens(server) == CHAT_TOKENS


def test_55_a_refusal_by_the_served_name_can_be_overridden(connect: Connect) -> None:
    server = FakeVllm(cards=[card("nicolinho/QRM-Llama3.1-8B-v2", root="/mnt/models")])
    with pytest.raises(RecipeError, match=r"qrm \(by served name\): .* recipe=None ignores"):
        connect(server).score(CHAT)
    assert connect(server, recipe=None).score(CHAT).provenance.recipe is None


def test_56_a_base_model_is_not_taken_for_its_adapter(connect: Connect) -> None:
    cards = [card("base"), card("reward", root="/adapters/reward", parent="base")]
    with pytest.raises(ModelNotFoundError) as caught:
        connect(FakeVllm(cards=cards)).score(CHAT)
    assert "lists base and its adapters reward. Name one of them by model=." in str(caught.value)
    for model in ("base", "reward"):
        assert connect(FakeVllm(cards=cards), model=model).score(CHAT).provenance.model == model
    client = connect(FakeVllm(cards=cards), model="reward")
    assert "reward, an adapter of base, " in finding(diagnose(client, CHAT), "model").detail


def test_56_an_adapter_has_the_tokenizer_of_its_base(connect: Connect) -> None:
    cards = [card("base", root="/base"), card("reward", root="/adapters/reward", parent="base")]
    for model, root in (("base", "/base"), ("reward", "/adapters/reward")):
        client = connect(FakeVllm(cards=cards), model=model)
        client.score(CHAT)
        (profile,) = client.servers()
        assert (profile.root, profile.tokenizer_root) == (root, "/base")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "judge.toml"
    path.write_text(RECIPE)
    return path


def known(**options: Any) -> FakeVllm:
    return FakeVllm(**{"tokens": {"<s>": 1, "<pad>": 2}, **options})


def test_57_special_tokens_of_another_model(connect: Connect, recipe: Path) -> None:
    assert connect(known(), recipe=recipe).score(CHAT).provenance.recipe == "judge"
    for tokens in ({"<s>": 1, "<pad>": 3}, {"<s>": 1}, {}):
        with pytest.raises(RecipeError, match=r"its '<(s|pad)>' is token"):
            connect(known(tokens=tokens), recipe=recipe).score(CHAT)
    assert connect(known(tokens={}), recipe=None).score(CHAT).provenance.recipe is None


@pytest.mark.parametrize("moved", [0.0, 0.05, 0.3, 0.5, 100.0])
def test_57_the_reward_of_a_published_sample(
    connect: Connect, recipe: Path, caplog: pytest.LogCaptureFixture, moved: float
) -> None:
    client = connect(known(pool=lambda ids: [len(ids) - 5.5 + moved]), recipe=recipe)
    if moved > 0.4:
        with pytest.raises(
            RecipeError, match=r"answers (-4|95.5) .* and -4.5 ± 0.1 \(the card\) was"
        ):
            client.score(CHAT)
        return
    with caplog.at_level(logging.WARNING, "reward_client"):
        client.score(CHAT)
    assert ("-4.5 ± 0.1 (the card) was published" in caplog.text) == (moved == 0.3)


def test_57_prompts_unlike_those_of_the_training(
    connect: Connect, recipe: Path, caplog: pytest.LogCaptureFixture
) -> None:
    system = {"role": "system", "content": "Be strict."}
    chat_tokens = {False: [1, 10, 11], True: [1, 9, 10, 11]}

    class Templated(FakeVllm):
        def ids(self, body: Any) -> list[int]:
            if "messages" in body:
                return chat_tokens[body["messages"][0]["role"] == "system"]
            return super().ids(body)

    client = connect(Templated(tokens={"<s>": 1, "<pad>": 2}), recipe=recipe)
    with caplog.at_level(logging.WARNING, "reward_client"):
        for _ in range(3):
            client.score(CHAT)
    assert caplog.text.count("begin each with") == 0
    assert caplog.text.count("Begin each with {'role': 'system', 'content': 'Be strict.'}") == 1
    assert "trained on at most 3" not in caplog.text
    with caplog.at_level(logging.WARNING, "reward_client"):
        for _ in range(3):
            client.score([system, *CHAT])
    assert caplog.text.count("has 4 tokens, and the model was trained on at most 3") == 1
    assert caplog.text.count("Begin each with") == 1


def test_57_a_template_may_write_the_system_message(
    connect: Connect, recipe: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "reward_client"):
        connect(known(), recipe=recipe).score(CHAT)
    assert "Begin each with" not in caplog.text


METHODS = [TokenLogit(7), YesNo(yes=YES, no=NO), TokenLogit("word")]


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_58_a_classifier_is_no_logit(connect: Connect, method: Any) -> None:
    server = FakeVllm(tokens={"word": 7})
    with pytest.raises(NotARewardError, match="say so: classifier_from_token=True"):
        connect(server, method=method).score(CHAT)
    assert "/pooling" in dict(server.requests)
    stated = replace(method, classifier_from_token=True)
    assert connect(server, method=stated).score(CHAT).value == len(CHAT_TOKENS) - 5.5


def test_58_a_recipe_with_the_same_token_is_evidence(connect: Connect, tmp_path: Path) -> None:
    path = tmp_path / "logit.toml"
    path.write_text('models = ["lab/judge"]\nlogit_tokens = ["word"]\n[head]\ntype = "scalar"\n')
    server = FakeVllm(tokens={"word": 7, "other": 8})
    assert connect(server, recipe=path, method=TokenLogit(7)).score(CHAT).value is not None
    for method in (TokenLogit("other"), TokenLogit("other", classifier_from_token=True)):
        with pytest.raises(RecipeError, match=r"tokens \[7\], and the method those of \[8\]"):
            connect(server, recipe=path, method=method).score(CHAT)


def test_62_unlike_servers_behind_one_address(connect: Connect) -> None:
    """Every third request goes to another server: of other weights, or of another model."""
    turn = count()

    def other_weights(request: httpx.Request, payload: Any) -> None:
        items = payload.get("data", ())
        if request.url.path == "/pooling" and len(items) == 8 and next(turn) % 3 == 2:
            payload["data"] = [{**item, "data": [item["data"][0] + 2.0]} for item in items]

    weights = FakeVllm(after=other_weights)
    found = finding(diagnose(connect(weights), CHAT), "one server")
    assert found.verdict == "failed"
    assert "of 8 requests got other rewards for the same samples" in found.detail
    turn = count()

    def other(request: httpx.Request, payload: Any) -> None:
        if request.url.path == "/v1/models" and next(turn) % 3 == 2:
            payload["data"] = [card("judge", root="other/model")]

    models = FakeVllm(after=other)
    found = finding(diagnose(connect(models), CHAT), "one server")
    assert found.verdict == "failed"
    assert "it also serves other/model" in found.detail
    assert finding(diagnose(connect(FakeVllm()), CHAT), "one server").verdict == "ok"
