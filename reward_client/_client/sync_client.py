"""The synchronous client: a facade over an event loop in its own thread."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol, Self, TypeVar, Unpack, cast, get_args, overload
from weakref import finalize

from reward_client._base.choices import check_choice, check_flags
from reward_client._base.options import (
    Connection,
    Limits,
    OnControlTokens,
    OnOverlong,
    OnUnanswered,
    RetryPolicy,
    RouteChoice,
    ServerActivation,
    Timeouts,
)
from reward_client._base.ranking import Ranking
from reward_client._base.results import (
    Reward,
    ScoreResult,
    ServerProfile,
    Settings,
    TokenizedSample,
)
from reward_client._base.samples import Given, Message, Sample, hold_each, refuse_single_sample
from reward_client._client.base_url import BaseUrl
from reward_client._client.config import Config, HeadChoice, RecipeChoice, SharedOptions
from reward_client._client.core import Core
from reward_client._client.loop_thread import CLOSED
from reward_client._client.openai_carrier import openai_carrier
from reward_client._client.rank_calls import group_of, groups_of
from reward_client._client.row_calls import RowsCall, outcome_of, stream_of_rows
from reward_client._client.session import Session
from reward_client._client.spelling import checks_spelling, refuse_unknown
from reward_client._client.streaming import Bar, OnError, Window, result_of, samples_bar
from reward_client._doctor.report import Diagnosis, Examination
from reward_client._rows.forms import Columns
from reward_client._rows.grouping import Grouping
from reward_client._rows.scoring import RowInProgress
from reward_client._rows.tables import AnyTable, TableT
from reward_client._telemetry.stats import ClientStats
from reward_client._tokenization import TokenizerChoice
from reward_client.errors import RewardClientError
from reward_client.methods import Method

if TYPE_CHECKING:
    import httpx
    import openai

    from reward_client._client.async_client import AsyncRewardClient


T = TypeVar("T")

# The longest time a stream reads samples before it looks for results again.
_READING_SECONDS = 0.005


class _Run(Protocol):
    def __call__(self, coroutine: Coroutine[object, object, T]) -> T: ...


class RewardStream:
    """The results of `RewardClient.stream`: an iterator and context manager of `ScoreResult`.

    Leaving the context, or `close`, stops the work. So does forgetting it.
    """

    def __init__(
        self,
        window: Window[Given, Reward],
        samples: Iterator[Given],
        bar: Bar | None,
        run: _Run,
        core: Core,
        on_end: Callable[[Exception | None], None],
    ) -> None:
        self._window = window
        self._samples = samples
        self._bar = bar
        self._run = run
        self._taken: deque[ScoreResult] = deque()
        self._exhausted = False
        self._failure: Exception | None = None
        self._closed = False
        self._on_end = on_end
        self._error: Exception | None = None
        self._forgotten = finalize(self, _abandon, core, window, partial(on_end, None))
        self._forgotten.atexit = False

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
            try:
                self._run(self._window.prove(at_end=True))
            finally:
                self.close()
            if self._failure is not None:
                raise self._failure
            raise StopIteration
        if self._bar is not None:
            self._bar.update()
        return self._taken.popleft()

    @property
    def ready(self) -> bool:
        """True if the next result is there already."""
        return bool(self._taken)

    @property
    def proven(self) -> int:
        """The number of first results whose server is proven; of an ordered stream."""
        return self._window.proven

    def forget_failures(self) -> None:
        """Do not warn of the failures so far, for a caller that does."""
        self._window.failures.clear()

    def _read(self) -> None:
        """Submit samples until a result is ready: slow input must not delay results."""
        while not self._exhausted and self._window.room > 0 and not self._window.ready:
            self._run(self._window.submit(self._read_quickly()))

    def _read_quickly(self) -> list[Given]:
        """Read the samples that come at once: submitting many costs as much as submitting one."""
        samples: list[Given] = []
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
        self._error = error if isinstance(error, Exception) else None
        self.close()

    def close(self) -> None:
        """Stop reading and scoring samples."""
        if self._closed:
            return
        self._closed = True
        if self._bar is not None:
            self._bar.close()
        try:
            with suppress(RewardClientError):  # a closed client has stopped it
                self._run(self._window.aclose())
        finally:
            self._forgotten.detach()
            self._on_end(self._error)


def compares(client: RewardClient | AsyncRewardClient) -> bool:
    """Return True if a client's method is a judge that only compares responses."""
    return client._session.config.compares  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


