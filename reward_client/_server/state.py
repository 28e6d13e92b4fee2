"""A server as it was found, and what its caller said about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isclose
from typing import Literal

from reward_client._base.activation import Activation
from reward_client._base.options import RouteChoice, ServerActivation
from reward_client._base.results import Provenance, ServerProfile
from reward_client._protocols.vllm import Layout, PooledOutput, ScoringRequest
from reward_client._server.identity import Identity
from reward_client._tokenization.prompt_rules import PromptRules
from reward_client.errors import ShapeError
from reward_client.heads import Head, Rows, Scores
from reward_client.recipes import Recipe

# bfloat16 and the other samples of a batch move a score that much.
_SCORE_TOLERANCE = 0.02
_TEXT_TOLERANCE = 0.5


@dataclass(frozen=True, slots=True)
class GenerationInfo:
    """What a method does to have a text written; the fields are those of `Provenance`."""

    method_digest: str | None = None
    votes: int | None = None
    temperature: float | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """What a method reads.

    Attributes:
        method: Its name.
        tokens: The token whose logit is the reward, if it is one, or two of which the difference
            is: their IDs or texts.
        question: What is asked after each conversation.
        answers: Whether the tokens are those of an answer that begins after the prompt.
        writes: Whether the server only has to write, so that its numbers are of no account.
        origin: What else `Provenance` tells.
    """

    method: str = "pooled"
    tokens: tuple[int | str, ...] = ()
    question: str | None = None
    answers: bool = False
    writes: bool = False
    origin: GenerationInfo = field(default_factory=GenerationInfo)

    @property
    def opens(self) -> bool:
        """Whether an assistant's turn begins after the prompt."""
        return self.answers or self.writes


@dataclass(frozen=True, slots=True)
class DiscoveryOptions:
    """What the caller said about the model and the server.

    Attributes:
        model: Its name on the server; None for the only one.
        head: What reads the reward; None to find out.
        route: The route to use.
        activation: What the server does to its values.
        recipe: What is known of the model; ``"auto"`` looks it up by the server's model root.
        bos: Whether prompts must start with a BOS token.
        tokenizer: Who tokenizes, in words.
        reading: What the method reads.
    """

    model: str | None
    head: Head | None
    route: RouteChoice
    activation: ServerActivation | None
    recipe: Recipe | Literal["auto"] | None
    bos: bool | None
    tokenizer: str
    reading: OutputSpec


@dataclass(frozen=True, slots=True)
class ServerState:
    """A server as it was found, with all that is needed to have samples scored by it.

    Attributes:
        probes: The token lists that were scored to find it out.
        scores: What came back for them, in one row.
        exported: Whether the head lies in the Dense modules of an exported checkpoint.
        conversations: The request that takes many conversations, if there is one.
    """

    identity: Identity
    profile: ServerProfile
    ask: ScoringRequest
    head: Head
    rules: PromptRules
    layout: Layout
    activation: Activation
    response_model: str | None
    provenance: Provenance
    recipe: Recipe | None
    probes: tuple[tuple[int, ...], ...]
    scores: tuple[float, ...]
    exported: bool = False
    conversations: ScoringRequest | None = None

    def is_same_as(self, other: ServerState) -> bool:
        """Whether a later look found the same server: what it says, its tokens and its scores."""
        tolerance = score_tolerance(self.provenance)
        return self._facts() == other._facts() and is_same(self.scores, other.scores, tolerance)

    def read(self, output: PooledOutput, ids: Sequence[int]) -> Scores:
        """What the head reads out of one token list's output.

        Raises:
            ShapeError: It has another shape than this server's outputs, or than the head reads.
            NonFiniteRewardError: It makes no finite number.
        """
        steps = self.rules.step_places(ids)
        problem = self.layout.problem(output, len(ids), len(steps))
        if problem is not None:
            raise ShapeError(problem)
        rows = Rows(self.layout.rows(output), self.layout.kind, steps)
        return self.head.read(rows, self.activation)

    def _facts(self) -> tuple[object, ...]:
        return self.profile, self.ask, self.layout, self.rules, self.response_model, self.probes


def score_tolerance(provenance: Provenance) -> float:
    """How far a server's numbers for the same input may lie apart, as a part of them or absolute.

    Of a model that writes they are logarithms of probabilities, and only to tell other weights.
    """
    return _TEXT_TOLERANCE if provenance.head == "text" else _SCORE_TOLERANCE


def is_same(
    one: Sequence[float], other: Sequence[float], tolerance: float = _SCORE_TOLERANCE
) -> bool:
    """Whether a server may have given both for the same input."""
    return len(one) == len(other) and all(
        isclose(mine, theirs, rel_tol=tolerance, abs_tol=tolerance)
        for mine, theirs in zip(one, other, strict=True)
    )
