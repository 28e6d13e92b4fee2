"""`YesNo`: the logit of one answer less that of the other, from whichever server has them."""

from __future__ import annotations

import json
import math
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from reward_client import (
    BadRequestError,
    FormattedText,
    GenerationError,
    InputError,
    Reward,
    RewardClient,
    RouteNotFoundError,
    ShapeError,
    Usage,
)
from reward_client.methods import CritiqueThenScore, TokenLogit, Verdict, YesNo

from ..support.either import OPENERS, Kind
from ..support.fake_vllm import NO, YES, rendered
from ..support.scribe import Scribe

CHAT = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
QUESTION = {"role": "user", "content": "Is the answer correct (Yes/No)?"}
THINK = "Let's verify step by step."
ASKED = rendered([*CHAT, QUESTION], opened=True)


def score(kind: Kind, scribe: Scribe, sample: Any = CHAT, **options: Any) -> Reward:
    with closing(OPENERS[kind]("http://vllm", transport=scribe.transport(), **options)) as client:
        return client.score(sample)


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize(
    ("version", "tells", "requests"),
    [
        ("0.32.0", "named", 1),
        # Each word's own number, since neither is among the likeliest tokens.
        ("0.25.1", "likeliest", 3),
        ("0.10.2", "likeliest", 3),
        ("0.25.1", "allowed", 1),
        ("0.8.5", "allowed", 1),
    ],
)
def test_the_difference_of_two_logits(kind: Kind, version: str, tells: str, requests: int) -> None:
    scribe = Scribe(version=version, tells=tells)
    with closing(
        OPENERS[kind]("http://vllm", transport=scribe.transport(), method=YesNo())
    ) as client:
        client.servers()
        scribe.requests.clear()
        reward = client.score(CHAT)
    expected = len(ASKED) / 10 + 1.5
    assert reward.value == pytest.approx(expected, abs=1e-9)
    assert reward.sigmoid() == pytest.approx(1 / (1 + math.exp(-expected)), abs=1e-12)
    assert len(scribe.asked("/v1/completions")) == requests
    assert reward.token_count == len(ASKED)
    assert (reward.provenance.method, reward.provenance.votes) == ("yes or no", None)
    assert reward.provenance.seed is None
    assert reward.critiques == ()
    assert reward.usage is None


@pytest.mark.parametrize("kind", OPENERS)
def test_one_request_for_many(kind: Kind) -> None:
    scribe = Scribe()
    chats = [[CHAT[0], {"role": "assistant", "content": "4" * n}] for n in range(1, 41)]
    with closing(
        OPENERS[kind]("http://vllm", transport=scribe.transport(), method=YesNo())
    ) as client:
        client.servers()
        scribe.requests.clear()
        rewards = client.score_many(chats)
    for number, reward in enumerate(rewards):
        assert reward.value == pytest.approx((len(ASKED) + number) / 10 + 1.5, abs=1e-9)
    assert len(scribe.asked("/v1/completions")) < 20


def test_a_pooling_server_gives_the_same() -> None:
    scribe = Scribe(pools=lambda text: len(text) / 10 + 1.5)
    reward = score("sync", scribe, method=YesNo(classifier_from_token=True))
    assert reward.value == pytest.approx(len(ASKED) / 10 + 1.5, abs=1e-6)
    assert reward.provenance.route == "pooling"


def test_tokens_by_their_ids() -> None:
    reward = score("sync", Scribe(), method=YesNo(yes=NO, no=YES))
    assert reward.value == pytest.approx(-len(ASKED) / 10 - 1.5, abs=1e-9)


def test_a_question_that_is_in_the_conversation() -> None:
    reward = score("sync", Scribe(), [*CHAT, QUESTION], method=YesNo(question=None))
    assert reward.token_count == len(ASKED)


@pytest.mark.parametrize("kind", OPENERS)
def test_words_that_are_not_one_token(kind: Kind) -> None:
    with pytest.raises(InputError, match="'Nope' is 4 tokens of this model"):
        score(kind, Scribe(), method=YesNo(no="Nope"))
    with pytest.raises(InputError, match="are one token of this model"):
        score(kind, Scribe(), method=YesNo(no=YES))


@pytest.mark.parametrize("kind", OPENERS)
def test_a_conversation_without_its_question(kind: Kind) -> None:
    with pytest.raises(InputError, match="End the conversation with the question"):
        score(kind, Scribe(), CHAT, method=YesNo(question=None))


