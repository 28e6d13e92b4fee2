"""Negotiate how to ask: try the strategies of a version until the head can read an answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from itertools import chain

from reward_client._base.options import RouteChoice
from reward_client._protocols.engine import Engine, Served
from reward_client._protocols.http import Response, Transport
from reward_client._protocols.pooled_output import Layout, PooledOutput, find_layout
from reward_client._protocols.response_checks import UncountedError
from reward_client._protocols.scoring_request import ScoringRequest
from reward_client._protocols.strategies import ModelKind, Strategy, VersionRange
from reward_client._server.identity import advised
from reward_client._server.manifest_checks import wrong_width
from reward_client._server.optional_requests import may_hide_route
from reward_client._server.probes import text_probes
from reward_client._server.requests import pooled_outputs
from reward_client._tokenization.prompt_rules import PromptRules
from reward_client.errors import (
    AuthenticationError,
    BadRequestError,
    ModelNotFoundError,
    ProtocolError,
    RouteNotFoundError,
    ShapeError,
    StatusError,
)
from reward_client.heads import Head, LinearHead, StepHead
from reward_client.recipes import ExportTable

_SERVER_FAILURE = 500
_OF_FASTAPI = "Not Found"
"""The whole message for a path that does not exist."""

_KEY_FITS = "If other routes accept the key, a gateway hides this one: let it forward the route."


@dataclass(frozen=True, slots=True)
class Wanted:
    """The output that is wanted of a server.

    Attributes:
        engine: The kind of server.
        version: Its version; None if it is unknown.
        head: The head.
        route: The route that the caller named.
        export: The head of a manifest. Only strategies for exported heads are tried then.
        tokens: The token whose logit is the reward, or two tokens whose difference is.
        generates: True if only generated text is used.
    """

    engine: Engine
    version: str | None
    head: Head
    route: RouteChoice
    export: ExportTable | None
    tokens: tuple[int, ...]
    generates: bool

    @property
    def versions(self) -> VersionRange:
        """The row of the version table."""
        return self.engine.range_of(self.version)

    @property
    def kinds(self) -> tuple[ModelKind, ...]:
        """The kinds of models whose output the head reads, or that give the tokens' logits."""
        if self.generates:
            return ("text",)
        is_step = isinstance(self.head, StepHead)
        if self.export is not None:
            return ("exported steps",) if is_step else ("exported",)
        if self.tokens:
            return ("sequence", "exported", "logit" if len(self.tokens) == 1 else "difference")
        if is_step:
            return ("steps", "exported steps")
        return (
            ("hidden",) if isinstance(self.head, LinearHead) else ("sequence", "token", "exported")
        )


def strategies_for(wanted: Wanted) -> tuple[list[Strategy], list[Strategy]]:
    """Return the strategies to try, the likeliest first, each once: model kinds may share one.

    Returns:
        The usual strategies; and those for gateways that hide all of them, with other routes for
        the same output, or routes at other paths.
    """
    usual: list[Strategy] = []
    others: list[Strategy] = []
    versions, route = wanted.versions, wanted.route
    for kind in wanted.kinds:
        first = versions.strategies.get(kind)
        known = [each for each in (first, first and first.fallback) if each]
        if kind in ("logit", "difference"):
            known = [
                replace(each, request=replace(each.request, tokens=wanted.tokens)) for each in known
            ]
        named = versions.if_named.get(kind, ())
        usual += known if route == "auto" else [*known, *named]
        others += named
    others += [each for strategy in (*usual, *others) for each in _moved(wanted.engine, strategy)]
    usual = _each_once(usual, route)
    return usual, [each for each in _each_once(others, route) if each not in usual]


def _each_once(strategies: Iterable[Strategy], route: RouteChoice) -> list[Strategy]:
    once: list[Strategy] = []
    for each in strategies:
        is_new = each.request not in [strategy.request for strategy in once]
        if is_new and route in ("auto", each.request.route):
            once.append(each)
    return once


