"""Prompts that the model was not trained on: of other tokens, without their end, without steps."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from reward_client import (
    Conversation,
    FormattedText,
    InputError,
    PromptTooLongError,
    RecipeError,
    ShapeError,
    StepHead,
)
from reward_client.recipes import Recipe
from reward_client.testing import RewardServer

from ...support.fake_vllm import BOS, CHAT_TOKENS, EmbeddingVllm, FakeVllm, card
from ...support.fake_vllm import CHAT as FAKE_CHAT
from .conftest import Connect
from .doctor import diagnose, finding
from .samples import CHAT, QUESTION, SCORING, TOLERANCE, served

LONG = {"role": "user", "content": "What is 1 + 1? " * 20}


def recipe(**prompt: Any) -> Recipe:
    return Recipe.model_validate({"name": "mine", "head": {"type": "scalar"}, "prompt": prompt})


def scored_ids(server: RewardServer) -> list[Any]:
    return [ids for body in served(server, *SCORING) for ids in body["input"]]


def test_10_a_doubled_bos_is_counted(connect: Connect) -> None:
    with RewardServer() as server:
        client = connect(server)
        ids = client.tokenize(CHAT).token_ids
        doubled = [ids[0], *ids]
        counts = {
            "chat": client.score(CHAT).bos_count,
            "doubled": client.score(doubled).bos_count,
            "none": client.score(list(ids[1:])).bos_count,
        }
        assert counts == {"chat": 1, "doubled": 2, "none": 0}


def test_10_formatted_text_gets_no_second_bos(connect: Connect) -> None:
    with RewardServer() as server:
        client = connect(server)
        ids = client.tokenize(CHAT).token_ids
        text = server_text(server, ids)
        assert client.tokenize(FormattedText(text)).token_ids == ids
        assert client.score(FormattedText(text)) == client.score(CHAT)


def server_text(server: RewardServer, ids: tuple[int, ...]) -> str:
    body = {"model": "sum-judge", "tokens": list(ids)}
    text = httpx.post(f"{server.url}/detokenize", json=body).json()["prompt"]
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize("said", ["by the caller", "by the recipe"])
def test_10_exactly_one_bos_is_demanded(connect: Connect, said: str) -> None:
    """Skywork V1: its template writes none, and it was trained with one."""
    options: dict[str, Any] = (
        {"bos": True} if said == "by the caller" else {"recipe": recipe(bos=True)}
    )
    bare = FakeVllm(chat_tokens=[10, 11, 12])
    client = connect(bare, **options)
    assert client.tokenize(FAKE_CHAT).token_ids == (BOS, 10, 11, 12)
    assert client.score(FAKE_CHAT).bos_count == 1
    assert bare.asked("/pooling")[-1]["input"] == [[BOS, 10, 11, 12]]
    for wrong in ([BOS, BOS, 10], [10, 11]):
        with pytest.raises(InputError, match="exactly one BOS token is required"):
            client.score(wrong)
    doubled = FakeVllm(chat_tokens=[BOS, *CHAT_TOKENS])
    with pytest.raises(InputError, match="starts with 2 BOS tokens"):
        connect(doubled, **options).score(FAKE_CHAT)
    assert len(doubled.asked("/pooling")) == 1 + 3  # the probes, and their cross-check


def test_10_the_doctor_reports_it(connect: Connect) -> None:
    with RewardServer() as server:
        client = connect(server)
        ids = client.tokenize(CHAT).token_ids
        verdicts = {
            count: finding(diagnose(client, sample), "BOS").verdict
            for count, sample in ((0, ids[1:]), (1, ids), (2, (ids[0], *ids)))
        }
    assert verdicts == {0: "warning", 1: "ok", 2: "failed"}


def test_11_too_long_is_refused_before_it_is_sent(connect: Connect) -> None:
    with RewardServer(max_model_len=64) as server:
        client = connect(server)
        client.servers()
        before = len(served(server, "/pooling"))
        for sample in ([{"role": "assistant", "content": "long " * 100}], [5] * 65):
            with pytest.raises(PromptTooLongError, match="the server takes 64"):
                client.score(sample)
        assert client.score([5] * 64).token_count == 64
        assert len(served(server, "/pooling")) == before + 1


@pytest.mark.parametrize("dialect", ["0.8", "0.32"])
def test_11_the_oldest_turns_go_and_the_answer_stays(connect: Connect, dialect: str) -> None:
    """The server would drop the answer itself from 0.16 on."""
    system = {"role": "system", "content": "You check sums."}
    old = [LONG, {"role": "assistant", "content": "2"}]
    with RewardServer(dialect=dialect, raw=True, max_model_len=256) as server:
        client = connect(server, on_overlong="drop_turns")
        reward = client.score([system, *old * 3, *CHAT])
        assert reward.truncated
        scored = scored_ids(server)[-1]
        shorter = [
            connect(server).tokenize([system, *old * left, *CHAT]).token_ids for left in range(3)
        ]
        ids = max((each for each in shorter if len(each) <= 256), key=len)
        assert len(shorter[0]) < len(ids) < len(shorter[-1])
        assert scored == list(ids)
        assert reward.value == pytest.approx(server.reference(ids), abs=TOLERANCE)
        assert not client.score(CHAT).truncated
        for only in ([5] * 257, [LONG, {"role": "assistant", "content": "37 " * 200}]):
            with pytest.raises(PromptTooLongError):
                client.score(only)
        assert all(len(each) <= 256 for each in scored_ids(server))


def test_11_the_server_is_never_told_to_truncate(connect: Connect) -> None:
    with RewardServer(max_model_len=256) as server:
        client = connect(server, on_overlong="drop_turns")
        client.score([LONG, *CHAT, LONG, *CHAT])
        keys = {key for request in server.requests for key in request.json or ()}
        assert not [key for key in keys if "trunc" in key]


def steps_client(connect: Connect, server: RewardServer, **fields: Any) -> Any:
    head = StepHead(step_token=server.step_token, good_label=1, aggregate="min", **fields)
    return connect(server, head=head)


@pytest.mark.parametrize("dialect", ["0.8", "0.32"])
def test_16_a_step_token_in_the_question(connect: Connect, dialect: str) -> None:
    """It would count as a step, and every later one be taken for the one before it."""
    with RewardServer(dialect=dialect, head="steps") as server:
        client = steps_client(connect, server)
        client.servers()
        before = len(scored_ids(server))
        asking = {"role": "user", "content": "What is ~37 + 45?"}
        for sample in (
            Conversation([asking], steps=["37 + 45 = 82."]),
            [asking, {"role": "assistant", "content": "37 + 45 = 82.~"}],
            Conversation([QUESTION], steps=["about ~82", "82"]),
        ):
            with pytest.raises(InputError, match="holds the step token '~'"):
                client.score(sample)
        assert len(scored_ids(server)) == before


def test_16_no_step(connect: Connect) -> None:
    with RewardServer(head="steps") as server:
        client = steps_client(connect, server)
        client.servers()
        before = len(scored_ids(server))
        for sample in (CHAT, [5, 6, 7], FormattedText("<|bos|>82")):
            with pytest.raises(InputError, match="step"):
                client.score(sample)
        assert len(scored_ids(server)) == before


@pytest.mark.parametrize("dialect", ["0.8", "0.10", "0.12", "0.32"])
def test_16_each_row_belongs_to_the_step_token_at_its_place(connect: Connect, dialect: str) -> None:
    with RewardServer(dialect=dialect, head="steps") as server:
        client = steps_client(connect, server, separator="\n")
        (token,) = steps_token(server)
        texts = ["37 + 45 is 70 + 12.", "70 + 12 = 92.", "So it is 92."]
        for sample in (
            Conversation([QUESTION], steps=texts),
            [QUESTION, {"role": "assistant", "content": "\n".join(texts)}],
        ):
            reward = client.score(sample)
            ids = client.tokenize(sample).token_ids
            places = [place for place, one in enumerate(ids) if one == token]
            assert [step.end - 1 for step in reward.steps] == places
            assert len(places) == len(texts)
            rows = server.reference_values(ids).steps
            assert len({round(good, 3) for _, good in rows}) == len(texts)
            for step, (bad, good) in zip(reward.steps, rows, strict=True):
                if step.logits is not None:
                    assert step.logits == pytest.approx((bad, good), abs=TOLERANCE)
                assert (step.value > 0.5) == (good > bad)


def steps_token(server: RewardServer) -> list[int]:
    body = {"model": "sum-judge", "prompt": server.step_token, "add_special_tokens": False}
    ids: list[int] = httpx.post(f"{server.url}/tokenize", json=body).json()["tokens"]
    return ids


def test_16_rows_of_every_token_are_taken_at_the_step_tokens(connect: Connect) -> None:
    with RewardServer(head="token") as server:
        head = StepHead(step_token=server.step_token, good_label=None, aggregate="min")
        client = connect(server, head=head)
        sample = Conversation([QUESTION], steps=["37 + 45 is 70 + 12.", "70 + 12 = 92."])
        reward = client.score(sample)
        ids = client.tokenize(sample).token_ids
        (token,) = steps_token(server)
        scores = server.reference_values(ids).token_scores
        wanted = [score for score, one in zip(scores, ids, strict=True) if one == token]
        assert len(wanted) == 2
        for step, score in zip(reward.steps, wanted, strict=True):
            assert step.logits == pytest.approx((score,), abs=TOLERANCE)


@pytest.mark.parametrize("chat_tokens", [[1, 5, 10, 5], [1, 10, 11]])
def test_16_the_tokens_hold_another_number_of_steps(
    connect: Connect, chat_tokens: list[int]
) -> None:
    """A tokenizer that merges the step token with what stands beside it, or a template's own."""
    server = EmbeddingVllm(
        tasks=("token_classify",),
        pool=lambda ids: [[0.5, len(ids)] for token in ids if token == 5],
        chat_tokens=chat_tokens,
    )
    client = connect(server, head=StepHead(step_token=5, good_label=1, aggregate="min"))
    with pytest.raises(InputError, match="The text holds 1 step tokens '5'"):
        client.score(Conversation(FAKE_CHAT[:1], steps=["so"]))
    assert len(server.asked("/pooling")) == 1 + 3  # the probes, and their cross-check