@pytest.mark.parametrize("version", ["dev", "0.25.2.dev3", "0.12.0"])
def test_a_server_that_ignores_the_names(version: str) -> None:
    """As those before 0.26 do, whatever they call themselves."""
    reward = score("sync", Scribe(version=version, tells="likeliest"), method=YesNo())
    assert reward.value == pytest.approx(len(ASKED) / 10 + 1.5, abs=1e-9)


@pytest.mark.parametrize("version", ["0.8.5", "0.12.0", "0.32.0"])
def test_numbers_that_are_those_of_single_tokens(version: str) -> None:
    """A gateway that tells one number only: of a token that is allowed alone it is log(1)."""

    def clamped(request: httpx.Request) -> httpx.Response | None:
        body = json.loads(request.content or b"{}")
        if "logprobs" not in body:
            return None
        allowed = body.get("allowed_token_ids", [7])[:1]
        numbers = {
            "tokens": [f"token_id:{allowed[0]}"],
            "token_logprobs": [0.0],
            "top_logprobs": [{f"token_id:{allowed[0]}": 0.0}],
        }
        items = [{"index": n, "logprobs": numbers} for n in range(len(body["prompt"]))]
        usage = {"prompt_tokens": sum(map(len, body["prompt"]))}
        named = {"id": f"cmpl-{request.headers['x-request-id']}", "model": "scribe"}
        return httpx.Response(200, json={**named, "choices": items, "usage": usage})

    with pytest.raises(ShapeError, match="is not among the 1"):
        score("sync", Scribe(version=version, before=clamped), method=YesNo())


@pytest.mark.parametrize("sample", [FormattedText("2+2? 4"), [1, 2, 3], CHAT[:1]])
def test_what_cannot_be_asked_about(sample: Any) -> None:
    with pytest.raises(InputError, match=r"method.s question|no answer to score"):
        score("sync", Scribe(), sample, method=YesNo())


def test_a_server_that_tells_no_numbers() -> None:
    def silent(request: httpx.Request) -> httpx.Response | None:
        if request.url.path != "/v1/completions":
            return None
        message = "Requested sample logprobs of 20, which is greater than max allowed: 0"
        error = {"message": message, "type": "BadRequestError", "code": 400}
        return httpx.Response(400, json={"error": error})

    with pytest.raises(BadRequestError, match="greater than max allowed"):
        score("sync", Scribe(before=silent, version="0.25.1"), method=YesNo())


def thought(prompt: str, seed: int) -> str:
    return f" Thought {'x' * seed}."


@pytest.mark.parametrize("kind", OPENERS)
def test_votes_over_chains_of_thought(kind: Kind) -> None:
    scribe = Scribe(thought)
    reward = score(kind, scribe, method=YesNo(reasoning=THINK, votes=3, seed=5))
    written = [thought("", seed) for seed in (5, 6, 7)]
    told = {"role": "user", "content": THINK}
    prompts = [
        rendered([*CHAT, told, {"role": "assistant", "content": text}, QUESTION], opened=True)
        for text in written
    ]
    logits = [len(prompt) / 10 + 1.5 for prompt in prompts]
    mean = sum(1 / (1 + math.exp(-logit)) for logit in logits) / 3
    assert reward.sigmoid() == pytest.approx(mean, abs=1e-12)
    assert reward.critiques == tuple(written)
    read = len(rendered([*CHAT, told], opened=True))
    assert reward.usage == Usage(
        prompt_tokens=3 * read, generated_tokens=sum(len(text) + 1 for text in written)
    )
    assert reward.token_count is None
    provenance = reward.provenance
    assert (provenance.votes, provenance.temperature, provenance.seed) == (3, 1.0, 5)
    assert provenance.author == "scribe from root (vLLM 0.32.0)"
    sent = [body for body in scribe.asked("/v1/completions") if "seed" in body]
    assert sorted(body["seed"] for body in sent) == [5, 6, 7]
    assert {body["temperature"] for body in sent} == {1.0}


def test_sure_votes_stay_finite() -> None:
    """The probability of such logits is 1, and 0, in floating point."""
    scribe = Scribe(thought, logits=lambda text: (900.0, -900.0))
    reward = score("sync", scribe, method=YesNo(reasoning=THINK, votes=2))
    assert reward.value == pytest.approx(1800.0)


