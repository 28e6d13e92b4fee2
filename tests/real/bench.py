"""Models, the servers that serve them, and what their answers have to be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from safetensors.numpy import save_file

import reward_client
from reward_client import Conversation
from reward_client.export import export_checkpoint

from .checkpoints import BIAS, LAYER, MADE, PROBE, SHIPPED
from .conversations import conversations, other_samples
from .servers import MAX_TOKENS, Server, Stand

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .checkpoints import Export
    from .conversations import Sample
    from .torch_process import Reference, TorchProcess

TEMPLATE_FILES = ("chat_template.jinja", "tokenizer_config.json")


class Served(Protocol):
    """A checkpoint and how it is served.

    Attributes:
        checkpoint: A name in `MADE`, of an export, `SHIPPED` or `LANGUAGE_MODEL`.
        tokens: The tokens whose logits are the reward, of a language model.
        command: Further options of the command line.
    """

    @property
    def checkpoint(self) -> str: ...
    @property
    def tokens(self) -> tuple[str, ...]: ...
    @property
    def command(self) -> tuple[str, ...]: ...


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
    """Makes, serves and computes, each when it is first asked for.

    Args:
        torch: The reference.
        stand: The place of the servers.
        beside: The place of those that stand beside them.
        folder: The folder of the checkpoints.
        served: The models by their names.
        exports: The exported checkpoints by their names.
    """

    def __init__(
        self,
        torch: TorchProcess,
        stand: Stand,
        beside: Stand,
        folder: Path,
        served: Mapping[str, Served],
        exports: Mapping[str, Export],
    ) -> None:
        self.stand = stand
        self.beside = beside
        self.torch = torch
        self._folder = folder
        self._served = served
        self._exports = exports
        self._ready = {
            SHIPPED: Path(reward_client.__file__).parent / "testing" / "_model" / "checkpoint"
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
        served = self._served[model]
        export = self._exports.get(served.checkpoint)
        source = self.checkpoint(export.source if export else served.checkpoint)
        return self.torch.score(source, samples, served.tokens)

    def case(self, model: str, samples: Mapping[str, Sample] | None = None) -> Case:
        """By default with the scalar samples."""
        if samples is None:
            samples = scalar_samples()
        template = template_of(self.checkpoint(self._served[model].checkpoint))
        samples = {name: each for name, each in samples.items() if shows(template, each)}
        server = self._serve(model)
        key = self._served[model].checkpoint, tuple(samples)
        if key not in self._references:  # computed while the server starts
            rows = self.references(model, samples.values())
            self._references[key] = dict(zip(samples, rows, strict=True))
        return Case(model, server.wait_until_healthy().url, samples, self._references[key])

    def _serve(self, model: str) -> Server:
        return self.stand.serve(*self._command(model))

    def _command(self, model: str) -> tuple[Path, *tuple[str, ...]]:
        """The folder, and what else is told to the server."""
        served = self._served[model]
        return self.checkpoint(served.checkpoint), *served.command

    def checkpoint(self, name: str) -> Path:
        """The folder of one of ours or of an export, made if it is not there yet."""
        if name not in self._ready:
            self._ready[name] = self._export(name) if name in self._exports else self._make(name)
        return self._ready[name]

    def _make(self, name: str) -> Path:
        made = MADE[name]
        folder = self._folder / name
        if made.linked:
            folder = self._folder / f"models--ours--{made.kind}" / "snapshots" / "0123abcd"
        self.torch.make(folder, made)
        return folder

    def _export(self, name: str) -> Path:
        export = self._exports[name]
        source, folder = self.checkpoint(export.source), self._folder / name
        head = export.head
        if head == PROBE:
            head = str(self._folder / "probe.safetensors")
            save_file({"weight": LAYER[:1], "bias": BIAS[:1]}, head)
        export_checkpoint(source, folder, head=head)
        return folder
