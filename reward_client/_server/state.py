"""The state of one server: everything that was discovered, and all that scoring on it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import isclose
from typing import Literal

from reward_client._base.activation import Activation
from reward_client._base.options import OnControlTokens, OnOverlong, RouteChoice, ServerActivation
from reward_client._base.results import Provenance, ServerProfile, Settings
from reward_client._protocols.engine import Engine, Served
from reward_client._protocols.pooled_output import Layout, PooledOutput
from reward_client._protocols.scoring_request import ScoringRequest
from reward_client._protocols.strategies import Rendering, Strategy
from reward_client._server.identity import Identity
from reward_client._server.offset import constant_offset
from reward_client._server.template_look import TemplateLook
from reward_client._server.warn_once import WarnOnce
from reward_client._tokenization.local_tokenizer import LocalTokenizer
from reward_client._tokenization.prompt_rules import PromptRules
from reward_client._tokenization.tokenizer import TokenizerChoice, local_tokenizer
from reward_client._version import __version__
from reward_client.errors import ResponseMismatchError
from reward_client.heads import Head, Rows, Scores, head_digest
from reward_client.recipes import Recipe

MAX_CHANGES = 5
"""How often the server may change under one piece of work before that is an error."""

# bfloat16 and the other samples of a batch move a score by that much, relative or absolute.
_SCORE_TOLERANCE = 0.02
_LOGPROB_TOLERANCE = 0.5


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """The output that a method reads from its server.

    Attributes:
        method: The method's name.
        tokens: The token whose logit is the reward, or two tokens whose difference is. IDs or texts
        question: The question after each conversation.
        answers: True if the tokens belong to an answer that begins after the prompt.
        generates: True if only generated text is used and logprobs are ignored.
        classifier_from_token: True if the caller says that a pooling server's head reads `tokens`.
        method_digest: As in `Provenance`, and so are the five that follow.
    """

    method: str = "pooled"
    tokens: tuple[int | str, ...] = ()
    question: str | None = None
    answers: bool = False
    generates: bool = False
    classifier_from_token: bool = False
    method_digest: str | None = None
    votes: int | None = None
    temperature: float | None = None
    seed: int | None = None
    top_p: float | None = None
    top_k: int | None = None

    @property
    def opens_turn(self) -> bool:
        """True if an assistant's turn begins after the prompt."""
        return self.answers or self.generates


@dataclass(frozen=True, slots=True)
class DiscoveryOptions:
    """The caller's options for one server.

    Attributes:
        model: The model's name on the server; None for the only one.
        head: The head; None to find it out.
        route: The route to use.
        activation: The activation that the server applies.
        recipe: The recipe; ``"auto"`` looks it up by the model's root or served name.
        bos: True if prompts must start with a BOS token.
        tokenizer: The name of the tokenizer, for the provenance.
        choice: The source of token IDs.
        output: The output that the method reads.
        pack_size: The most samples of one request.
        warn: Logs the warnings about the server.
    """

    model: str | None
    head: Head | None
    route: RouteChoice
    activation: ServerActivation | None
    recipe: Recipe | Literal["auto"] | None
    bos: bool | None
    tokenizer: str
    output: OutputSpec
    choice: TokenizerChoice = "server"
    pack_size: int = 1
    warn: WarnOnce = field(default_factory=WarnOnce, compare=False)

    def local_tokenizer(self, identity: Identity) -> LocalTokenizer | None:
        """Return the local tokenizer, which is not loaded yet; None without one."""
        return local_tokenizer(self.choice, identity.tokenizer_root)

    def name_of(self, recipe: Recipe, identity: Identity) -> str:
        """Return the name of the recipe, with the evidence if only the served name fits."""
        by_name = self.recipe == "auto" and identity.is_known_by_served_name
        return f"{recipe.name} (by served name)" if by_name else recipe.name


