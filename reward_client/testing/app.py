"""An ASGI app that serves the shipped reward model by the HTTP API of an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from reward_client.testing._engine import Engine, Options
from reward_client.testing._model.generate import LogprobsMode
from reward_client.testing._model.heads import HEADS, Head
from reward_client.testing._sglang.engine import SGLANG
from reward_client.testing._vllm.engine import VLLM

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send


EngineName = Literal["vllm", "sglang"]
ENGINES: Mapping[EngineName, Engine] = {"vllm": VLLM, "sglang": SGLANG}


def create_app(
    *,
    engine: EngineName = "vllm",
    dialect: str | None = None,
    head: Head = "sequence",
    logprobs: LogprobsMode | None = None,
    raw: bool = False,
    score_bias: float = 0.0,
    api_key: str | None = None,
    model_name: str = "sum-judge",
    max_model_len: int = 1024,
    values: Callable[[list[int]], float] | None = None,
    version: str | None = "dialect",
    owned_by: str | None = None,
    root: str = "reward-client/sum-judge",
    chat_template: str | None = None,
) -> ASGIApp:
    """Create the app that `RewardServer` runs, without fault injection and recording.

    Args:
        engine: The engine to imitate: ``"vllm"`` or ``"sglang"``.
        dialect: The version of the engine to imitate; see `RewardServer`. None is ``"0.32"`` of
            vLLM and ``"0.5.23"`` of SGLang.
        head: The head of the model; see `RewardServer`.
        logprobs: The ``--logprobs-mode`` of a server that generates; see `RewardServer`.
        raw: True imitates a vLLM that was started with its activation switched off, as by
            ``--override-pooler-config '{"softmax": false}'``.
        score_bias: The number that SGLang adds to every value; see `RewardServer`.
        api_key: The API key. In vLLM, only ``/v1`` requires it; in SGLang, all but ``/health``.
        model_name: The served model name.
        max_model_len: The maximum number of tokens in a prompt; SGLang takes one token less.
        values: A function from a prompt's token IDs to a raw value; see `RewardServer`.
        version: The version that ``/version``, or SGLang's ``/get_server_info``, reports.
            ``"dialect"`` reports the dialect's version; None removes it.
        owned_by: The owner that ``/v1/models`` reports. None reports the name of the engine; a
            proxy in front of it may report another owner.
        root: The model path that ``/v1/models``, or SGLang's ``/get_model_info``, reports.
            Clients look recipes up by it.
        chat_template: The chat template to serve in the place of the model's, as by
            ``--chat-template``.

    Raises:
        ValueError: If an option is unknown, or if the engine or the dialect does not support it.
    """
    check_choice("engine", engine, ENGINES)
    chosen = ENGINES[engine]
    if dialect is None:
        dialect = chosen.default_dialect
    check_choice("dialect", dialect, chosen.dialects)
    check_choice("head", head, HEADS)
    check_choice("raw", raw, (True, False))
    if logprobs is not None:
        check_choice("logprobs", logprobs, get_args(LogprobsMode))
    options = Options(
        dialect=dialect,
        head=head,
        logprobs=logprobs,
        raw=raw,
        score_bias=score_bias,
        model_name=model_name,
        max_model_len=max_model_len,
        values=values,
        version=version,
        owned_by=owned_by,
        root=root,
        chat_template=chat_template,
    )
    app: ASGIApp = Starlette(
        routes=chosen.routes(options), exception_handlers={HTTPException: _http_error}
    )
    return _KeyGuard(app, api_key, chosen.guards) if api_key else app


def check_choice(option: str, given: object, choices: Collection[object]) -> None:
    """Refuse a value outside of a closed set.

    Raises:
        ValueError: If the value is none of the choices.
    """
    if not any(isinstance(given, type(choice)) and given == choice for choice in choices):
        known = ", ".join(map(str, choices))
        raise ValueError(f"Cannot serve {option}={given!r}: it is unknown. Name one of {known}.")


class _KeyGuard:
    """ASGI middleware that refuses requests to guarded paths without the key, and no others."""

    def __init__(self, app: ASGIApp, api_key: str, guards: Callable[[str], bool]) -> None:
        self._app = app
        self._expected = f"Bearer {api_key}".encode()
        self._guards = guards

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        guarded = scope["type"] == "http" and self._guards(scope["path"])
        if guarded and dict(scope["headers"]).get(b"authorization") != self._expected:
            refusal = JSONResponse({"error": "Unauthorized"}, status_code=401)
            await refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send)


async def _http_error(_request: Request, error: Exception) -> Response:
    """Answer an unknown route or method in the words of every version."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for HTTPException only
    return JSONResponse(
        {"detail": error.detail}, status_code=error.status_code, headers=error.headers
    )
