"""The reward server of tests and demos, which runs uvicorn in a thread of this process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Self

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from reward_client.testing._model.reference import ReferenceValues, reference_values
from reward_client.testing._model.sum_judge import CHECKPOINT, STEP_TOKEN, load_sum_judge
from reward_client.testing.app import create_app
from reward_client.testing.faults import TRANSPORT, Fault, FaultInjector
from reward_client.testing.recording import RecordedRequest, Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from reward_client.testing._model.generate import LogprobsMode
    from reward_client.testing._model.heads import Head


_LOOPBACK = "127.0.0.1"


class _Protocol(H11Protocol):
    """An HTTP protocol that gives the app each request's connection, for faults that break it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.app_state = {**self.app_state, TRANSPORT: transport}
        super().connection_made(transport)


class _Server(uvicorn.Server):
    """A uvicorn server that reports readiness and stops at once."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        self.ready.set()

    async def main_loop(self) -> None:
        # uvicorn's own loop polls ten times a second for the end.
        await self.on_tick(0)
        await self._stop.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # uvicorn's waits a tenth of a second each time, which adds up in a test suite.
        for server in self.servers:
            server.close()
        for listening in sockets or ():
            listening.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await asyncio.sleep(0)  # the connections that were idle are closed

    def stop(self) -> None:
        """Stop the server from another thread; it drops unfinished responses."""
        self.force_exit = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)


class RewardServer:
    """A server with a real, small reward model behind vLLM's HTTP API, on a loopback port.

    The model judges the correctness of the sum in the last assistant turn::

        with RewardServer() as server:
            client = RewardClient(server.url)

    Args:
        dialect: The vLLM version to imitate: ``"0.8"``, ``"0.10"``, ``"0.12"``, ``"0.16"``,
            ``"0.20"``, ``"0.25"`` or ``"0.32"``.
        head: The head of the model; the server answers

            * ``"sequence"``: one value per conversation,
            * ``"token"``: one value per token, as ``Qwen2ForRewardModel``,
            * ``"labels"``: five values per conversation,
            * ``"steps"``: two values (bad, good) per step token, as
              ``Qwen2ForProcessRewardModel``,
            * ``"embed"``: the last token's hidden state, as any model with ``--convert embed``,
            * ``"export"``: one value per conversation, by the reward head as a Dense module of
              sentence-transformers,
            * ``"export-steps"``: two values per token, by the head of ``"steps"`` as a Dense
              module, as with ``--pooler-config '{"task": "token_embed"}'``.
        logprobs: The ``--logprobs-mode`` of a server that generates: ``"raw_logprobs"``,
            ``"processed_logprobs"``, ``"raw_logits"`` or ``"processed_logits"``. Such a server
            ignores ``head`` and has no pooling route. Its routes are ``/v1/completions`` and,
            since 0.20, ``/generative_scoring``. The embeddings are its LM head. None starts a
            pooling server.
        raw: True imitates a server that was started with its activation switched off.
        api_key: The API key; as in vLLM, only ``/v1`` requires it.
        model_name: The served model name.
        max_model_len: The maximum number of tokens in a prompt.
        port: The port; 0 takes a free one.
        values: A function from a prompt's token IDs to a raw value. This value replaces every
            value of the model before the activation, to imitate a faulty server.
        version: The version that ``/version`` reports. ``"dialect"`` reports the dialect's
            version; None removes the route.
        owned_by: The owner that ``/v1/models`` reports. vLLM reports ``"vllm"``; a proxy in front
            of it may report another owner.
        root: The model path that ``/v1/models`` reports. Clients look recipes up by it.
        chat_template: The chat template to serve in the place of the model's, as by
            ``--chat-template``.

    Raises:
        ValueError: If an option is unknown, or if the dialect does not support it.

    Attributes:
        step_token: The text, one token, that ends a step for the heads with steps.
        checkpoint: The folder of the model: config, weights and tokenizer.
    """

    step_token = STEP_TOKEN
    checkpoint = CHECKPOINT

    def __init__(
        self,
        *,
        dialect: str = "0.32",
        head: Head = "sequence",
        logprobs: LogprobsMode | None = None,
        raw: bool = False,
        api_key: str | None = None,
        model_name: str = "sum-judge",
        max_model_len: int = 1024,
        port: int = 0,
        values: Callable[[list[int]], float] | None = None,
        version: str | None = "dialect",
        owned_by: str = "vllm",
        root: str = "reward-client/sum-judge",
        chat_template: str | None = None,
    ) -> None:
        app = create_app(
            dialect=dialect,
            head=head,
            logprobs=logprobs,
            raw=raw,
            api_key=api_key,
            model_name=model_name,
            max_model_len=max_model_len,
            values=values,
            version=version,
            owned_by=owned_by,
            root=root,
            chat_template=chat_template,
        )
        self._faults = FaultInjector(app)
        self._recorder = Recorder(self._faults)
        self._wanted_port = port
        self._socket: socket.socket | None = None
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The base URL of the running server.

        Raises:
            RuntimeError: If the server is not running.
        """
        if self._socket is None:
            raise RuntimeError(
                "Cannot give the URL: the server is not running. Use it in a with statement."
            )
        return f"http://{_LOOPBACK}:{self._socket.getsockname()[1]}"

    @property
    def requests(self) -> list[RecordedRequest]:
        """All requests so far, in the order of arrival."""
        return self._recorder.requests

    def inject(self, fault: Fault, *, path: str | None = None, times: int = 1) -> None:
        """Hit the next requests with a fault.

        Args:
            fault: The fault.
            path: The path whose requests the fault hits; None for any path.
            times: The number of requests that the fault hits.

        Raises:
            ValueError: If ``times`` is less than 1.
        """
        if times < 1:
            raise ValueError(
                f"Cannot inject the fault: times is {times}. Give 1 or a larger number."
            )
        self._faults.plan(fault, path=path, times=times)

    def reference(self, token_ids: Sequence[int]) -> float:
        """Compute the raw score of token IDs by the model, without the server."""
        return load_sum_judge().score(token_ids)

    def reference_logits(self, token_ids: Sequence[int]) -> list[float]:
        """Compute the raw logits of the next token, of shape (vocabulary size,)."""
        logits: list[float] = load_sum_judge().logits(token_ids).tolist()
        return logits

    def reference_values(self, token_ids: Sequence[int]) -> ReferenceValues:
        """Compute the raw values of every head for token IDs, without the server."""
        return reference_values(load_sum_judge(), token_ids)

    def __enter__(self) -> Self:
        # asyncio turns Nagle's algorithm off only for a socket that names its protocol. Nagle's
        # algorithm would delay every response by 40 ms.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((_LOOPBACK, self._wanted_port))
        except OSError:
            self._close_socket()
            raise
        config = uvicorn.Config(
            self._recorder,
            http=_Protocol,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            # vLLM's value in seconds: clients must cope with connections closed after it.
            timeout_keep_alive=5,
        )
        self._server = _Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="RewardServer", daemon=True
        )
        self._thread.start()
        while not self._server.ready.wait(timeout=1):
            if not self._thread.is_alive():
                self._close_socket()
                raise RuntimeError(
                    "Cannot start the server: its thread ended. See the exception that it printed."
                )
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._server is not None and self._thread is not None:
            self._server.stop()
            self._thread.join()
        self._close_socket()

    def _close_socket(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def serve(
    *,
    dialect: str = "0.32",
    head: Head = "sequence",
    raw: bool = False,
    api_key: str | None = None,
    port: int = 8000,
) -> None:
    """Serve in the foreground until Ctrl-C; see `RewardServer` for the options."""
    with (
        contextlib.suppress(KeyboardInterrupt),
        RewardServer(dialect=dialect, head=head, raw=raw, api_key=api_key, port=port) as server,
    ):
        print(f"Serving sum-judge as vLLM {dialect} at {server.url}; Ctrl-C stops it.", flush=True)
        threading.Event().wait()
