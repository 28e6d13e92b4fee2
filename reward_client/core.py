"""What both clients do: conversations in, rewards out, on whichever event loop is running."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reward_client.bulk import AsyncRewardStream, OnError, Window, collect
from reward_client.calls import Caller
from reward_client.config import Config
from reward_client.errors import InputError, RewardClientError, RewardTimeoutError
from reward_client.fleet import Fleet, ServerParts
from reward_client.heads import head_digest
from reward_client.methods import Messages
from reward_client.methods.messages import MessagesScorer
from reward_client.methods.pooled import PooledScorer
from reward_client.methods.scorer import Scorer, Settle
from reward_client.packs import Packs
from reward_client.rewards import Reward, ServerProfile, Settings, TokenizedSample
from reward_client.samples import Prompt, Sample, parse_sample, refuse_single_sample
from reward_client.server.discovery import discover
from reward_client.server.identity import identify
from reward_client.server.scoring import scored
from reward_client.server.serving import Serving, Wishes
from reward_client.tokenizing import Tokenizer

if TYPE_CHECKING:
    from reward_client.diagnosis import Diagnosis
    from reward_client.transport import HttpCaller, Wire

__all__ = ["Core"]

_logger = logging.getLogger("reward_client")


@dataclass(frozen=True, slots=True)
class _Link:
    """The connections of one event loop, and what is known of the servers."""

    callers: Sequence[HttpCaller]
    fleet: Fleet
    method: Scorer

    async def aclose(self) -> None:
        for caller in self.callers:
            await caller.aclose()
        await self.method.aclose()
        await self.fleet.aclose()


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

    async def tokenize(self, sample: Sample) -> TokenizedSample:
        """The token IDs that a sample would be scored as."""
        prompt = parse_sample(sample)
        link = await self._link()
        return await link.method.tokenize(prompt)

    async def servers(self) -> tuple[ServerProfile, ...]:
        """What is known of the servers in use."""
        link = await self._link()
        return tuple(serving.profile for serving in await link.fleet.servings())

    async def settings(self) -> Settings:
        """What all rewards depend on."""
        link = await self._link()
        serving, *_ = await link.fleet.servings()
        on_overlong = self.config.on_overlong
        return Settings(
            **dict(serving.provenance),
            root=serving.profile.root,
            head_digest=head_digest(serving.head),
            bos=self.config.bos,
            on_overlong=on_overlong,
            max_model_len=serving.profile.max_model_len if on_overlong == "drop_turns" else None,
            probe_scores=serving.scores,
        )

    async def diagnose(self, sample: Sample | None) -> Diagnosis:
        """What a look at the first server finds."""
        from reward_client.doctor import Doctor

        prompt = None if sample is None else parse_sample(sample)
        async with self._first_server() as link:
            server, wishes = link.fleet.servers[0], self._wishes()
            doctor = Doctor(server.caller, server.watch, link.method, wishes, self._keeps_alive)
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
        from reward_client.transport.keep_alive import keeps_alive

        return await keeps_alive(config.urls[0], config.request_headers, config.connection)

    def window(self, *, ordered: bool) -> Window:
        """A bounded window of samples under way."""
        limits = self.config.limits
        group = limits.max_pack_items
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
        total = self.config.timeout.total
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
        from reward_client.transport import HttpCaller  # loads the HTTP stack, at the first call

        config = self.config
        callers: list[HttpCaller] = []

        def caller_for(url: str, has_stand_in: Callable[[], bool]) -> HttpCaller:
            caller = HttpCaller(
                url,
                self._open_wire(url),
                headers=config.request_headers,
                retry=config.retry,
                limits=config.limits,
                has_stand_in=has_stand_in,
            )
            callers.append(caller)
            return caller

        parts = ServerParts(
            caller=caller_for,
            identify=lambda caller: identify(caller, config.model),
            discover=self._discovered,
        )
        fleet = Fleet(urls, parts, config.limits.replica_tolerance, self._log)
        return _Link(callers, fleet, self._scorer(fleet))

    def _scorer(self, fleet: Fleet) -> Scorer:
        config = self.config
        tokenizer = Tokenizer(config.tokenizer, config.on_overlong)
        by_ids = PooledScorer(fleet, Packs(fleet, config.limits, scored), tokenizer)
        if isinstance(config.method, Messages):
            return MessagesScorer(fleet, config.limits, by_ids)
        return by_ids

    async def _discovered(self, caller: Caller) -> Serving:
        serving = await discover(caller, self._wishes())
        self._log(logging.INFO, f"server profile: {serving.profile!r}")
        return serving

    def _log(self, level: int, message: str) -> None:
        from reward_client.transport.redaction import redact

        # A server may have any name, that of a key which it was sent too.
        _logger.log(level, "%s", redact(message, self.config.request_headers))

    def _wishes(self) -> Wishes:
        config = self.config
        return Wishes(
            model=config.model,
            head=None if config.head == "auto" else config.head,
            route=config.route,
            activation=config.server_activation,
            recipe=config.known_recipe,
            bos=config.bos,
            tokenizer=config.tokenizer_name,
        )

    def _open_wire(self, url: str) -> Wire:
        config = self.config
        limit = config.limits.max_response_bytes
        if config.openai is not None:
            from reward_client.transport.openai_wire import OpenAIWire

            return OpenAIWire(config.openai, url, config.timeout, limit)
        if config.transport is not None:
            from reward_client.transport.httpx_wire import HttpxWire

            return HttpxWire(url, config.timeout, limit, config.transport)
        from reward_client.transport.aiohttp_wire import AiohttpWire

        return AiohttpWire(url, config.timeout, config.connection, limit)
