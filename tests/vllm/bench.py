"""The models on real vLLM servers."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ..real import bench as real
from ..real.bench import Case, scalar_samples
from ..real.checkpoints import LANGUAGE_MODEL
from ..real.openers import OPENERS
from ..real.torch_process import Embedding, Reference, TorchProcess
from ..real.wiring import Wiring
from .install import language_model
from .models import EXPORTS, FURTHER, SCALAR, SERVED
from .servers import Stand

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..real.conversations import Sample
    from ..real.ledger import Ledger
    from ..support.either import EitherClient

__all__ = ["Bench", "Case", "scalar_samples"]

MANIFEST = "reward_client.json"

wiring = Wiring("vLLM", Path(__file__).parent, SERVED, FURTHER, EXPORTS)


class Bench(real.Bench):
    """Serves with vLLM."""

    def __init__(
        self, python: Path, torch: TorchProcess, stand: Stand, beside: Stand, folder: Path
    ) -> None:
        super().__init__(torch, stand, beside, folder, SERVED, EXPORTS)
        self.python = python
        self._ready[LANGUAGE_MODEL] = language_model(python.parents[1])

    def embed(
        self, model: str, samples: Iterable[Sample], references: Iterable[Reference]
    ) -> list[Embedding]:
        """What sentence-transformers makes of an export."""
        return self.torch.embed(self.checkpoint(model), samples, references)

    def _command(self, model: str) -> tuple[Path, *tuple[str, ...]]:
        """Of an export also what its manifest says."""
        folder, *options = super()._command(model)
        return folder, *options, *(options_in(folder / MANIFEST) if model in EXPORTS else ())


def options_in(manifest: Path) -> tuple[str, ...]:
    """What a manifest says that `vllm serve` is told."""
    command = shlex.split(json.loads(manifest.read_text())["serve"]["today"])
    assert command[:3] == ["vllm", "serve", "{model}"]
    return tuple(command[3:])


@pytest.fixture(scope="session")
def bench(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    python = pytestconfig.getoption("server_python")
    if python is None:
        pytest.skip("needs a real vLLM: nox -s vllm")
    folder = tmp_path_factory.mktemp("servers")
    with (
        Stand(python, folder) as stand,
        Stand(python, tmp_path_factory.mktemp("beside")) as beside,
        TorchProcess(python) as torch,
    ):
        wiring.stand = stand
        yield Bench(python, torch, stand, beside, folder)


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
def ledger() -> Ledger:
    return wiring.ledger
