"""The link of a client to its servers: connections, pools and scorer of one event loop."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from reward_client._client.config import Config
from reward_client._client.proven_states import ProvenStates
from reward_client._replicas.pool import ReplicaPool
from reward_client._scoring.base import Scorer
from reward_client._scoring.factory import output_spec, scorer_of
from reward_client._server.state import DiscoveryOptions, OutputSpec
from reward_client._tokenization import Tokenizer

if TYPE_CHECKING:
    from reward_client._transport import Backend, HttpTransport

_logger = logging.getLogger("reward_client")


@dataclass(slots=True)
class Link:
    """The connections of one event loop, and the scorer that uses them.

    Attributes:
        transports: The connections, in the order of the pools and their URLs.
        pools: The servers with the reward; then the critics, if they are other servers.
        tokenizer: Makes token IDs for the first pool.
        scorer: Scores by the pools.
        proven: The states of the servers, for each pool.
        ending: A generator that the loop closes at its end; it closes the link.
    """

    transports: Sequence[HttpTransport]
    pools: Sequence[ReplicaPool]
    tokenizer: Tokenizer
    scorer: Scorer
    proven: Sequence[ProvenStates]
    ending: AsyncGenerator[None] | None = None

    @property
    def pool(self) -> ReplicaPool:
        """The servers with the reward."""
        return self.pools[0]

    def take_over(self, earlier: Link) -> None:
        """Continue with what the link of an event loop that has ended knew of the same servers."""
        for transport, known in zip(self.transports, earlier.transports, strict=True):
            transport.take_over(known)
        for pool, known_pool in zip(self.pools, earlier.pools, strict=True):
            pool.take_over(known_pool)
        self.tokenizer.take_over(earlier.tokenizer)
        self.scorer.take_over(earlier.scorer)
        for states, known_states in zip(self.proven, earlier.proven, strict=True):
            states.take_over(known_states)

    async def aclose(self) -> None:
        """Close the connections, and stop the work in progress."""
        for transport in self.transports:
            await transport.aclose()
        await self.scorer.aclose()
        for pool in self.pools:
            await pool.aclose()

    def drop(self) -> None:
        """Close the connections of an event loop that runs no more."""
        for transport in self.transports:
            transport.drop()


def connect(config: Config, urls: Sequence[str]) -> Link:
    """Return a link for the running event loop; the first request opens a connection.

    Args:
        config: The client's options.
        urls: The servers with the reward, all of the options or some of them.
    """
    transports: list[HttpTransport] = []
    pools = [_pool(config, config, urls, output_spec(config.method), transports)]
    critics: ReplicaPool | None = None
    if config.critics is not None:
        spec = OutputSpec(generates=True)
        critics = _pool(config, config.critics, config.critics.urls, spec, transports)
        pools.append(critics)
    treatment = config.on_control_tokens
    tokenizer = Tokenizer(config.tokenizer, config.on_overlong, treatment)
    scorer = scorer_of(config.method, pools[0], critics, config.limits, tokenizer, treatment)
    return Link(transports, pools, tokenizer, scorer, [*map(ProvenStates, pools)])


def discovery_options(config: Config, output: OutputSpec) -> DiscoveryOptions:
    """Return what the caller said about the servers of some options."""
    return DiscoveryOptions(
        model=config.model,
        head=None if config.head == "auto" else config.head,
        route=config.route,
        activation=config.server_activation,
        recipe=config.known_recipe,
        bos=config.bos,
        tokenizer=config.tokenizer_name,
        output=output,
        choice="server" if config.tokenizer_name == "server" else config.tokenizer,
        pack_size=config.limits.max_batch_items,
    )


def log(config: Config, level: int, message: str) -> None:
    """Log a message without the keys of a client."""
    _logger.log(level, "%s", hide(config, message))


def hide(config: Config, text: str) -> str:
    """Return a text without the keys of a client."""
    from reward_client._transport.redaction import redact

    # A server may have any name, that of a key which it was sent too.
    for each in (config, config.critics):
        if each is not None:
            text = redact(text, each.request_headers)
    return text


def _pool(
    client: Config,
    config: Config,
    urls: Sequence[str],
    output: OutputSpec,
    transports: list[HttpTransport],
) -> ReplicaPool:
    """Return a pool of equal servers; append their transports."""
    from reward_client._transport import HttpTransport  # loads the HTTP stack at the first call

    def connect_to(url: str, has_stand_in: Callable[[], bool]) -> HttpTransport:
        transport = HttpTransport(
            url,
            _open_backend(config, url),
            headers=config.request_headers,
            retry=config.retry_policy,
            limits=config.limits,
            has_stand_in=has_stand_in,
        )
        transports.append(transport)
        return transport

    options = discovery_options(config, output)
    tolerance = config.limits.replica_tolerance
    return ReplicaPool(urls, connect_to, options, tolerance, partial(log, client))


def _open_backend(config: Config, url: str) -> Backend:
    limit = config.limits.max_response_bytes
    if config.openai is not None:
        from reward_client._transport.backends.openai import OpenAIBackend

        return OpenAIBackend(config.openai, url, config.timeouts, limit)
    if config.transport is not None:
        from reward_client._transport.backends.httpx import HttpxBackend

        return HttpxBackend(url, config.timeouts, limit, config.transport)
    from reward_client._transport.backends.aiohttp import AiohttpBackend

    return AiohttpBackend(url, config.timeouts, config.connection, limit)
