"""Findings in few words."""

from __future__ import annotations

from reward_client._doctor.report import Check, Finding


def ok(check: Check, detail: str) -> Finding:
    """All is well."""
    return Finding(check=check, verdict="ok", detail=detail)


def not_checked(check: Check, why: str) -> Finding:
    """It could not be looked at."""
    return Finding(check=check, verdict="not checked", detail=why)


def warning(check: Check, detail: str, cure: str) -> Finding:
    """Whether it matters depends on the model."""
    return Finding(check=check, verdict="warning", detail=detail, cure=cure)


def failed(check: Check, detail: str, cure: str) -> Finding:
    """No reward, or a wrong one, is likely."""
    return Finding(check=check, verdict="failed", detail=detail, cure=cure)


REACHED = ok("reach", "The server answers.")
KEY_FITS = ok("key", "/v1/models answers: the API key is right, or none is needed.")
