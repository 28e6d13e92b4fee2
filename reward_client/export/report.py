"""The report of an export, as data and as text for a terminal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reward_client.export.output_folder import MANIFEST
from reward_client.recipes import LayerTable, Recipe


@dataclass(frozen=True, slots=True)
class ExportReport:
    """The result of `export_checkpoint`.

    Attributes:
        source: The source checkpoint.
        destination: The written folder.
        manifest: Content of its ``reward_client.json``, which is also a recipe for clients.
        head: Name of the head's layout.
        written: Number of bytes written.
        linked: Number of bytes in linked files.
    """

    source: Path
    destination: Path
    manifest: Recipe
    head: str
    written: int
    linked: int

    @property
    def layers(self) -> tuple[LayerTable, ...]:
        """Layers of the head, with the tensors that they were read from."""
        return self.manifest.export.layers if self.manifest.export else ()

    @property
    def serve(self) -> str:
        """The command that serves the exported folder."""
        return self.manifest.serve["today"].replace("{model}", str(self.destination))

    def __str__(self) -> str:
        """Format the report for a terminal."""
        return "\n".join(_lines(self))


def _lines(report: ExportReport) -> list[str]:
    lines = [
        f"Exported {report.source.name} to {report.destination}.",
        "",
        f"Head: {report.head}",
    ]
    for layer in report.layers:
        bias = f" + {layer.bias}" if layer.bias else ""
        after = "" if layer.activation == "identity" else f", then {layer.activation}"
        lines.append(
            f"  {layer.weight}{bias}: {layer.in_features} to {layer.out_features} features{after}"
        )
    if report.manifest.head_table is None:
        lines.append(
            "  The step token is unknown: pass head=StepHead(…) to the client, or export again "
            "with a recipe."
        )
    lines += [f"  {note}" for note in report.manifest.notes]
    lines += [
        "",
        f"{report.written / 1e6:,.1f} MB written, {report.linked / 1e6:,.1f} MB linked.",
        "",
        "Serve the export (vLLM 0.10.2 or later):",
        f"  {report.serve}",
        "Score with the export:",
        f'  RewardClient(URL, recipe="{report.destination / MANIFEST}")',
    ]
    return lines
