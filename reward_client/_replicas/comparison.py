"""Compare servers that should be replicas, by what they make of one sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isclose
from typing import TypeAlias

from reward_client._base.options import Limits
from reward_client._base.results import Reward, ServerProfile, TokenizedSample
from reward_client._base.samples import Conversation, Message, Prompt
from reward_client._base.sequences import common_prefix_length
from reward_client._base.token_ids import TokenIds
from reward_client._base.wording import list_numbers
from reward_client._protocols.engines import ENGINES
from reward_client._protocols.http import Transport
from reward_client._server.offset import constant_offset
from reward_client._server.requests import fit_to_server, reward_of, score_tokens
from reward_client._server.state import ServerState
from reward_client._server.template_look import TemplateLook
from reward_client._tokenization import Tokenizer
from reward_client.errors import (
    BadRequestError,
    InputError,
    ReplicaMismatchError,
    RouteNotFoundError,
    TemplateUnavailableError,
)

QUESTION: Message = {"role": "user", "content": "What is 2 + 2?"}
_ANSWER = ("Two and two are added.", "2 + 2 = 4.")
_CURE = "Serve the same checkpoint with the same version of an engine and the same chat template."
_TOLERANCE = Limits().replica_tolerance


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A server's profile, its token IDs and reward for one sample, its chat template, and its rows.

    Attributes:
        rows: The values of each probe.
    """

    profile: ServerProfile
    tokens: TokenizedSample
    reward: Reward
    template: TemplateLook = field(default_factory=TemplateLook)
    rows: Sequence[Sequence[float]] = ()


Samples: TypeAlias = Sequence[tuple[Prompt, Fingerprint]]
"""Each with what the first server makes of it; token IDs are the last."""


async def first_fingerprints(transport: Transport, state: ServerState) -> Samples:
    """Return the samples for all replicas, each with the first one's fingerprint.

    A conversation, which shows the chat template, unless the model takes none; and token IDs.

    Raises:
        RewardClientError: As `take_fingerprint`.
    """
    ids = TokenIds.of(state.probes[-1])
    by_ids = ids, await take_fingerprint(transport, state, ids)
    prompt = comparison_sample(in_steps=state.rules.step is not None)
    try:
        return (prompt, await take_fingerprint(transport, state, prompt)), by_ids
    except (BadRequestError, InputError, RouteNotFoundError):
        return (by_ids,)


async def both_fingerprints(
    transport: Transport, state: ServerState, samples: Samples
) -> tuple[Fingerprint, Fingerprint]:
    """Return the first one's fingerprint and another one's, for a sample that both take.

    Raises:
        RewardClientError: As `take_fingerprint`.
    """
    *others, (ids, by_ids) = samples
    for prompt, first in others:
        try:
            return first, await take_fingerprint(transport, state, prompt)
        except TemplateUnavailableError:  # it scores token IDs nevertheless
            continue
    return by_ids, await take_fingerprint(transport, state, ids)


async def take_fingerprint(transport: Transport, state: ServerState, prompt: Prompt) -> Fingerprint:
    """Tokenize and score the sample on one server, by the local tokenizer if it tokenizes nothing.

    Raises:
        RewardClientError: If the sample cannot be tokenized or scored.
    """
    tokenizer = Tokenizer(
        "server" if state.rules.server_tokenizes else state.options.choice, "raise"
    )
    tokens = await tokenizer.tokenize(transport, state.profile, state.rules, prompt)
    sample = await fit_to_server(transport, state, tokens)
    (scores,) = await score_tokens(transport, state, [sample])
    if isinstance(scores, Exception):
        raise scores
    reward = reward_of(state, tokens, scores)
    return Fingerprint(state.profile, tokens.sample(), reward, state.template, state.rows)


def comparison_sample(turns: Sequence[Message] = (QUESTION,), *, in_steps: bool) -> Conversation:
    """Return the turns with a short answer, which has steps for process reward models."""
    if in_steps:
        return Conversation(turns, steps=_ANSWER)
    return Conversation([*turns, {"role": "assistant", "content": " ".join(_ANSWER)}])


