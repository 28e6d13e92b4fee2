"""What a look at a server found."""

from __future__ import annotations

import shutil
import textwrap
from collections import Counter
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from reward_client._base.results import Reward, ServerProfile, TokenizedSample

Check: TypeAlias = Literal[
    "reach",
    "key",
    "server",
    "version",
    "model",
    "recipe",
    "length limit",
    "route",
    "head",
    "activation",
    "tokens",
    "BOS",
    "generation prompt",
    "template",
    "text path",
    "local tokenizer",
    "keep-alive",
    "sample",
    "reference value",
    "replicas",
]
"""What is looked at; docs/how-to/doctor.md says what each is about."""

Verdict: TypeAlias = Literal["ok", "warning", "failed", "not checked"]

_MARKS: dict[Verdict, str] = {"ok": "ok", "warning": "WARN", "failed": "FAIL", "not checked": "-"}
_COLUMN = 25
"""Where the details begin: after the mark, and the longest name of a check."""
_NARROWEST, _UNWRAPPED = 60, 10**6


class Finding(BaseModel):
    """One thing that was looked at.

    Attributes:
        check: What was looked at.
        verdict: ``"failed"`` where no reward or a wrong one is likely, ``"warning"`` where it
            depends on the model, ``"not checked"`` where it could not be looked at.
        detail: What was seen.
        cure: What to do about it: always there for ``"failed"`` and ``"warning"``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    check: Check
    verdict: Verdict
    detail: str
    cure: str | None = None

    def __str__(self) -> str:
        """The finding as it is printed: as wide as the terminal; where there is none, as it is."""
        width = max(shutil.get_terminal_size((_UNWRAPPED, 0)).columns, _NARROWEST)
        lines = [_wrapped(f"{_MARKS[self.verdict]:4}  {self.check:17}  ", self.detail, width)]
        if self.cure is not None:
            lines.append(_wrapped(f"{'':{_COLUMN}}cure: ", self.cure, width))
        return "\n".join(lines)


class Diagnosis(BaseModel):
    """All that was found out about a server.

    Attributes:
        url: The server's base URL.
        findings: In the order in which they were made.
        profile: What is known of the server, where a way to its rewards was found.
        tokens: The token IDs of the sample, where it could be tokenized.
        reward: Its reward, where it was scored.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    findings: tuple[Finding, ...]
    profile: ServerProfile | None = None
    tokens: TokenizedSample | None = None
    reward: Reward | None = None

    @property
    def status(self) -> int:
        """0 for a healthy server, 1 with warnings, 2 where no or wrong rewards are likely."""
        verdicts = {finding.verdict for finding in self.findings}
        return 2 if "failed" in verdicts else int("warning" in verdicts)

    def __str__(self) -> str:
        """The findings, one below the other, and what they come to."""
        counts = Counter(finding.verdict for finding in self.findings)
        counted = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        closing = (
            "Nothing wrong was found.",
            "Look at the warnings: whether they matter depends on the model.",
            "Do not trust this server: no rewards, or wrong ones, are likely.",
        )[self.status]
        return "\n".join([self.url, *map(str, self.findings), f"{closing} ({counted})"])


def _wrapped(lead: str, text: str, width: int) -> str:
    return textwrap.fill(
        _printable(text),
        width,
        initial_indent=lead,
        subsequent_indent=" " * _COLUMN,
        break_on_hyphens=False,
    )


def _printable(text: str) -> str:
    """Without what a server could steer a terminal by."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
