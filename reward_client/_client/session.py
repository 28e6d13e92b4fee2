"""The work of both clients: samples in, rewards out, on whichever event loop is running."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
    Iterable,
    Sequence,
)
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from weakref import finalize

from reward_client._base import contest
from reward_client._base.choices import check_flags
from reward_client._base.ranking import Ranking, ranking
from reward_client._base.results import Reward, ServerProfile, Settings, TokenizedSample
from reward_client._base.samples import (
    Conversation,
    Given,
    Parsed,
    Prompt,
    Sample,
    hold_each,
    is_token_ids,
    parse,
    parse_sample,
    refuse_single_sample,
)
from reward_client._base.turns import check_order, check_roles, lacks_answer, no_answer
from reward_client._base.wording import describe_type
from reward_client._client.config import Config
from reward_client._client.core import join, leave, part
from reward_client._client.equal_settings import settings_of_replicas
from reward_client._client.failures import warn_of_failures
from reward_client._client.link import Link, connect, discovery_options, hide, log
from reward_client._client.loop_thread import CLOSED, CLOSED_MEANWHILE
from reward_client._client.rank_calls import Group, grouped, name_of_response, outcomes_of
from reward_client._client.streaming import (
    AsyncRewardStream,
    Bar,
    OnError,
    ParsedEach,
    Window,
    collect,
    samples_bar,
)
from reward_client._client.watch import OutcomesOf, Watch
from reward_client._protocols.http import IF_STARTING, SERVER_FAILURES
from reward_client._replicas.pool import ReplicaPool
from reward_client._scoring.base import Outcome, reward_or_raise
from reward_client._scoring.factory import output_spec
from reward_client._scoring.judge import JudgeScorer
from reward_client._server.state import ServerState
from reward_client._server.template_look import look_at_template, today_here
from reward_client._telemetry.observation import Active, ObservedCall
from reward_client._telemetry.tally import Tally
from reward_client.errors import InputError, RewardClientError, RewardTimeoutError
from reward_client.methods import Messages

if TYPE_CHECKING:
    from reward_client._doctor.report import Examination

WorkT = TypeVar("WorkT")
ResultT = TypeVar("ResultT")

_READY_PAUSE = 1.0
"""Seconds between two looks at a server that is not ready."""
_FIRST_SHARE = 5.0
"""Seconds for the first look. Each further one gets twice as many: a slow server needs them."""


class Session:
    """Scores samples for one client by the core that it shares with its equals.

    Args:
        config: The client's options.
        blocks: True for a client with an event loop in a thread.

    Attributes:
        config: The client's options.
        core: The connections.
        tally: The counts of this client.
        closed: True if the client takes no further work.
    """

    def __init__(self, config: Config, *, blocks: bool) -> None:
        self.config = config
        self.core = join(config, blocks=blocks)
        self.tally = Tally()
        self.closed = False
        self._streams: set[ObservedCall] = set()
        self._calls: dict[asyncio.Timeout, asyncio.AbstractEventLoop] = {}
        # Of the session and not of the client: a stream may outlive that.
        self._leaving = finalize(self, leave, self.core)
        self._leaving.atexit = False

    async def score(self, sample: Sample) -> Reward:
        """Return the reward of one sample, within ``Timeouts.total``."""
        with self.observe("score").ending() as observed:
            watch = self._watch(observed, self.score_group, _themselves)
            (outcome,) = await watch.score([sample])
            await watch.prove(at_end=True)
            return reward_or_raise(outcome)

    async def score_group(self, samples: Sequence[Given]) -> list[Outcome]:
        """Return the outcomes of samples that go together, within ``Timeouts.total``.

        Raises:
            RewardClientError: If the deadline passes, or the client is closed.
        """
        async with self._call(self.config.timeouts.total):
            parsed = await self._parsed_each(samples)
            prompts = [prompt for prompt in parsed if not isinstance(prompt, InputError)]
            if not prompts:
                return [each for each in parsed if isinstance(each, InputError)]
            outcomes = await (await self._link()).scorer.score(prompts)
        if len(outcomes) == len(parsed):
            return outcomes
        scored = iter(outcomes)
        return [each if isinstance(each, InputError) else next(scored) for each in parsed]

    async def score_many(
        self, samples: Iterable[Given], *, on_error: OnError, bar: Bar | None
    ) -> list[Reward | RewardClientError]:
        """Return all outcomes, in the order of the samples."""
        with self.observe("score_many").ending() as observed:
            window = self.window(observed, ordered=False)
            return await collect(window, samples, on_error=on_error, bar=bar)

    def stream(
        self, samples: Iterable[Sample] | AsyncIterable[Sample], *, ordered: bool, progress: bool
    ) -> AsyncRewardStream:
        """Return a stream of results, in order or as they come."""
        check_flags(ordered=ordered, progress=progress)
        refuse_single_sample(samples)
        given = ParsedEach(samples) if isinstance(samples, AsyncIterable) else hold_each(samples)
        bar = samples_bar(samples) if progress else None
        window, on_end = self.begin_stream(ordered=ordered)
        return AsyncRewardStream(window, given, bar, on_end)

    def begin_stream(
        self, *, ordered: bool
    ) -> tuple[Window[Given, Reward], Callable[[Exception | None], None]]:
        """Return the window of a stream that begins now, and the function that notes its end."""
        observed = self.observe("stream")
        self._streams.add(observed)
        return self.window(observed, ordered=ordered), partial(self._end_stream, observed)

    def end_streams(self) -> None:
        """Note the end of streams that nobody closed; they give no further results."""
        for observed in tuple(self._streams):
            self._end_stream(observed, None)

    def _end_stream(self, observed: ObservedCall, error: Exception | None) -> None:
        self._streams.discard(observed)
        observed.end(error)

    def observe(self, operation: str) -> ObservedCall:
        """Return the observer of a call that begins now.

        Args:
            operation: The name of the client's method.
        """
        return ObservedCall(self.tally, operation, self.config.model, partial(hide, self.config))

    def window(self, observed: ObservedCall, *, ordered: bool) -> Window[Given, Reward]:
        """Return a bounded window of samples in progress."""
        config, limits = self.config, self.config.limits
        size = limits.max_concurrency * limits.max_batch_items * len(config.urls)
        has_deadline = config.timeouts.total is not None
        # A deadline for each sample needs a task for each, and so do rows whose texts cost much.
        group_size = 1 if has_deadline or config.compares else limits.max_batch_items
        if has_deadline and config.compares:  # no row may spend its time on waiting
            size = limits.max_concurrency
        by_server = config.tokenizer == "server" and not isinstance(config.method, Messages)
        joins_group = is_token_ids if by_server else _always
        outcomes_of_samples = _of_responses if config.compares else _themselves
        watch = self._watch(observed, self.score_group, outcomes_of_samples)
        return Window(watch, size, group_size, joins_group, ordered=ordered)

    async def rank(self, group: Group) -> Ranking:
        """Rank responses to one prompt by their rewards, or by a judge's comparisons."""
        with self.observe("rank").ending() as observed:
            _note_unreadable(observed, [group])
            if group.error is not None:
                raise group.error
            judge = await self._judge_of_two()
            if judge is not None:
                self._tell_calls(judge, [group])
                return await self._rank_one_by_judge(observed, judge, group)
            window = self.window(observed, ordered=False)
            outcomes = await collect(window, group.conversations, on_error="raise")
            return ranking(group.responses, outcomes)

    async def rank_many(
        self, groups: Sequence[Group], *, on_error: OnError, progress: bool
    ) -> list[Ranking]:
        """Rank the responses to each of many prompts, all at once."""
        with self.observe("rank_many").ending() as observed:
            _note_unreadable(observed, groups)
            judge = await self._judge_of_two()
            if judge is not None:
                return await self._rank_many_by_judge(
                    observed, judge, groups, on_error, progress=progress
                )
            conversations = [each for group in groups for each in group.conversations]
            outcomes = await collect(
                self.window(observed, ordered=False),
                conversations,
                on_error=on_error,
                bar=samples_bar(conversations) if progress else None,
                name=partial(name_of_response, groups),
            )
            return grouped(groups, outcomes)

    async def _judge_of_two(self) -> JudgeScorer | None:
        scorer = (await self._link()).scorer
        return scorer if isinstance(scorer, JudgeScorer) and scorer.compares else None

    async def _rank_by_judge(self, judge: JudgeScorer, group: Group, *, stops: bool) -> Ranking:
        async with self._call(self.config.timeouts.total):
            return await judge.rank(group.conversations, stops=stops)

    async def _rank_one_by_judge(
        self, observed: ObservedCall, judge: JudgeScorer, group: Group
    ) -> Ranking:
        try:
            with observed.active():
                ranked = await self._rank_by_judge(judge, group, stops=True)
        except Exception as error:
            observed.note(outcomes_of([group], [error]))
            raise
        observed.note(outcomes_of([group], [ranked]))
        return ranked

    async def _rank_many_by_judge(
        self,
        observed: ObservedCall,
        judge: JudgeScorer,
        groups: Sequence[Group],
        on_error: OnError,
        *,
        progress: bool,
    ) -> list[Ranking]:
        readable = [index for index, group in enumerate(groups) if group.error is None]
        work = [groups[index] for index in readable]
        self._tell_calls(judge, work)

        async def rank_each(some: Sequence[Group]) -> list[Ranking | Exception]:
            return [
                await self._rank_by_judge(judge, group, stops=on_error == "raise") for group in some
            ]

        # Each prompt asks for a text at least, so that as many keep all connections busy.
        size = self.config.limits.max_concurrency * len(self.config.urls)
        outcomes = await collect(
            Window(self._watch(observed, rank_each, outcomes_of), size, 1, _always, ordered=False),
            work,
            on_error=on_error,
            bar=samples_bar(work, "prompt") if progress else None,
            name=lambda index: f"Prompt {readable[index]}",
        )
        by_index = dict(zip(readable, outcomes, strict=True))
        rankings = [
            _ranking_of(group, by_index.get(index, group.error))
            for index, group in enumerate(groups)
        ]
        failed = [each for ranked in rankings for each in ranked.failed_comparisons]
        total = len(failed) + sum(len(ranked.comparisons) for ranked in rankings)
        counts = Counter(type(each.error).__name__ for each in failed)
        warn_of_failures(counts, total, "comparisons")
        return rankings

    def _tell_calls(self, judge: JudgeScorer, groups: Sequence[Group]) -> None:
        sizes = [len(group.responses) for group in groups]
        calls = sum(map(judge.verdict.calls, sizes))
        log(self.config, logging.INFO, f"{calls} texts compare {sum(sizes)} responses")

    async def tokenize(self, sample: Sample) -> TokenizedSample:
        """Return the token IDs that a sample would be scored as."""
        async with self._call():
            prompt = await self._parsed(sample)
            return await (await self._link()).scorer.tokenize(prompt)

    async def wait_until_ready(self, timeout: float) -> None:  # noqa: ASYNC109 - the caller's word
        """Wait until the servers are discovered, those of critics aside."""
        _check_seconds(timeout)
        deadline = time.monotonic() + timeout
        share = _FIRST_SHARE
        said = f"it gave no answer within {timeout:g} s"
        last: RewardClientError | None = None
        while (left := deadline - time.monotonic()) > 0:
            # A connection that nobody answers must not take the whole time.
            limit = asyncio.timeout(min(left, share))
            share *= 2
            try:
                async with limit:
                    await self.servers()
            except SERVER_FAILURES as error:
                last = error
            except TimeoutError:
                if not limit.expired():
                    raise
                last = await self._last_error()
            else:
                return
            await asyncio.sleep(min(_READY_PAUSE, max(0.0, deadline - time.monotonic())))
        if last is not None:
            said = str(last).replace(IF_STARTING, "")
        raise RewardTimeoutError(
            f"No server was ready within {timeout:g} s at {', '.join(self.config.urls)}. "
            f"The last attempt: {said}"
        ) from last

    async def _last_error(self) -> RewardClientError | None:
        """Return the latest failure of a request, if any; its retries may have gone on since."""
        errors = (transport.last_error for transport in (await self._link()).transports)
        return next((error for error in errors if error is not None), None)

    async def servers(self) -> tuple[ServerProfile, ...]:
        """Return the profiles of the servers in rotation."""
        async with self._call():
            pool = (await self._link()).pool
            return tuple(state.profile for state in await pool.states())

    async def known_settings(self) -> Settings:
        """Return the settings without a look at today's template: it takes no request."""
        async with self._call():
            return await self._known_settings(await self._link())

    async def _known_settings(self, link: Link) -> Settings:
        states = await link.proven[0].states()
        authors = await link.proven[-1].states()
        return settings_of_replicas(
            each for state in states for each in self._settings_with(link, state, authors)
        )

    def _settings_with(
        self, link: Link, state: ServerState, authors: Sequence[ServerState]
    ) -> list[Settings]:
        """Return the settings with one server, and with each that may write for it."""
        config = self.config
        return [
            state.settings(provenance, config.on_overlong, config.on_control_tokens)
            for provenance in link.scorer.provenances(state.provenance, authors)
        ]

    async def settings(self) -> Settings:
        """Return everything that all rewards depend on."""
        async with self._call():
            link = await self._link()
            settings = await self._known_settings(link)
            if settings.prompt_date is None:
                return settings
            # What a server that is away would write today, nobody knows.
            states = await link.pool.states()
            authors = await link.proven[-1].states()
            return settings_of_replicas(
                [
                    each
                    for state in states
                    for each in await self._settings_today(link, state, authors)
                ]
            )

    async def _settings_today(
        self, link: Link, state: ServerState, authors: Sequence[ServerState]
    ) -> list[Settings]:
        day: str | None = today_here()
        digest = state.template.digest
        if state.rules.server_tokenizes:
            transports = {each.transport.url: each.transport for each in link.pool.replicas}
            today = await look_at_template(
                transports[state.url],
                state.identity,
                generation_prompt=state.rules.generation_prompt,
            )
            day, digest = today.day, today.digest
        update = {"prompt_date": day or state.template.day, "template_digest": digest}
        known = self._settings_with(link, state.with_limits_of(link.pool.baseline), authors)
        return [settings.model_copy(update=update) for settings in known]

    async def examine(self, sample: Sample | None) -> Examination:
        """Examine the first server."""
        from reward_client._doctor import Doctor

        async with self._call(), self._first_server() as link:
            prompt = None if sample is None else await self._parsed_for_report(sample)
            replica = link.pool.replicas[0]
            options = discovery_options(self.config, output_spec(self.config.method))
            doctor = Doctor(
                replica.transport, replica.monitor, link.scorer, options, self._keeps_alive
            )
            return await doctor.examine(prompt)

    async def _parsed_each(self, samples: Iterable[Given]) -> list[Parsed]:
        """Return the prompt or the error of each sample."""
        parsed = [*map(parse, samples)]
        demands_answer = self.config.on_unanswered == "raise"
        for index, prompt in enumerate(parsed):
            if isinstance(prompt, Conversation):
                try:
                    check_roles(prompt.messages, self.config.own_roles)
                    if demands_answer:
                        check_order(prompt.messages)
                except InputError as error:
                    parsed[index] = error
                else:
                    lacks = demands_answer and lacks_answer(prompt)
                    if lacks and not await self._model_answers():
                        parsed[index] = no_answer(prompt)
        return parsed

    async def _parsed(self, sample: Sample) -> Prompt:
        (parsed,) = await self._parsed_each([sample])
        if isinstance(parsed, InputError):
            raise parsed
        return parsed

    async def _parsed_for_report(self, sample: Sample) -> Prompt:
        """Return a sample as a prompt, whatever the state of the server."""
        try:
            return await self._parsed(sample)
        except InputError:
            raise
        except RewardClientError:
            return parse_sample(sample)

    async def _model_answers(self) -> bool:
        """Return True if the model answers after the conversation, by its method or recipe."""
        state = await (await self._link()).pool.verified_baseline()
        output = state.options.output
        return state.rules.generation_prompt and not output.generates and output.question is None

    @asynccontextmanager
    async def _first_server(self) -> AsyncGenerator[Link]:
        """The link to it alone, so that no other does its work."""
        link = await self._link()
        if len(self.config.urls) == 1:
            yield link
            return
        alone = connect(self.config, self.config.urls[:1])
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

    @asynccontextmanager
    async def _call(self, total: float | None = None) -> AsyncGenerator[None]:
        """Bound a call by the seconds that it may take, and by the life of the client."""
        if self.closed:
            raise RewardClientError(CLOSED)
        deadline = asyncio.timeout(total)
        try:
            async with deadline:
                self._calls[deadline] = asyncio.get_running_loop()
                try:
                    with Active(self.tally):
                        yield
                finally:
                    del self._calls[deadline]
        except TimeoutError as error:
            if isinstance(error, RewardClientError) or not deadline.expired():
                raise
            if self.closed:
                raise RewardClientError(CLOSED_MEANWHILE) from None
            raise RewardTimeoutError(
                f"The sample was not scored within {total} s, as Timeouts(total=…) demands."
            ) from error

    def end(self) -> None:
        """Refuse further work, and end the calls of the running event loop with an error."""
        self.closed = True
        loop = asyncio.get_running_loop()
        for deadline, its_loop in self._calls.copy().items():
            if its_loop is loop:
                deadline.reschedule(loop.time())

    def part(self) -> bool:
        """Leave the core; return whether this was its last client."""
        self.closed = True
        return self._leaving.detach() is not None and part(self.core)

    async def aclose(self) -> None:
        """End the calls of the running loop; without another client, close its connections."""
        self.end()
        if self.part():
            await self.core.aclose()
        self.end_streams()

    def _watch(
        self,
        observed: ObservedCall,
        score: Callable[[Sequence[WorkT]], Awaitable[list[ResultT | Exception]]],
        outcomes_of: OutcomesOf[WorkT, ResultT],
    ) -> Watch[WorkT, ResultT]:
        async def pools() -> Sequence[ReplicaPool]:
            return (await self._link()).pools

        return Watch(score, pools, observed, outcomes_of)

    async def _link(self) -> Link:
        if self.closed:
            raise RewardClientError(CLOSED)
        return await self.core.link()


