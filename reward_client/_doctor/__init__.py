"""The doctor: an examination of each step from a conversation to its reward on a server."""

from reward_client._doctor.reward_checks import replica_findings
from reward_client._doctor.runner import Doctor

__all__ = ["Doctor", "replica_findings"]
