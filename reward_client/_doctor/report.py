"""The report of an examination: findings, and the diagnosis that collects them."""

from __future__ import annotations

import shutil
import textwrap
from collections import Counter
from collections.abc import Iterable
from typing import Literal, NamedTuple, TypeAlias

from pydantic import BaseModel, ConfigDict

from reward_client._base.results import Reward, ServerProfile, TokenizedSample
from reward_client._base.showing import html_table
from reward_client._printable import one_line
from reward_client._replicas.comparison import Fingerprint

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
    "offset",
    "date",
    "tokens",
    "BOS",
    "generation prompt",
    "template",
    "text path",
    "local tokenizer",
    "keep-alive",
    "sample",
    "one server",
    "reference value",
    "replicas",
]
"""The names of the checks; docs/how-to/doctor.md explains each."""

FindingStatus: TypeAlias = Literal["ok", "warning", "failed", "not checked"]

_LABELS: dict[FindingStatus, str] = {
    "ok": "ok",
    "warning": "WARN",
    "failed": "FAIL",
    "not checked": "-",
}
_DETAIL_COLUMN = 25
"""The column of the details, after the label and the longest name of a check."""
_MIN_WIDTH, _UNWRAPPED = 60, 10**6


class Finding(BaseModel):
    """The result of one check.

    Attributes:
        check: The name of the check.
        verdict: ``"ok"``; ``"failed"`` if missing or wrong rewards are likely; ``"warning"`` if
            that depends on the model; ``"not checked"`` if the check was impossible.
        detail: The observation.
        cure: The remedy, for every ``"failed"`` and ``"warning"``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    check: Check
    verdict: FindingStatus
    detail: str
    cure: str | None = None

    def __str__(self) -> str:
        """Format the finding for the terminal, wrapped at its width; unwrapped elsewhere."""
        width = max(shutil.get_terminal_size((_UNWRAPPED, 0)).columns, _MIN_WIDTH)
        lines = [_wrapped(f"{_LABELS[self.verdict]:4}  {self.check:17}  ", self.detail, width)]
        if self.cure is not None:
            lines.append(_wrapped(f"{'':{_DETAIL_COLUMN}}cure: ", self.cure, width))
        return "\n".join(lines)


class Diagnosis(BaseModel):
    """The findings about one server.

    Attributes:
        url: The server's base URL.
        findings: The findings in the order of the checks.
        profile: The server's profile, if its rewards can be requested.
        tokens: The token IDs of the sample, if the server could tokenize it.
        reward: The reward of the sample, if the server scored it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    findings: tuple[Finding, ...]
    profile: ServerProfile | None = None
    tokens: TokenizedSample | None = None
    reward: Reward | None = None

    @property
    def status(self) -> int:
        """0 for a healthy server, 1 with warnings, 2 if missing or wrong rewards are likely."""
        verdicts = {finding.verdict for finding in self.findings}
        return 2 if "failed" in verdicts else int("warning" in verdicts)

    def __repr_args__(self) -> Iterable[tuple[str | None, object]]:
        """Yield the outcome; ``str`` returns the whole report."""
        yield from (("url", self.url), ("status", self.status), ("findings", self._counted()))

    def _repr_html_(self) -> str:
        rows = [(_LABELS[f.verdict], f.check, f.detail, f.cure or "") for f in self.findings]
        return html_table(rows, ("verdict", "check", "detail", "cure"))

    def _counted(self) -> str:
        counts = Counter(finding.verdict for finding in self.findings)
        return ", ".join(f"{count} {verdict}" for verdict, count in counts.items())

    def __str__(self) -> str:
        """Format the findings, one below the other, with a conclusion."""
        conclusion = (
            "No problem found.",
            "Read the warnings: their effect depends on the model.",
            "Do not trust this server: missing or wrong rewards are likely.",
        )[self.status]
        return "\n".join([self.url, *map(str, self.findings), f"{conclusion} ({self._counted()})"])


class Examination(NamedTuple):
    """A diagnosis, with what it takes to compare the server with others.

    Attributes:
        diagnosis: The findings.
        fingerprint: The server's fingerprint; None if it tokenized or scored no sample.
    """

    diagnosis: Diagnosis
    fingerprint: Fingerprint | None


def ok(check: Check, detail: str) -> Finding:
    """Return a finding without a problem."""
    return Finding(check=check, verdict="ok", detail=detail)


def not_checked(check: Check, reason: str) -> Finding:
    """Return a finding for an impossible check."""
    return Finding(check=check, verdict="not checked", detail=reason)


def warning(check: Check, detail: str, cure: str) -> Finding:
    """Return a finding whose effect depends on the model."""
    return Finding(check=check, verdict="warning", detail=detail, cure=cure)


def failed(check: Check, detail: str, cure: str) -> Finding:
    """Return a finding that makes missing or wrong rewards likely."""
    return Finding(check=check, verdict="failed", detail=detail, cure=cure)


def reached(proxy: str | None) -> Finding:
    """Return the finding for a server that answers, with the proxy on the way."""
    through = f", through the proxy {proxy}" if proxy is not None else ""
    return ok("reach", f"The server answers{through}.")


KEY_FITS = ok("key", "/v1/models answers: the API key is right, or the server needs none.")


def _wrapped(lead: str, text: str, width: int) -> str:
    return textwrap.fill(
        one_line(text),
        width,
        initial_indent=lead,
        subsequent_indent=" " * _DETAIL_COLUMN,
        break_on_hyphens=False,
    )
