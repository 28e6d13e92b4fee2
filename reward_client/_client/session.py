"""What both clients do: conversations in, rewards out, on whichever event loop is running."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reward_client._base.results import (
    Ranking,
    Reward,
    ServerProfile,
    Settings,
    TokenizedSample,
    ranking,
)
from reward_client._base.samples import (
    Message,
    Prompt,
    Sample,
    parse_sample,
    refuse_single_sample,
    responses_to,
)
from reward_client._client.config import Config
from reward_client._client.streaming import AsyncRewardStream, OnError, Window, collect
from reward_client._protocols.http import Transport
from reward_client._replicas.pool import ReplicaFactory, ReplicaPool
from reward_client._scoring.base import Scorer, Settle
from reward_client._scoring.factory import reading_of, scorer_of
from reward_client._scoring.judge import JudgedScorer
from reward_client._server.discovery import discover
from reward_client._server.identity import identify
from reward_client._server.state import DiscoveryOptions, OutputSpec, ServerState
from reward_client._tokenization import Tokenizer
from reward_client.errors import InputError, RewardClientError, RewardTimeoutError
from reward_client.heads import head_digest

if TYPE_CHECKING:
    from reward_client._doctor.report import Diagnosis
    from reward_client._transport import Backend, HttpTransport


_logger = logging.getLogger("reward_client")


@dataclass(frozen=True, slots=True)
class _Link:
    """The connections of one event loop, and what is known of the servers."""

    transports: Sequence[HttpTransport]
    pool: ReplicaPool
    critics: ReplicaPool | None
    method: Scorer

    async def aclose(self) -> None:
        for transport in self.transports:
            await transport.aclose()
        await self.method.aclose()
        for pool in (self.pool, self.critics):
            if pool is not None:
                await pool.aclose()


class Core:
    """Scores samples. One for each client; holds a link for each event loop that uses it.

    Args:
        config: The client's options.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self._links: dict[asyncio.AbstractEventLoop, _Link] = {}
        self._closed = False

    async def score(self, sample: Sample) -> Reward:
        """The reward of one sample, within ``Timeouts.total``."""
        async with self._deadline():
            prompt = parse_sample(sample)
            link = await self._link()
            return await link.method.score(prompt)

    async def score_each(self, samples: Mapping[int, Sample], settle: Settle) -> None:
        """The rewards of a few samples, within ``Timeouts.total``.

        Args:
            samples: The samples by their numbers.
            settle: Is told the outcomes by these.

        Raises:
            RewardClientError: None of the rest can be scored.
        """
        async with self._deadline():
            prompts: dict[int, Prompt] = {}
            for number, sample in samples.items():
                try:
                    prompts[number] = parse_sample(sample)
                except InputError as error:
                    settle({number: error})
            if prompts:
                link = await self._link()
                await link.method.score_each(prompts, settle)

    async def rank(self, prompt: str | Sequence[Message], responses: Sequence[str]) -> Ranking:
        """Responses to one prompt, ranked by their rewards, or by how a judge compares them."""
        conversations = responses_to(prompt, responses)
        method = (await self._link()).method
        if isinstance(method, JudgedScorer) and method.compares:
            texts = method.verdict.calls(len(conversations))
            self._log(logging.INFO, f"{len(conversations)} responses are compared by {texts} texts")
            async with self._deadline():
                return await method.rank(conversations)
        outcomes = await self.score_many(conversations, on_error="raise", progress=False)
        rewards = [outcome for outcome in outcomes if isinstance(outcome, Reward)]
        return ranking(responses, rewards)

    async def tokenize(self, sample: Sample) -> TokenizedSample:
        """The token IDs that a sample would be scored as."""
        prompt = parse_sample(sample)
        link = await self._link()
        return await link.method.tokenize(prompt)

    async def servers(self) -> tuple[ServerProfile, ...]:
        """What is known of the servers in use."""
        link = await self._link()
        return tuple(serving.profile for serving in await link.pool.servings())

    async def settings(self) -> Settings:
        """What all rewards depend on."""
        link = await self._link()
        serving, *_ = await link.pool.servings()
        provenance = await link.method.provenance(serving.provenance)
        on_overlong = self.config.on_overlong
        return Settings(
            **dict(provenance),
            root=serving.profile.root,
            head_digest=head_digest(serving.head),
            bos=self.config.bos,
            on_overlong=on_overlong,
            max_model_len=serving.profile.max_model_len if on_overlong == "drop_turns" else None,
            probe_scores=serving.scores,
        )

    async def diagnose(self, sample: Sample | None) -> Diagnosis:
        """What a look at the first server finds."""
        from reward_client._doctor import Doctor

        prompt = None if sample is None else parse_sample(sample)
        async with self._first_server() as link:
            server = link.pool.servers[0]
            options = _wishes(self.config, reading_of(self.config.method))
            doctor = Doctor(server.transport, server.watch, link.method, options, self._keeps_alive)
            return await doctor.diagnose(prompt)

    @asynccontextmanager
    async def _first_server(self) -> AsyncGenerator[_Link]:
        """The link to it alone, so that no other does its work."""
        link = await self._link()
        if len(self.config.urls) == 1:
            yield link
            return
        alone = self._connect(self.config.urls[:1])
        try:
            yield alone
        finally:
            await alone.aclose()

    async def _keeps_alive(self) -> bool | None:
        config = self.config
        if config.transport is not None or config.openai is not None:
            return None
        from reward_client._transport.keep_alive import keeps_alive

        return await keeps_alive(config.urls[0], config.request_headers, config.connection)

    def window(self, *, ordered: bool) -> Window:
        """A bounded window of samples under way."""
        limits = self.config.limits
        group = limits.max_batch_items
        size = limits.max_concurrency * group * len(self.config.urls)
        return Window(self.score_each, size, group, ordered=ordered)

    def stream(
        self, samples: Iterable[Sample] | AsyncIterable[Sample], *, ordered: bool, progress: bool
    ) -> AsyncRewardStream:
        """Results as they come, or in order."""
        refuse_single_sample(samples)
        return AsyncRewardStream(self.window(ordered=ordered), samples, progress=progress)

    async def score_many(
        self, samples: Iterable[Sample], *, on_error: OnError, progress: bool
    ) -> list[Reward | RewardClientError]:
        """All results, in the order of the samples."""
        refuse_single_sample(samples)
        window = self.window(ordered=False)
        return await collect(window, samples, on_error=on_error, progress=progress)

    @asynccontextmanager
    async def _deadline(self) -> AsyncGenerator[None]:
        total = self.config.timeouts.total
        deadline = asyncio.timeout(total)
        try:
            async with deadline:
                yield
        except TimeoutError as error:
            if isinstance(error, RewardClientError) or not deadline.expired():
                raise
            raise RewardTimeoutError(
                f"The sample was not scored within {total} s, as Timeouts(total=…) demands."
            ) from error

    def close(self) -> None:
        """Refuses further work."""
        self._closed = True

    async def aclose(self) -> None:
        """Closes the connections of the running loop, and of loops that are gone."""
        self.close()
        await self._close_links(also=asyncio.get_running_loop())

    async def _link(self) -> _Link:
        if self._closed:
            raise RewardClientError("This client is closed: make a new one.")
        loop = asyncio.get_running_loop()
        link = self._links.get(loop)
        if link is None:
            await self._close_links()
            link = self._links.setdefault(loop, self._connect(self.config.urls))
        return link

    async def _close_links(self, also: asyncio.AbstractEventLoop | None = None) -> None:
        for loop in tuple(self._links):
            if loop.is_closed() or loop is also:
                link = self._links.pop(loop, None)
                if link is not None:
                    await link.aclose()

    def _connect(self, urls: Sequence[str]) -> _Link:
        config, reading = self.config, reading_of(self.config.method)
        transports, pool = self._pool(config, urls, reading)
        critics: ReplicaPool | None = None
        if config.critics is not None:
            others, critics = self._pool(
                config.critics, config.critics.urls, OutputSpec(writes=True)
            )
            transports += others
        tokenizer = Tokenizer(config.tokenizer, config.on_overlong)
        method = scorer_of(config.method, pool, critics, config.limits, tokenizer)
        return _Link(transports, pool, critics, method)

    def _pool(
        self, config: Config, urls: Sequence[str], reading: OutputSpec
    ) -> tuple[list[HttpTransport], ReplicaPool]:
        """Servers that are equal to each other, and the ways to them."""
        from reward_client._transport import (
            HttpTransport,  # loads the HTTP stack, at the first call
        )

        transports: list[HttpTransport] = []
        options = _wishes(config, reading)

        def caller_for(url: str, has_stand_in: Callable[[], bool]) -> HttpTransport:
            transport = HttpTransport(
                url,
                _open_wire(config, url),
                headers=config.request_headers,
                retry=config.retry_policy,
                limits=config.limits,
                has_stand_in=has_stand_in,
            )
            transports.append(transport)
            return transport

        async def discovered(transport: Transport) -> ServerState:
            serving = await discover(transport, options)
            self._log(logging.INFO, f"server profile: {serving.profile!r}")
            return serving

        parts = ReplicaFactory(
            transport=caller_for,
            identify=lambda transport: identify(transport, config.model),
            discover=discovered,
        )
        return transports, ReplicaPool(urls, parts, config.limits.replica_tolerance, self._log)

    def _log(self, level: int, message: str) -> None:
        from reward_client._transport.redaction import redact

        # A server may have any name, that of a key which it was sent too.
        for config in (self.config, self.config.critics):
            if config is not None:
                message = redact(message, config.request_headers)
        _logger.log(level, "%s", message)


def _wishes(config: Config, reading: OutputSpec) -> DiscoveryOptions:
    return DiscoveryOptions(
        model=config.model,
        head=None if config.head == "auto" else config.head,
        route=config.route,
        activation=config.server_activation,
        recipe=config.known_recipe,
        bos=config.bos,
        tokenizer=config.tokenizer_name,
        reading=reading,
    )


def _open_wire(config: Config, url: str) -> Backend:
    limit = config.limits.max_response_bytes
    if config.openai is not None:
        from reward_client._transport.backends.openai import OpenAIBackend

        return OpenAIBackend(config.openai, url, config.timeouts, limit)
    if config.transport is not None:
        from reward_client._transport.backends.httpx import HttpxBackend

        return HttpxBackend(url, config.timeouts, limit, config.transport)
    from reward_client._transport.backends.aiohttp import AiohttpBackend

    return AiohttpBackend(url, config.timeouts, config.connection, limit)
