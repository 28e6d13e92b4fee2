"""Convert reward checkpoints so that any embedding server returns their rewards."""

from reward_client.export.exporter import export_checkpoint
from reward_client.export.report import ExportReport
from reward_client.export.verification import Verification, verify_export
from reward_client.export.zero_bias import ZeroBiasReport, add_zero_bias

__all__ = [
    "ExportReport",
    "Verification",
    "ZeroBiasReport",
    "add_zero_bias",
    "export_checkpoint",
    "verify_export",
]
