"""Rewards, and what they are compared with: published values, and other servers. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reward_client._base.results import Reward
from reward_client._doctor.error_findings import failure, in_two
from reward_client._doctor.findings import failed, not_checked, ok, warning
from reward_client._doctor.report import Diagnosis, Finding
from reward_client._replicas.comparison import ReplicaFingerprint, compare
from reward_client._server.manifest_checks import agrees, reported
from reward_client.errors import ReplicaMismatchError
from reward_client.heads import Scores
from reward_client.recipes import Reference
from reward_client.recipes.formatting import expected_in_words


def sample(reward: Reward) -> Finding:
    """The sample's reward and where it came from."""
    known = reward.provenance.model_dump(exclude_none=True).items()
    origin = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in known)
    tokens = "" if reward.token_count is None else f", for {reward.token_count} tokens"
    return ok("sample", f"{_numbers(reward)}{tokens}. From {origin}.")


def reference(known: Reference, reward: Reward) -> Finding:
    """Whether a reward is the published one."""
    found = reported(known, Scores(reward.scalar, reward.steps, reward.objectives))
    published = f"published: {expected_in_words(known)} ({known.source})."
    if agrees(known, found):
        return ok("reference value", f"{_listed(found)}; {published}")
    wanted = len(known.expected) if isinstance(known.expected, tuple) else 1
    if len(found) != wanted:
        return failed(
            "reference value",
            f"{len(found)} values came; {published}",
            "Name the recipe of the model that is served, or correct its head.",
        )
    return failed(
        "reference value",
        f"{_listed(found)}; {published}",
        "The server runs other weights, another chat template or another precision than the "
        "published model: compare its `vllm serve` command with that of `reward-client recipe`.",
    )


def replica_findings(diagnoses: Sequence[Diagnosis]) -> list[Finding]:
    """Whether several servers give the same rewards as the first of them that gives any."""
    return list(_replica_findings(diagnoses)) if len(diagnoses) > 1 else []


def _replica_findings(diagnoses: Sequence[Diagnosis]) -> Iterator[Finding]:
    first: ReplicaFingerprint | None = None
    for diagnosis in diagnoses:
        replica = _replica(diagnosis)
        if replica is None:
            yield not_checked("replicas", f"{diagnosis.url} gave no reward to compare.")
        elif first is None:
            first = replica
        else:
            yield _compared(first, replica)


def _replica(diagnosis: Diagnosis) -> ReplicaFingerprint | None:
    if diagnosis.profile is None or diagnosis.tokens is None or diagnosis.reward is None:
        return None
    return ReplicaFingerprint(diagnosis.profile, diagnosis.tokens, diagnosis.reward)


def _compared(first: ReplicaFingerprint, other: ReplicaFingerprint) -> Finding:
    try:
        difference = compare(first, other)
    except ReplicaMismatchError as error:
        return failure("replicas", error)
    if difference is not None:
        return warning("replicas", *in_two(difference))
    urls = other.profile.url, first.profile.url
    return ok("replicas", "{} gives the same tokens and reward as {}.".format(*urls))


def _scalar(reward: Reward) -> list[float]:
    return [] if reward.scalar is None else [reward.scalar]


def _numbers(reward: Reward) -> str:
    parts = [f"reward {value:.6g}" for value in _scalar(reward)]
    parts += [f"{name} {value:.6g}" for name, value in reward.objectives.items()]
    if reward.steps:
        parts.append(f"steps {_listed([step.value for step in reward.steps])}")
    return ", ".join(parts)


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)
