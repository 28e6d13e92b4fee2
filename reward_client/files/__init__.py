"""Score files of JSON lines, in runs that can be stopped and resumed at any time."""

from reward_client.files.runner import score_file
from reward_client.files.summary import Bin, GroupSummary, PairSummary, ScoreSummary

__all__ = ["Bin", "GroupSummary", "PairSummary", "ScoreSummary", "score_file"]
