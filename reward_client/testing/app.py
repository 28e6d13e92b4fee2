"""An ASGI app that speaks vLLM's wire for the shipped reward model."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from reward_client.testing.dialects import DIALECTS
from reward_client.testing.endpoints import Endpoints
from reward_client.testing.generating import LogprobsMode
from reward_client.testing.heads import HEADS, Head
from reward_client.testing.judge import load_judge
from reward_client.testing.serving import Serving

if TYPE_CHECKING:
    from collections.abc import Callable

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
) -> ASGIApp:
    """The app that `RewardServer` serves, without fault injection and recording.

    Args:
        dialect: The vLLM version to stand for: ``"0.8"``, ``"0.10"``, ``"0.12"``, ``"0.16"``,
            ``"0.20"``, ``"0.25"`` or ``"0.32"``.
        head: What the model answers with: see `RewardServer`.
        logprobs: What a generating server was started with: see `RewardServer`.
        raw: Whether the server was started with its activation switched off, as by
            ``--override-pooler-config '{"softmax": false}'``.
        api_key: Guards ``/v1``, and only that, as vLLM does.
        model_name: The served name.
        max_model_len: The most tokens of one prompt.
        values: The raw number for a prompt, given its token IDs, in place of the model's; see
            `RewardServer`.
        version: What ``/version`` says; ``"dialect"`` is the dialect's, None is no such route.
        owned_by: What ``/v1/models`` says of the owner; a proxy in front of vLLM says another.
        root: What ``/v1/models`` says that the model was loaded from; recipes are looked up by it.
    """
    if dialect not in DIALECTS:
        raise ValueError(f"Unknown dialect {dialect!r}; there are {', '.join(DIALECTS)}.")
    if head not in HEADS:
        raise ValueError(f"Unknown head {head!r}; there are {', '.join(HEADS)}.")
    if logprobs not in (None, *get_args(LogprobsMode)):
        raise ValueError(f"Unknown logprobs {logprobs!r}; there are {get_args(LogprobsMode)}.")
    if logprobs not in (None, "processed_logprobs") and dialect == "0.8":
        raise ValueError("vLLM has --logprobs-mode since 0.10.0.")
    if head == "export" and dialect == "0.8":
        raise ValueError("vLLM applies the Dense modules of an exported head since 0.10.2.")
    if head == "export-steps" and dialect in ("0.8", "0.10", "0.12"):
        raise ValueError("vLLM answers what Dense modules make of each token since 0.16.")
    serving = Serving(
        judge=load_judge(),
        dialect=DIALECTS[dialect],
        head=head,
        logprobs=logprobs,
        raw=raw,
        model_name=model_name,
        max_model_len=max_model_len,
        values=values,
        version=DIALECTS[dialect].version if version == "dialect" else version,
        owned_by=owned_by,
        root=root,
    )
    app: ASGIApp = Starlette(
        routes=Endpoints(serving).routes(), exception_handlers={HTTPException: _http_error}
    )
    return _KeyGuard(app, api_key) if api_key else app


class _KeyGuard:
    """Refuses requests without the key under `/v1`, and only there."""

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
    """Unknown routes and methods, in the words of every version."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for these only
    return JSONResponse(
        {"detail": error.detail}, status_code=error.status_code, headers=error.headers
    )
