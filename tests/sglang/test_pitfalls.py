"""What SGLang answers silently wrong, or dies of, and what the client makes of it."""

from __future__ import annotations

import logging
from contextlib import closing
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from reward_client import (
    AuthenticationError,
    FormattedText,
    LinearHead,
    ModelNotFoundError,
    PromptTooLongError,
    ReplicaMismatchError,
    Reward,
    RewardClientError,
    ScalarHead,
    StepHead,
)
from reward_client.methods import TokenLogit, YesNo

from ..real.checkpoints import LAYER
from ..real.conversations import STEP_TOKEN, turns
from ..real.ledger import TOLERANCE, difference
from ..real.openers import OPENERS
from ..real.writing import assert_near
from ..support.either import Kind
from .models import API_KEY
from .samples import SAMPLE, SAMPLES, named

if TYPE_CHECKING:
    from .bench import Bench

IDS = [1, 3, 5, 7]
WRONG_KEY = "sk-wrong-0123456789abcdef"


def post(url: str, path: str, body: dict[str, Any]) -> Any:
    return httpx.post(url + path, json=body, timeout=30).raise_for_status().json()


@pytest.mark.parametrize("kind", OPENERS)
def test_one_label_is_no_probability(bench: Bench, kind: Kind) -> None:
    """`/v1/classify` says 1.0 of every sample."""
    case = bench.case("llama", named(SAMPLES))
    answers = [
        post(case.url, "/v1/classify", {"model": "reward-model", "input": reference.ids})
        for reference in case.references.values()
    ]
    assert {tuple(answer["data"][0]["probs"]) for answer in answers} == {(1.0,)}
    with closing(OPENERS[kind](case.url)) as client:
        values = [reward.value for reward in client.score_many(SAMPLES)]
    assert_near(values, list(case.rewards.values()))


@pytest.mark.parametrize("kind", OPENERS)
def test_text_gets_no_second_bos(bench: Bench, kind: Kind) -> None:
    """`/classify` adds a BOS token to the one that the template has written."""
    text = "<|bos|><|im_start|>user<|im_end|>\n\nHi<|eot|>"
    doubled = f"<|bos|>{text}"
    case = bench.case("llama", {"right": FormattedText(text), "doubled": FormattedText(doubled)})
    raw = post(case.url, "/classify", {"text": text})["embedding"][0]
    assert difference(raw, case.rewards["doubled"]) <= TOLERANCE
    assert difference(raw, case.rewards["right"]) > 10 * TOLERANCE
    with closing(OPENERS[kind](case.url)) as client:
        value = client.score(FormattedText(text)).value
    assert difference(value, case.rewards["right"]) <= TOLERANCE


HOSTILE: dict[str, Any] = {
    "no messages": [],
    "empty turns": turns("", ""),
    "a lone surrogate": turns("Hi", "\ud800"),
    "null characters": turns("\x00" * 50, "\x00"),
    "special tokens": turns("<|bos|><|pad|><|eot|>" * 20, "<|im_start|>assistant<|im_end|>"),
    "a long text": turns("x" * 200_000, "y"),
    "an unknown role": [{"role": "narrator", "content": "Once."}],
    "no content": [{"role": "user"}],
    "numbers as content": [{"role": "user", "content": 5}],
    "parts": [{"role": "user", "content": [{"type": "text", "text": ""}]}],
    "an image": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
    "booleans": [True, False],
    "fractions": [1.5, 2.5],
    "words": ["1", "2"],
    "lists": [[1, 2], [3]],
    "nothing": None,
    "too many tokens": [7] * 100_000,
    "only padding": [0] * 8,
}


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("model", ["llama", "a language model"])
def test_hostile_samples_end_in_a_reward_or_an_error(bench: Bench, model: str, kind: Kind) -> None:
    server = bench.serve(model)
    options = {"method": YesNo()} if model == "a language model" else {}
    with closing(OPENERS[kind](server.url, **options)) as client:
        slots = client.score_many(HOSTILE.values(), on_error="return")
        after = client.score(SAMPLE)
    assert server.alive
    assert isinstance(after, Reward)
    assert all(isinstance(slot, Reward | RewardClientError) for slot in slots)
    assert not [
        slot for slot in slots if isinstance(slot, RewardClientError) and slot.fault != "sample"
    ]


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("model", ["qwen2", "qwen3"])
def test_a_random_constant_changes_no_difference(bench: Bench, model: str, kind: Kind) -> None:
    """The order and the margins are those of torch; the values are not."""
    case = bench.case(model, named(SAMPLES))
    with closing(OPENERS[kind](case.url)) as client:
        values = [reward.value for reward in client.score_many(SAMPLES)]
    off = [value - right for value, right in zip(values, case.rewards.values(), strict=True)]
    assert abs(off[0]) > 10 * TOLERANCE
    assert_near(off, len(off) * [off[0]])


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("model", ["qwen2"])
def test_replicas_with_other_constants_are_refused(bench: Bench, model: str, kind: Kind) -> None:
    """Each start draws a constant, also with the same seed, so two may lie close by chance."""
    url = bench.serve(model).url
    apart = 0.0
    while abs(apart) <= TOLERANCE:
        beside = bench.serve_beside("qwen2")
        one, two = (
            post(each, "/classify", {"input_ids": IDS})["embedding"][0]
            for each in (url, beside.url)
        )
        apart = one - two
    with closing(OPENERS[kind]([url, beside.url])) as client:
        try:
            client.servers()
        except ReplicaMismatchError:
            return
    pytest.fail(f"accepted servers whose rewards lie {apart:.2g} apart")


