"""Finding out what a server is: version, model, limit, route, shape, activation."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, cycle, islice
from math import isclose

from reward_client._version import __version__
from reward_client.calls import Call, Caller
from reward_client.errors import (
    AuthenticationError,
    BadRequestError,
    ModelNotFoundError,
    ProtocolError,
    RouteNotFoundError,
    ShapeError,
)
from reward_client.heads import ScalarHead
from reward_client.narrowing import as_list, as_mapping
from reward_client.options import RouteChoice, ServerActivation
from reward_client.rewards import Provenance, ServerProfile
from reward_client.routes import Ask, Layout, PooledOutput, find_layout
from reward_client.server.activation import Activation, find_activation
from reward_client.server.versions import UNKNOWN, Era, era_of
from reward_client.tokenizing import text_call, token_ids

__all__ = ["Identity", "Serving", "discover", "identify"]

_logger = logging.getLogger("reward_client")

# Tokenized once for each server, cut into pieces of different lengths and scored: what comes back
# tells the shape, and whether an activation squashes the values. Diverse on purpose.
_PROBE_TEXT = (
    "What is 17 + 25? The answer is 42, because seven and five make twelve. Paris, Zürich and 東京 "
    "are cities; def f(x): return x ** 2 is code!!! I am sorry, I cannot help with that. ¿Por qué "
    "no? No no no no. Yes. https://example.org/a?b=c&d=%20 {'key': [1, 2.5, null]} THE END"
)
_PROBES = 8
# bfloat16 and the other samples of a batch move a score that much.
_SCORE_TOLERANCE = 0.02
_SHORTEST_PROBE = 3
_PROBE_STEP = 5


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells one server from another behind the same URL.

    Attributes:
        version: What ``/version`` says, None where that is not to be had.
        model: The model's name.
        root: Where the server loaded it from.
        max_model_len: The most tokens of one sample.
    """

    version: str | None
    model: str
    root: str | None
    max_model_len: int | None


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
    layout: Layout
    activation: Activation
    reply_model: object
    provenance: Provenance
    probes: tuple[tuple[int, ...], ...]
    scores: tuple[float, ...]

    def is_same_as(self, other: Serving) -> bool:
        """Whether a later look found the same server: what it says, its tokens and its scores."""
        return (
            (self.profile, self.ask, self.layout, self.reply_model, self.probes)
            == (other.profile, other.ask, other.layout, other.reply_model, other.probes)
            and len(self.scores) == len(other.scores)
            and all(
                isclose(mine, theirs, rel_tol=_SCORE_TOLERANCE, abs_tol=_SCORE_TOLERANCE)
                for mine, theirs in zip(self.scores, other.scores, strict=True)
            )
        )


async def identify(caller: Caller, model: str | None) -> Identity:
    """Asks who is there; the key is checked by it, since ``/v1/models`` is guarded.

    Raises:
        ModelNotFoundError: The model is not served, or several are and none was named.
        RewardClientError: As `Caller.call`.
    """
    reply = await caller.call(Call("GET", "/v1/models"))
    listed = map(as_mapping, as_list(reply.fields().get("data")) or [])
    cards = [card for card in listed if card is not None and isinstance(card.get("id"), str)]
    card = _choose(cards, model)
    if card is None:
        names = ", ".join(str(card["id"]) for card in cards) or "none"
        wanted = f"does not serve {model!r}" if model else "serves no single base model"
        raise ModelNotFoundError(
            f"The server {wanted}; it lists: {names}. Name one of them by model=.",
            status=404,
            endpoint=reply.endpoint,
            request_id=reply.request_id,
        )
    root, limit = card.get("root"), card.get("max_model_len")
    return Identity(
        version=await _version(caller),
        model=str(card["id"]),
        root=root if isinstance(root, str) else None,
        max_model_len=limit if type(limit) is int else None,
    )


async def discover(
    caller: Caller,
    model: str | None,
    route: RouteChoice,
    declared: ServerActivation | None,
    head: ScalarHead | None,
) -> Serving:
    """Finds out how this server gives raw rewards.

    Args:
        caller: The way to the server.
        model: The model's name, None for the only one.
        route: The route to use, or ``"auto"``.
        declared: What the caller says that the server applies.
        head: What the caller says the model's head is, None where it is found out.

    Raises:
        RouteNotFoundError: No route gives a reward.
        ShapeError: The model has several labels, or scores steps.
        NotARewardError: Hidden states come back.
        ActivationError: Raw values are not to be had.
        RewardClientError: As `identify`.
    """
    identity = await identify(caller, model)
    era = era_of(identity.version)
    asks = _open_asks(era, route, await _mounted_paths(caller))
    probes, bos, limit = await _probes(caller, identity.model)
    found = await _first_scalar(caller, identity.model, asks, probes, era)
    scores = tuple(chain.from_iterable(output.values for output in found.outputs))
    activation = find_activation(
        scores,
        None if era is UNKNOWN else found.ask.raw_by,
        declared,
        era.raw_flag,
    )
    profile = ServerProfile(
        url=caller.url,
        version=identity.version,
        version_known=era is not UNKNOWN,
        model=identity.model,
        root=identity.root,
        max_model_len=identity.max_model_len or limit,
        route=found.ask.route,
        task=found.ask.task,
        switches=dict(found.ask.switches),
        shape=found.layout.kind,
        activation=activation.name,
        activation_known_by=activation.known_by,
        bos_token_id=bos,
    )
    _logger.info("server profile: %r", profile)
    if activation.name != "none":
        _logger.warning("the server applies a %s, which is inverted", activation.name)
    return Serving(
        identity=identity,
        profile=profile,
        ask=found.ask,
        layout=found.layout,
        activation=activation,
        reply_model=found.reply_model,
        provenance=_provenance(profile, head),
        probes=tuple(map(tuple, probes)),
        scores=scores,
    )


