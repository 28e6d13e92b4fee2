"""What the doctor says of a real SGLang: of a healthy one, and of each that was started wrongly."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from ..real.openers import OPENERS
from ..support.either import Kind

if TYPE_CHECKING:
    from .bench import Bench

HEALTHY = ("llama", "qwen2-reward")
# The status, the checks that complain, and what their cures name.
WRONG = {
    "qwen2": (1, {"offset"}, "zero-bias"),
    "hidden states": (2, {"head"}, ""),
    "a language model": (2, {"route"}, "--is-embedding"),
}


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("model", HEALTHY)
def test_a_healthy_server(bench: Bench, model: str, kind: Kind) -> None:
    with closing(OPENERS[kind](bench.serve(model).url)) as client:
        diagnosis = client.diagnose()
    assert diagnosis.status == 0, str(diagnosis)
    assert diagnosis.reward is not None
    seen = {finding.check: finding for finding in diagnosis.findings}
    assert seen["version"].detail.startswith("SGLang 0.")
    # The template writes the BOS, and a text gets another; the model's folder is on this machine.
    checks = ("BOS", "template", "text path", "local tokenizer", "one server")
    assert [seen[check].verdict for check in checks] == ["ok"] * 5


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("model", WRONG)
def test_a_server_that_was_started_wrongly(bench: Bench, model: str, kind: Kind) -> None:
    status, checks, cure = WRONG[model]
    with closing(OPENERS[kind](bench.serve(model).url)) as client:
        diagnosis = client.diagnose()
    wrong = [f for f in diagnosis.findings if f.verdict in ("warning", "failed")]
    assert (diagnosis.status, {finding.check for finding in wrong}) == (status, checks)
    assert all(cure in (finding.cure or "") for finding in wrong), str(diagnosis)