@pytest.mark.parametrize("kind", OPENERS)
def test_another_name_is_no_model(bench: Bench, kind: Kind) -> None:
    """SGLang itself answers any name with the model that it has."""
    url = bench.serve("llama").url
    assert post(url, "/v1/embeddings", {"model": "another", "input": [[1, 3]]})["data"]
    with (
        closing(OPENERS[kind](url, model="another")) as client,
        pytest.raises(ModelNotFoundError, match="reward-model"),
    ):
        client.score(SAMPLE)


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("model", ["llama, 64 tokens"])
def test_the_longest_input_is_a_token_short_of_the_context(
    bench: Bench, model: str, kind: Kind
) -> None:
    fits, too_long = [list(range(6, 6 + count)) for count in (63, 64)]
    case = bench.case(model, {"fits": fits})
    with closing(OPENERS[kind](case.url)) as client:
        slots = client.score_many([too_long, fits, too_long], on_error="return")
    assert [type(slot) for slot in slots] == [PromptTooLongError, Reward, PromptTooLongError]
    assert_near([slots[1].value], [case.rewards["fits"]])


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize(
    ("model", "options", "reason"),
    [
        ("hidden states", {}, "hidden"),
        ("hidden states", {"head": ScalarHead()}, "hidden"),
        ("hidden states", {"head": LinearHead(LAYER)}, "normaliz"),
        ("exported one label", {}, "hidden"),
        (
            "qwen2-reward",
            {"head": StepHead(step_token=STEP_TOKEN, good_label=None, aggregate="min")},
            "process reward",
        ),
        ("a language model", {}, "--is-embedding"),
        ("a language model", {"method": TokenLogit("Yes")}, "log-prob"),
    ],
)
def test_what_gives_no_reward_is_refused(
    bench: Bench, model: str, options: dict[str, Any], reason: str, kind: Kind
) -> None:
    with closing(OPENERS[kind](bench.serve(model).url, **options)) as client:
        with pytest.raises(RewardClientError) as caught:
            client.score(SAMPLE)
        (slot,) = client.score_many([SAMPLE], on_error="return")
    assert type(slot) is type(caught.value)
    assert reason in str(caught.value), caught.value


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("model", ["llama, API key"])
def test_api_key(bench: Bench, model: str, kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    """The server shows its key to those who have it, among its arguments."""
    caplog.set_level(logging.DEBUG)
    case = bench.case(model, {"one": SAMPLE})
    with closing(OPENERS[kind](case.url, api_key=API_KEY)) as client:
        reward = client.score(SAMPLE)
        shown = [repr(client), repr(reward), repr(client.servers()), repr(client.diagnose())]
    for key in (WRONG_KEY, None):
        with (
            closing(OPENERS[kind](case.url, api_key=key)) as client,
            pytest.raises(AuthenticationError) as caught,
        ):
            client.score(SAMPLE)
        shown += [str(caught.value), str(vars(caught.value))]
    assert_near([reward.value], [case.rewards["one"]])
    assert not [text for text in (*shown, caplog.text) if API_KEY in text or WRONG_KEY in text]
