"""A real vLLM behind gateways: the rewards are those of the server itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from reward_client.testing import RewardGateway

from ..gateways.conftest import verl_router
from ..real.conversations import turns
from ..real.openers import OPENERS
from ..support.either import Kind
from .bench import MANIFEST
from .models import SERVED

if TYPE_CHECKING:
    from .bench import Bench, Case

SAMPLES: list[Any] = [
    turns(f"What is {n} + {n}?", f"It is {2 * n}. " * (1 + n % 7)) for n in range(40)
]
EXPORTED = "exported v_head, transformer"
MODELS = ("llama", "qwen2-reward", EXPORTED)


@contextmanager
def played(url: str, kind: str) -> Iterator[str]:
    with RewardGateway(url, kind) as gateway:
        yield gateway.url


def rewards(kind: Kind, url: str, **options: Any) -> list[float]:
    with closing(OPENERS[kind](url, **options)) as client:
        return [reward.value for reward in client.score_many(SAMPLES)]


def served(bench: Bench, model: str) -> Case:
    return bench.case(model, {"one": SAMPLES[0]})


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("model", MODELS)
def test_behind_the_router_of_verl(bench: Bench, model: str, kind: Kind) -> None:
    if find_spec("verl") is None:
        pytest.skip("nox -s vllm installs verl")
    case = served(bench, model)
    direct = rewards(kind, case.url)
    with verl_router(case.url) as url:
        assert rewards(kind, url) == pytest.approx(direct, abs=1e-5)


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("gateway", ["v1", "openai", "dynamo"])
def test_an_export_behind_a_gateway_of_v1(bench: Bench, gateway: str, kind: Kind) -> None:
    case = served(bench, EXPORTED)
    folder = bench.checkpoint(SERVED[EXPORTED].checkpoint)
    direct = rewards(kind, case.url)
    with played(case.url, gateway) as url:
        behind = rewards(kind, url, tokenizer=folder, recipe=folder / MANIFEST)
    assert behind == pytest.approx(direct, abs=1e-5)


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("gateway", ["classify", "dynamo", "bare 500", "flat", "no usage"])
@pytest.mark.parametrize("model", ["llama"])
def test_behind_other_gateways(bench: Bench, model: str, gateway: str, kind: Kind) -> None:
    case = served(bench, model)
    direct = rewards(kind, case.url)
    folder = bench.checkpoint(SERVED[model].checkpoint)
    with played(case.url, gateway) as url:
        behind = rewards(kind, url, model="reward-model", tokenizer=folder)
    assert behind == pytest.approx(direct, abs=1e-5)
