"""The same token IDs as transformers, and the same rewards as torch, through every call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from ..real.conversations import turns
from ..real.ledger import Way
from ..support.either import kind_of
from .bench import scalar_samples

if TYPE_CHECKING:
    from ..real.ledger import Ledger
    from ..support.either import EitherClient
    from .bench import Bench, Case


def test_token_ids(case: Case, scorer: EitherClient) -> None:
    ids = {name: scorer.tokenize(sample).token_ids for name, sample in case.samples.items()}
    assert ids == {name: tuple(reference.ids) for name, reference in case.references.items()}


def test_score(case: Case, scorer: EitherClient, ledger: Ledger) -> None:
    values = {name: scorer.score(sample).value for name, sample in case.samples.items()}
    assert not ledger.wrong(Way(case.model, kind_of(scorer)), values, case.rewards)


def test_score_many(case: Case, scorer: EitherClient, ledger: Ledger) -> None:
    rewards = scorer.score_many(case.samples.values())
    values = dict(zip(case.samples, map(float, rewards), strict=True))
    assert not ledger.wrong(Way(case.model, kind_of(scorer)), values, case.rewards)


@pytest.mark.parametrize("ordered", [True, False])
def test_stream(case: Case, scorer: EitherClient, ledger: Ledger, ordered: bool) -> None:
    results = list(scorer.stream(case.samples.values(), ordered=ordered))
    names = list(case.samples)
    indexes = [result.index for result in results]
    assert (indexes if ordered else sorted(indexes)) == list(range(len(names)))
    values = {names[result.index]: float(result.reward) for result in results}
    assert not ledger.wrong(Way(case.model, kind_of(scorer)), values, case.rewards)


@pytest.mark.parametrize("turn_count", [1, 4])
def test_rank(
    case: Case, scorer: EitherClient, bench: Bench, ledger: Ledger, turn_count: int
) -> None:
    responses = ["4", "5", "I do not know.", "four 🤖", "", "2 + 2 = 4, since 1 + 1 = 2."]
    messages = turns("What is 2+2?")
    if turn_count > 1:
        messages = turns("Hi.", "Hello!", "What is 2+2?", system="Answer shortly.")
    samples = [[*messages, {"role": "assistant", "content": text}] for text in responses]
    references = bench.references(case.model, samples)
    rewards = {text: row.reward for text, row in zip(responses, references, strict=True)}
    best_first = sorted(responses, key=lambda text: -rewards[text])

    ranking = scorer.rank(messages if turn_count > 1 else "What is 2+2?", responses)

    values = dict(zip(responses, map(float, ranking.rewards), strict=True))
    way = Way(f"{case.model}, {turn_count} turns", kind_of(scorer))
    assert not ledger.wrong(way, values, rewards)
    assert [responses[index] for index in ranking.order] == best_first
    assert (ranking.best, ranking.best_index) == (best_first[0], responses.index(best_first[0]))


def test_rewards_say_where_they_come_from(case: Case, scorer: EitherClient) -> None:
    rewards = scorer.score_many(case.samples.values())
    assert [reward.token_count for reward in rewards] == [
        len(reference.ids) for reference in case.references.values()
    ]
    assert len({id(reward.provenance) for reward in rewards}) == 1
    version = httpx.get(f"{case.url}/version").json()["version"]
    assert rewards[0].provenance.server_version == version


def test_what_the_template_takes_besides_messages_counts(bench: Bench) -> None:
    """Else the samples with tools and template arguments would prove nothing."""
    for model, name in (("llama", "tools"), ("qwen2-reward", "template argument")):
        samples = scalar_samples()
        plain, with_more = bench.references(model, [samples["one turn"], samples[name]])
        assert len(with_more.ids) > len(plain.ids)
