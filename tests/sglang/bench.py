"""The models on real SGLang servers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reward_client.export import add_zero_bias

from ..real import bench as real
from ..real.checkpoints import LANGUAGE_MODEL
from ..real.torch_process import TorchProcess
from ..real.wiring import Wiring
from .install import VERSION as NEWEST
from .install import installed, language_model
from .models import EXPORTS, FURTHER, SERVED, UNBIASED
from .servers import ENVIRONMENT, Stand

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..real.conversations import Sample
    from ..real.ledger import Ledger
    from ..real.torch_process import Reference

wiring = Wiring("SGLang", Path(__file__).parent, SERVED, FURTHER, EXPORTS)


class Bench(real.Bench):
    """Serves with SGLang."""

    def __init__(
        self,
        torch: TorchProcess,
        stand: Stand,
        beside: Stand,
        folder: Path,
        language_model: Path,
        version: str,
    ) -> None:
        super().__init__(torch, stand, beside, folder, SERVED, EXPORTS)
        self._ready[LANGUAGE_MODEL] = language_model
        self._version = version

    def options(self, model: str) -> dict[str, Path]:
        """What a client needs beside the URL: before 0.5.23, the tokenizer of the model."""
        if self._version == NEWEST:
            return {}
        return {"tokenizer": self.checkpoint(SERVED[model].checkpoint)}

    def references(self, model: str, samples: Iterable[Sample]) -> list[Reference]:
        served = SERVED[model]
        source = UNBIASED.get(served.checkpoint, served.checkpoint)
        export = EXPORTS.get(source)
        folder = self.checkpoint(export.source if export else source)
        return self.torch.score(folder, samples, served.tokens)

    def _make(self, name: str) -> Path:
        if name not in UNBIASED:
            return super()._make(name)
        folder = self._folder / name
        add_zero_bias(self.checkpoint(UNBIASED[name]), folder)
        return folder


@pytest.fixture(scope="session")
def bench(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    python = pytestconfig.getoption("server_python")
    if python is None:
        pytest.skip("needs a real SGLang: nox -s sglang")
    folder = tmp_path_factory.mktemp("servers")
    reference = pytestconfig.getoption("torch_python") or python
    with (
        Stand(python, folder) as stand,
        Stand(python, tmp_path_factory.mktemp("beside")) as beside,
        TorchProcess(reference, ENVIRONMENT) as torch,
    ):
        wiring.stand = stand
        yield Bench(
            torch, stand, beside, folder, language_model(reference.parents[1]), installed(python)
        )


@pytest.fixture(scope="session")
def ledger() -> Ledger:
    return wiring.ledger