def _moved(engine: Engine, strategy: Strategy) -> list[Strategy]:
    """Return a strategy at the paths at which gateways serve its route."""
    request = strategy.request
    return [
        replace(strategy, request=replace(request, moved=path), wrong_if_served=None)
        for path in engine.moved_paths(request.path)
    ]


def possible(
    strategies: Sequence[Strategy],
    listed: AbstractSet[str] | None,
    *,
    takes_text: bool,
    writes: bool,
) -> list[Strategy]:
    """Return the strategies that the server may serve, those on listed routes first.

    The list proves nothing: it may be a gateway's own, or that of another server behind it.

    Args:
        strategies: The strategies.
        listed: The routes that the server or a gateway lists; None if it lists none.
        takes_text: True if the server tokenizes: without that, no text can be compared.
        writes: True if a request to write is harmless.
    """
    known = [
        each
        for each in strategies
        if (takes_text or each.request.sends == "ids") and (writes or not each.request.reads_tokens)
    ]
    if listed is None:
        return known
    return sorted(known, key=lambda each: each.request.path not in listed)


def no_route(wanted: Wanted, hidden: Sequence[str]) -> str:
    """Return the message if no strategy works.

    Args:
        wanted: What is wanted of the server.
        hidden: The routes of every server of this engine that a gateway hides.
    """
    if wanted.route != "auto":
        return (
            f"Cannot score over {wanted.route!r}, the route that route= names: the server gives no "
            "reward there. Leave route= out, and the client tries the others."
        )
    if hidden:
        own = " (its /openapi.json is its own)" if "/openapi.json" in hidden else ""
        missing = [path for path in hidden if path != "/openapi.json"]
        hides = (
            f": it hides {' and '.join(missing)}, which every {wanted.engine.name} has"
            if missing
            else ""
        )
        return (
            f"No route to a reward: a gateway stands before the server{own}{hides}. "
            f"{wanted.engine.advice.gateway}"
        )
    return f"No route of this server gives a reward. {_hint_for(wanted)}"


def _hint_for(wanted: Wanted) -> str:
    """Return the cure if no strategy works: how to serve the kind of model that the head reads."""
    advice, head = wanted.engine.advice, wanted.head
    if wanted.generates:
        return advice.text
    if wanted.export is not None:
        return advice.exported_steps if isinstance(head, StepHead) else advice.exported
    if wanted.tokens:
        return advice.logit if len(wanted.tokens) == 1 else advice.difference
    if not strategies_for(wanted)[0] and wanted.engine.first_version_with(wanted.kinds[0]):
        return wanted.versions.hint
    if isinstance(head, LinearHead):
        return advice.hidden
    return advice.steps if isinstance(head, StepHead) else wanted.versions.hint


