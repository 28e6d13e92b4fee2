"""Finding out what a server is: version, model, limit, route, shape, activation."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isclose
from typing import Literal

from reward_client._version import __version__
from reward_client.activation import Activation
from reward_client.calls import Caller, Reply
from reward_client.errors import ProtocolError, RecipeError, RouteNotFoundError, ShapeError
from reward_client.heads import Head, LinearHead, Rows, ScalarHead, StepHead
from reward_client.options import RouteChoice, ServerActivation
from reward_client.recipes import Recipe, find_recipe
from reward_client.rewards import Provenance, ServerProfile
from reward_client.routes import Ask, Layout, PooledOutput, find_layout
from reward_client.samples import parse_sample
from reward_client.server.evidence import (
    Reads,
    find_activation,
    unknown_activation,
)
from reward_client.server.identity import Identity, identify, mounted_paths
from reward_client.server.probes import Probes, step_token, text_probes, tokenized_probes
from reward_client.server.versions import UNKNOWN, Era, Kind, Way, era_of
from reward_client.tokenizing.rules import PromptRules, StepToken
from reward_client.tokenizing.server import server_ids

__all__ = ["Serving", "Wishes", "discover"]

_logger = logging.getLogger("reward_client")

# bfloat16 and the other samples of a batch move a score that much.
_SCORE_TOLERANCE = 0.02


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the caller said about the model and the server.

    Attributes:
        model: Its name on the server; None for the only one.
        head: What reads the reward; None to find out.
        route: The route to use.
        activation: What the server does to its values.
        recipe: What is known of the model; ``"auto"`` looks it up by the server's model root.
        bos: Whether prompts must start with a BOS token.
        tokenizer: Who tokenizes, in words.
    """

    model: str | None
    head: Head | None
    route: RouteChoice
    activation: ServerActivation | None
    recipe: Recipe | Literal["auto"] | None
    bos: bool | None
    tokenizer: str


@dataclass(frozen=True, slots=True)
class Serving:
    """A server as it was found, with all that is needed to have samples scored by it.

    Attributes:
        probes: The token lists that were scored to find it out.
        scores: What came back for them, in one row.
    """

    identity: Identity
    profile: ServerProfile
    ask: Ask
    head: Head
    rules: PromptRules
    layout: Layout
    activation: Activation
    reply_model: object
    provenance: Provenance
    recipe: Recipe | None
    probes: tuple[tuple[int, ...], ...]
    scores: tuple[float, ...]

    def is_same_as(self, other: Serving) -> bool:
        """Whether a later look found the same server: what it says, its tokens and its scores."""
        return (
            self._facts() == other._facts()
            and len(self.scores) == len(other.scores)
            and all(
                isclose(mine, theirs, rel_tol=_SCORE_TOLERANCE, abs_tol=_SCORE_TOLERANCE)
                for mine, theirs in zip(self.scores, other.scores, strict=True)
            )
        )

    def _facts(self) -> tuple[object, ...]:
        return self.profile, self.ask, self.layout, self.rules, self.reply_model, self.probes

    def rows(self, output: PooledOutput, ids: Sequence[int]) -> Rows:
        """The rows of one token list's output, with the places of its steps."""
        return Rows(self.layout.rows(output), self.layout.kind, _steps(ids, self.rules.step))


