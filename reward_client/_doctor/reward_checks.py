"""Checks of rewards against published values and other servers. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reward_client._base.results import Reward
from reward_client._base.wording import list_numbers
from reward_client._doctor.error_findings import error_finding, split_hint
from reward_client._doctor.report import Examination, Finding, failed, not_checked, ok, warning
from reward_client._replicas.comparison import Fingerprint, compare
from reward_client._server.manifest_checks import agrees, reported
from reward_client.errors import ReplicaMismatchError
from reward_client.heads import Scores
from reward_client.recipes import Reference
from reward_client.recipes.formatting import expected_in_words


def sample(reward: Reward) -> Finding:
    """Report the sample's reward with its provenance."""
    known = reward.provenance.model_dump(exclude_none=True).items()
    origin = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in known)
    tokens = "" if reward.token_count is None else f", for {reward.token_count} tokens"
    return ok("sample", f"{_in_words(reward)}{tokens}. From {origin}.")


def reference(known: Reference, reward: Reward) -> Finding:
    """Compare a reward with its published value."""
    found = reported(known, Scores(reward.scalar, reward.steps, reward.objectives))
    published = f"published: {expected_in_words(known)} ({known.source})."
    if agrees(known, found):
        return ok("reference value", f"{list_numbers(found)}; {published}")
    expected = len(known.expected) if isinstance(known.expected, tuple) else 1
    if len(found) != expected:
        return failed(
            "reference value",
            f"The server gave {len(found)} values; {published}",
            "Name the recipe of the served model, or correct its head.",
        )
    return failed(
        "reference value",
        f"{list_numbers(found)}; {published}",
        "The weights, the chat template or the precision differ from the published model's. "
        "Compare the server's command with that of `reward-client recipe`.",
    )


def replica_findings(examinations: Sequence[Examination]) -> list[Finding]:
    """Compare several servers with the first of them that gave a reward."""
    return list(_replica_findings(examinations)) if len(examinations) > 1 else []


def _replica_findings(examinations: Sequence[Examination]) -> Iterator[Finding]:
    first: Fingerprint | None = None
    for diagnosis, fingerprint in examinations:
        if fingerprint is None:
            yield not_checked("replicas", f"{diagnosis.url} gave no reward to compare.")
        elif first is None:
            first = fingerprint
        else:
            yield _compared(first, fingerprint)


def _compared(first: Fingerprint, other: Fingerprint) -> Finding:
    try:
        difference = compare(first, other)
    except ReplicaMismatchError as error:
        return error_finding("replicas", error)
    if difference is not None:
        return warning("replicas", *split_hint(difference))
    urls = other.profile.url, first.profile.url
    return ok("replicas", "{} gives the same tokens and reward as {}.".format(*urls))


def _in_words(reward: Reward) -> str:
    parts = [] if reward.scalar is None else [f"reward {reward.scalar:.6g}"]
    parts += [f"{name} {value:.6g}" for name, value in reward.objectives.items()]
    if reward.steps:
        parts.append(f"steps {list_numbers([step.value for step in reward.steps])}")
    return ", ".join(parts)