@dataclass(frozen=True, slots=True)
class _Found:
    ask: Ask
    layout: Layout
    outputs: list[PooledOutput]
    reply_model: object


async def _first_scalar(
    caller: Caller, model: str, asks: Sequence[Ask], probes: Sequence[Sequence[int]], era: Era
) -> _Found:
    """Tries the ways in turn; the most telling refusal is raised if none gives a scalar."""
    wrong_shape: ProtocolError | None = None
    not_served: RouteNotFoundError | None = None
    for ask in asks:
        try:
            reply = await caller.call(ask.call(model, probes))
        except RouteNotFoundError as error:
            not_served = error
            continue
        outputs = ask.read(reply, probes)
        layout = find_layout(outputs, [len(probe) for probe in probes])
        if layout is None:
            sizes = [len(output.values) for output in outputs]
            raise reply.error(
                ShapeError,
                f"The replies to {[len(probe) for probe in probes]} tokens hold {sizes} values: "
                "neither one vector for each sample nor one row for each token.",
            )
        problem = layout.scalar_problem()
        if problem is None:
            return _Found(ask, layout, outputs, reply.fields().get("model"))
        wrong_shape = wrong_shape or reply.error(type(problem), str(problem))
    if wrong_shape is not None:
        raise wrong_shape
    raise RouteNotFoundError(
        f"No route of this server gives a reward. {era.advice}",
        status=404,
        server_message=not_served.server_message if not_served else "",
        endpoint=f"{', '.join(sorted({ask.path for ask in asks})) or 'no route'} at {caller.url}",
    ) from not_served


def _open_asks(era: Era, route: RouteChoice, mounted: Collection[str] | None) -> tuple[Ask, ...]:
    asks = era.asks
    if route != "auto":
        asks = tuple(ask for ask in asks + era.by_name if ask.route == route)
    return tuple(ask for ask in asks if mounted is None or ask.path in mounted)


async def _probes(caller: Caller, model: str) -> tuple[list[list[int]], int | None, int | None]:
    """Token lists of different lengths, the BOS token's ID, and the length limit."""
    reply = await caller.call(text_call(model, _PROBE_TEXT, add_special_tokens=True))
    ids = token_ids(reply)
    bare = token_ids(await caller.call(text_call(model, _PROBE_TEXT, add_special_tokens=False)))
    bos = ids[0] if ids[1 : 1 + len(bare)] == bare else None
    pieces: list[list[int]] = []
    for index in range(_PROBES):
        start = index * _PROBE_STEP
        pieces.append(list(islice(cycle(bare), start, start + _SHORTEST_PROBE + index)))
    limit = reply.fields().get("max_model_len")
    return pieces, bos, limit if type(limit) is int else None


async def _version(caller: Caller) -> str | None:
    payload = await _optional(caller, "/version")
    version = payload.get("version")
    return version if isinstance(version, str) else None


async def _mounted_paths(caller: Caller) -> Collection[str] | None:
    """The routes that the server says it has; None if it does not say."""
    paths = as_mapping((await _optional(caller, "/openapi.json")).get("paths"))
    return paths.keys() if paths is not None else None


async def _optional(caller: Caller, path: str) -> Mapping[str, object]:
    """A JSON object that gateways may hide; empty where they do."""
    try:
        return (await caller.call(Call("GET", path))).fields()
    except (RouteNotFoundError, AuthenticationError, BadRequestError, ProtocolError):
        return {}


def _choose(
    cards: Sequence[Mapping[str, object]], model: str | None
) -> Mapping[str, object] | None:
    if model is not None:
        return next((card for card in cards if card["id"] == model), None)
    base = [card for card in cards if card.get("parent") is None]
    roots = {card.get("root") or card["id"] for card in base}
    return base[0] if len(roots) == 1 else None


def _provenance(profile: ServerProfile, head: ScalarHead | None) -> Provenance:
    described = "scalar"
    if profile.shape == "per token":
        described = "scalar (last token)" if head else "scalar (last token, assumed)"
    return Provenance(
        model=profile.model,
        server_version=profile.version,
        route=profile.route,
        activation=profile.activation,
        activation_known_by=profile.activation_known_by,
        head=described,
        tokenizer="server",
        client_version=__version__,
    )