async def discover(caller: Caller, wishes: Wishes) -> Serving:
    """Finds out how this server gives raw rewards.

    Raises:
        RouteNotFoundError: No route gives a reward.
        ShapeError: The head cannot read what comes.
        NotARewardError: Hidden states come back, or numbers of a head without weights.
        ActivationError: Raw values are not to be had.
        RecipeError: What is known of the model forbids it, or contradicts the server.
        InputError: The step token is none of this model's.
        RewardClientError: As `identify`.
    """
    identity = await identify(caller, wishes.model)
    recipe = _recipe(wishes.recipe, identity.root)
    head = wishes.head or (recipe.head if recipe else None)
    era = era_of(identity.version)
    model = identity.model
    step = await step_token(caller, model, head) if isinstance(head, StepHead) else None
    mounted = await mounted_paths(caller)
    ways = [
        way for way in _ways(era, head, wishes.route) if mounted is None or way.ask.path in mounted
    ]
    probes = await tokenized_probes(caller, model, step)
    found = await _first_that_fits(caller, identity, ways, probes, step, head, era, recipe)
    rules = _rules(wishes, recipe, probes, step, head)
    activation = await _activation(caller, found, identity, wishes, recipe, rules, era)
    profile = ServerProfile(
        url=caller.url,
        version=identity.version,
        version_known=era is not UNKNOWN,
        model=model,
        root=identity.root,
        max_model_len=identity.max_model_len or probes.max_model_len,
        route=found.way.ask.route,
        sends=found.way.ask.sends,
        task=found.way.ask.task,
        switches=dict(found.way.ask.switches),
        shape=found.layout.kind,
        width=found.layout.width,
        activation=activation.name,
        activation_known_by=activation.known_by,
        bos_token_id=probes.bos,
        recipe=recipe.name if recipe else None,
    )
    _logger.info("server profile: %r", profile)
    if activation.name != "none":
        _logger.warning("the server applies a %s", activation.name)
    return Serving(
        identity=identity,
        profile=profile,
        ask=found.way.ask,
        head=found.head,
        rules=rules,
        layout=found.layout,
        activation=activation,
        reply_model=found.reply_model,
        provenance=_provenance(profile, found, recipe, wishes.tokenizer, assumed=head is None),
        recipe=recipe,
        probes=probes.ids,
        scores=tuple(value for output in found.outputs for value in output.values),
    )


def _recipe(wanted: Recipe | Literal["auto"] | None, root: str | None) -> Recipe | None:
    recipe = (find_recipe(root) if root else None) if wanted == "auto" else wanted
    if recipe is not None and recipe.refusal:
        raise RecipeError(
            f"{recipe.name}: {recipe.refusal} recipe=None goes on without what is known of the "
            "model, at your own risk."
        )
    return recipe


def _kinds(head: Head | None) -> tuple[Kind, ...]:
    """The kinds of models whose output a head reads, the likeliest first."""
    if isinstance(head, StepHead):
        return ("steps",)
    if isinstance(head, LinearHead):
        return ("hidden",)
    return ("sequence", "token", "exported")


def _ways(era: Era, head: Head | None, route: RouteChoice) -> list[Way]:
    """The ways to try, each once: kinds may share one."""
    ways: list[Way] = []
    for kind in _kinds(head):
        known = [era.ways[kind]] if kind in era.ways else []
        if route != "auto":
            named = [*known, *era.by_name.get(kind, ())]
            known = [way for way in named if way.ask.route == route]
        ways += [way for way in known if way.ask not in [earlier.ask for earlier in ways]]
    return ways


@dataclass(frozen=True, slots=True)
class _Found:
    way: Way
    head: Head
    layout: Layout
    ids: Sequence[Sequence[int]]
    outputs: list[PooledOutput]
    reply: Reply

    @property
    def reply_model(self) -> object:
        return self.reply.fields().get("model")

    def rows(self) -> list[Sequence[float]]:
        return [row for output in self.outputs for row in self.layout.rows(output)]


async def _first_that_fits(
    caller: Caller,
    identity: Identity,
    ways: Iterable[Way],
    probes: Probes,
    step: StepToken | None,
    head: Head | None,
    era: Era,
    recipe: Recipe | None,
) -> _Found:
    """Tries the ways in turn; the most telling refusal is raised if none fits the head."""
    misfit: ProtocolError | None = None
    not_served: RouteNotFoundError | None = None
    asked: set[str] = set()
    for way in ways:
        asked.add(way.ask.path)
        try:
            found = await _probed(caller, identity.model, way, probes, step, head)
        except RouteNotFoundError as error:
            not_served = error
            continue
        problem = found.head.problem(found.layout)
        if problem is None:
            return found
        misfit = misfit or found.reply.error(type(problem), str(problem))
    if misfit is not None:
        if recipe is not None and head is not None and head == recipe.head:
            raise RecipeError(
                f"The recipe {recipe.name} does not fit what this server serves: {misfit}"
            ) from misfit
        raise misfit
    raise RouteNotFoundError(
        f"No route of this server gives a reward. {era.advice}",
        status=404,
        server_message=not_served.server_message if not_served else "",
        endpoint=f"{', '.join(sorted(asked)) or 'no route'} at {caller.url}",
    ) from not_served


