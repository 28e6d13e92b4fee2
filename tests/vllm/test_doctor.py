"""What the doctor says of a real server: of a healthy one, and of each that was started wrongly."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from ..real.openers import OPENERS
from ..support.either import Kind
from .test_wrong_starts import HEALTHY

if TYPE_CHECKING:
    from .bench import Bench

# The status, the checks that fail, and what their cures name.
WRONG = {
    "hidden states": (2, {"head"}, "--runner pooling"),
    "hidden states, every token": (2, {"route"}, "--runner pooling"),
    "llama, sigmoid": (0, set[str](), ""),
    "llama, every token": (1, set[str](), ""),
    "llama, 32 tokens": (2, {"sample"}, "--max-model-len"),
}


@pytest.mark.parametrize("kind", OPENERS)
def test_a_healthy_server(bench: Bench, kind: Kind) -> None:
    with closing(OPENERS[kind](bench.serve(HEALTHY).url)) as client:
        diagnosis = client.diagnose()
    assert diagnosis.status == 0, str(diagnosis)
    assert diagnosis.reward is not None
    seen = {finding.check: finding.verdict for finding in diagnosis.findings}
    # The template writes the BOS, and a text gets another; the model's folder is on this machine.
    assert [seen[check] for check in ("BOS", "template", "text path", "local tokenizer")] == [
        "ok"
    ] * 4


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("model", WRONG)
def test_a_server_that_was_started_wrongly(bench: Bench, model: str, kind: Kind) -> None:
    status, checks, cure = WRONG[model]
    with closing(OPENERS[kind](bench.serve(model).url)) as client:
        diagnosis = client.diagnose()
    failed = [finding for finding in diagnosis.findings if finding.verdict == "failed"]
    assert (diagnosis.status, {finding.check for finding in failed}) == (status, checks)
    assert all(cure in (finding.cure or "") for finding in failed), str(diagnosis)


@pytest.mark.parametrize("kind", OPENERS)
def test_another_models_name(bench: Bench, kind: Kind) -> None:
    with closing(OPENERS[kind](bench.serve(HEALTHY).url, model="another-model")) as client:
        diagnosis = client.diagnose()
    assert diagnosis.status == 2
    assert diagnosis.findings[-1].check == "model"
