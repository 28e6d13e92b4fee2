"""What was exported, as data and for a terminal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reward_client.export.output_folder import MANIFEST
from reward_client.recipes import LayerTable, Recipe


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was exported.

    Attributes:
        source: The checkpoint.
        destination: The folder that was written.
        manifest: What is in its ``reward_client.json``, which is also a recipe for clients.
        head: The head's layout, in words.
        written: Bytes that were written.
        linked: Bytes of files that lie in both folders.
    """

    source: Path
    destination: Path
    manifest: Recipe
    head: str
    written: int
    linked: int

    @property
    def layers(self) -> tuple[LayerTable, ...]:
        """The head, and the tensors that it was read from."""
        return self.manifest.export.layers if self.manifest.export else ()

    @property
    def serve(self) -> str:
        """The command that serves it."""
        return self.manifest.serve["today"].replace("{model}", str(self.destination))

    def __str__(self) -> str:
        """For a terminal."""
        return "\n".join(_lines(self))


def _lines(report: ExportReport) -> list[str]:
    lines = [
        f"{report.source.name} is exported to {report.destination}.",
        "",
        f"Head: {report.head}",
    ]
    for layer in report.layers:
        bias = f" + {layer.bias}" if layer.bias else ""
        after = "" if layer.activation == "identity" else f", then {layer.activation}"
        lines.append(
            f"  {layer.weight}{bias}: {layer.in_features} numbers to {layer.out_features}{after}"
        )
    if report.manifest.head_table is None:
        lines.append(
            "  What ends a step is not known: give the client head=StepHead(…), or export it again "
            "with a recipe."
        )
    lines += [f"  {note}" for note in report.manifest.notes]
    lines += [
        "",
        f"{report.written / 1e6:,.1f} MB written, {report.linked / 1e6:,.1f} MB linked.",
        "",
        "Serve it (vLLM 0.10.2 or later):",
        f"  {report.serve}",
        "Score by it:",
        f'  RewardClient(URL, recipe="{report.destination / MANIFEST}")',
    ]
    return lines
