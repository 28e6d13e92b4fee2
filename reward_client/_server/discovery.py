"""Finding out what a server is: version, model, limit, route, shape, activation."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace

from reward_client._base.activation import Activation
from reward_client._base.results import Provenance, ServerProfile
from reward_client._base.samples import parse_sample
from reward_client._protocols.http import Transport
from reward_client._protocols.vllm.tokenize import server_ids
from reward_client._protocols.vllm.versions import UNKNOWN, VersionRange, era_of
from reward_client._server.activation_check import (
    Reads,
    find_activation,
    may_be_squashed,
    reference_decides,
    unknown_activation,
)
from reward_client._server.identity import Identity, identify, mounted_paths
from reward_client._server.logits import proven_logits, token_ids_of
from reward_client._server.manifest_checks import provable, unserved
from reward_client._server.negotiation import Negotiated, advice_for, first_that_fits, ways_for
from reward_client._server.probes import Probes, step_token, tokenized_probes
from reward_client._server.proof import cross_check, prove_head
from reward_client._server.state import DiscoveryOptions, ServerState, is_same
from reward_client._tokenization.prompt_rules import PromptRules, StepToken
from reward_client._version import __version__
from reward_client.errors import ProtocolError, RecipeError
from reward_client.heads import Head, LinearHead, ScalarHead, StepHead
from reward_client.recipes import Recipe, Reference, find_recipe

_logger = logging.getLogger("reward_client")


async def discover(transport: Transport, options: DiscoveryOptions) -> ServerState:
    """Finds out how this server gives raw rewards.

    Raises:
        RouteNotFoundError: No route gives a reward.
        ShapeError: The head cannot read what comes.
        NotARewardError: Hidden states come back, or numbers of a head without weights, or of which
            a part was not loaded.
        ActivationError: Raw values are not to be had.
        RecipeError: What is known of the model forbids it, or contradicts the server.
        InputError: The step token is none of this model's.
        RewardClientError: As `identify`.
    """
    identity = await identify(transport, options.model)
    recipe = _recipe(options, identity)
    head = options.head or (recipe.head if recipe else None)
    era, model = era_of(identity.version), identity.model
    export = recipe.export if recipe else None
    if recipe is not None and export is not None:
        _refuse_unserved(recipe, head, era, identity)
    mounted = await mounted_paths(transport)
    named = options.reading.tokens
    if not named and recipe is not None and options.head is None:
        named = recipe.logit_tokens
    tokens = await token_ids_of(transport, model, named)
    ways = [
        way
        for way in ways_for(era, head, options.route, export, tokens, writes=options.reading.writes)
        if mounted is None or way.ask.path in mounted
    ]
    advice = advice_for(era, head, options.route, export, tokens, writes=options.reading.writes)
    step = await step_token(transport, model, head) if isinstance(head, StepHead) else None
    probes = await tokenized_probes(transport, model, step)
    rules = _rules(options, recipe, probes, step, head)
    try:
        found = await first_that_fits(transport, model, ways, probes, rules, head, advice, export)
    except ProtocolError as error:
        if recipe is None or export is not None or options.head is not None:
            raise
        raise RecipeError(
            f"The recipe {recipe.name} does not fit what this server serves. {error}"
        ) from error
    if found.way.exported:
        await cross_check(transport, model, found)
    references = provable(recipe, identity.max_model_len or probes.max_model_len)
    activation = await _activation(
        transport, found, identity, options, recipe, rules, era, references
    )
    profile = _profile(transport.url, identity, era, probes, found, activation, recipe)
    if activation.name != "none":
        _logger.warning("the server applies a %s", activation.name)
    if found.way.exported and not references:
        _logger.warning(
            "nothing proves that the server loaded the whole exported head: %s",
            (
                "give its manifest, recipe='.../reward_client.json'"
                if export is None
                else "the manifest has no reference value that this server takes; `reward-client "
                "export SOURCE DESTINATION --verify` writes some"
            ),
        )
    return ServerState(
        identity=identity,
        profile=profile,
        ask=found.way.ask,
        head=found.head,
        rules=rules,
        layout=found.layout,
        activation=activation,
        response_model=found.response.model,
        provenance=_provenance(profile, found, recipe, options, named, assumed=head is None),
        recipe=recipe,
        probes=probes.ids,
        scores=tuple(value for output in found.outputs for value in output.values),
        exported=found.way.exported,
        conversations=found.way.conversations,
    )


def _refuse_unserved(
    manifest: Recipe, head: Head | None, era: VersionRange, identity: Identity
) -> None:
    """Refuses what a manifest alone tells to be no way to a reward."""
    if head is None:
        raise RecipeError(
            f"The manifest {manifest.name} names no head, as nothing is known of its source: how "
            "its outputs become rewards cannot be guessed. Give "
            "head=StepHead(step_token=…, good_label=…, aggregate=…)."
        )
    error = unserved(era, head, identity.version)
    if error is not None:
        raise error


def _recipe(options: DiscoveryOptions, identity: Identity) -> Recipe | None:
    recipe = options.recipe
    if recipe == "auto":
        recipe = find_recipe(identity.root) if identity.root else None
    elif recipe is not None and len(recipe.models) > 1:
        recipe = recipe.for_model(identity.root or identity.model)
    if options.reading.writes:
        return recipe if recipe is not None and recipe.verdict else None
    if recipe is not None and recipe.verdict:
        raise RecipeError(
            f"{recipe.name}: this model writes its verdict. Give recipe={recipe.name!r} by name, "
            "or method=Verdict(…), so that it is asked for one."
        )
    if recipe is not None and recipe.refusal:
        exported = (
            "If this is what was exported of it, pass its manifest, "
            'recipe=".../reward_client.json". '
        )
        raise RecipeError(
            f"{recipe.name}: {recipe.refusal} ({exported if options.recipe == 'auto' else ''}"
            "recipe=None goes on without what is known of the model.)"
        )
    return recipe


def _rules(
    options: DiscoveryOptions,
    recipe: Recipe | None,
    probes: Probes,
    step: StepToken | None,
    head: Head | None,
) -> PromptRules:
    notes, reading = recipe.prompt if recipe else None, options.reading
    return PromptRules(
        generation_prompt=reading.opens or (notes is not None and notes.generation_prompt),
        bos=options.bos if options.bos is not None or notes is None else notes.bos,
        bos_token_id=probes.bos,
        append=notes.append_tokens if notes and not reading.opens else (),
        step=step,
        separator=head.separator if isinstance(head, StepHead) else None,
        question=reading.question,
        answers=reading.answers,
    )


async def _activation(
    transport: Transport,
    found: Negotiated,
    identity: Identity,
    options: DiscoveryOptions,
    recipe: Recipe | None,
    rules: PromptRules,
    era: VersionRange,
    references: Sequence[Reference],
) -> Activation:
    if found.way.ask.route == "completions":
        if len(found.way.ask.tokens) == 2 or options.reading.writes:
            # What makes probabilities of logits is the same for both, or of no account.
            return Activation("none", "request")
        return await proven_logits(transport, identity.model, found)
    raw_by = None if era is UNKNOWN else found.way.ask.raw_by
    head, rows = found.head, found.rows()
    asked = raw_by == "request"
    if asked and may_be_squashed(rows) and not await _switch_counts(transport, found, identity):
        raw_by = None
    activation = find_activation(rows, _reads(head), raw_by, options.activation, found.way.flag)
    if references:
        activation = replace(activation or Activation("none", "reference"), known_by="reference")
        await prove_head(transport, identity.model, found, rules, activation, references)
    if activation is None and isinstance(head, ScalarHead) and recipe is not None:
        activation = await _activation_by_reference(transport, found, identity, recipe, rules)
    if activation is None:
        raise unknown_activation(found.way.flag, asked=asked)
    return activation


async def _switch_counts(transport: Transport, found: Negotiated, identity: Identity) -> bool:
    """Whether the server heeds the switch for raw values: asked otherwise, it answers otherwise."""
    ask = found.way.ask
    if ask.sends != "ids":
        return True
    turned = replace(ask, switches={key: not value for key, value in ask.switches.items()})
    response = await transport.call(turned.call(identity.model, found.ids))
    pairs = zip(found.outputs, turned.read(response, found.ids), strict=True)
    return not all(is_same(one.values, other.values) for one, other in pairs)


async def _activation_by_reference(
    transport: Transport, found: Negotiated, identity: Identity, recipe: Recipe, rules: PromptRules
) -> Activation | None:
    """What the server applies, from samples whose raw reward the recipe knows."""
    model, way = identity.model, found.way
    for reference in recipe.references:
        if not isinstance(reference.expected, float) or way.ask.sends != "ids":
            continue
        prompt = parse_sample(reference.sample)
        ids = await server_ids(
            transport, model, identity.version, prompt, generation_prompt=rules.generation_prompt
        )
        ids = rules.finished(ids, prompt)
        (output,) = way.ask.read(await transport.call(way.ask.call(model, [ids])), [ids])
        sent = found.layout.rows(output)[-1][0]
        activation = reference_decides(sent, reference.expected, reference.tolerance)
        if activation is not None:
            return activation
    return None


def _reads(head: Head) -> Reads:
    if isinstance(head, StepHead):
        return "probabilities"
    return "states" if isinstance(head, LinearHead) else "values"


def _read(tokens: Sequence[int | str]) -> str:
    """What is read, in words, where it is the logits of tokens."""
    if len(tokens) == 2:
        return f"logit of token {tokens[0]!r} minus that of {tokens[1]!r}"
    return f"logit of token {tokens[0]!r}" if tokens else ""


def _profile(
    url: str,
    identity: Identity,
    era: VersionRange,
    probes: Probes,
    found: Negotiated,
    activation: Activation,
    recipe: Recipe | None,
) -> ServerProfile:
    ask = found.way.ask
    limit = identity.max_model_len or probes.max_model_len
    if limit is not None and ask.route == "completions":
        limit -= 1  # there must be room for the token that is generated
    return ServerProfile(
        url=url,
        version=identity.version,
        version_known=era is not UNKNOWN,
        model=identity.model,
        root=identity.root,
        max_model_len=limit,
        route=ask.route,
        sends=ask.sends,
        task=ask.task,
        switches=dict(ask.switches),
        shape=found.layout.kind,
        width=found.layout.width,
        activation=activation.name,
        activation_known_by=activation.known_by,
        bos_token_id=probes.bos,
        recipe=recipe.name if recipe else None,
    )


def _provenance(
    profile: ServerProfile,
    found: Negotiated,
    recipe: Recipe | None,
    options: DiscoveryOptions,
    tokens: Sequence[int | str],
    *,
    assumed: bool,
) -> Provenance:
    described = "text" if options.reading.writes else found.head.describe(found.layout)
    if assumed and found.layout.kind == "per token":
        described = described.replace(")", ", assumed)")
    reading = options.reading
    return Provenance(
        model=profile.model,
        server_version=profile.version,
        route=profile.route,
        activation=profile.activation,
        activation_known_by=profile.activation_known_by,
        head=described,
        recipe=recipe.name if recipe else None,
        recipe_digest=recipe.digest if recipe else None,
        tokenizer=options.tokenizer,
        method=_read(tokens) if tokens and reading.method == "pooled" else reading.method,
        **asdict(reading.origin),
        client_version=__version__,
    )
