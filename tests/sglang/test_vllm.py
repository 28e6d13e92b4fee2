"""The same checkpoints by vLLM: the same rewards, and both engines behind one client."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from reward_client import ObjectiveHead, ReplicaMismatchError, Reward
from reward_client.methods import YesNo

from ..real.heads import objectives, value
from ..real.ledger import TOLERANCE, difference
from ..real.openers import OPENERS
from ..real.writing import assert_near
from ..support.either import Kind
from ..vllm.models import GENERATING
from ..vllm.servers import Stand
from .models import SERVED
from .samples import every_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..real.conversations import Sample
    from ..real.ledger import Ledger, Numbers
    from .bench import Bench

# What a client is told about a model, besides the server.
OPTIONS: dict[str, dict[str, Any]] = {
    "labels": {"head": ObjectiveHead(5)},
    "a language model": {"method": YesNo()},
}
EQUAL = ("llama", "shipped", "labels", "qwen2-reward", "qwen2, bias of zero", "a language model")
# vLLM gives the value of each token of this model, and SGLang that of the last one.
MIXED = ("llama", "shipped", "qwen2-reward", "qwen2, bias of zero")


@pytest.fixture(scope="module")
def vllm(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    python = pytestconfig.getoption("vllm_python")
    if python is None:
        pytest.skip("needs a real vLLM: nox -s sglang -- --vllm")
    with Stand(python, tmp_path_factory.mktemp("vllm")) as stand:
        yield stand


def serve(bench: Bench, vllm: Stand, model: str) -> tuple[str, str]:
    """The URLs of SGLang and vLLM, each with the same checkpoint."""
    served = SERVED[model]
    options = (*GENERATING, "raw_logits") if "method" in OPTIONS.get(model, {}) else ()
    beside = vllm.serve(bench.checkpoint(served.checkpoint), "--dtype", "float32", *options)
    return bench.serve(model).url, beside.wait_until_healthy().url


def scored(url: str | list[str], kind: Kind, model: str) -> dict[str, Numbers]:
    """The numbers of the samples that get a reward."""
    options = OPTIONS.get(model, {})
    numbers: Callable[[Reward], Numbers] = objectives if "head" in options else value
    asked: dict[str, Sample] = every_kind()
    if "method" in options:  # a question follows, which takes a conversation
        asked = {name: each for name, each in asked.items() if is_conversation(each)}
    with closing(OPENERS[kind](url, **options)) as client:
        slots = client.score_many(asked.values(), on_error="return")
    pairs = zip(asked, slots, strict=True)
    return {name: numbers(slot) for name, slot in pairs if isinstance(slot, Reward)}


def is_conversation(sample: Sample) -> bool:
    return isinstance(sample, list) and isinstance(sample[0], dict)


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("model", EQUAL)
def test_both_give_the_same_rewards(
    bench: Bench, vllm: Stand, ledger: Ledger, model: str, kind: Kind
) -> None:
    one, other = (scored(url, kind, model) for url in serve(bench, vllm, model))
    common = one.keys() & other.keys()
    assert len(common) >= 35
    off = {name: difference(one[name], other[name]) for name in common}
    ledger.compare(model, "vLLM", off)
    assert max(off.values()) <= TOLERANCE, off


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("model", MIXED)
def test_one_of_each_behind_one_client(bench: Bench, vllm: Stand, model: str, kind: Kind) -> None:
    """Which of them tokenizes a sample decides whether it gets a reward, and never which."""
    urls = [*serve(bench, vllm, model)]
    with closing(OPENERS[kind](urls)) as client:
        assert {profile.engine for profile in client.servers()} == {"sglang", "vllm"}
    both = scored(urls, kind, model)
    asked = every_kind()
    references = bench.references(model, [asked[name] for name in both])
    assert len(both) >= 35
    assert_near([*both.values()], [reference.reward for reference in references])


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("model", ["qwen2"])
def test_a_random_constant_is_found_beside_vllm(
    bench: Bench, vllm: Stand, ledger: Ledger, model: str, kind: Kind
) -> None:
    urls = [*serve(bench, vllm, model)]
    one, other = (scored(url, kind, model) for url in urls)
    ledger.compare(model, "vLLM", {name: difference(one[name], other[name]) for name in one})
    with closing(OPENERS[kind](urls)) as client, pytest.raises(ReplicaMismatchError):
        client.servers()