@dataclass(frozen=True, eq=False)
class ServerState:
    """A discovered server. `profile`, `provenance` and `settings` are views of it for callers.

    Attributes:
        url: The base URL.
        identity: The version and the model.
        strategy: The kind of request that gives raw values.
        head: The head that reads the values.
        layout: The shape of a response.
        activation: The activation that the server applies.
        rules: The rules for prompts, with the length limit.
        recipe: The recipe of the model.
        options: What the caller said.
        logit_tokens: The tokens whose logits are read.
        response_model: The model's name in responses.
        probes: The token lists that were scored for discovery.
        outputs: The pooled output of each probe.
        template: What the chat template writes around contents.
        offset: As in `Provenance`.
    """

    url: str
    identity: Identity
    strategy: Strategy
    head: Head
    layout: Layout
    activation: Activation
    rules: PromptRules
    recipe: Recipe | None
    options: DiscoveryOptions
    logit_tokens: tuple[int | str, ...]
    response_model: str | None
    probes: tuple[tuple[int, ...], ...]
    outputs: tuple[PooledOutput, ...]
    template: TemplateLook = field(default_factory=TemplateLook)
    offset: Literal["unknown"] | None = None

    @property
    def engine(self) -> Engine:
        """The kind of server."""
        return self.identity.engine

    @property
    def served(self) -> Served:
        """The model, as requests for its tokens name it."""
        return self.identity.served

    @property
    def model(self) -> str:
        """The model's name on the server."""
        return self.identity.model

    @property
    def recipe_name(self) -> str | None:
        """The name of the recipe, if any."""
        return self.options.name_of(self.recipe, self.identity) if self.recipe else None

    @property
    def request(self) -> ScoringRequest:
        """The request that scores token IDs."""
        return self.strategy.request

    @property
    def max_model_len(self) -> int | None:
        """The most tokens of one sample."""
        return self.rules.max_model_len

    @property
    def rows(self) -> list[Sequence[float]]:
        """The rows of all probes."""
        return [row for output in self.outputs for row in self.layout.rows(output)]

    @property
    def scores(self) -> tuple[float, ...]:
        """The values of all probes, in one row."""
        return tuple(value for output in self.outputs for value in output.values)

    @cached_property
    def profile(self) -> ServerProfile:
        """The view of the server."""
        request, identity = self.request, self.identity
        return ServerProfile(
            url=self.url,
            version=identity.version,
            version_known=identity.version_known,
            model=identity.model,
            root=identity.root,
            tokenizer_root=identity.tokenizer_root,
            max_model_len=self.max_model_len,
            route=request.route,
            sends=request.sends,
            task=request.task,
            switches=dict(request.switches),
            shape=self.layout.kind,
            width=self.layout.width,
            activation=self.activation.name,
            activation_known_by=self.activation.known_by,
            bos_token_id=self.rules.bos_token_id,
            recipe=self.recipe_name,
            engine=self.engine.key,
        )

    @cached_property
    def provenance(self) -> Provenance:
        """The view that each reward carries; one object for all rewards of this state."""
        output, recipe = self.options.output, self.recipe
        reads_logit = bool(self.logit_tokens) and output.method == "pooled"
        return Provenance(
            model=self.identity.model,
            server_version=self.identity.version,
            route=self.request.route,
            activation=self.activation.name,
            activation_known_by=self.activation.known_by,
            engine=self.engine.key,
            offset=self.offset,
            head=self._described_head(),
            recipe=self.recipe_name,
            recipe_digest=recipe.digest if recipe else None,
            tokenizer=self.options.tokenizer,
            method=_described_logit(self.logit_tokens) if reads_logit else output.method,
            method_digest=output.method_digest,
            votes=output.votes,
            temperature=output.temperature,
            seed=output.seed,
            top_p=output.top_p,
            top_k=output.top_k,
            client_version=__version__,
        )

    def settings(
        self, provenance: Provenance, on_overlong: OnOverlong, on_control_tokens: OnControlTokens
    ) -> Settings:
        """The view of everything that rewards depend on."""
        return Settings(
            **dict(provenance),
            root=self.identity.root,
            head_digest=head_digest(self.head),
            bos=self.options.bos,
            on_overlong=on_overlong,
            on_control_tokens=on_control_tokens,
            prompt_date=self.template.day,
            template_digest=self.template.digest,
            max_model_len=self.max_model_len if on_overlong == "drop_turns" else None,
            probe_scores=self.scores,
        )

    def with_limits_of(self, other: ServerState) -> ServerState:
        """Return the state with the narrower of two servers' limits."""
        ways = {
            served.way: served
            for served in (other.served, *other.rules.others, *self.rules.others)
            if served.way != self.served.way
        }
        rules = replace(
            self.rules,
            max_model_len=_narrower(self.max_model_len, other.max_model_len),
            vocabulary=_narrower(self.rules.vocabulary, other.rules.vocabulary),
            others=tuple(ways.values()),
        )
        return self if rules == self.rules else replace(self, rules=rules)

    @property
    def way(self) -> tuple[str, Rendering, bool]:
        """The way to token IDs: where it is the same, the same requests are right."""
        return *self.served.way, self.rules.server_tokenizes

    def is_same_as(self, other: ServerState) -> bool:
        """Return True if a later discovery found the same server: facts, tokens and scores."""
        tolerance = score_tolerance(self.provenance)
        return (
            self._facts() == other._facts()
            and not self.template.differences(other.template)
            and is_same(self.scores, other.scores, tolerance)
            and self.shift_from(other) is None
        )

    def shift_from(self, other: ServerState) -> float | None:
        """Return the constant between the rewards of two servers; None if there is none.

        Only for models to which an engine adds one: rounding is no constant, but may look like it.
        """
        if self.offset is None and other.offset is None:
            return None
        return constant_offset(self.rows, other.rows)

    def read(self, output: PooledOutput, ids: Sequence[int]) -> Scores:
        """Return the scores that the head reads from the pooled output of one token list.

        Raises:
            ShapeError: If the output has another shape than this server's, or than the head reads.
            NonFiniteRewardError: If the head's result is not finite.
        """
        layout = self.layout
        steps = self.rules.step_places(ids)
        if not layout.fits(output, len(ids), len(steps)):
            raise layout.misfit(output, len(ids), len(steps))
        return self.head.read(Rows(layout.rows(output), layout.kind, steps), self.activation)

    def _facts(self) -> tuple[object, ...]:
        return (
            self.profile,
            self.request,
            self.layout,
            self.rules,
            self.response_model,
            self.probes,
        )

    def _described_head(self) -> str:
        if self.options.output.generates:
            return "text"
        described = self.head.describe(self.layout)
        is_assumed = self.options.head is None and (self.recipe is None or self.recipe.head is None)
        if is_assumed and self.layout.kind == "per token":
            return described.replace(")", ", assumed)")
        return described


