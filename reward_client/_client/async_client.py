"""The asynchronous client."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, Unpack, cast, overload

from reward_client._base.options import (
    Connection,
    Limits,
    OnOverlong,
    RetryPolicy,
    RouteChoice,
    ServerActivation,
    Timeouts,
)
from reward_client._base.results import Ranking, Reward, ServerProfile, Settings, TokenizedSample
from reward_client._base.samples import Message, Sample
from reward_client._client.base_url import BaseUrl
from reward_client._client.config import Config, HeadChoice, RecipeChoice, SharedOptions
from reward_client._client.session import Session
from reward_client._client.spelling import checks_spelling, refuse_unknown
from reward_client._client.streaming import AsyncRewardStream, OnError
from reward_client._doctor.report import Diagnosis
from reward_client._tokenization import TokenizerChoice
from reward_client.errors import RewardClientError
from reward_client.methods import Method

if TYPE_CHECKING:
    import httpx
    import openai


class AsyncRewardClient:
    """Scores conversations by a reward model on a vLLM server.

    It may serve several event loops, one after the other or at once; each has connections of its
    own. Use it as an async context manager, or call `aclose`.

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

    @classmethod
    def from_openai(cls, client: openai.AsyncOpenAI, **options: Unpack[SharedOptions]) -> Self:
        """A client whose requests all go through an OpenAI client.

        Its key, headers, proxies and TLS settings hold; its retries are off, ours hold. Needs the
        extra ``openai``.

        Args:
            client: The OpenAI client; it stays the caller's to close.
            **options: ``model``, ``method``, ``head``, ``route``, ``tokenizer``, ``recipe``,
                ``bos``, ``on_overlong``, ``server_activation``, ``retry``, ``limits`` and
                ``timeout``, as for the class; the rest is the OpenAI client's. The
                environment's ``REWARD_CLIENT_API_KEY`` is not sent.

        Raises:
            InputError: The client has settings that cannot be carried over.
        """
        from reward_client._transport.backends.openai import as_async

        refuse_unknown("AsyncRewardClient.from_openai", options, SharedOptions.__annotations__)
        self = cls.__new__(cls)
        carrier = as_async(client)
        self._start(Config(base_url=str(carrier.base_url), openai=carrier, **options))
        return self

    async def score(self, sample: Sample) -> Reward:
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
        results = await self._session.score_many(samples, on_error=on_error, progress=progress)
        return cast("list[Reward] | list[Reward | RewardClientError]", results)

    def stream(
        self,
        samples: Iterable[Sample] | AsyncIterable[Sample],
        *,
        ordered: bool = True,
        progress: bool = False,
    ) -> AsyncRewardStream:
        """Results one by one, while the next samples are scored; memory stays flat.

        Args:
            samples: May be endless; asynchronous or not.
            ordered: Results in the order of the samples; otherwise as they come.
            progress: Show a progress bar.

        Returns:
            An async iterator and async context manager of `ScoreResult`; leaving it stops its work.

        Raises:
            InputError: ``samples`` is a single sample.
        """
        return self._session.stream(samples, ordered=ordered, progress=progress)

    async def rank(self, prompt: str | Sequence[Message], responses: Sequence[str]) -> Ranking:
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
        return await self._session.rank(prompt, responses)

    async def tokenize(self, sample: Sample) -> TokenizedSample:
        """The token IDs that a sample would be scored as.

        Raises:
            RewardClientError: As for `score`, except that no length is refused.
        """
        return await self._session.tokenize(sample)

    async def servers(self) -> tuple[ServerProfile, ...]:
        """What was found out about each server in use, asking it where that was not done yet.

        Raises:
            RewardClientError: As for `score`.
        """
        return await self._session.servers()

    async def settings(self) -> Settings:
        """What all rewards of this client depend on: equal settings, comparable rewards.

        Raises:
            RewardClientError: As for `score`.
        """
        return await self._session.settings()

    async def diagnose(self, sample: Sample | None = None) -> Diagnosis:
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
        return await self._session.diagnose(sample)

    async def aclose(self) -> None:
        """Closes the client, and its connections of the running event loop.

        Connections of another event loop that it served end with that loop.
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
        """The options: what pickles, for Ray and multiprocessing."""
        if self._session.config.openai is not None:
            raise TypeError(
                "A client made by from_openai cannot be pickled: its OpenAI client can't."
            )
        return self._session.config

    def __setstate__(self, state: Config) -> None:
        self._start(state)
