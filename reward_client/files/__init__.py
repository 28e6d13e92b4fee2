"""Files of JSON lines scored, so that a run can be stopped at any moment and gone on with."""

from reward_client.files.runner import score_file
from reward_client.files.summary import ScoreSummary

__all__ = ["ScoreSummary", "score_file"]