def _narrower(one: int | None, other: int | None) -> int | None:
    return min((limit for limit in (one, other) if limit is not None), default=None)


def score_tolerance(provenance: Provenance) -> float:
    """The relative and absolute tolerance between a server's values for the same input.

    A generative model's values are logprobs, and only tell other weights.
    """
    return _LOGPROB_TOLERANCE if provenance.head == "text" else _SCORE_TOLERANCE


def is_same(
    one: Sequence[float], other: Sequence[float], tolerance: float = _SCORE_TOLERANCE
) -> bool:
    """Return True if a server may have given both for the same input."""
    return len(one) == len(other) and all(
        isclose(mine, theirs, rel_tol=tolerance, abs_tol=tolerance)
        for mine, theirs in zip(one, other, strict=True)
    )


def keeps_changing(url: str) -> ResponseMismatchError:
    """The error for a server that is another one each time."""
    return ResponseMismatchError(
        f"Cannot score on {url}: another server answered each of {MAX_CHANGES} times. Give each "
        "server an address of its own: several different ones seem to share this one."
    )


def _described_logit(tokens: Sequence[int | str]) -> str:
    if len(tokens) == 2:
        return f"logit of token {tokens[0]!r} minus that of {tokens[1]!r}"
    return f"logit of token {tokens[0]!r}"