async def first_that_fits(
    transport: Transport,
    served: Served,
    strategies: Sequence[Strategy],
    others: Sequence[Strategy],
    probes: Sequence[Sequence[int]],
    rules: PromptRules,
    head: Head,
    nothing: str,
    export: ExportTable | None = None,
) -> tuple[Strategy, Layout, list[PooledOutput], Response]:
    """Find the first strategy whose answer the head can read, as wide as a manifest's head.

    Args:
        transport: The connection to the server.
        served: The model.
        strategies: The usual strategies.
        others: The strategies to try if the server answers none of the usual ones.
        probes: The token lists to score.
        rules: The rules for prompts.
        head: The head.
        nothing: The message if the server answers none of them.
        export: The head of a manifest.

    Returns:
        The strategy; the shape of its answers, the answer to each probe, and their response.

    Raises:
        RouteNotFoundError: If the server answers none of them.
        AuthenticationError: If it refuses the key for one of them, and answers no other.
        BadRequestError: If it refuses the probes of one of them, and answers no other.
        ProtocolError: If the head can read none of the answers.
    """
    misfit: ProtocolError | None = None
    refused: StatusError | ProtocolError | None = None
    bad: BadRequestError | None = None
    not_served: StatusError | None = None
    tried: set[str] = set()
    absent: set[str] = set()
    for strategy in chain(strategies, others):
        if misfit is not None and strategy in others:
            break  # the server hides no route
        request = strategy.request
        if request.path in absent:
            continue
        tried.add(request.path)
        try:
            strategy, layout, outputs, response = await _answered(  # noqa: PLW2901
                transport, served, strategy, probes, rules
            )
        except (RouteNotFoundError, ModelNotFoundError) as error:
            if served.engine.advice.unserved in error.server_message:
                raise  # a gateway says of a missing route that the model is missing
            not_served = error
            if error.server_message == _OF_FASTAPI:
                absent.add(request.path)
            continue
        except BadRequestError as error:
            # A gateway may hide the reason, which may be that the route is wrong.
            other_mode = served.engine.advice.other_mode
            is_other = other_mode is not None and other_mode in error.server_message
            if error.status < _SERVER_FAILURE and not is_other:
                bad = bad or error
            else:
                not_served = error
            continue
        except (StatusError, ProtocolError) as error:
            if not may_hide_route(error):
                raise
            refused = refused or error
            absent.add(request.path)
            continue
        unfit = wrong_width(layout, export) or head.problem(layout)
        if unfit is None:
            await _refuse_wrong_start(transport, served.model, strategy, probes)
            return strategy, layout, outputs, response
        misfit = misfit or response.error(type(unfit), str(unfit))
    if misfit is not None:
        raise misfit
    if isinstance(refused, AuthenticationError):
        raise advised(refused, _KEY_FITS)
    problem = refused or bad
    if problem is not None:
        raise problem
    raise RouteNotFoundError(
        nothing,
        status=404,
        server_message=not_served.server_message if not_served else "",
        endpoint=f"{', '.join(sorted(tried)) or 'no route'} at {transport.url}",
    ) from not_served


async def _answered(
    transport: Transport,
    served: Served,
    strategy: Strategy,
    probes: Sequence[Sequence[int]],
    rules: PromptRules,
) -> tuple[Strategy, Layout, list[PooledOutput], Response]:
    """Score the probes; without what a gateway drops or refuses, if that is the fault.

    Returns:
        The strategy, as the gateway lets it pass; and as `_score_probes`.
    """
    request, key = strategy.request, served.engine.id_key
    try:
        try:
            return strategy, *await _score_probes(transport, served, request, probes, rules)
        except BadRequestError as error:
            if not request.named or key is None or f"{key}:" not in error.server_message:
                raise
            request = replace(request, named=False)
        return (
            replace(strategy, request=request),
            *await _score_probes(transport, served, request, probes, rules),
        )
    except UncountedError:
        request = replace(request, counted=False)
    return (
        replace(strategy, request=request),
        *await _score_probes(transport, served, request, probes, rules),
    )


async def _refuse_wrong_start(
    transport: Transport, model: str, strategy: Strategy, probes: Sequence[Sequence[int]]
) -> None:
    """Refuse a server that answers a request which a right one refuses."""
    if strategy.wrong_if_served is None:
        return
    try:
        response = await transport.send(strategy.wrong_if_served.build(model, probes[:1]))
    except RouteNotFoundError:
        return
    raise response.error(ProtocolError, strategy.wrong_because)


async def _score_probes(
    transport: Transport,
    served: Served,
    request: ScoringRequest,
    ids: Sequence[Sequence[int]],
    rules: PromptRules,
) -> tuple[Layout, list[PooledOutput], Response]:
    """Send the probes in one request, and find the shape of the answers."""
    inputs: Sequence[Sequence[int] | str] = ids
    if request.sends == "text":
        inputs, ids = await text_probes(transport, served)
    response, answers = await pooled_outputs(transport, request, served.model, inputs, ids)
    outputs: list[PooledOutput] = []
    for answer in answers:
        if isinstance(answer, ProtocolError):
            raise answer
        outputs.append(answer)
    lengths = [len(each) for each in ids]
    steps = [len(rules.step_places(each)) for each in ids]
    layout = find_layout(outputs, lengths, steps)
    if layout is None:
        sizes = [len(output.values) for output in outputs]
        raise response.error(
            ShapeError,
            f"Cannot read the responses to {lengths} tokens (with {steps} step tokens): they hold "
            f"{sizes} values, neither one row for each sample, nor for each token or step.",
        )
    return layout, outputs, response
