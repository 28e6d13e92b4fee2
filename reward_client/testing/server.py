"""The reward server of tests and demos: uvicorn in a thread of this process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Self

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from reward_client.testing.app import create_app
from reward_client.testing.faults import TRANSPORT, Fault, FaultInjector
from reward_client.testing.judge import MODEL_FOLDER, STEP_TOKEN, load_judge
from reward_client.testing.recording import RecordedRequest, Recorder
from reward_client.testing.reference import ReferenceValues, reference_values

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from reward_client.testing.generating import LogprobsMode
    from reward_client.testing.heads import Head


_LOOPBACK = "127.0.0.1"


class _Protocol(H11Protocol):
    """Shows each request's connection to the app, for the faults that need it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.app_state = {**self.app_state, TRANSPORT: transport}
        super().connection_made(transport)


class _Server(uvicorn.Server):
    """Says when it is up, and ends at once when told to."""

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
        # uvicorn's looks ten times a second whether to go on.
        await self.on_tick(0)
        await self._stop.wait()

    def stop(self) -> None:
        """Let the server end, from another thread; what is still being answered is dropped."""
        self.force_exit = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)


class RewardServer:
    """A server with a real, small reward model behind vLLM's wire, on a free loopback port.

    The model judges whether the sum in the last assistant turn is right::

        with RewardServer() as server:
            client = RewardClient(server.url)

    Args:
        dialect: The vLLM version to answer as: ``"0.8"``, ``"0.10"``, ``"0.12"``, ``"0.16"``,
            ``"0.20"``, ``"0.25"`` or ``"0.32"``.
        head: ``"sequence"``: one value per conversation; ``"token"``: one per token, as
            ``Qwen2ForRewardModel``; ``"labels"``: five values per conversation; ``"steps"``: two
            values, bad and good, per step token, as ``Qwen2ForProcessRewardModel``; ``"embed"``:
            the last token's hidden state, as any model with ``--convert embed``; ``"export"``: the
            reward head as a Dense module of sentence-transformers; ``"export-steps"``: the head of
            ``"steps"`` as one, served with ``--pooler-config '{"task": "token_embed"}'``: two
            values for each token, not only for the steps'.
        logprobs: Makes it a server that generates, with the embeddings for its head, and pools
            nothing: ``"raw_logprobs"``, ``"processed_logprobs"``, ``"raw_logits"`` or
            ``"processed_logits"``, as ``--logprobs-mode``. ``head`` does not count then. It has
            ``/v1/completions`` and, since 0.20, ``/generative_scoring``.
        raw: Whether the server was started with its activation switched off.
        api_key: The key that guards ``/v1``.
        model_name: The served name.
        max_model_len: The most tokens of one prompt.
        port: The port; 0 takes a free one.
        values: The raw number for a prompt, given its token IDs. Every number that the model would
            answer with is this one instead, before any activation: for servers that are wrong.
        version: What ``/version`` says; ``"dialect"`` is the dialect's, None is no such route.
        owned_by: What ``/v1/models`` says of the owner; a proxy in front of vLLM says another.
        root: What ``/v1/models`` says that the model was loaded from; recipes are looked up by it.

    Attributes:
        step_token: What ends a step for the heads of steps: a text that is one token.
        checkpoint: The folder of the model: config, weights and tokenizer.
    """

    step_token = STEP_TOKEN
    checkpoint = MODEL_FOLDER

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
        )
        self._faults = FaultInjector(app)
        self._recorder = Recorder(self._faults)
        self._wanted_port = port
        self._socket: socket.socket | None = None
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where the server listens."""
        if self._socket is None:
            raise RuntimeError("The server is not running; use it in a with statement.")
        return f"http://{_LOOPBACK}:{self._socket.getsockname()[1]}"

    @property
    def requests(self) -> list[RecordedRequest]:
        """Every request so far, in the order of arrival."""
        return self._recorder.requests

    def inject(self, fault: Fault, *, path: str | None = None, times: int = 1) -> None:
        """Let the next requests end in a fault.

        Args:
            fault: What goes wrong.
            path: Only for this path; None is for any.
            times: How many requests it hits.
        """
        if times < 1:
            raise ValueError(f"times is {times}, and should be at least 1.")
        self._faults.plan(fault, path=path, times=times)

    def reference(self, token_ids: Sequence[int]) -> float:
        """The raw score of token IDs, straight from the model."""
        return load_judge().score(token_ids)

    def reference_logits(self, token_ids: Sequence[int]) -> list[float]:
        """The raw logit of every token at the next position, straight from the model."""
        logits: list[float] = load_judge().logits(token_ids).tolist()
        return logits

    def reference_values(self, token_ids: Sequence[int]) -> ReferenceValues:
        """The raw values of token IDs for every head, straight from the model."""
        return reference_values(load_judge(), token_ids)

    def __enter__(self) -> Self:
        # asyncio turns Nagle's algorithm off only where the protocol is named; left on, it holds
        # every reply back for 40 ms.
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
            # vLLM's; clients must cope with idle connections closed after it.
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
                raise RuntimeError("The server did not start.")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
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
    """Serve in the foreground until Ctrl-C."""
    with (
        contextlib.suppress(KeyboardInterrupt),
        RewardServer(dialect=dialect, head=head, raw=raw, api_key=api_key, port=port) as server,
    ):
        print(f"Serving sum-judge as vLLM {dialect} at {server.url}; Ctrl-C stops it.", flush=True)
        threading.Event().wait()
