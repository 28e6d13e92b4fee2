"""The rows that have no reward."""

from __future__ import annotations

from reward_client._base.wording import count, percent, shorten
from reward_client._client.failures import fault_of
from reward_client._pages.sections import Section, Table
from reward_client.files.summary import ScoreSummary

_MESSAGE_CHARACTERS = 400


def failures(summary: ScoreSummary) -> Section | None:
    """Return the section on failed rows; None if none failed."""
    if not summary.failures:
        return None
    rows = [
        [
            kind,
            fault_of(kind),
            str(summary.reasons[kind][0]),
            shorten(summary.reasons[kind][1], _MESSAGE_CHARACTERS),
            f"{number:,}",
        ]
        for kind, number in summary.failures.items()
    ]
    words = (
        f"{count(summary.failed, 'row')} of {summary.rows:,} "
        f"({percent(summary.failed / summary.rows)}) failed, counted by their first errors."
    )
    again = (
        "Some failed by a fault of the server or the network: reward-client score --retry-failed "
        "scores them again."
    )
    head = ["error", "fault", "first row", "message of the first one", "rows"]
    table = Table("Failed rows by the type of their first error", head, rows, texts=4)
    return Section("Failures", [words, table, *([again] if summary.can_retry else [])])