def _note_unreadable(observed: ObservedCall, groups: Sequence[Group]) -> None:
    """Note the responses to invalid prompts, which nobody scores."""
    for group in groups:
        if group.error is not None:
            observed.note([group.error] * len(group.responses))


def _ranking_of(group: Group, outcome: Ranking | RewardClientError | None) -> Ranking:
    assert outcome is not None  # noqa: S101 - a group was ranked, or has an error
    return outcome if isinstance(outcome, Ranking) else group.failed(outcome)


def _check_seconds(timeout: object) -> None:
    """Check the longest wait.

    Raises:
        InputError: If it is no number of seconds.
    """
    if not isinstance(timeout, int | float) or isinstance(timeout, bool):
        given = describe_type(timeout)
    elif 0 < timeout < math.inf:
        return
    else:
        given = str(timeout)
    raise InputError(f"timeout= must be a number of seconds above 0, not {given}.")


def _always(_: object) -> bool:
    return True


def _themselves(_: Sequence[Given], outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
    return outcomes


def _of_responses(samples: Sequence[Given], outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
    """Return the outcome of each response, also of those that a judge compares in contests."""
    each: list[Outcome] = []
    for sample, outcome in zip(samples, outcomes, strict=True):
        responses = len(sample.conversations) if isinstance(sample, contest.Contest) else 1
        each += contest.outcomes_of(outcome, responses)
    return each