@pytest.mark.parametrize("dialect", ["0.8", "0.32"])
def test_16_a_server_with_another_step_token(connect: Connect, dialect: str) -> None:
    with RewardServer(dialect=dialect, head="steps") as server:
        head = StepHead(step_token="!", good_label=1, aggregate="min")
        with pytest.raises(ShapeError, match=r"step_tag_id|nor for each token or step"):
            connect(server, head=head).score(Conversation([QUESTION], steps=["82"]))


def test_18_the_token_that_carries_the_reward_is_appended(connect: Connect) -> None:
    """InternLM2: its reward is that of one more token, which no server adds."""
    with RewardServer() as server:
        plain = connect(server).tokenize(CHAT).token_ids
        client = connect(server, recipe=recipe(append_tokens=(7,)))
        reward = client.score(CHAT)
        assert scored_ids(server)[-1] == [*plain, 7]
        expected = server.reference([*plain, 7])
        assert reward.value == pytest.approx(expected, abs=TOLERANCE)
        assert reward.value != pytest.approx(server.reference(plain), abs=0.1)
        assert client.score([*plain, 7]) == reward


@pytest.mark.parametrize(
    ("root", "why"),
    [
        ("Ray2333/GRM-llama3-8B-sftreg", "drop its head"),
        ("PKU-Alignment/beaver-7b-v1.0-cost", "harmful"),
    ],
)
def test_18_models_that_no_server_serves_rightly(connect: Connect, root: str, why: str) -> None:
    server = FakeVllm(cards=[card("judge", root=root)])
    with pytest.raises(RecipeError, match=why):
        connect(server).score(FAKE_CHAT)
    assert not server.asked("/pooling")
    assert connect(server, recipe=None).score(FAKE_CHAT).value == len(CHAT_TOKENS) - 5.5
