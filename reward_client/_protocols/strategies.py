"""How to ask a server for the raw values of one kind of model, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Literal, TypeAlias

from reward_client._protocols.pooled_output import LayoutKind
from reward_client._protocols.scoring_request import ScoringRequest

ModelKind: TypeAlias = Literal[
    "sequence",
    "token",
    "steps",
    "hidden",
    "exported",
    "exported steps",
    "logit",
    "difference",
    "text",
]
"""The kind of the served model and of its output:

* ``"sequence"``: a ``...ForSequenceClassification`` with one label or more, or a causal model with
  ``classifier_from_token``;
* ``"token"``: a head at each token (``Qwen2ForRewardModel``);
* ``"steps"``: a process reward model (``Qwen2ForProcessRewardModel``);
* ``"hidden"``: a backbone that embeds;
* ``"exported"``, ``"exported steps"``: a checkpoint whose head is in sentence-transformers
  ``Dense`` modules, applied to the last token or to each token;
* ``"logit"``, ``"difference"``: a generative model read by one token's logit, or by the difference
  of two;
* ``"text"``: a model used only to generate text.
"""

DefaultActivation: TypeAlias = Literal["none", "sigmoid", "softmax", "normalized", "log-softmax"]
"""The activation that a server applies unless a request or its flags say otherwise. "sigmoid"
applies to one label; several labels get a softmax in all versions."""


Rendering: TypeAlias = Literal["all", "unproven", "questions", "none"]
"""The conversations of which a server makes the right token IDs:

* ``"all"``: all of them;
* ``"unproven"``: all of them, unless somebody drops a key of the request;
* ``"questions"``: those that end with a user's turn and open the assistant's; of an answer it makes
  another user's turn;
* ``"none"``: none.
"""


@dataclass(frozen=True, slots=True)
class Strategy:
    """The request for the raw values of one kind of model.

    Attributes:
        request: The request.
        shape: The unit of a row in the response.
        default_activation: The activation that the server applies by default.
        flag: The server's flag for raw values, in case no request can ask for them.
        exceptions: The models that this version treats otherwise.
        wrong_if_served: A request that the server must refuse. If the server answers it, its
            configuration makes the values of `request` wrong.
        wrong_because: The reason for `wrong_if_served`, and advice.
        exported: True if the head is in ``Dense`` modules. vLLM only logs that it could not load
            some, and then answers the output of the others.
        live: The versions that answered the request; None if all running versions did.
        fallback: A strategy with the same output, for servers that do not serve this one.
        conversations: The request that takes several conversations, if there is one.
        no_flag: What to do if no flag helps.
    """

    request: ScoringRequest
    shape: LayoutKind
    default_activation: DefaultActivation
    flag: str
    exceptions: str = ""
    wrong_if_served: ScoringRequest | None = None
    wrong_because: str = ""
    exported: bool = False
    live: tuple[str, ...] | None = None
    fallback: Strategy | None = None
    conversations: ScoringRequest | None = None
    no_flag: str = "No flag of this version helps: serve the model with a newer one."

    @property
    def cure(self) -> str:
        """The cure for values that are not raw, as a sentence."""
        return f"Start the server with {self.flag}." if self.flag else self.no_flag


@dataclass(frozen=True, slots=True)
class VersionRange:
    """A range of versions with the same requests.

    Attributes:
        since: The first version (major, minor, patch). The range ends before the next one.
        strategies: The strategy for each kind. No server publishes its kind: the client tries the
            strategies of all kinds that fit the head, in turn.
        errors: The form of an error body: ``"flat"`` (``{"object": "error", "message": …}``) or
            ``"nested"`` (``{"error": {"message": …}}``).
        hint: The advice if no strategy works.
        source: The origin of the row.
        live: The versions of the range that were seen running.
        renders: The conversations of which the server makes the right token IDs.
        tokenizes: True if it has a route of token IDs.
        if_named: Further strategies with the same output, which are tried only if the caller names
            their route.
    """

    since: tuple[int, int, int]
    strategies: Mapping[ModelKind, Strategy]
    errors: Literal["flat", "nested"]
    source: str
    live: tuple[str, ...] = ()
    renders: Rendering = "all"
    tokenizes: bool = True
    hint: str = (
        "Serve the reward model with `vllm serve MODEL --runner pooling` "
        "(`--task classify` or `--task reward` up to 0.9)."
    )
    if_named: Mapping[ModelKind, tuple[Strategy, ...]] = field(
        default_factory=dict["ModelKind", "tuple[Strategy, ...]"]
    )


def last_since(
    release: tuple[int, int, int], ranges: Sequence[VersionRange]
) -> VersionRange | None:
    """Return the range of a release; None for one before the first range.

    Args:
        release: Major, minor and patch.
        ranges: The ranges, the oldest first.
    """
    passed = tuple(takewhile(lambda each: each.since <= release, ranges))
    return passed[-1] if passed else None
