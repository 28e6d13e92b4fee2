"""The asynchronous client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, Unpack, cast, get_args, overload

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
from reward_client._base.results import Reward, ServerProfile, Settings, TokenizedSample
from reward_client._base.samples import Message, Sample, hold_each, refuse_single_sample
from reward_client._client.base_url import BaseUrl
from reward_client._client.config import Config, HeadChoice, RecipeChoice, SharedOptions
from reward_client._client.openai_carrier import openai_carrier
from reward_client._client.rank_calls import group_of, groups_of
from reward_client._client.row_calls import RowsCall, outcome_of, stream_of_rows
from reward_client._client.session import Session
from reward_client._client.spelling import checks_spelling, refuse_unknown
from reward_client._client.streaming import AsyncRewardStream, OnError, samples_bar
from reward_client._doctor.report import Diagnosis
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


async def known_settings(client: AsyncRewardClient) -> Settings:
    """Return `AsyncRewardClient.settings` as of the last proof of the server, without requests."""
    session = client._session  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    return await session.known_settings()


class AsyncRewardClient:
    """An asynchronous client that scores conversations by a reward model on a vLLM server.

    One client may serve several event loops, one after the other or at once. Each has its own
    connections. Use the client as an async context manager, or call `aclose`.

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
        self._session = Session(config, blocks=False)

    @classmethod
    def from_openai(cls, client: openai.AsyncOpenAI, **options: Unpack[SharedOptions]) -> Self:
        """Create a client that sends every request through an OpenAI client.

        The OpenAI client's key, headers, proxies and TLS settings apply; its retries do not. Needs
        the extra ``openai``.

        Args:
            client: The OpenAI client, which only the caller closes.
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
        refuse_unknown("AsyncRewardClient.from_openai", options, SharedOptions.__annotations__)
        self = cls.__new__(cls)
        carrier = openai_carrier(client)
        self._start(Config(base_url=str(carrier.base_url), openai=carrier, **options))
        return self

    async def score(self, sample: Sample) -> Reward:
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
        return await self._session.score(sample)

    @overload
    async def score_many(
        self,
        samples: Iterable[Sample],
        *,
        on_error: Literal["raise"] = "raise",
        progress: bool = False,
    ) -> list[Reward]: ...

    @overload
    async def score_many(
        self, samples: Iterable[Sample], *, on_error: Literal["return"], progress: bool = False
    ) -> list[Reward | RewardClientError]: ...

    async def score_many(
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
        check_choice("on_error", on_error, get_args(OnError))
        check_flags(progress=progress)
        refuse_single_sample(samples)
        results = await self._session.score_many(
            hold_each(samples),
            on_error=on_error,
            bar=samples_bar(samples) if progress else None,
        )
        return cast("list[Reward] | list[Reward | RewardClientError]", results)

    def stream(
        self,
        samples: Iterable[Sample] | AsyncIterable[Sample],
        *,
        ordered: bool = True,
        progress: bool = False,
    ) -> AsyncRewardStream:
        """Score a stream of samples in constant memory.

        Args:
            samples: An iterable, which may be endless, synchronous or asynchronous. An iterator may
                yield one object again and again, with other contents.
            ordered: True yields results in the order of the samples, False as they arrive.
            progress: True shows a progress bar.

        Returns:
            An async iterator and async context manager of `ScoreResult`. Leaving the context stops
            the work.

        Raises:
            InputError: If ``samples`` is a single sample, or an option is invalid.
        """
        return self._session.stream(samples, ordered=ordered, progress=progress)

    @overload
    async def score_rows(
        self,
        rows: TableT,
        *,
        form: str | None = None,
        columns: Columns | None = None,
        progress: bool = False,
    ) -> TableT: ...

    @overload
    async def score_rows(
        self,
        rows: Iterable[Mapping[str, object]],
        *,
        form: str | None = None,
        columns: Columns | None = None,
        progress: bool = False,
    ) -> list[dict[str, object]]: ...

    async def score_rows(
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
        outcomes = await self.score_many(call.samples(), on_error="return", progress=progress)
        return call.results(outcomes)

    def stream_rows(
        self,
        rows: Iterable[Mapping[str, object]],
        *,
        form: str | None = None,
        columns: Columns | None = None,
        progress: bool = False,
    ) -> AsyncGenerator[dict[str, object]]:
        """Score a stream of rows in constant memory; iterate over the rows with their rewards.

        Args:
            rows: Any iterable of mappings, which may be endless.
            form: As for `score_rows`.
            columns: As for `score_rows`.
            progress: True shows a progress bar.

        Returns:
            An asynchronous iterator over dicts, in the order of the rows; see `score_rows`. To
            close it stops the work.

        Raises:
            InputError: As `score_rows`.
            ModelChangedError: If another model answers than at the start.
        """
        check_flags(progress=progress)
        compares = self._session.config.compares
        grouping = stream_of_rows(rows, form, columns, compares=compares)
        return self._scored(grouping, progress=progress)

    async def _scored(
        self, grouping: Grouping[RowInProgress], *, progress: bool
    ) -> AsyncGenerator[dict[str, object]]:
        while not grouping.ended:
            async with self.stream(grouping.samples(), progress=progress) as results:
                async for result in results:
                    for row, outcomes in grouping.add(outcome_of(result)):
                        yield row.result(outcomes)
            for row, _ in grouping.without_samples():
                yield row.result(())

    async def rank(self, prompt: str | Sequence[Message], responses: Sequence[str]) -> Ranking:
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
        return await self._session.rank(group)

    async def rank_many(
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
        return await ranked

    async def tokenize(self, sample: Sample) -> TokenizedSample:
        """Return the token IDs that `score` would send for a sample.

        Raises:
            RewardClientError: As `score`, but samples of any length are allowed.
        """
        return await self._session.tokenize(sample)

    async def wait_until_ready(self, *, timeout: float = 600) -> None:  # noqa: ASYNC109 - the same name in both clients
        """Wait until a server answers and is discovered, for example while it loads its model.

        Args:
            timeout: The longest wait in seconds.

        Raises:
            InputError: If the wait is no number of seconds above 0.
            RewardTimeoutError: If no server is ready in time; its cause is the last error.
            RewardClientError: If a server answers, but cannot give a reward.
        """
        await self._session.wait_until_ready(timeout)

    async def servers(self) -> tuple[ServerProfile, ...]:
        """Return the profile of each server in rotation, after discovery.

        Raises:
            RewardClientError: As `score`.
        """
        return await self._session.servers()

    async def settings(self) -> Settings:
        """Return all that rewards depend on. Clients with equal settings give comparable rewards.

        Raises:
            RewardClientError: As `score`.
        """
        return await self._session.settings()

    async def diagnose(self, sample: Sample | None = None) -> Diagnosis:
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
        return (await self._session.examine(sample)).diagnosis

    def stats(self) -> ClientStats:
        """Return the counts, rates and latencies of this client since it was made.

        It sends no request, and works on a closed client. A copy made by pickle, and the client of
        a forked process, count from zero.
        """
        return self._session.tally.stats()

    async def aclose(self) -> None:
        """Close the client and its connections of the running event loop.

        Connections of other event loops close with their loop.
        """
        await self._session.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"AsyncRewardClient{self._session.config}"

    def __getstate__(self) -> Config:
        """Return the options: a client pickles as these, for Ray and multiprocessing."""
        if self._session.config.openai is not None:
            raise TypeError(
                "Cannot pickle a client made by from_openai: OpenAI clients do not pickle."
            )
        return self._session.config

    def __setstate__(self, state: Config) -> None:
        self._start(state)
