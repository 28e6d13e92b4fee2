"""What a look at a server found."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from reward_client.rewards import Reward, TokenizedSample

__all__ = ["Diagnosis", "Finding", "Verdict"]

Verdict: TypeAlias = Literal["ok", "warning", "failed", "not checked"]

_MARKS: dict[Verdict, str] = {"ok": "ok", "warning": "WARN", "failed": "FAIL", "not checked": "-"}


class Finding(BaseModel):
    """One thing that was looked at.

    Attributes:
        check: What was looked at, in a word or two.
        verdict: ``"failed"`` where no reward or a wrong one is likely, ``"warning"`` where it
            depends on the model, ``"not checked"`` where it could not be looked at.
        detail: What was seen.
        cure: What to do about it, where something is to be done.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    check: str
    verdict: Verdict
    detail: str
    cure: str | None = None

    def __str__(self) -> str:
        """One line, and the cure below it."""
        line = f"{_MARKS[self.verdict]:4}  {self.check:18}  {self.detail}"
        return line if self.cure is None else f"{line}\n{'':26}→ {self.cure}"


class Diagnosis(BaseModel):
    """All that was found out about a server.

    Attributes:
        url: The server's base URL.
        findings: In the order in which they were made.
        tokens: The token IDs of the sample, where it could be tokenized.
        reward: Its reward, where it was scored.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    findings: tuple[Finding, ...]
    tokens: TokenizedSample | None = None
    reward: Reward | None = None

    @property
    def status(self) -> int:
        """0 for a healthy server, 1 with warnings, 2 where no or wrong rewards are likely."""
        verdicts = {finding.verdict for finding in self.findings}
        return 2 if "failed" in verdicts else int("warning" in verdicts)

    def __str__(self) -> str:
        """The findings, one below the other, and what they come to."""
        closing = (
            "Healthy: the rewards of this server are the raw ones of its model.",
            "Look at the warnings: whether they matter depends on the model.",
            "Not to be trusted: no reward, or a wrong one, is likely.",
        )[self.status]
        return "\n".join([self.url, *map(str, self.findings), closing])
