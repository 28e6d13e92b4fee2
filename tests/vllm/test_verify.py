"""`reward-client export --verify` beside torch and on real servers, and clients that go by it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import reward_client
from reward_client import NotARewardError

from ..real.conversations import STEP_TOKEN, turns
from ..real.ledger import TOLERANCE, Way, difference
from ..real.openers import OPENERS
from ..support.either import Kind
from .bench import MANIFEST, options_in
from .exports import EXPORTED
from .heads import probability
from .models import EXPORTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..real.ledger import Ledger
    from .bench import Bench

COMMAND = "import sys; from reward_client.cli import main; sys.exit(main())"
STEPS = f"""
architectures = ["Qwen2ForProcessRewardModel"]
output = "per step"
head = {{ type = "steps", step_token = "{STEP_TOKEN}", good_label = 1, aggregate = "min" }}
"""
# Whose source is computed by its own class, by the bare model and the head, and by its logits.
VERIFIED = (
    "exported labels",
    "exported v_head, transformer",
    "exported score_head, normalized cost",
    "exported two labels a step",
    "exported tokens, soft-capped",
)


def run_export(bench: Bench, name: str, folder: Path, *options: str) -> str:
    """What the command says, run where torch is and the client is not installed."""
    source, head = bench.checkpoint(EXPORTS[name].source), EXPORTS[name].head
    command = [bench.python, "-c", COMMAND, "export", source, folder, "--head", head, *options]
    packages = str(Path(reward_client.__file__).parents[1])
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": packages, "HF_HUB_OFFLINE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def largest_difference(said: str) -> float:
    found = re.search(r"largest difference is ([-+.e\d]+)", said)
    assert found, said
    return float(found[1])


@pytest.fixture(scope="session")
def verified(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Exports and verifies, once for each name."""
    folders: dict[str, Path] = {}

    def folder_of(name: str) -> Path:
        if name not in folders:
            folder = tmp_path_factory.mktemp("verified")
            (folder / "steps.toml").write_text(STEPS, encoding="utf-8")
            options = ["--recipe", str(folder / "steps.toml")] if "step" in name else []
            said = run_export(bench, name, folder / "export", "--verify", *options)
            assert largest_difference(said) < TOLERANCE
            folders[name] = folder / "export"
        return folders[name]

    return folder_of


@pytest.mark.parametrize("name", VERIFIED)
def test_the_manifest_holds_what_torch_says(
    bench: Bench, verified: Callable[[str], Path], name: str
) -> None:
    references = json.loads((verified(name) / MANIFEST).read_text())["references"]
    assert len(references) > 10
    setup = EXPORTED[name]
    rows = bench.references(name, [reference["token_ids"] for reference in references])
    for reference, row in zip(references, rows, strict=True):
        expected = [probability(step) for step in row.steps] or setup.expected(row)
        assert difference(reference["expected"], expected) < TOLERANCE


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("model", VERIFIED)
def test_the_manifest_as_recipe(
    bench: Bench, verified: Callable[[str], Path], ledger: Ledger, model: str, kind: Kind
) -> None:
    """It says how the outputs are read, and the server has to agree with its references first."""
    setup = EXPORTED[model]
    manifest = verified(model) / MANIFEST
    case = bench.case(model, setup.samples())
    with closing(OPENERS[kind](case.url, recipe=manifest)) as client:
        rewards = dict(zip(case.samples, client.score_many(case.samples.values()), strict=True))
    found = {name: setup.numbers(reward) for name, reward in rewards.items()}
    expected = {name: setup.expected(reference) for name, reference in case.references.items()}
    assert not ledger.wrong(Way(model, kind, "its manifest"), found, expected)
    (provenance,) = {reward.provenance for reward in rewards.values()}
    assert provenance.recipe == json.loads(manifest.read_text())["name"]


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("model", ["exported regression_head, Mistral"])
def test_the_manifest_of_another_export_is_refused(
    bench: Bench, verified: Callable[[str], Path], model: str, kind: Kind
) -> None:
    """Of the same width, so that nothing but the references tells."""
    manifest = verified("exported v_head, transformer") / MANIFEST
    client = OPENERS[kind](bench.serve(model).url, recipe=manifest)
    with closing(client), pytest.raises(NotARewardError):
        client.score(turns("What is 2+2?", "4"))


@pytest.mark.parametrize("model", ["exported regression_head, Mistral"])
def test_verify_by_the_server_of_the_export(bench: Bench, tmp_path: Path, model: str) -> None:
    folder = tmp_path / "export"
    shutil.copytree(bench.checkpoint(model), folder)
    url = bench.serve(model).url
    said = run_export(bench, model, folder, "--exported-url", url)
    assert largest_difference(said) < TOLERANCE
    assert json.loads((folder / MANIFEST).read_text())["references"]


@pytest.mark.parametrize("model", ["llama"])
def test_verify_by_the_server_of_the_source(bench: Bench, tmp_path: Path, model: str) -> None:
    url = bench.serve(model).url
    said = run_export(
        bench, "exported one label", tmp_path / "export", "--verify", "--original-url", url
    )
    assert largest_difference(said) < TOLERANCE


@pytest.mark.parametrize("model", ["exported dense and out_proj"])
@pytest.mark.parametrize("lost", ["2_Dense", "3_Dense"])
def test_a_head_that_the_server_loads_in_part_is_refused(
    bench: Bench, tmp_path: Path, model: str, lost: str
) -> None:
    """The server starts all the same; without the first layer it answers a plausible number."""
    folder = tmp_path / "broken"
    run_export(bench, model, folder, "--verify")
    (folder / lost / "model.safetensors").unlink()
    server = bench.stand.serve(folder, "--dtype", "float32", *options_in(folder / MANIFEST))
    url = server.wait_until_healthy().url
    for opener in OPENERS.values():
        client = opener(url, recipe=folder / MANIFEST)
        with closing(client), pytest.raises(NotARewardError):
            client.score(turns("What is 2+2?", "4"))
