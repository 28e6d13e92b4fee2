"""Models, the servers that serve them, and what their answers have to be."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from safetensors.numpy import save_file

import reward_client
from reward_client import Conversation
from reward_client.export import export_checkpoint

from .conversations import conversations, other_samples
from .install import language_model
from .ledger import Ledger
from .models import (
    BIAS,
    EXPORTS,
    LANGUAGE_MODEL,
    LAYER,
    MADE,
    PROBE,
    SCALAR,
    SERVED,
    SHIPPED,
)
from .openers import OPENERS
from .servers import MAX_TOKENS, Server, Stand
from .torch_process import Embedding, Reference, TorchProcess

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ..support.either import EitherClient
    from .conversations import Sample

MANIFEST = "reward_client.json"
TEMPLATE_FILES = ("chat_template.jinja", "tokenizer_config.json")

ledger_key = pytest.StashKey[Ledger]()
stand_key = pytest.StashKey[Stand]()


def scalar_samples() -> dict[str, Sample]:
    """One of every kind that a model with one reward takes."""
    return {**conversations(MAX_TOKENS), **other_samples(MAX_TOKENS)}


def template_of(checkpoint: Path) -> str:
    """Return the files that may hold the chat template of a checkpoint."""
    files = [checkpoint / name for name in TEMPLATE_FILES]
    return "".join(file.read_text("utf-8") for file in files if file.exists())


def shows(template: str, sample: Sample) -> bool:
    """Whether a chat template shows tools, their calls and arguments; the client refuses others."""
    messages = sample.messages if isinstance(sample, Conversation) else sample
    has_tools = isinstance(sample, Conversation) and bool(sample.tools)
    has_calls = isinstance(messages, list) and any(
        isinstance(each, dict) and each.get("tool_calls") for each in messages
    )
    arguments = sample.chat_template_kwargs or {} if isinstance(sample, Conversation) else {}
    return (
        (not has_tools or "tools" in template)
        and (not has_calls or "tool_calls" in template)
        and all(name in template for name in arguments)
    )


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

    def __init__(
        self, python: Path, torch: TorchProcess, stand: Stand, beside: Stand, folder: Path
    ) -> None:
        self.python = python
        self.stand = stand
        self.beside = beside
        self.torch = torch
        self._folder = folder
        self._ready = {
            SHIPPED: Path(reward_client.__file__).parent / "testing" / "_model" / "checkpoint",
            LANGUAGE_MODEL: language_model(python.parents[1]),
        }
        self._references: dict[tuple[str, tuple[str, ...]], dict[str, Reference]] = {}

    def serve(self, model: str) -> Server:
        """The server of this model, up."""
        return self._serve(model).wait_until_healthy()

    def serve_beside(self, model: str) -> Server:
        """A server of this model beside the other one, up; the caller stops it."""
        return self.beside.start(*self._command(model)).wait_until_healthy()

    def start(self, model: str) -> Server:
        """A new server of this model, which is not up yet."""
        return self.stand.start(*self._command(model))

    def references(self, model: str, samples: Iterable[Sample]) -> list[Reference]:
        served = SERVED[model]
        export = EXPORTS.get(served.checkpoint)
        source = self.checkpoint(export.source if export else served.checkpoint)
        return self.torch.score(source, samples, served.tokens)

    def embed(
        self, model: str, samples: Iterable[Sample], references: Iterable[Reference]
    ) -> list[Embedding]:
        """What sentence-transformers makes of an export."""
        return self.torch.embed(self.checkpoint(model), samples, references)

    def case(self, model: str, samples: Mapping[str, Sample] | None = None) -> Case:
        """By default with the scalar samples."""
        if samples is None:
            samples = scalar_samples()
        template = template_of(self.checkpoint(SERVED[model].checkpoint))
        samples = {name: each for name, each in samples.items() if shows(template, each)}
        server = self._serve(model)
        key = SERVED[model].checkpoint, tuple(samples)
        if key not in self._references:  # computed while the server starts
            rows = self.references(model, samples.values())
            self._references[key] = dict(zip(samples, rows, strict=True))
        return Case(model, server.wait_until_healthy().url, samples, self._references[key])

    def _serve(self, model: str) -> Server:
        return self.stand.serve(*self._command(model))

    def _command(self, model: str) -> tuple[Path, *tuple[str, ...]]:
        """The folder, and what else is told to `vllm serve`."""
        served = SERVED[model]
        folder = self.checkpoint(served.checkpoint)
        options = options_in(folder / MANIFEST) if served.checkpoint in EXPORTS else ()
        return folder, *served.command, *options

    def checkpoint(self, name: str) -> Path:
        """The folder of one of ours or of an export, made if it is not there yet."""
        if name not in self._ready:
            self._ready[name] = self._export(name) if name in EXPORTS else self._make(name)
        return self._ready[name]

    def _make(self, name: str) -> Path:
        made = MADE[name]
        folder = self._folder / name
        if made.linked:
            folder = self._folder / f"models--ours--{made.kind}" / "snapshots" / "0123abcd"
        self.torch.make(folder, made)
        return folder

    def _export(self, name: str) -> Path:
        export = EXPORTS[name]
        source, folder = self.checkpoint(export.source), self._folder / name
        head = export.head
        if head == PROBE:
            head = str(self._folder / "probe.safetensors")
            save_file({"weight": LAYER[:1], "bias": BIAS[:1]}, head)
        export_checkpoint(source, folder, head=head)
        return folder


def options_in(manifest: Path) -> tuple[str, ...]:
    """What a manifest says that `vllm serve` is told."""
    command = shlex.split(json.loads(manifest.read_text())["serve"]["today"])
    assert command[:3] == ["vllm", "serve", "{model}"]
    return tuple(command[3:])


@pytest.fixture(scope="session")
def bench(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    python = pytestconfig.getoption("server_python", default=None)
    if python is None:
        pytest.skip("needs a real vLLM: nox -s vllm")
    folder = tmp_path_factory.mktemp("servers")
    stand = pytestconfig.stash[stand_key] = Stand(python, folder)
    with TorchProcess(python) as torch:
        beside = Stand(python, tmp_path_factory.mktemp("beside"))
        yield Bench(python, torch, stand, beside, folder)
        beside.stop()
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
