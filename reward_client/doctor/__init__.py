"""A look at a server: is each step from a conversation to its reward as it should be?"""

from reward_client.doctor.examination import Doctor
from reward_client.doctor.scores import replica_findings

__all__ = ["Doctor", "replica_findings"]
