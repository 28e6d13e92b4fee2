"""Discover a server: version, model, limit, route, shape, activation."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from reward_client._base.activation import Activation
from reward_client._protocols.http import Transport
from reward_client._server.activation_check import (
    Reads,
    find_activation,
    may_be_squashed,
    reference_decides,
    unknown_activation,
)
from reward_client._server.cross_check import cross_check
from reward_client._server.identity import Identity, hidden_routes, identify, listed_paths
from reward_client._server.manifest_checks import provable, unserved
from reward_client._server.negotiation import (
    Wanted,
    first_that_fits,
    no_route,
    possible,
    strategies_for,
)
from reward_client._server.probes import (
    cut_probes,
    step_token,
    token_ids_of,
)
from reward_client._server.proof import (
    prove_ends,
    prove_head,
    prove_logits,
    prove_rendering,
    prove_tokenizer,
    warn_of_template,
)
from reward_client._server.recipe_checks import (
    check_logit_tokens,
    check_reference,
    check_special_tokens,
    missing_system,
    reference_output,
)
from reward_client._server.state import DiscoveryOptions, ServerState, is_same
from reward_client._server.template_look import (
    TemplateLook,
    date_cure,
    look_at_local_template,
    look_at_template,
)
from reward_client._server.texts import ServerTexts, local_texts, refusal_of, server_texts
from reward_client._server.warn_once import WarnOnce
from reward_client._tokenization.local_tokenizer import LocalTokenizer
from reward_client._tokenization.prompt_rules import PromptRules, StepToken
from reward_client.errors import InputError, ProtocolError, RecipeError
from reward_client.heads import Head, LinearHead, ScalarHead, StepHead
from reward_client.recipes import ExportTable, Recipe


async def discover(transport: Transport, options: DiscoveryOptions) -> ServerState:
    """Discover how this server gives raw rewards.

    Raises:
        RouteNotFoundError: If no route gives a reward.
        ShapeError: If the head cannot read the output.
        NotARewardError: If the output is hidden states, or comes from a head without weights or
            with some of them missing.
        ActivationError: If raw values cannot be recovered.
        RecipeError: If the recipe forbids the server, or contradicts it.
        TokenizerMismatchError: If a local tokenizer is not the server's.
        ImportError: If a local tokenizer needs transformers, which is not installed.
        InputError: If the step token does not belong to this model.
        RewardClientError: As `identify`.
    """
    identity = await identify(transport, options.model)
    recipe = _recipe(options, identity)
    named_head = options.head or (recipe.head if recipe else None)
    export = recipe.export if recipe else None
    if recipe is not None and export is not None:
        _refuse_unserved(recipe, named_head, identity)
    head = named_head or ScalarHead()
    found = await server_texts(transport, identity.served)
    by_server, refusal = (
        (found, "") if isinstance(found, ServerTexts) else (None, refusal_of(found))
    )
    local = None
    if by_server is None or not identity.served.renders_answers:
        local = await _loaded(options, identity)
    identity = replace(identity, renderer=local)
    texts = by_server or local_texts(local, refusal)
    if recipe is not None and (by_server or local) is not None:
        await check_special_tokens(texts, identity, recipe, options)
    logit_tokens = options.output.tokens
    if not logit_tokens and recipe is not None and options.head is None:
        logit_tokens = recipe.logit_tokens
    tokens = await token_ids_of(texts, logit_tokens)
    wanted = Wanted(
        identity.engine,
        identity.version,
        head,
        options.route,
        export,
        tokens,
        options.output.generates,
    )
    listed = await listed_paths(transport)
    hidden = hidden_routes(identity, listed, tokenizes=by_server is not None)
    nothing = f"{no_route(wanted, hidden)} {refusal}".rstrip()
    strategies, others = (
        possible(each, listed, takes_text=by_server is not None, writes=identity.may_write)
        for each in strategies_for(wanted)
    )
    step = await step_token(texts, head) if isinstance(head, StepHead) else None
    text, bos_token_id = await texts.probe()
    vocabulary = None
    if identity.engine.dies_of_requests:
        vocabulary = await texts.vocabulary_size()
        if tokens and max(tokens) >= vocabulary:
            raise InputError(
                f"Cannot read token {max(tokens)}: the vocabulary ends at {vocabulary - 1}. Check "
                "the tokens of the method."
            )
    probes = cut_probes(text, step)
    rules = _rules(options, recipe, bos_token_id, step, head)
    opened = rules.generation_prompt
    system = None
    if recipe is not None and by_server is not None:  # its template may write the message itself
        system = await missing_system(transport, identity, recipe, generation_prompt=opened)
    rules = replace(
        rules,
        server_tokenizes=by_server is not None,
        renderer=identity.renderer,
        vocabulary=vocabulary,
        tokenize_refusal=refusal,
        system=system,
        trained_tokens=recipe.prompt.max_tokens if recipe is not None else None,
    )
    try:
        strategy, layout, outputs, response = await first_that_fits(
            transport, identity.served, strategies, others, probes, rules, head, nothing, export
        )
    except ProtocolError as error:
        if recipe is None or export is not None or options.head is not None:
            raise
        raise RecipeError(f"The recipe {recipe.name} does not fit this server. {error}") from error
    template = TemplateLook()
    if by_server is not None:
        template = await look_at_template(transport, identity, generation_prompt=opened)
    elif local is not None:
        template = await asyncio.to_thread(look_at_local_template, local, generation_prompt=opened)
    limit = identity.max_model_len or texts.max_model_len
    if limit is not None and strategy.request.reads_tokens:
        limit -= identity.engine.spare_to_write
    # The request promises raw values; `_proven` finds out what the server does.
    promised = ServerState(
        url=transport.url,
        identity=identity,
        strategy=strategy,
        head=head,
        layout=layout,
        activation=Activation("none", strategy.request.raw_by or "probe"),
        rules=replace(rules, max_model_len=limit, headers=template.headers),
        recipe=recipe,
        options=options,
        logit_tokens=tuple(logit_tokens),
        response_model=response.model,
        probes=probes,
        outputs=tuple(outputs),
        template=template,
    )
    await check_logit_tokens(texts, promised, tokens)
    state = await _proven(transport, promised, local)
    is_exact = await check_reference(transport, state)
    return state if is_exact else _with_offset(state)


async def _loaded(options: DiscoveryOptions, identity: Identity) -> LocalTokenizer | None:
    """Return the local tokenizer; None if there is none, or none that "auto" could use.

    Raises:
        InputError: If the tokenizer that the caller names cannot be loaded.
        ImportError: If it needs transformers, which is not installed.
    """
    local = options.local_tokenizer(identity)
    if local is None:
        return None
    try:
        await asyncio.to_thread(local.load)
    except (InputError, ImportError) as error:
        if options.choice != "auto":
            raise
        options.warn("the client goes on without a tokenizer of its own: %s", error)
        return None
    return local


async def _proven(
    transport: Transport, promised: ServerState, local: LocalTokenizer | None
) -> ServerState:
    """Return the state with the activation that the server applies, not the promised one.

    Args:
        transport: The connection to the server.
        promised: The state that the request promises.
        local: The tokenizer that makes token IDs, if a gateway hides ``/tokenize``.

    Raises:
        ActivationError: If raw values cannot be recovered.
        RewardClientError: As `cross_check` and `prove_head`.
    """
    exported, recipe = promised.strategy.exported, promised.recipe
    warn = promised.options.warn
    if promised.rules.server_tokenizes:
        await prove_rendering(transport, promised.served, warn)
    elif local is not None:
        if not await prove_tokenizer(transport, promised, local):
            warn(
                "nothing proves that %r is the server's tokenizer: the server shows no token IDs. "
                "%s",
                local,
                promised.rules.tokenize_refusal,
            )
        elif not (promised.strategy.conversations or promised.request).takes_messages:
            warn_of_template(promised.served, local, warn)
    if not promised.request.counted:
        await prove_ends(transport, promised)
    if not promised.options.output.generates:  # no reward is read from generated texts
        await cross_check(transport, promised)
    activation = await _activation(transport, promised)
    if activation.name != "none":
        warn("the server applies a %s", activation.name)
    if promised.template.day is not None:
        _warn_of_date(warn, promised.template)
    if exported and not provable(recipe, promised.max_model_len):
        _warn_unproven(warn, recipe.export if recipe else None)
    return replace(promised, activation=activation)


def _with_offset(state: ServerState) -> ServerState:
    """Return the state with an unknown offset, if the engine adds a constant to its rewards."""
    engine, classes = state.engine, state.identity.architectures
    shifted = engine.shifted & classes if classes else engine.shifted
    if state.request.reads_tokens or not shifted:
        return state
    state.options.warn(
        "%s adds a constant to every reward of %s, another one at each start: rewards of two "
        "starts or servers cannot be compared, while their order and margins are right. %s.",
        engine.name,
        ", ".join(sorted(classes)) or "some models, and does not say which it serves",
        engine.advice.shifted,
    )
    return replace(state, offset="unknown")


def _warn_of_date(warn: WarnOnce, template: TemplateLook) -> None:
    warn(
        "the chat template writes today's date (%s), and rewards depend on the day: %s",
        template.day,
        date_cure(template),
    )


def _warn_unproven(warn: WarnOnce, export: ExportTable | None) -> None:
    cure = (
        "give its manifest, recipe='.../reward_client.json'"
        if export is None
        else "the manifest has no reference value that this server takes; `reward-client export "
        "SOURCE DESTINATION --verify` writes some"
    )
    warn("nothing proves that the server loaded the whole exported head: %s", cure)


def _refuse_unserved(manifest: Recipe, head: Head | None, identity: Identity) -> None:
    """Refuse a manifest that alone shows that no reward is possible."""
    if head is None:
        raise RecipeError(
            f"The manifest {manifest.name} names no head: its source is unknown, and how its "
            "outputs become rewards cannot be guessed. Give "
            "head=StepHead(step_token=…, good_label=…, aggregate=…)."
        )
    error = unserved(identity.engine, head, identity.version)
    if error is not None:
        raise error


def _recipe(options: DiscoveryOptions, identity: Identity) -> Recipe | None:
    recipe = options.recipe
    if recipe == "auto":
        recipe = identity.recipe
        similar = identity.similar_model if recipe is None else None
        if similar is not None and not options.output.generates:
            options.warn(
                "the model's name looks like that of %s, but may be another model's, so no recipe "
                "applies: give recipe=%r for a copy of it, or recipe=None",
                *(similar, similar),
            )
    elif recipe is not None and len(recipe.models) > 1:
        recipe = recipe.for_model(identity.root or identity.model)
    if options.output.generates:
        return recipe if recipe is not None and recipe.verdict else None
    name = options.name_of(recipe, identity) if recipe is not None else ""
    if recipe is not None and recipe.verdict:
        raise RecipeError(
            f"{name}: this model writes its verdict. Give recipe={recipe.name!r} by name, "
            "or method=Verdict(…), so that it is asked for one."
        )
    refusal = recipe.refused_by(identity.engine.name) if recipe is not None else None
    if refusal is not None:
        exported = (
            'For an export of the model, pass its manifest: recipe=".../reward_client.json". '
            if options.recipe == "auto"
            else ""
        )
        raise RecipeError(f"{name}: {refusal} ({exported}recipe=None ignores the recipe.)")
    return recipe


def _rules(
    options: DiscoveryOptions,
    recipe: Recipe | None,
    bos_token_id: int | None,
    step: StepToken | None,
    head: Head,
) -> PromptRules:
    prompt, output = recipe.prompt if recipe else None, options.output
    return PromptRules(
        generation_prompt=output.opens_turn or (prompt is not None and prompt.generation_prompt),
        bos=options.bos if options.bos is not None or prompt is None else prompt.bos,
        bos_token_id=bos_token_id,
        append=prompt.append_tokens if prompt and not output.opens_turn else (),
        step=step,
        separator=head.separator if isinstance(head, StepHead) else None,
        question=output.question,
        answers=output.answers,
    )


async def _activation(transport: Transport, promised: ServerState) -> Activation:
    """Find out what the server applies to its values.

    Raises:
        ActivationError: If raw values cannot be recovered.
        RewardClientError: As `prove_head`.
    """
    request, cure, options = promised.request, promised.strategy.cure, promised.options
    if request.reads_tokens:
        if len(request.tokens) == 2 or options.output.generates:
            # A normalization is the same for both tokens; of generated text nothing is read.
            return Activation("none", "request")
        return await prove_logits(transport, promised)
    raw_by = request.raw_by if promised.identity.version_known else None
    head, rows = promised.head, promised.rows
    asked = raw_by == "request"
    if asked and may_be_squashed(rows) and not await _heeds_switch(transport, promised):
        raw_by = None
    activation = find_activation(rows, _reads(head), raw_by, options.activation, cure)
    references = provable(promised.recipe, promised.max_model_len)
    if references:
        activation = replace(activation or Activation("none", "reference"), known_by="reference")
        await prove_head(transport, replace(promised, activation=activation), references)
    if activation is None and isinstance(head, ScalarHead) and promised.recipe is not None:
        activation = await _activation_by_reference(transport, promised, promised.recipe)
    if activation is None:
        raise unknown_activation(cure, asked=asked)
    return activation


async def _heeds_switch(transport: Transport, promised: ServerState) -> bool:
    """Return True if the switch for raw values makes a difference on this server."""
    request, ids = promised.request, promised.probes
    if request.sends != "ids":
        return True
    turned = replace(request, switches={key: not on for key, on in request.switches.items()})
    response = await transport.send(turned.build(promised.model, ids))
    pairs = zip(promised.outputs, turned.read(response, ids), strict=True)
    return not all(is_same(one.values, other.values) for one, other in pairs)


async def _activation_by_reference(
    transport: Transport, promised: ServerState, recipe: Recipe
) -> Activation | None:
    """Find the activation by samples whose raw reward the recipe knows."""
    for reference in recipe.references:
        if not isinstance(reference.expected, float) or promised.request.sends != "ids":
            continue
        scored = await reference_output(transport, promised, reference)
        if scored is None:
            continue
        _, output = scored
        value = promised.layout.rows(output)[-1][0]
        activation = reference_decides(value, reference.expected, reference.tolerance)
        if activation is not None:
            return activation
    return None


def _reads(head: Head) -> Reads:
    if isinstance(head, StepHead):
        return "probabilities"
    return "states" if isinstance(head, LinearHead) else "values"
