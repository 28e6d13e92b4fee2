"""The rows that have no reward."""

from __future__ import annotations

from reward_client._base.wording import count, percent
from reward_client._client.failures import fault_of
from reward_client._pages.sections import Excerpt, Section, Table
from reward_client.files.summary import ScoreSummary
from reward_client.report.texts import cut


def failures(summary: ScoreSummary) -> Section | None:
    """Return the section on failed rows; None if none failed."""
    if not summary.failures:
        return None
    words = (
        f"{count(summary.failed, 'row')} of {summary.rows:,} "
        f"({percent(summary.failed / summary.rows)}) failed, counted by their first errors."
    )
    rows = [[kind, fault_of(kind), f"{rows:,}"] for kind, rows in summary.failures.items()]
    table = Table("Failed rows by the type of their error", ["error", "fault", "rows"], rows, 2)
    again = (
        "Some failed by a fault of the server or the network: reward-client score --retry-failed "
        "scores them again."
    )
    first = [
        Excerpt(f"The first {kind}, in row {row}", [("message", cut(message))])
        for kind, (row, message) in summary.reasons.items()
    ]
    return Section("Failures", [words, table, *([again] if summary.can_retry else []), *first])