def compare(first: Fingerprint, other: Fingerprint, tolerance: float = _TOLERANCE) -> str | None:
    """Compare the fingerprints of two servers.

    Args:
        first: One server.
        other: The other server.
        tolerance: The relative and absolute tolerance between their rewards.

    Returns:
        A difference that changes no reward but deserves a look, with the cure; or None.

    Raises:
        ReplicaMismatchError: If model, version, input, token IDs or rewards differ.
    """
    one, two = first.profile, other.profile
    if _basename(one.root or one.model) != _basename(two.root or two.model):
        raise _mismatch(one, two, f"{one.root or one.model} and {two.root or two.model}")
    is_one_engine = one.engine == two.engine
    if is_one_engine and _minor(one.version) != _minor(two.version):
        raise _mismatch(one, two, f"{_named(one)} and {two.version}")
    if one.sends != two.sends:
        raise _mismatch(one, two, f"{_named(one)} takes {one.sends}, {_named(two)} {two.sends}")
    if first.tokens.token_ids != other.tokens.token_ids:
        index = common_prefix_length(first.tokens.token_ids, other.tokens.token_ids)
        raise _mismatch(
            one, two, f"different token IDs for the same sample, from position {index} on"
        )
    parts = first.template.differences(other.template)
    if parts:
        raise _mismatch(
            one, two, f"different token IDs for the same conversation ({', '.join(parts)})"
        )
    shift = _shift(first, other)
    if shift is not None:
        raise shift
    values, others = _values(first.reward), _values(other.reward)
    if len(values) != len(others) or not all(
        isclose(value, another, rel_tol=tolerance, abs_tol=tolerance)
        for value, another in zip(values, others, strict=True)
    ):
        raise _mismatch(
            one, two, f"{list_numbers(values)} and {list_numbers(others)} for the same sample"
        )
    if not is_one_engine:
        return None
    if one.version != two.version:
        return f"{_at(one)}, {_at(two)}. Run the same version on both."
    if one.max_model_len != two.max_model_len:
        return (
            f"{one.url} takes {one.max_model_len} tokens, {two.url} {two.max_model_len}: one "
            "scores a long sample and the other refuses it. Start both with the same "
            f"{ENGINES[one.engine].length_option}."
        )
    return None


def _shift(first: Fingerprint, other: Fingerprint) -> ReplicaMismatchError | None:
    """Return the error for a constant between the rewards of two servers, if there is one."""
    shifted = next((each for each in (first, other) if each.reward.provenance.offset), None)
    if shifted is None or first.profile.width != other.profile.width:
        return None
    shift = constant_offset(first.rows, other.rows)
    if shift is None:
        return None
    engine = ENGINES[shifted.profile.engine]
    one, two = first.profile, other.profile
    return _mismatch(
        one,
        two,
        f"all rewards of {(one if shift > 0 else two).url} are {abs(shift):.4g} higher, as "
        f"{engine.name} adds a constant at each start to rewards of this model",
        cure=f"{engine.advice.shifted}.",
    )


def _named(profile: ServerProfile) -> str:
    return f"{ENGINES[profile.engine].name} {profile.version}"


def _at(profile: ServerProfile) -> str:
    return f"{profile.url} runs {_named(profile)}"


def _mismatch(
    one: ServerProfile, two: ServerProfile, difference: str, cure: str = _CURE
) -> ReplicaMismatchError:
    return ReplicaMismatchError(
        f"{one.url} and {two.url} are not replicas of each other: {difference}. {cure}"
    )


def _values(reward: Reward) -> tuple[float, ...]:
    steps = (step.value for step in reward.steps)
    if reward.provenance.head == "text":
        return ()  # the likeliest token's logprob, which no reward depends on
    scalar = () if reward.scalar is None else (reward.scalar,)
    return (*scalar, *reward.objectives.values(), *steps)


def _basename(root: str) -> str:
    return root.rstrip("/").rpartition("/")[2].lower()


def _minor(version: str | None) -> tuple[str, ...]:
    return tuple((version or "").split(".")[:2])
