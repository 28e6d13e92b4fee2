"""Identify a server: flavour, version and model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

from reward_client._base.json_values import as_count, as_list, as_mapping
from reward_client._base.wording import shorten
from reward_client._printable import one_line
from reward_client._protocols.engine import Engine, Renderer, Served
from reward_client._protocols.engines import ENGINES
from reward_client._protocols.http import Request, Transport
from reward_client._protocols.vllm.engine import VLLM
from reward_client._server.optional_requests import MODELS_PATH, response_if_any
from reward_client.errors import (
    BadRequestError,
    ModelNotFoundError,
    ProtocolError,
    RouteNotFoundError,
    StatusError,
)
from reward_client.recipes import Recipe
from reward_client.recipes.loader import recipe_of_model, similar_model
from reward_client.recipes.model_names import is_hub_id

# Longer ones first. The client removes a final /v1 itself.
_ROUTES = (
    *("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/models", "/v1/score"),
    *("/v1/rerank", "/v1/classify", "/v1/pooling", "/pooling", "/classify", "/score", "/rerank"),
    *("/tokenize", "/detokenize", "/version", "/health", "/metrics", "/docs", "/openapi.json"),
)

OTHER_FLAVOURS: Mapping[str, str] = {
    "lmdeploy": "LMDeploy",
    "llamacpp": "llama.cpp",
    "library": "Ollama",
    "infinity": "Infinity",
    "tabbyapi": "TabbyAPI",
    "fastdeploy": "FastDeploy",
}
"""Servers of no engine here, by the ``owned_by`` of their models (lower case), from their source
code. Gateways write other words there, so an unknown word proves nothing."""

# The characters of PEP 440. Other text is ignored: it would appear in logs and messages.
_VERSION = re.compile(r"[0-9A-Za-z.!+_-]{1,64}")
# Longer ones are shortened in messages.
_SHOWN_NAMES = 20
_SHOWN_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class Identity:
    """The facts that distinguish one server from another behind the same URL.

    Attributes:
        version: The version of ``/version``; None if the server does not tell it.
        model: The model's name.
        root: The path or hub name that the server loaded the model from.
        max_model_len: The most tokens of one sample.
        base: The base model's name if the model is an adapter, else None.
        tokenizer_root: The path or hub name of the tokenizer: the base model's for an adapter.
        is_listed: False if a gateway hides ``/v1/models``, so that only the caller names the model.
        engine: The kind of server.
        architectures: The classes of the model, if the server names them.
        writes: True if it generates text, False if not; None if the server does not tell.
        renderer: Renders conversations of which the server makes wrong token IDs, if there is one.
    """

    version: str | None
    model: str
    root: str | None
    max_model_len: int | None
    base: str | None
    tokenizer_root: str | None
    is_listed: bool = True
    engine: Engine = VLLM
    renderer: Renderer | None = field(default=None, compare=False)
    architectures: frozenset[str] = frozenset()
    writes: bool | None = None

    @property
    def served(self) -> Served:
        """The model, as requests for its tokens name it."""
        return Served(self.engine, self.model, self.version, self.renderer)

    @property
    def may_write(self) -> bool:
        """True if a request to write is harmless, answered or refused.

        It ends an SGLang that serves an embedding model (live on 0.5.22 and 0.5.23).
        """
        return not self.engine.dies_of_requests or self.writes is True

    @property
    def version_known(self) -> bool:
        """True if the version table covers the version."""
        return self.engine.range_of(self.version) is not self.engine.unknown

    @property
    def is_known_by_served_name(self) -> bool:
        """True if only the served name can name the model: the root is unknown, or any folder."""
        root = self.root
        return root is None or not (is_hub_id(root) or recipe_of_model(root))

    @property
    def recipe(self) -> Recipe | None:
        """The recipe of the model in the catalogue, if it has one."""
        return recipe_of_model(self._name)

    @property
    def similar_model(self) -> str | None:
        """The known model whose name the model's name holds among other words, if any."""
        return similar_model(self._name) or similar_model(self.root or "")

    @property
    def _name(self) -> str:
        return self.model if self.is_known_by_served_name else self.root or ""


async def identify(transport: Transport, model: str | None) -> Identity:
    """Identify the server. This also checks the key, since ``/v1/models`` is guarded.

    Raises:
        ModelNotFoundError: If the model is not served, or several are and none was named.
        ProtocolError: If the server is known to be of no engine here.
        RewardClientError: As `Transport.send`.
    """
    try:
        response = await transport.send(Request("GET", MODELS_PATH))
    except (RouteNotFoundError, BadRequestError) as error:
        if model is None or _route_in(transport.url) is not None:
            raise _unlisted(error, transport.url) from None
        found = await _found_by_routes(transport)
        return replace(
            found,
            version=await _version(transport, found.engine),
            model=model,
            is_listed=False,
        )
    listed = map(as_mapping, as_list(response.fields().get("data")) or [])
    cards = [card for card in listed if card is not None and isinstance(card.get("id"), str)]
    flavour = _other_flavour(cards)
    if flavour is not None:
        raise response.error(
            ProtocolError,
            f"This server is {flavour}, and this client speaks to "
            f"{' and '.join(each.name for each in ENGINES.values())}: serve the model by "
            "`vllm serve MODEL --runner pooling`.",
        )
    card = _choose(cards, model)
    adapters = [each for each in cards if each.get("parent") is not None]
    if card is not None and adapters and model is None:
        raise response.error(
            ModelNotFoundError,
            f"Cannot tell which model gives the reward: the server lists {_named([card])} and its "
            f"adapters {_named(adapters)}. Name one of them by model=.",
        )
    if card is None:
        names = _named(cards) or "none"
        wanted = f"does not serve {model!r}" if model else "serves no single base model"
        raise ModelNotFoundError(
            f"The server {wanted}; it lists: {names}. Name one of them by model=.",
            status=404,
            endpoint=response.endpoint,
            request_id=response.request_id,
        )
    base = next((each for each in cards if each["id"] == card.get("parent")), None)
    named = _named_engine(cards)
    found = await (_found_by_routes(transport) if named is None else _asked(transport, named))
    engine = found.engine
    limit = as_count(card.get("max_model_len"))
    identity = replace(
        found,
        version=await _version(transport, engine),
        model=str(card["id"]),
        max_model_len=None if limit is None else limit - engine.spare_tokens,
        base=str(base["id"]) if base is not None else None,
    )
    if engine.info_path is not None:
        return identity
    return replace(identity, root=_root(card), tokenizer_root=_root(card if base is None else base))


