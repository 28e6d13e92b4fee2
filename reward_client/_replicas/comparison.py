"""Whether servers that should be replicas give the same rewards. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import isclose

from reward_client._base.options import Limits
from reward_client._base.results import Reward, ServerProfile, TokenizedSample
from reward_client.errors import ReplicaMismatchError

_TOLERANCE = Limits().replica_tolerance


@dataclass(frozen=True, slots=True)
class ReplicaFingerprint:
    """What one server says of itself, and what it makes of the same sample as the others."""

    profile: ServerProfile
    tokens: TokenizedSample
    reward: Reward


def compare(
    first: ReplicaFingerprint, other: ReplicaFingerprint, tolerance: float = _TOLERANCE
) -> str | None:
    """Whether two servers are replicas.

    Args:
        first: One of them.
        other: The other one.
        tolerance: How far rewards may lie apart, as a part of them or absolute.

    Returns:
        A difference that changes no reward but deserves a look, with what to do; or None.

    Raises:
        ReplicaMismatchError: They differ in model, version, what they take, token IDs, or rewards.
    """
    one, two = first.profile, other.profile
    if _basename(one.root or one.model) != _basename(two.root or two.model):
        raise _mismatch(one, two, f"{one.root or one.model} and {two.root or two.model}")
    if _minor(one.version) != _minor(two.version):
        raise _mismatch(one, two, f"vLLM {one.version} and {two.version}")
    if one.sends != two.sends:
        raise _mismatch(
            one, two, f"vLLM {one.version} takes {one.sends}, {two.version} {two.sends}"
        )
    if first.tokens.token_ids != other.tokens.token_ids:
        place = _first_difference(first.tokens.token_ids, other.tokens.token_ids)
        raise _mismatch(one, two, f"other token IDs for the same sample, from position {place} on")
    mine, theirs = _numbers(first.reward), _numbers(other.reward)
    if len(mine) != len(theirs) or not all(map(partial(_is_close, tolerance), mine, theirs)):
        raise _mismatch(one, two, f"{_shown(mine)} and {_shown(theirs)} for the same sample")
    if one.version != two.version:
        return (
            f"{one.url} runs vLLM {one.version}, {two.url} {two.version}. Run the same version on "
            "both."
        )
    if one.max_model_len != two.max_model_len:
        return (
            f"{one.url} takes {one.max_model_len} tokens, {two.url} {two.max_model_len}: a long "
            "sample is scored by one and refused by the other. Start both with the same "
            "--max-model-len."
        )
    return None


def _mismatch(one: ServerProfile, two: ServerProfile, difference: str) -> ReplicaMismatchError:
    return ReplicaMismatchError(
        f"{one.url} and {two.url} are no replicas of each other: {difference}. Serve the same "
        "checkpoint with the same vLLM and the same chat template."
    )


def _numbers(reward: Reward) -> tuple[float, ...]:
    steps = (step.value for step in reward.steps)
    if reward.provenance.head == "text":
        return ()  # the likeliest token's logarithm, which is of no account
    scalar = () if reward.scalar is None else (reward.scalar,)
    return (*scalar, *reward.objectives.values(), *steps)


def _is_close(tolerance: float, mine: float, theirs: float) -> bool:
    return isclose(mine, theirs, rel_tol=tolerance, abs_tol=tolerance)


def _shown(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:.6g}" for number in numbers)


def _basename(root: str) -> str:
    return root.rstrip("/").rpartition("/")[2].lower()


def _minor(version: str | None) -> tuple[str, ...]:
    return tuple((version or "").split(".")[:2])


def _first_difference(one: Sequence[int], two: Sequence[int]) -> int:
    pairs = zip(one, two, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(two)))
