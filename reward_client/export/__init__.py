"""Convert reward checkpoints so that any embedding server returns their rewards."""

from reward_client.export.exporter import export_checkpoint
from reward_client.export.report import ExportReport
from reward_client.export.verification import Verification, verify_export

__all__ = ["ExportReport", "Verification", "export_checkpoint", "verify_export"]