async def _asked(transport: Transport, engine: Engine) -> Identity:
    """Return an identity of what the engine's own route tells, if it has one."""
    return _told(engine, await _info(transport, engine))


async def _found_by_routes(transport: Transport) -> Identity:
    """Return the same of the engine whose own route answers behind a gateway with other names."""
    for engine in ENGINES.values():
        info = await _info(transport, engine)
        if "model_path" in info:
            return _told(engine, info)
    return _told(VLLM, {})


async def _info(transport: Transport, engine: Engine) -> Mapping[str, object]:
    return {} if engine.info_path is None else await _optional(transport, engine.info_path)


def _told(engine: Engine, info: Mapping[str, object]) -> Identity:
    writes = info.get("is_generation")
    return Identity(
        version=None,
        model="",
        root=_text(info.get("model_path")),
        max_model_len=None,
        base=None,
        tokenizer_root=_text(info.get("tokenizer_path")),
        engine=engine,
        architectures=frozenset(map(str, as_list(info.get("architectures")) or ())),
        writes=writes if isinstance(writes, bool) else None,
    )


async def listed_paths(transport: Transport) -> AbstractSet[str] | None:
    """Return the routes that the server, or a gateway, lists; None if it lists none."""
    paths = as_mapping((await _optional(transport, "/openapi.json")).get("paths"))
    return paths.keys() if paths is not None else None


def hidden_routes(
    identity: Identity, listed: AbstractSet[str] | None, *, tokenizes: bool
) -> list[str]:
    """Return the routes of every server that this address hides, as a gateway does.

    Args:
        identity: The server.
        listed: The routes that the address lists.
        tokenizes: True if ``/tokenize`` answered.
    """
    engine = identity.engine
    is_foreign = listed is not None and MODELS_PATH not in listed
    hides = {
        MODELS_PATH: not identity.is_listed,
        engine.version_paths[0]: identity.version is None,
        engine.tokenize_path: not tokenizes and engine.range_of(identity.version).tokenizes,
        "/openapi.json": is_foreign,
    }
    return [path for path, is_hidden in hides.items() if is_hidden]


async def _version(transport: Transport, engine: Engine) -> str | None:
    for path in engine.version_paths:
        version = (await _optional(transport, path)).get("version")
        if isinstance(version, str) and _VERSION.fullmatch(version):
            return version
    return None


async def _optional(transport: Transport, path: str) -> Mapping[str, object]:
    """Return a JSON object that gateways may hide; an empty one if they do."""
    response = await response_if_any(transport, Request("GET", path))
    return (as_mapping(response.payload) if response else None) or {}


def _route_in(url: str) -> str | None:
    """Return the route that a base URL ends with, by mistake."""
    return next((route for route in _ROUTES if url.endswith(route)), None)


def _unlisted(error: StatusError, url: str) -> StatusError:
    """Return the error of a missing list of models, with the advice."""
    advice = f"If a gateway hides {MODELS_PATH}, name the model by model=."
    route = _route_in(url)
    if route is not None:
        server = url.removesuffix(route)
        advice = f"base_url ends with the route {route}: give base_url={server!r}."
    return advised(error, advice)


def advised(error: StatusError, advice: str) -> StatusError:
    """Return the error with further advice."""
    return type(error)(
        f"{error.args[0]} {advice}",
        status=error.status,
        server_message=error.server_message,
        endpoint=error.endpoint,
        request_id=error.request_id,
        attempts=error.attempts,
    )


def _named_engine(cards: Sequence[Mapping[str, object]]) -> Engine | None:
    """Return the engine that a server names."""
    owners = [card.get("owned_by") for card in cards]
    return next((engine for key, engine in ENGINES.items() if key in owners), None)


def _other_flavour(cards: Sequence[Mapping[str, object]]) -> str | None:
    owners = (card.get("owned_by") for card in cards)
    names = (OTHER_FLAVOURS.get(owner.lower()) for owner in owners if isinstance(owner, str))
    return next((name for name in names if name is not None), None)


def _choose(
    cards: Sequence[Mapping[str, object]], model: str | None
) -> Mapping[str, object] | None:
    if model is not None:
        return next((card for card in cards if card["id"] == model), None)
    base = [card for card in cards if card.get("parent") is None]
    roots = {_root(card) or card["id"] for card in base}
    return base[0] if len(roots) == 1 else None


def _root(card: Mapping[str, object]) -> str | None:
    return _text(card.get("root"))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _named(cards: Sequence[Mapping[str, object]]) -> str:
    return ", ".join(_shortened(str(card["id"])) for card in cards[:_SHOWN_NAMES])


def _shortened(name: str) -> str:
    return shorten(one_line(name), _SHOWN_CHARACTERS)
