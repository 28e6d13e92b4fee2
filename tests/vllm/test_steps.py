"""Steps of an answer: where they are, how they are given, and what is refused."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from reward_client import (
    Conversation,
    FormattedText,
    InputError,
    PromptTooLongError,
    ShapeError,
    StepHead,
)

from ..real.conversations import STEP_TOKEN, STEP_TOKEN_ID, solutions, step_samples, turns
from ..real.openers import OPENERS
from ..support.either import Kind
from .servers import MAX_TOKENS

if TYPE_CHECKING:
    from ..real.conversations import Sample
    from .bench import Bench

HEAD = StepHead(step_token=STEP_TOKEN, good_label=1, aggregate="product")
HEADS = {
    "prm": HEAD,
    "qwen2-reward": StepHead(step_token=STEP_TOKEN, good_label=None, aggregate="product"),
}


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("model", ["qwen2-reward", "prm"])
def test_tokens_and_spans_of_steps(bench: Bench, model: str, kind: Kind) -> None:
    """A span goes from the token after a step token to the next one."""
    case = bench.case(model, step_samples())
    with closing(OPENERS[kind](case.url, head=HEADS[model])) as client:
        for name, sample in case.samples.items():
            ids = case.references[name].ids
            assert list(client.tokenize(sample).token_ids) == ids, name
            spans = [(step.start, step.end) for step in client.score(sample).steps]
            assert [start for start, _ in spans] == [0, *(end for _, end in spans[:-1])], name
            ends = [place + 1 for place, token in enumerate(ids) if token == STEP_TOKEN_ID]
            assert [end for _, end in spans] == ends, name


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("model", ["prm"])
def test_steps_by_a_separator(bench: Bench, model: str, kind: Kind) -> None:
    """The same tokens as of the same steps given one by one, and a step token given as an ID."""
    split = StepHead(step_token=STEP_TOKEN_ID, good_label=1, aggregate="product", separator="\n\n")
    url = bench.serve(model).url
    with (
        closing(OPENERS[kind](url, head=HEAD)) as client,
        closing(OPENERS[kind](url, head=split)) as splitting,
    ):
        for name, (messages, steps) in solutions().items():
            kept = [step for step in steps if "\n\n" not in step and step.strip()]
            if not kept:
                continue
            answer = {"role": "assistant", "content": "\n\n".join(kept)}
            reward = splitting.score([*messages, answer])
            assert len(reward.steps) == len(kept), name
            same = client.score(Conversation(messages, steps=kept))
            assert (reward.token_digest, reward.steps) == (same.token_digest, same.steps), name


QUESTION = turns("What is 2+2?")
WITHOUT = turns("What is 2+2?", "4")


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("model", ["qwen2-reward", "prm"])
@pytest.mark.parametrize(
    ("sample", "error"),
    [
        pytest.param(WITHOUT, InputError, id="no step token"),
        pytest.param(FormattedText("What is 2+2? 4"), InputError, id="none in a text"),
        pytest.param([3, 100, 101], InputError, id="none in token IDs"),
        pytest.param(
            Conversation(turns(f"What is {STEP_TOKEN}?"), steps=["A token."]),
            InputError,
            id="in the question",
        ),
        pytest.param(
            turns(f"What is {STEP_TOKEN}?", f"A token.{STEP_TOKEN}"),
            InputError,
            id="in the question, and in the text",
        ),
        pytest.param(
            Conversation(QUESTION, steps=[f"2{STEP_TOKEN}", "4"]), InputError, id="within a step"
        ),
        pytest.param(
            Conversation(QUESTION, steps=["1 " * MAX_TOKENS]), PromptTooLongError, id="too long"
        ),
    ],
)
def test_what_would_give_other_steps_is_refused(
    bench: Bench, model: str, sample: Sample, error: type[InputError], kind: Kind
) -> None:
    """Before anything is scored; other samples of the same call are not harmed."""
    server = bench.serve(model)
    good = Conversation(QUESTION, steps=["4"])
    with closing(OPENERS[kind](server.url, head=HEADS[model])) as client:
        reward = client.score(good)
        scored = server.metric("vllm:request_success_total")
        with pytest.raises(error) as caught:
            client.score(sample)
        assert type(caught.value) is error
        assert server.metric("vllm:request_success_total") == scored
        first, refused, last = client.score_many([good, sample, good], on_error="return")
    assert type(refused) is error
    assert first.steps == last.steps == reward.steps


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("model", ["prm"])
@pytest.mark.parametrize("token", ["<|eot|>", 7])
def test_another_step_token_than_the_servers_is_refused(
    bench: Bench, model: str, token: str | int, kind: Kind
) -> None:
    head = StepHead(step_token=token, good_label=1, aggregate="min")
    client = OPENERS[kind](bench.serve(model).url, head=head)
    with closing(client), pytest.raises(ShapeError):
        client.score([3, 100, 2, 7, STEP_TOKEN_ID])


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("model", ["prm, other step token"])
def test_a_server_that_scores_another_step_token_is_refused(
    bench: Bench, model: str, kind: Kind
) -> None:
    """It answers no row at all."""
    with closing(OPENERS[kind](bench.serve(model).url, head=HEAD)) as client:
        for sample in step_samples().values():
            with pytest.raises(ShapeError):
                client.score(sample)


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("model", ["prm"])
def test_a_step_token_that_is_several_tokens_is_refused(
    bench: Bench, model: str, kind: Kind
) -> None:
    head = StepHead(step_token="<step>", good_label=1, aggregate="min")
    client = OPENERS[kind](bench.serve(model).url, head=head)
    with closing(client), pytest.raises(InputError):
        client.score(Conversation(QUESTION, steps=["4"]))


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("model", ["qwen2-reward", "prm"])
def test_steps_of_a_single_call_and_of_many(bench: Bench, model: str, kind: Kind) -> None:
    """The same steps from every call, in the order given."""
    samples = list(step_samples().values())
    with closing(OPENERS[kind](bench.serve(model).url, head=HEADS[model])) as client:
        many = client.score_many(samples)
        streamed = [result.reward for result in client.stream(samples)]
        for sample, reward, other in zip(samples, many, streamed, strict=True):
            single = client.score(sample)
            for again in (reward, other):
                assert again.token_digest == single.token_digest
                assert [step.value for step in again.steps] == pytest.approx(
                    [step.value for step in single.steps], abs=1e-5
                )