def known_settings(client: RewardClient) -> Settings:
    """Return `RewardClient.settings` as of the last proof of the server, without requests."""
    run, session = client._run, client._session  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    return run(session.known_settings())


def examine(client: RewardClient) -> Examination:
    """Return `RewardClient.diagnose`, with what it takes to compare servers."""
    run, session = client._run, client._session  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    return run(session.examine(None))


def patience_of(client: RewardClient) -> float:
    """Return the seconds that a client waits for a server; 0 if it counts its attempts."""
    policy = client._session.config.retry_policy  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    return policy.budget if policy.attempts is None else 0.0


def _abandon(core: Core, window: Window[Given, Reward], on_end: Callable[[], None]) -> None:
    """Stop the work of a stream that was forgotten."""
    thread = core.started_thread
    if thread is None:
        on_end()
    else:
        thread.call_later(0, partial(window.abandon, on_end))


class RewardClient:
    """A client that scores conversations by a reward model on a vLLM server.

    The methods block. Threads may share a client. It works in notebooks, under a running event loop
    and after a fork. Use it as a context manager, or call `close`.

    Args:
        base_url: The server's URL, with or without ``/v1``; by default the environment variable
            ``REWARD_CLIENT_BASE_URL``. A list of URLs names replicas, which share the work: the
            client compares them before the first reward, and takes a failing one out of rotation.
        model: The model's name on the server; None for the only model.
        api_key: The key, sent as a bearer token with every request; by default the environment
            variable ``REWARD_CLIENT_API_KEY``.
        method: One of ``reward_client.methods``: ``Messages``, ``TokenLogit``, ``YesNo``,
            ``CritiqueThenScore`` or ``Verdict``. None scores token IDs by the model's head.
        head: The head that reads the reward from the pooled output: `ScalarHead`, `StepHead`,
            `ObjectiveHead` or `LinearHead`. ``"auto"`` takes the head of the recipe, or a scalar.
            If the client has to assume that the last token's value counts, the provenance says so.
        route: ``"auto"``, or the only route to try: ``"embeddings"``, ``"pooling"`` or
            ``"classify"``.
        tokenizer: The source of token IDs. ``"server"`` asks the server. ``"local"`` loads the
            tokenizer of the server's model by transformers (extra ``local``), and proves on samples
            that it gives the server's token IDs. A folder, a name on the Hugging Face hub or a
            `reward_client.tokenizing.LocalTokenizer` names another source. ``"auto"`` is
            ``"local"`` if that works, and ``"server"`` otherwise.
        recipe: The facts about the model. ``"auto"`` finds the recipe by the server's model root.
            Otherwise the name of a recipe, the path of a file (TOML, or the manifest
            ``reward_client.json`` of an exported checkpoint), or a `reward_client.recipes.Recipe`.
            None uses no recipe. Other arguments override the recipe.
        bos: True requires exactly one BOS token at the start of every sample, and adds one to
            conversations whose template writes none. False requires no BOS token. None follows the
            recipe, or the template.
        on_overlong: ``"raise"``, or ``"drop_turns"`` for conversations with more tokens than the
            server takes. ``"drop_turns"`` drops the oldest exchanges, keeps system messages and the
            last exchange, and sets ``Reward.truncated``.
        on_control_tokens: The treatment of contents that hold a control token of the model, such as
            its end of a turn, its padding or a role header: ``"raise"``, ``"strip"`` for end tokens
            and padding at the end of the answer, or ``"allow"``. `FormattedText` and token IDs are
            not checked.
        on_unanswered: ``"raise"``, or ``"allow"`` for conversations that do not end with one
            answer: prefixes, and base models. Otherwise a conversation without an answer, or with
            an answer that follows an answer, is an error.
        server_activation: The activation that the server applies to its values: ``"none"`` or
            ``"sigmoid"``. Only for servers whose activation the client cannot detect.
        retry: The number of attempts for one request, the first one included, such as ``3``; or a
            `RetryPolicy`.
        limits: The bounds on requests in flight, batches and responses, and the tolerance between
            replicas.
        timeout: The seconds for one sample in total, such as ``30``; or `Timeouts`.
        connection: TLS and proxy.
        headers: Headers sent with every request.
        transport: An httpx transport that carries the requests instead of the client's own
            connections. Only the caller closes it.

    Raises:
        InputError: If an option is invalid. The objects for ``retry``, ``limits``, ``timeout`` and
            ``connection`` check their own values and raise pydantic's ``ValidationError``.
        RecipeError: If the recipe does not exist or is invalid.
        TypeError: If an option is unknown. The message names the right one.

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
        on_control_tokens: OnControlTokens = "raise",
        on_unanswered: OnUnanswered = "raise",
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
                on_control_tokens=on_control_tokens,
                on_unanswered=on_unanswered,
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
        self._session = Session(config, blocks=True)

    def _run(self, coroutine: Coroutine[object, object, T]) -> T:
        if self._session.closed:
            coroutine.close()
            raise RewardClientError(CLOSED)
        return self._session.core.thread().run(coroutine)

    @classmethod
    def from_openai(
        cls, client: openai.OpenAI | openai.AsyncOpenAI, **options: Unpack[SharedOptions]
    ) -> Self:
        """Create a client that sends every request through an OpenAI client.

        The OpenAI client's key, headers, proxies and TLS settings apply; its retries do not. Needs
        the extra ``openai``.

        Args:
            client: A synchronous client with the usual connections, or an asynchronous one that
                is used nowhere else meanwhile. Only the caller closes it.
            **options: ``model``, ``method``, ``head``, ``route``, ``tokenizer``, ``recipe``,
                ``bos``, ``on_overlong``, ``on_control_tokens``, ``on_unanswered``,
                ``server_activation``, ``retry``, ``limits`` and ``timeout``, as in the constructor.
                The environment variable ``REWARD_CLIENT_API_KEY`` is ignored.

        Raises:
            InputError: If an option is invalid, or the OpenAI client has settings that an
                asynchronous client cannot take over.
            ModuleNotFoundError: If openai is not installed.
            TypeError: If an option is unknown. The message names the right one.
        """
        refuse_unknown("RewardClient.from_openai", options, SharedOptions.__annotations__)
        self = cls.__new__(cls)
        carrier = openai_carrier(client)
        self._start(Config(base_url=str(carrier.base_url), openai=carrier, **options))
        return self

    def score(self, sample: Sample) -> Reward:
        """Return the reward of one sample.

        Args:
            sample: Messages, a `Conversation`, a `FormattedText` or token IDs. The conversation
                ends with the response to score.

        Raises:
            InputError: If the sample is invalid or too long.
            TransportError: If the server gives no usable response.
            StatusError: If the server answers with an error.
            ProtocolError: If the response fails a check, such as a wrong number of values.
            ReplicaMismatchError: If the servers are not replicas of one another.
            ModelChangedError: If another model answers than before, at a proof (one a minute).
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
        """Return the rewards of many samples, in their order.

        Args:
            samples: Any number of samples. Use `stream` if they or their rewards do not fit in
                memory. An iterator may yield one object again and again, with other contents.
            on_error: ``"raise"`` stops at the first failure. ``"return"`` puts the error in the
                place of the sample's reward.
            progress: True shows a progress bar.

        Raises:
            BatchError: If a sample fails under ``"raise"``, or if another model answers than at the
                start. The error holds all rewards so far that are proven.
            InputError: If ``samples`` is a single sample, or an option is invalid.
        """
        check_choice("on_error", on_error, get_args(OnError))  # before the samples are read
        check_flags(progress=progress)
        refuse_single_sample(samples)
        given = tuple(hold_each(samples))  # here: the iterator may belong to the calling thread
        bar = samples_bar(given) if progress else None
        results = self._run(self._session.score_many(given, on_error=on_error, bar=bar))
        return cast("list[Reward] | list[Reward | RewardClientError]", results)

    def stream(
        self, samples: Iterable[Sample], *, ordered: bool = True, progress: bool = False
    ) -> RewardStream:
        """Score a stream of samples in constant memory.

        Args:
            samples: An iterable, which may be endless. The calling thread reads a bounded number of
                samples ahead. An iterator may yield one object again and again, with other
                contents.
            ordered: True yields results in the order of the samples, False as they arrive.
            progress: True shows a progress bar.

        Returns:
            An iterator and context manager of `ScoreResult`. Leaving the context stops the work.

        Raises:
            InputError: If ``samples`` is a single sample, or an option is invalid.
        """
        check_flags(ordered=ordered, progress=progress)
        refuse_single_sample(samples)
        given = iter(hold_each(samples))
        bar = samples_bar(samples) if progress else None
        window, on_end = self._session.begin_stream(ordered=ordered)
        return RewardStream(window, given, bar, self._run, self._session.core, on_end)

    @overload
    def score_rows(
        self,
        rows: TableT,
        *,
        form: str | None = None,
        columns: Columns | None = None,
        progress: bool = False,
    ) -> TableT: ...

    @overload
    def score_rows(
        self,
        rows: Iterable[Mapping[str, object]],
        *,
        form: str | None = None,
        columns: Columns | None = None,
        progress: bool = False,
    ) -> list[dict[str, object]]: ...

    def score_rows(
        self,
        rows: Iterable[Mapping[str, object]] | AnyTable,
        *,
        form: str | None = None,
        columns: Columns | None = None,
        progress: bool = False,
    ) -> list[dict[str, object]] | AnyTable:
        """Score rows of a data set; return them with their rewards as further columns.

        A row is a mapping in a form of the page "Rows of data sets": messages, prompt with
        response or responses, chosen with rejected, and so on. All other columns pass through.

        Args:
            rows: The rows: any iterable of mappings, a DataFrame of pandas or polars, a table of
                pyarrow, or a ``datasets.Dataset``.
            form: The name of the form of all rows: ``"messages"``, ``"text"``, ``"token_ids"``,
                ``"response"``, ``"responses"``, ``"preference"``, ``"comparison"`` or ``"steps"``.
                None recognizes it by the columns.
            columns: The only columns to read: a list of names, or a dict from the names that a
                form has to the names in the rows, such as ``{"prompt": "question"}``.
            progress: True shows a progress bar.

        Returns:
            A list of dicts; for a table, a table of the same library. Each row has the added
            columns ``form``, ``reward`` and ``error``, and where they apply ``objectives``,
            ``step_rewards``, ``truncated``, ``token_count`` and ``comparisons``. ``reward`` is a
            number, a list for several responses, or a dict such as ``{"chosen": …, "rejected":
            …}``. A sample that failed has None in ``reward``, and its error as a dict in ``error``.
            A judge of two (``Verdict``) compares the responses of each row as `rank` does.

        Raises:
            InputError: If the first row has no form or several, if a column has the name of an
                added one, if a judge of two finds a single response, or if an option is invalid. A
                later row that cannot be read has its error in ``error``.
        """
        call = RowsCall(rows, form, columns, compares=self._session.config.compares)
        outcomes = self.score_many(call.samples(), on_error="return", progress=progress)
        return call.results(outcomes)

    def stream_rows(
        self,
        rows: Iterable[Mapping[str, object]],
        *,
        form: str | None = None,
        columns: Columns | None = None,
        progress: bool = False,
    ) -> Generator[dict[str, object]]:
        """Score a stream of rows in constant memory; iterate over the rows with their rewards.

        Args:
            rows: Any iterable of mappings, which may be endless.
            form: As for `score_rows`.
            columns: As for `score_rows`.
            progress: True shows a progress bar.

        Returns:
            An iterator over dicts, in the order of the rows; see `score_rows`. To close it stops
            the work.

        Raises:
            InputError: As `score_rows`.
            ModelChangedError: If another model answers than at the start.
        """
        check_flags(progress=progress)
        compares = self._session.config.compares
        grouping = stream_of_rows(rows, form, columns, compares=compares)
        return self._scored(grouping, progress=progress)

    def _scored(
        self, grouping: Grouping[RowInProgress], *, progress: bool
    ) -> Generator[dict[str, object]]:
        while not grouping.ended:
            with self.stream(grouping.samples(), progress=progress) as results:
                for result in results:
                    for row, outcomes in grouping.add(outcome_of(result)):
                        yield row.result(outcomes)
            for row, _ in grouping.without_samples():
                yield row.result(())

    def rank(self, prompt: str | Sequence[Message], responses: Sequence[str]) -> Ranking:
        """Rank responses to one prompt by their rewards, best first.

        A judge of pairs (``Verdict``) compares each response with each other one, or by its
        ``schedule``. It writes ``method.calls(len(responses))`` texts.

        Args:
            prompt: One user turn as text, or the messages before the response.
            responses: The texts of the assistant's responses.

        Raises:
            BatchError: If a response cannot be scored.
            InputError: If the prompt or a response is invalid, if the rewards have several
                objectives without weights, or if ``schedule`` cannot connect the responses.
        """
        group = group_of(self._session.config, prompt, responses)
        return self._run(self._session.rank(group))

    def rank_many(
        self,
        prompts: Iterable[str | Sequence[Message]],
        responses: Iterable[Sequence[str]],
        *,
        on_error: OnError = "raise",
        progress: bool = False,
    ) -> list[Ranking]:
        """Rank the responses to each of many prompts, all at once.

        All responses share one stream, which is as fast as `score_many`. A judge of pairs
        (``Verdict``) writes ``method.calls(n)`` texts for a prompt with n responses.

        Args:
            prompts: Any number of prompts, each as for `rank`.
            responses: A list of responses for each prompt.
            on_error: ``"raise"`` stops at the first failure. ``"return"`` ranks the other responses
                to the prompt: a response that failed has None in ``Ranking.rewards`` and its error
                in ``Ranking.errors``. A judge's comparison that failed is in
                ``Ranking.failed_comparisons``, and its pair does not count.
            progress: True shows a progress bar.

        Returns:
            One `Ranking` for each prompt, in their order.

        Raises:
            BatchError: If a response cannot be scored under ``"raise"``, or if another model
                answers than at the start. ``results`` numbers the responses to all prompts. It is
                empty for a judge of pairs.
            InputError: If there are not as many prompts as lists of responses, if a list is empty
                or holds something else than texts, if an option is invalid, if the rewards have
                several objectives without weights, or if ``schedule`` cannot connect the responses
                to a prompt. Under ``"raise"``, also if a prompt is invalid.
        """
        check_choice("on_error", on_error, get_args(OnError))
        check_flags(progress=progress)
        groups = groups_of(self._session.config, prompts, responses, refuses=on_error == "raise")
        ranked = self._session.rank_many(groups, on_error=on_error, progress=progress)
        return self._run(ranked)

    def tokenize(self, sample: Sample) -> TokenizedSample:
        """Return the token IDs that `score` would send for a sample.

        Raises:
            RewardClientError: As `score`, but samples of any length are allowed.
        """
        return self._run(self._session.tokenize(sample))

    def wait_until_ready(self, *, timeout: float = 600) -> None:
        """Wait until a server answers and is discovered, for example while it loads its model.

        Args:
            timeout: The longest wait in seconds.

        Raises:
            InputError: If the wait is no number of seconds above 0.
            RewardTimeoutError: If no server is ready in time; its cause is the last error.
            RewardClientError: If a server answers, but cannot give a reward.
        """
        self._run(self._session.wait_until_ready(timeout))

    def servers(self) -> tuple[ServerProfile, ...]:
        """Return the profile of each server in rotation, after discovery.

        Raises:
            RewardClientError: As `score`.
        """
        return self._run(self._session.servers())

    def settings(self) -> Settings:
        """Return all that rewards depend on. Clients with equal settings give comparable rewards.

        Raises:
            RewardClientError: As `score`.
        """
        return self._run(self._session.settings())

    def diagnose(self, sample: Sample | None = None) -> Diagnosis:
        """Check each step from a conversation to its reward on this server.

        The checks cover the first server of several. ``reward-client doctor URL URL`` compares
        replicas.

        Args:
            sample: The sample to check with; by default a conversation about 2 + 2.

        Returns:
            Findings, each with a verdict, and with advice if something is wrong. Failures of the
            server are findings as well.

        Raises:
            InputError: If the sample is invalid.
        """
        return self._run(self._session.examine(sample)).diagnosis

    def stats(self) -> ClientStats:
        """Return the counts, rates and latencies of this client since it was made.

        It sends no request, and works on a closed client. A copy made by pickle, and the client of
        a forked process, count from zero.
        """
        return self._session.tally.stats()

    def close(self) -> None:
        """Stop the client's work; without an equal client, close connections and end the thread."""
        is_last = self._session.part()
        thread = self._session.core.started_thread
        if thread is not None and is_last:
            thread.close()
        elif thread is not None:
            thread.call_later(0, self._session.end)
        self._session.end_streams()

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
        """Return the options: a client pickles as these, for Ray and multiprocessing."""
        if self._session.config.openai is not None:
            raise TypeError(
                "Cannot pickle a client made by from_openai: OpenAI clients do not pickle."
            )
        return self._session.config

    def __setstate__(self, state: Config) -> None:
        self._start(state)
