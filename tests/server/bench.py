"""Models, the servers that serve them, and what their rewards have to be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import reward_client

from ..either import OPENERS
from .conversations import conversations, other_samples
from .ledger import Ledger
from .servers import MAX_TOKENS, Server, Stand
from .torch_process import Reference, TorchProcess

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..either import EitherClient
    from .conversations import Sample

# The kinds of torch_side.py, and the seed of their weights.
MADE = {
    "llama": ("llama", 1),
    "llama, other weights": ("llama", 2),
    "qwen2-reward": ("qwen2-reward", 3),
    "hidden states": ("hidden", 4),
}
SHIPPED = Path(reward_client.__file__).parent / "testing" / "model"
# In the order in which they are served: each change costs the start of a server.
MODELS = ("llama", "qwen2-reward", "shipped")

ledger_key = pytest.StashKey[Ledger]()


@dataclass(frozen=True)
class Case:
    """A model behind the URL, and a sample of every kind with its reference."""

    model: str
    url: str
    samples: dict[str, Sample]
    references: dict[str, Reference]


class Bench:
    """Makes, serves and computes, each when it is first asked for."""

    def __init__(self, torch: TorchProcess, stand: Stand, folder: Path) -> None:
        self.stand = stand
        self._torch = torch
        self._folder = folder
        self._references: dict[str, dict[str, Reference]] = {}

    def checkpoint(self, model: str) -> Path:
        folder = SHIPPED if model == "shipped" else self._folder / model
        if not folder.exists():
            self._torch.make(folder, *MADE[model])
        return folder

    def serve(self, model: str, *options: str) -> Server:
        return self.stand.serve(self.checkpoint(model), *options)

    def references(self, model: str, samples: Iterable[Sample]) -> list[Reference]:
        return self._torch.score(self.checkpoint(model), samples)

    def case(self, model: str) -> Case:
        samples = {**conversations(MAX_TOKENS), **other_samples(MAX_TOKENS)}
        if model not in self._references:
            rows = self.references(model, samples.values())
            self._references[model] = dict(zip(samples, rows, strict=True))
        return Case(model, self.serve(model).url, samples, self._references[model])


@pytest.fixture(scope="session")
def bench(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    python = pytestconfig.getoption("server_python", default=None)
    if python is None:
        pytest.skip("needs a real vLLM: nox -s vllm")
    folder = tmp_path_factory.mktemp("servers")
    stand = Stand(python, folder)
    with TorchProcess(python) as torch:
        yield Bench(torch, stand, folder)
        stand.stop()


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def case(bench: Bench, model: str) -> Case:
    return bench.case(model)


@pytest.fixture(params=OPENERS)
def scorer(request: pytest.FixtureRequest, case: Case) -> Iterator[EitherClient]:
    scorer = OPENERS[request.param](case.url)
    yield scorer
    scorer.close()


@pytest.fixture(scope="session")
def ledger(pytestconfig: pytest.Config) -> Ledger:
    return pytestconfig.stash[ledger_key]
