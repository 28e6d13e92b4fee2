"""The synchronous client: a facade over an event loop in a thread of its own."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol, Self, TypeVar, Unpack, cast, overload
from weakref import finalize

from reward_client._base.options import (
    Connection,
    Limits,
    OnOverlong,
    RetryPolicy,
    RouteChoice,
    ServerActivation,
    Timeouts,
)
from reward_client._base.results import (
    Ranking,
    Reward,
    ScoreResult,
    ServerProfile,
    Settings,
    TokenizedSample,
)
from reward_client._base.samples import Message, Sample, refuse_single_sample
from reward_client._client.base_url import BaseUrl
from reward_client._client.config import Config, HeadChoice, RecipeChoice, SharedOptions
from reward_client._client.loop_thread import LoopThread
from reward_client._client.session import Session
from reward_client._client.spelling import checks_spelling, refuse_unknown
from reward_client._client.streaming import OnError, Window, progress_bar, result_of
from reward_client._doctor.report import Diagnosis
from reward_client._tokenization import TokenizerChoice
from reward_client.errors import RewardClientError
from reward_client.methods import Method

if TYPE_CHECKING:
    import httpx
    import openai


T = TypeVar("T")

# A stream reads samples for so long before it looks for results again.
_READING_SECONDS = 0.001


class _Run(Protocol):
    def __call__(self, coroutine: Coroutine[object, object, T]) -> T: ...


class RewardStream:
    """Results of a stream of samples: an iterator and a context manager.

    Leaving the context, or closing the stream, stops what is still under way.
    """

    def __init__(
        self,
        window: Window,
        samples: Iterable[Sample],
        run: _Run,
        *,
        progress: bool,
    ) -> None:
        self._window = window
        self._samples = iter(samples)
        self._run = run
        self._bar = progress_bar(samples) if progress else None
        self._taken: deque[ScoreResult] = deque()
        self._exhausted = False
        self._failure: Exception | None = None
        self._closed = False

    def __iter__(self) -> Iterator[ScoreResult]:
        return self

    def __next__(self) -> ScoreResult:
        if self._closed:
            raise StopIteration
        if not self._taken:
            self._read()
            if self._window.waiting:
                taken = self._run(self._window.take())
                self._taken += [result_of(index, outcome) for index, outcome in taken.items()]
        if not self._taken:
            self.close()
            if self._failure is not None:
                raise self._failure
            raise StopIteration
        if self._bar is not None:
            self._bar.update()
        return self._taken.popleft()

    def _read(self) -> None:
        """Starts samples until a result is there: slow input must not hold it back."""
        while not self._exhausted and self._window.room > 0 and not self._window.ready:
            self._run(self._window.submit(self._read_quickly()))

    def _read_quickly(self) -> list[Sample]:
        """The next samples, as many as come at once: to hand them over costs as much as one."""
        samples: list[Sample] = []
        enough = time.monotonic() + _READING_SECONDS
        while len(samples) < self._window.room:
            try:
                samples.append(next(self._samples))
            except StopIteration:
                self._exhausted = True
                break
            except Exception as error:  # noqa: BLE001 - raised after the results before it
                self._exhausted, self._failure = True, error
                break
            if time.monotonic() > enough:
                break
        return samples

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stops reading samples and scoring them."""
        if self._closed:
            return
        self._closed = True
        if self._bar is not None:
            self._bar.close()
        with suppress(RewardClientError):  # a closed client has stopped it
            self._run(self._window.aclose())


