"""What comes back: rewards, rankings, and where each number came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from reward_client.errors import RewardClientError

__all__ = [
    "Provenance",
    "Ranking",
    "Reward",
    "ScoreResult",
    "ServerProfile",
    "TokenizedSample",
    "ranking",
]


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ServerProfile(_Result):
    """What is known of a server, and how it is therefore asked.

    Attributes:
        url: Its base URL, without ``/v1``.
        version: What ``/version`` says, or None where that is not to be had.
        version_known: Whether the version table covers it; if not, the route was found by probing.
        model: The model's name on the server.
        root: Where the server loaded it from, if it says so.
        max_model_len: The most tokens of one sample, if the server says so.
        route: ``"embeddings"`` or ``"pooling"``.
        task: The pooling task that is sent, if any.
        switches: The keys sent to have the raw value.
        shape: ``"vector"`` (one value for a conversation) or ``"per token"`` (the last one counts).
        activation: What the server applies to the values it sends: ``"none"`` or ``"sigmoid"``
            (then the client inverts it).
        activation_known_by: ``"request"`` (this version's switch is sent), ``"task"`` (an embedding
            task applies none), ``"probe"`` (a value outside [0, 1] was seen) or ``"caller"``
            (``server_activation=``).
        bos_token_id: The token that starts a text, if the tokenizer adds one.
    """

    url: str
    version: str | None
    version_known: bool
    model: str
    root: str | None
    max_model_len: int | None
    route: str
    task: str | None
    switches: dict[str, bool]
    shape: str
    activation: str
    activation_known_by: str
    bos_token_id: int | None


class Provenance(_Result):
    """Where a reward came from; one object is shared by all rewards of a server profile.

    Attributes:
        model: The model's name on the server.
        server_version: vLLM's version.
        route: ``"embeddings"`` or ``"pooling"``.
        activation: What the server applied: ``"none"``, or ``"sigmoid"`` (inverted by the client).
        activation_known_by: As in `ServerProfile`.
        head: ``"scalar"``, or ``"scalar (last token, assumed)"`` where the server answers one value
            for each token.
        tokenizer: ``"server"``: its ``/tokenize`` makes the token IDs, where the sample is not
            token IDs already.
        client_version: The version of this package.
    """

    model: str
    server_version: str | None
    route: str
    activation: str
    activation_known_by: str
    head: str
    tokenizer: str
    client_version: str


class TokenizedSample(_Result):
    """The token IDs that are scored for a sample.

    Attributes:
        token_ids: As the server's ``/tokenize`` gave them, or the caller did.
        max_model_len: The most tokens that the server takes, if it says so.
        bos_count: How many BOS tokens the IDs start with; 2 is a common mistake. 0 also where the
            tokenizer adds none to a text, so that there is nothing to count.
    """

    token_ids: tuple[int, ...]
    max_model_len: int | None
    bos_count: int


class Reward(_Result):
    """The reward of one conversation. It has no order of its own: compare ``value``.

    Attributes:
        value: The raw output of the model's head: a logit, not a probability.
        token_count: How many tokens were scored.
        token_digest: SHA-256 (hex) of the token IDs as little-endian 32-bit integers.
        bos_count: As in `TokenizedSample`.
        provenance: Which server, model and route gave the number, and how.
    """

    value: float
    token_count: int
    token_digest: str
    bos_count: int
    provenance: Provenance

    def __float__(self) -> float:
        """The raw reward."""
        return self.value


class Ranking(_Result):
    """Responses to one prompt, best first.

    Attributes:
        best: The response with the highest reward; of equal ones the first given.
        best_index: Its position in the responses given.
        order: Positions from best to worst; equal rewards keep the order given.
        rewards: The rewards in the order given.
    """

    best: str
    best_index: int
    order: tuple[int, ...]
    rewards: tuple[Reward, ...]


@dataclass(frozen=True, slots=True)
class ScoreResult:
    """The outcome of one sample of a stream: either a reward or an error.

    Attributes:
        index: The sample's position in the input, from 0.
        reward: The reward, or None where it failed.
        error: Why it failed, or None.
    """

    index: int
    reward: Reward | None
    error: RewardClientError | None


def ranking(responses: Sequence[str], rewards: Sequence[Reward]) -> Ranking:
    """Orders responses by their rewards, best first; equal ones keep their order."""
    order = sorted(range(len(rewards)), key=lambda index: -rewards[index].value)
    return Ranking(
        best=responses[order[0]],
        best_index=order[0],
        order=tuple(order),
        rewards=tuple(rewards),
    )
