"""An ASGI app that serves the shipped reward model by vLLM's HTTP API."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from reward_client.testing._model.generate import LogprobsMode
from reward_client.testing._model.heads import HEADS, Head
from reward_client.testing._model.sum_judge import load_sum_judge
from reward_client.testing._vllm.dialects import DIALECTS
from reward_client.testing._vllm.endpoints import Endpoints
from reward_client.testing._vllm.served_model import ServedModel

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send


def create_app(
    *,
    dialect: str = "0.32",
    head: Head = "sequence",
    logprobs: LogprobsMode | None = None,
    raw: bool = False,
    api_key: str | None = None,
    model_name: str = "sum-judge",
    max_model_len: int = 1024,
    values: Callable[[list[int]], float] | None = None,
    version: str | None = "dialect",
    owned_by: str = "vllm",
    root: str = "reward-client/sum-judge",
    chat_template: str | None = None,
) -> ASGIApp:
    """Create the app that `RewardServer` runs, without fault injection and recording.

    Args:
        dialect: The vLLM version to imitate: ``"0.8"``, ``"0.10"``, ``"0.12"``, ``"0.16"``,
            ``"0.20"``, ``"0.25"``, ``"0.32"`` or ``"0.33"``.
        head: The head of the model; see `RewardServer`.
        logprobs: The ``--logprobs-mode`` of a server that generates; see `RewardServer`.
        raw: True imitates a server that was started with its activation switched off, as by
            ``--override-pooler-config '{"softmax": false}'``.
        api_key: The API key; as in vLLM, only ``/v1`` requires it.
        model_name: The served model name.
        max_model_len: The maximum number of tokens in a prompt.
        values: A function from a prompt's token IDs to a raw value; see `RewardServer`.
        version: The version that ``/version`` reports. ``"dialect"`` reports the dialect's
            version; None removes the route.
        owned_by: The owner that ``/v1/models`` reports. vLLM reports ``"vllm"``; a proxy in front
            of it may report another owner.
        root: The model path that ``/v1/models`` reports. Clients look recipes up by it.
        chat_template: The chat template to serve in the place of the model's, as by
            ``--chat-template``.

    Raises:
        ValueError: If an option is unknown, or if the dialect does not support it.
    """
    check_choice("dialect", dialect, DIALECTS)
    check_choice("head", head, HEADS)
    check_choice("raw", raw, (True, False))
    if logprobs is not None:
        check_choice("logprobs", logprobs, get_args(LogprobsMode))
    if logprobs not in (None, "processed_logprobs") and dialect == "0.8":
        raise ValueError(
            f"Cannot serve logprobs={logprobs!r} as vLLM 0.8: --logprobs-mode came with 0.10.0. "
            'Name a later dialect, or "processed_logprobs".'
        )
    if head == "export" and dialect == "0.8":
        raise ValueError(
            "Cannot serve head='export' as vLLM 0.8: Dense modules came with 0.10.2. Name a later "
            "dialect."
        )
    if head == "export-steps" and dialect in ("0.8", "0.10", "0.12"):
        raise ValueError(
            f"Cannot serve head='export-steps' as vLLM {dialect}: Dense modules for each token "
            "came with 0.16. Name a later dialect."
        )
    served = ServedModel(
        judge=load_sum_judge(),
        dialect=DIALECTS[dialect],
        head=head,
        logprobs=logprobs,
        raw=raw,
        name=model_name,
        max_model_len=max_model_len,
        values=values,
        version=DIALECTS[dialect].version if version == "dialect" else version,
        owned_by=owned_by,
        root=root,
        chat_template=chat_template,
    )
    app: ASGIApp = Starlette(
        routes=Endpoints(served).routes(), exception_handlers={HTTPException: _http_error}
    )
    return _KeyGuard(app, api_key) if api_key else app


def check_choice(option: str, given: object, choices: Collection[object]) -> None:
    """Refuse a value outside of a closed set.

    Raises:
        ValueError: If the value is none of the choices.
    """
    if not any(isinstance(given, type(choice)) and given == choice for choice in choices):
        known = ", ".join(map(str, choices))
        raise ValueError(f"Cannot serve {option}={given!r}: it is unknown. Name one of {known}.")


class _KeyGuard:
    """ASGI middleware that refuses requests under `/v1` without the key, and no others."""

    def __init__(self, app: ASGIApp, api_key: str) -> None:
        self._app = app
        self._expected = f"Bearer {api_key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        guarded = scope["type"] == "http" and scope["path"].startswith("/v1")
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