def test_one_vote_is_the_likeliest_text() -> None:
    scribe = Scribe(thought)
    reward = score("sync", scribe, method=YesNo(reasoning=THINK))
    (sent,) = [body for body in scribe.asked("/v1/completions") if "seed" in body]
    assert sent["temperature"] == 0
    assert reward.token_count is not None


def test_a_thought_that_is_cut() -> None:
    scribe = Scribe(lambda prompt, seed: "x" * 50)
    with pytest.raises(GenerationError, match="reached its length limit") as caught:
        score("sync", scribe, method=YesNo(reasoning=THINK, max_tokens=20))
    assert caught.value.text == "x" * 20


def test_a_server_that_only_pools_writes_no_thoughts() -> None:
    scribe = Scribe(pools=lambda text: len(text) / 10 + 1.5)
    with pytest.raises(RouteNotFoundError):
        score("sync", scribe, method=YesNo(reasoning=THINK, classifier_from_token=True))


@pytest.mark.parametrize(
    "options",
    [
        {"votes": 2},
        {"votes": 0, "reasoning": THINK},
        {"votes": True, "reasoning": THINK},
        {"votes": 2, "reasoning": THINK, "temperature": 0},
        {"temperature": math.nan, "reasoning": THINK},
        {"temperature": -1.0, "reasoning": THINK},
        {"max_tokens": 0, "reasoning": THINK},
        {"seed": -1, "reasoning": THINK},
        {"question": ""},
        {"question": 7},
        {"reasoning": " "},
        {"reasoning": THINK, "question": None},
        {"yes": ""},
        {"yes": -1},
        {"no": 1.0},
        {"no": True},
        {"classifier_from_token": 1},
    ],
)
def test_options_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        YesNo(**options)


@pytest.mark.parametrize("options", [{"route": "pooling"}, {"head": object()}])
def test_what_excludes_each_other(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        RewardClient("http://vllm", method=YesNo(), **options)


def test_the_settings_tell_methods_apart() -> None:
    """A file of rewards is gone on with only where they are equal."""
    methods = [
        YesNo(),
        YesNo(question="Is it right?"),
        YesNo(yes=NO, no=YES),
        YesNo(reasoning=THINK),
        YesNo(reasoning=THINK, max_tokens=7),
        YesNo(reasoning=THINK, seed=1),
        YesNo(reasoning=THINK, votes=2),
        YesNo(reasoning=THINK, votes=2, temperature=0.5),
        CritiqueThenScore(reward=TokenLogit(YES)),
        CritiqueThenScore(reward=TokenLogit(NO)),
        CritiqueThenScore(reward=TokenLogit(YES), lead_in="Well,"),
        CritiqueThenScore(reward=TokenLogit(YES), continues=False),
        Verdict("(x)", "{response}"),
        Verdict("(y)", "{response}"),
        Verdict("(x)", "<{response}>"),
        Verdict("(x)", "{response}", system="Be fair."),
        Verdict("(x)", "{response}", values={"x": 1}),
        Verdict("(x)", "{response}", values={"x": 2}),
    ]
    seen = []
    for method in methods:
        scribe = Scribe(logits=lambda text: (2.0, -1.5))
        with RewardClient("http://vllm", transport=scribe.transport(), method=method) as client:
            settings = client._session.settings()
            seen.append(client._run(settings).model_dump_json())
    assert len(set(seen)) == len(methods)


@pytest.mark.parametrize("kind", OPENERS)
def test_by_recipe(kind: Kind, tmp_path: Path) -> None:
    """The caller writes the question, which holds a principle; no method is given."""
    recipe = tmp_path / "principle.toml"
    recipe.write_text(
        'logit_tokens = ["Yes", "No"]\n[prompt]\ngeneration_prompt = true\n[head]\ntype="scalar"'
    )
    sample = [*CHAT, {"role": "user", "content": "Is it correct? Only answer Yes or No."}]
    for scribe in (Scribe(), Scribe(pools=lambda text: len(text) / 10 + 1.5)):
        reward = score(kind, scribe, sample, recipe=recipe)
        expected = len(rendered(sample, opened=True)) / 10 + 1.5
        assert reward.value == pytest.approx(expected, abs=1e-6)
        assert reward.provenance.method == "logit of token 'Yes' minus that of 'No'"
        assert reward.provenance.recipe == "principle"