class RewardClient:
    """Scores conversations by a reward model on a vLLM server.

    Blocking, and safe to share between threads; it works inside notebooks and running event loops
    and after a fork. Use it as a context manager, or call `close`.

    Args:
        base_url: The server's URL, with or without ``/v1``; by default the environment's
            ``REWARD_CLIENT_BASE_URL``. A list of URLs for replicas, which share the work: they
            are compared before the first reward, and a failing one is left out until it is back.
        model: The model's name on the server; None for its only one.
        api_key: Sent as a bearer token with every request; by default the environment's
            ``REWARD_CLIENT_API_KEY``.
        method: None has token IDs scored. Others are in ``reward_client.methods``: ``Messages`` (in
            the scoring request), ``TokenLogit``, ``YesNo``, ``CritiqueThenScore``, ``Verdict``.
        head: What reads the reward out of the pooled output: `ScalarHead`, `StepHead`,
            `ObjectiveHead` or `LinearHead`. ``"auto"`` takes the recipe's, or a scalar, and notes
            in the provenance where it had to assume that the last token's value counts.
        route: ``"auto"``, or the only route to try: ``"embeddings"``, ``"pooling"`` or
            ``"classify"``.
        tokenizer: ``"server"``; ``"local"`` for the tokenizer of the server's model by
            transformers (extra ``local``), proven on samples to give the server's token IDs; a
            folder or hub name to load it from, or a `reward_client.tokenizing.LocalTokenizer`;
            ``"auto"`` for the local one where it can be had and proven, and the server otherwise.
        recipe: What is known of the model: ``"auto"`` looks it up by the server's model root; a
            recipe's name, the path of a file (TOML, or the manifest ``reward_client.json`` of an
            exported checkpoint), or a `reward_client.recipes.Recipe`; None for nothing. Other
            arguments go before what it says.
        bos: True demands that every sample starts with exactly one BOS token, and adds it to
            conversations whose template writes none; False demands none; None takes what the
            recipe says, or the template writes.
        on_overlong: What becomes of a conversation with more tokens than the server takes:
            ``"raise"``, or ``"drop_turns"``: its oldest exchanges go (system messages stay, and
            so does the last exchange), and ``Reward.truncated`` says so.
        server_activation: What the server does to its values, for versions that can neither be
            asked for raw ones nor seen to send them: ``"none"`` or ``"sigmoid"``.
        retry: How often and how long a request is tried again.
        limits: Requests in flight, size of a reply, tolerance between replicas.
        timeout: Deadlines.
        connection: TLS and proxy.
        headers: Sent with every request.
        transport: Carries the requests instead of own connections; stays the caller's to close.

    Raises:
        InputError: An option cannot be meant so. (The objects for ``retry``, ``limits``,
            ``timeout`` and ``connection`` check their own values: pydantic's ``ValidationError``.)

    Example:
        >>> with RewardClient("http://localhost:8000") as client:  # doctest: +SKIP
        ...     reward = client.score([{"role": "user", "content": "2+2?"},
        ...                            {"role": "assistant", "content": "4"}])
        ...     float(reward)
    """

    @checks_spelling
    def __init__(
        self,
        base_url: BaseUrl | None = None,
        *,
        model: str | None = None,
        api_key: str | None = None,
        method: Method | None = None,
        head: HeadChoice = "auto",
        route: RouteChoice = "auto",
        tokenizer: TokenizerChoice = "server",
        recipe: RecipeChoice = "auto",
        bos: bool | None = None,
        on_overlong: OnOverlong = "raise",
        server_activation: ServerActivation | None = None,
        retry: RetryPolicy | int = RetryPolicy(),
        limits: Limits = Limits(),
        timeout: Timeouts | float = Timeouts(),
        connection: Connection = Connection(),
        headers: Mapping[str, str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._start(
            Config(
                base_url=base_url,
                model=model,
                api_key=api_key,
                method=method,
                head=head,
                route=route,
                tokenizer=tokenizer,
                recipe=recipe,
                bos=bos,
                on_overlong=on_overlong,
                server_activation=server_activation,
                retry=retry,
                limits=limits,
                timeout=timeout,
                connection=connection,
                headers=headers,
                transport=transport,
            )
        )

    def _start(self, config: Config) -> None:
        self._session = Session(config)
        self._threads: dict[int, LoopThread] = {}

    def _run(self, coroutine: Coroutine[object, object, T]) -> T:
        return self._loop_thread().run(coroutine)

    def _loop_thread(self) -> LoopThread:
        # A thread does not survive a fork, and a lock may not either: one for each process.
        pid = os.getpid()
        thread = self._threads.get(pid)
        if thread is None:
            thread = self._threads.setdefault(pid, LoopThread(self._session.aclose))
            finalize(self, thread.stop)
        return thread

    @classmethod
    def from_openai(
        cls, client: openai.OpenAI | openai.AsyncOpenAI, **options: Unpack[SharedOptions]
    ) -> Self:
        """A client whose requests all go through an OpenAI client.

        Its key, headers, proxies and TLS settings hold; its retries are off, ours hold. Needs the
        extra ``openai``.

        Args:
            client: A synchronous client with the usual connections, or an asynchronous one that is
                used nowhere else meanwhile; it stays the caller's to close.
            **options: ``model``, ``method``, ``head``, ``route``, ``tokenizer``, ``recipe``,
                ``bos``, ``on_overlong``, ``server_activation``, ``retry``, ``limits`` and
                ``timeout``, as for the class; the rest is the OpenAI client's. The
                environment's ``REWARD_CLIENT_API_KEY`` is not sent.

        Raises:
            InputError: The client has settings that cannot be carried over.
        """
        from reward_client._transport.backends.openai import as_async

        refuse_unknown("RewardClient.from_openai", options, SharedOptions.__annotations__)
        self = cls.__new__(cls)
        carrier = as_async(client)
        self._start(Config(base_url=str(carrier.base_url), openai=carrier, **options))
        return self

    def score(self, sample: Sample) -> Reward:
        """The reward of one sample.

        Args:
            sample: Messages, `Conversation`, `FormattedText` or token IDs.

        Raises:
            InputError: The sample cannot be meant so, or is too long.
            TransportError: The server gave no usable reply.
            StatusError: The server answered with an error.
            ProtocolError: The server answered with something that cannot be believed.
            ReplicaMismatchError: The servers are no replicas of each other.
        """
        return self._run(self._session.score(sample))

    @overload
    def score_many(
        self,
        samples: Iterable[Sample],
        *,
        on_error: Literal["raise"] = "raise",
        progress: bool = False,
    ) -> list[Reward]: ...

    @overload
    def score_many(
        self, samples: Iterable[Sample], *, on_error: Literal["return"], progress: bool = False
    ) -> list[Reward | RewardClientError]: ...

    def score_many(
        self, samples: Iterable[Sample], *, on_error: OnError = "raise", progress: bool = False
    ) -> list[Reward] | list[Reward | RewardClientError]:
        """The rewards of many samples, in the order given.

        Args:
            samples: Any number of samples; for more than fit in memory there is `stream`.
            on_error: ``"raise"`` stops at the first failure; ``"return"`` puts the error in the
                sample's place.
            progress: Show a progress bar.

        Raises:
            BatchError: A sample failed under ``"raise"``; it holds what was scored.
            InputError: ``samples`` is a single sample.
        """
        refuse_single_sample(samples)
        given = tuple(samples)  # read here: an iterator may be bound to the calling thread
        results = self._run(self._session.score_many(given, on_error=on_error, progress=progress))
        return cast("list[Reward] | list[Reward | RewardClientError]", results)

    def stream(
        self, samples: Iterable[Sample], *, ordered: bool = True, progress: bool = False
    ) -> RewardStream:
        """Results one by one, while the next samples are scored; memory stays flat.

        Args:
            samples: May be endless; read in the calling thread, a bounded number ahead.
            ordered: Results in the order of the samples; otherwise as they come.
            progress: Show a progress bar.

        Returns:
            An iterator and context manager of `ScoreResult`; leaving it stops its work.

        Raises:
            InputError: ``samples`` is a single sample.
        """
        refuse_single_sample(samples)
        window = self._session.window(ordered=ordered)
        return RewardStream(window, samples, self._run, progress=progress)

    def rank(self, prompt: str | Sequence[Message], responses: Sequence[str]) -> Ranking:
        """Responses to one prompt, ranked by their rewards.

        A judge of two (``Verdict``) compares each with each; ``method.calls(len(responses))`` says
        beforehand how many texts it writes.

        Args:
            prompt: One user turn as text, or the messages before the response.
            responses: The texts of the assistant's answers.

        Raises:
            BatchError: A response could not be scored.
            InputError: The prompt or the responses cannot be meant so.
        """
        return self._run(self._session.rank(prompt, responses))

    def tokenize(self, sample: Sample) -> TokenizedSample:
        """The token IDs that a sample would be scored as.

        Raises:
            RewardClientError: As for `score`, except that no length is refused.
        """
        return self._run(self._session.tokenize(sample))

    def servers(self) -> tuple[ServerProfile, ...]:
        """What was found out about each server in use, asking it where that was not done yet.

        Raises:
            RewardClientError: As for `score`.
        """
        return self._run(self._session.servers())

    def settings(self) -> Settings:
        """What all rewards of this client depend on: equal settings, comparable rewards.

        Raises:
            RewardClientError: As for `score`.
        """
        return self._run(self._session.settings())

    def diagnose(self, sample: Sample | None = None) -> Diagnosis:
        """Whether each step from a conversation to its reward is as it should be, on this server.

        Of several replicas it looks at the first; ``reward-client doctor URL URL`` compares them.

        Args:
            sample: What to score for it; by default a conversation about 2 + 2.

        Returns:
            Findings, each with a verdict and, where something is wrong, what to do. Failures of
            the server are findings too.

        Raises:
            InputError: The sample cannot be meant so.
        """
        return self._run(self._session.diagnose(sample))

    def close(self) -> None:
        """Stops what is under way, closes the connections, and ends the client's thread."""
        self._session.close()
        self._loop_thread().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"RewardClient{self._session.config}"

    def __getstate__(self) -> Config:
        """The options: what pickles, for Ray and multiprocessing."""
        if self._session.config.openai is not None:
            raise TypeError(
                "A client made by from_openai cannot be pickled: its OpenAI client can't."
            )
        return self._session.config

    def __setstate__(self, state: Config) -> None:
        self._start(state)
