"""Models, the servers that serve them, and what their answers have to be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import reward_client

from ..either import OPENERS
from .conversations import conversations, other_samples
from .install import language_model
from .ledger import Ledger
from .models import LANGUAGE_MODEL, MADE, SCALAR, SERVED, SHIPPED
from .servers import MAX_TOKENS, Server, Stand
from .torch_process import Reference, TorchProcess

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ..either import EitherClient
    from .conversations import Sample

ledger_key = pytest.StashKey[Ledger]()
stand_key = pytest.StashKey[Stand]()


def scalar_samples() -> dict[str, Sample]:
    """One of every kind that a model with one reward takes."""
    return {**conversations(MAX_TOKENS), **other_samples(MAX_TOKENS)}


@dataclass(frozen=True)
class Case:
    """A model behind the URL, and a sample of every kind with its reference."""

    model: str
    url: str
    samples: Mapping[str, Sample]
    references: Mapping[str, Reference]

    @property
    def rewards(self) -> dict[str, float]:
        """Of a model with one number for a conversation."""
        return {name: reference.reward for name, reference in self.references.items()}


class Bench:
    """Makes, serves and computes, each when it is first asked for."""

    def __init__(self, python: Path, torch: TorchProcess, stand: Stand, folder: Path) -> None:
        self.stand = stand
        self._torch = torch
        self._folder = folder
        self._ready = {
            SHIPPED: Path(reward_client.__file__).parent / "testing" / "model",
            LANGUAGE_MODEL: language_model(python.parents[1]),
        }
        self._references: dict[tuple[str, tuple[str, ...]], dict[str, Reference]] = {}

    def serve(self, model: str) -> Server:
        """The server of this model, up."""
        return self._serve(model).wait_until_healthy()

    def start(self, model: str) -> Server:
        """A new server of this model, which is not up yet."""
        served = SERVED[model]
        return self.stand.start(self._checkpoint(served.checkpoint), *served.command)

    def references(self, model: str, samples: Iterable[Sample]) -> list[Reference]:
        served = SERVED[model]
        return self._torch.score(self._checkpoint(served.checkpoint), samples, served.tokens)

    def case(self, model: str, samples: Mapping[str, Sample] | None = None) -> Case:
        """By default with the scalar samples."""
        if samples is None:
            samples = scalar_samples()
        server = self._serve(model)
        key = SERVED[model].checkpoint, tuple(samples)
        if key not in self._references:  # computed while the server starts
            rows = self.references(model, samples.values())
            self._references[key] = dict(zip(samples, rows, strict=True))
        return Case(model, server.wait_until_healthy().url, samples, self._references[key])

    def _serve(self, model: str) -> Server:
        served = SERVED[model]
        return self.stand.serve(self._checkpoint(served.checkpoint), *served.command)

    def _checkpoint(self, name: str) -> Path:
        if name not in self._ready:
            folder = self._folder / name
            self._torch.make(folder, *MADE[name])
            self._ready[name] = folder
        return self._ready[name]


@pytest.fixture(scope="session")
def bench(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    python = pytestconfig.getoption("server_python", default=None)
    if python is None:
        pytest.skip("needs a real vLLM: nox -s vllm")
    folder = tmp_path_factory.mktemp("servers")
    stand = pytestconfig.stash[stand_key] = Stand(python, folder)
    with TorchProcess(python) as torch:
        yield Bench(python, torch, stand, folder)
        stand.stop()


@pytest.fixture(params=SCALAR)
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
