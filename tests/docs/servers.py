"""The servers that the examples of the documentation name, on free loopback ports."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, TypeAlias

import httpx

from reward_client.testing import RecordedRequest, RewardServer
from reward_client.testing._model.sum_judge import load_sum_judge

from ..support.altered import alter_replies
from ..support.raw_server import RawServer, answering
from ..support.running_gateway import RunningGateway
from ..support.scribe import Scribe

__all__ = ["DEFAULT", "ON_SGLANG", "SERVERS", "Stage", "logits", "pooled", "writes"]

DEFAULT = "http://localhost:8000"
NEMOTRON = "nvidia/Llama-3.3-Nemotron-70B-Reward"
"""A model of the recipe without a published reward, which the small model could not give."""

_SUM = re.compile(r"(\d+) \+ (\d+)")
_ANSWERS = re.compile(r"(?:<assistant>|Answer(?: [AB])?: )(\d+)")


def writes(prompt: str, seed: int) -> str:
    """Return the text that a generating server writes about a sum and its answers."""
    total, answers = _read(prompt)
    far = [abs(answer - total) for answer in answers]
    if "[[" in prompt:
        better = "A" if far[0] < far[1] else "B" if far[1] < far[0] else "C"
        return f"The sum is {total}. [[{better}]]"
    if "[RESULT]" in prompt:
        return f"The sum is {total}. [RESULT] {(2 if far[0] else 5) - seed % 2}"
    mood = "I think" if seed % 2 else "I am sure"
    return f" {mood} that the sum is {total}, and the answer says {answers[0]}."


def logits(prompt: str) -> tuple[float, float]:
    """Return the logits of Yes and No: closer to each other after an unsure thought."""
    total, answers = _read(prompt)
    yes, no = (2.0, -1.0) if total in answers[:1] else (-1.5, 1.0)
    scale = 0.5 if "I think" in prompt else 1.0
    return yes * scale, no * scale


def pooled(prompt: str) -> float:
    """Return the reward after a critique: it grows with its length and the answer's quality."""
    yes, no = logits(prompt)
    return yes - no + len(prompt) / 1000


def chances(_: str, last: str) -> dict[str, float]:
    """Return the probabilities in the last place of a text: a mark might have been one lower."""
    if last not in "2345":
        return {last: 1.0}
    return {last: 0.7, str(int(last) - 1): 0.2, "n": 0.1}


def _read(prompt: str) -> tuple[int, list[int]]:
    """Find the sum in question and the answers. The probes of a client have neither."""
    asked = _SUM.search(prompt)
    total = int(asked[1]) + int(asked[2]) if asked else 0
    return total, [int(answer) for answer in _ANSWERS.findall(prompt)]


def _scribe() -> RawServer:
    serves = ("/pooling", "/detokenize")
    return RawServer(answering(Scribe(writes, logits=logits, chances=chances, serves=serves)))


def _nemotron() -> RewardServer:
    """Return a server whose tokenizer has the token that Nemotron's recipe names."""

    def rename(request: dict[str, Any], reply: dict[str, Any]) -> None:
        if request.get("prompt") == "!":
            reply |= {"count": 1, "tokens": [0]}

    server = RewardServer(logprobs="raw_logits", dialect="0.25", root=NEMOTRON)
    alter_replies(server, "/tokenize", rename)
    return server


class _Gateway(RunningGateway):
    """A gateway in front of a server of its own."""

    def __init__(self) -> None:
        self._server = RewardServer()
        self._server.__enter__()
        super().__init__(self._server.url)

    @property
    def requests(self) -> list[RecordedRequest]:
        return self._server.requests

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._server.__exit__(*error)


def _new_model(engine: str = "vllm") -> RewardServer:
    """Return a server whose model is a little worse than the built-in one."""
    judge = load_sum_judge()
    return RewardServer(
        engine=engine,
        values=lambda ids: judge.score(ids) + sum(ids) % 23 - 11,
        model_name="new-model",
    )


Servers: TypeAlias = Mapping[str, Callable[[], "RewardServer | RawServer | _Gateway"]]

SERVERS: Servers = {
    DEFAULT: RewardServer,
    "http://sglang:30000": lambda: RewardServer(engine="sglang"),
    "http://new-model:8000": _new_model,
    "http://exported:8000": lambda: RewardServer(head="export"),
    "http://math-rm:8000": lambda: RewardServer(head="token"),
    "http://math-prm:8000": lambda: RewardServer(head="steps"),
    "http://generates:8000": lambda: RewardServer(logprobs="raw_logits", dialect="0.25"),
    "http://nemotron:8000": _nemotron,
    "http://verifier:8000": _scribe,
    "http://critic:8000": _scribe,
    "http://head:8000": lambda: RawServer(answering(Scribe(pools=pooled))),
    "http://judge:8000": _scribe,
    "http://gateway:9000": _Gateway,
}
"""The URLs in the examples, and the servers that answer instead."""

ON_SGLANG: Servers = {
    **SERVERS,
    # It takes one token less, so that it takes as many as vLLM.
    DEFAULT: lambda: RewardServer(engine="sglang", max_model_len=1025),
    "http://new-model:8000": lambda: _new_model("sglang"),
    "http://math-rm:8000": lambda: RewardServer(engine="sglang", head="token"),
}
"""The same, where an SGLang serves such a model."""

STEP_TOKENS = {"<extra_0>": RewardServer.step_token}
"""The step token of Qwen's models, and the step token of the model that answers instead."""


class Stage:
    """The servers named so far.

    Args:
        servers: The servers by the URLs in the examples.

    Attributes:
        servers: The same.
        http: Sends requests that the examples do not send.
    """

    def __init__(self, servers: Servers = SERVERS) -> None:
        self.servers = servers
        self._stack = ExitStack()
        self.http = self._stack.enter_context(httpx.Client(trust_env=False))
        self._running: dict[str, RewardServer | RawServer | _Gateway] = {}
        self._seen: dict[str, int] = {}

    def server(self, name: str) -> Any:
        """Return the server of this name, and start it if it does not run yet."""
        if name not in self._running:
            self._running[name] = self._stack.enter_context(self.servers[name]())
        return self._running[name]

    def staged(self, source: str) -> str:
        """Replace the URLs of an example by the URLs of these servers."""
        for name in self.servers:
            if name in source:
                source = source.replace(name, self.server(name).url)
        for text, token in STEP_TOKENS.items():
            source = source.replace(text, token)
        return source

    def forget(self) -> None:
        """Ignore the requests so far in `sent` and `bodies`."""
        self._seen = {name: len(server.requests) for name, server in self._running.items()}

    def sent(self, name: str) -> list[tuple[str, Any]]:
        """Return the paths and bodies of the requests to a server since `forget`."""
        requests = self.server(name).requests[self._seen.get(name, 0) :]
        return [(request.path, request.json) for request in requests]

    def bodies(self, name: str, path: str) -> list[Any]:
        """Return the bodies of the requests to one path of a server since `forget`."""
        return [body for asked, body in self.sent(name) if asked == path]

    def close(self) -> None:
        self._stack.close()