async def _probed(
    caller: Caller,
    model: str,
    way: Way,
    probes: Probes,
    step: StepToken | None,
    head: Head | None,
) -> _Found:
    ids: Sequence[Sequence[int]] = probes.ids
    inputs: Sequence[Sequence[int]] | Sequence[str] = ids
    if way.ask.sends == "text":
        inputs, ids = await text_probes(caller, model)
    reply = await caller.call(way.ask.call(model, inputs))
    outputs = way.ask.read(reply, ids)
    steps = [len(_steps(each, step)) for each in ids]
    layout = find_layout(outputs, [len(each) for each in ids], steps)
    if layout is None:
        sizes = [len(output.values) for output in outputs]
        raise reply.error(
            ShapeError,
            f"The replies to {[len(each) for each in ids]} tokens (with {steps} step tokens) hold "
            f"{sizes} values: neither one row for each sample, nor for each token or step.",
        )
    return _Found(way, head or ScalarHead(), layout, ids, outputs, reply)


def _steps(ids: Sequence[int], step: StepToken | None) -> tuple[int, ...]:
    if step is None:
        return ()
    return tuple(place for place, token in enumerate(ids) if token == step.token_id)


def _rules(
    wishes: Wishes,
    recipe: Recipe | None,
    probes: Probes,
    step: StepToken | None,
    head: Head | None,
) -> PromptRules:
    notes = recipe.prompt if recipe else None
    return PromptRules(
        generation_prompt=notes.generation_prompt if notes else False,
        bos=wishes.bos if wishes.bos is not None else (notes.bos if notes else None),
        bos_token_id=probes.bos,
        append=notes.append_tokens if notes else (),
        step=step,
        separator=head.separator if isinstance(head, StepHead) else None,
    )


def _reads(head: Head) -> Reads:
    if isinstance(head, StepHead):
        return "probabilities"
    return "states" if isinstance(head, LinearHead) else "values"


async def _activation(
    caller: Caller,
    found: _Found,
    identity: Identity,
    wishes: Wishes,
    recipe: Recipe | None,
    rules: PromptRules,
    era: Era,
) -> Activation:
    raw_by = None if era is UNKNOWN else found.way.ask.raw_by
    head = found.head
    activation = find_activation(
        found.rows(), _reads(head), raw_by, wishes.activation, found.way.flag
    )
    if activation is None and isinstance(head, ScalarHead) and recipe is not None:
        activation = await _activation_by_reference(caller, found, identity, recipe, rules)
    if activation is None:
        raise unknown_activation(found.way.flag)
    return activation


async def _activation_by_reference(
    caller: Caller, found: _Found, identity: Identity, recipe: Recipe, rules: PromptRules
) -> Activation | None:
    """What the server applies, from samples whose raw reward the recipe knows."""
    model, way = identity.model, found.way
    for reference in recipe.references:
        if not isinstance(reference.expected, float) or way.ask.sends != "ids":
            continue
        prompt = parse_sample(reference.sample)
        ids = await server_ids(
            caller, model, identity.version, prompt, generation_prompt=rules.generation_prompt
        )
        ids = rules.finished(ids, prompt)
        (output,) = way.ask.read(await caller.call(way.ask.call(model, [ids])), [ids])
        sent = found.layout.rows(output)[-1][0]
        activation = reference_decides(sent, reference.expected, reference.tolerance)
        if activation is not None:
            return activation
    return None


def _provenance(
    profile: ServerProfile,
    found: _Found,
    recipe: Recipe | None,
    tokenizer: str,
    *,
    assumed: bool,
) -> Provenance:
    described = found.head.describe(found.layout)
    if assumed and found.layout.kind == "per token":
        described = described.replace(")", ", assumed)")
    return Provenance(
        model=profile.model,
        server_version=profile.version,
        route=profile.route,
        activation=profile.activation,
        activation_known_by=profile.activation_known_by,
        head=described,
        recipe=recipe.name if recipe else None,
        recipe_digest=recipe.digest if recipe else None,
        tokenizer=tokenizer,
        client_version=__version__,
    )
