"""A report on a scored file: one page of HTML, which needs neither a network nor scripts."""

from reward_client.report.writer import write_report

__all__ = ["write_report"]
