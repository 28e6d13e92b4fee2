"""Error responses in the three shapes of SGLang, and the end of a server."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from reward_client.testing._bodies import traced
from reward_client.testing._connection import KILL

if TYPE_CHECKING:
    from starlette.requests import Request

    from reward_client.testing._bodies import BodyError
    from reward_client.testing._sglang.dialect import Dialect


class SglangError(Exception):
    """An error that SGLang answers with an error body.

    Attributes:
        message: The message, in SGLang's words.
        status: The HTTP status.
        error_type: The `type` in the body of a route under `/v1`.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = HTTPStatus.BAD_REQUEST,
        error_type: str = "BadRequestError",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.error_type = error_type


class UnhandledError(Exception):
    """An exception within SGLang that it answers with a bare 500."""


class ServerDeathError(Exception):
    """A request that ends the process of SGLang."""


def not_implemented(message: str) -> SglangError:
    """Return the error about a feature of SGLang that this server does not have."""
    return SglangError(message, status=HTTPStatus.NOT_IMPLEMENTED, error_type="NotImplementedError")


def native_response(error: SglangError) -> Response:
    """Return the response of a native route."""
    return JSONResponse({"error": {"message": error.message}}, status_code=error.status)


def openai_response(error: SglangError) -> Response:
    """Return the response of a route under `/v1`."""
    body: dict[str, Any] = {
        "object": "error",
        "message": error.message,
        "type": error.error_type,
        "param": None,
        "code": int(error.status),
    }
    return JSONResponse(body, status_code=error.status)


def validation_response(invalid: BodyError, dialect: Dialect, request: Request) -> Response:
    """Return the response to a body that matches none of the accepted forms."""
    for detail in invalid.errors:
        context = detail.get("ctx", {})
        if detail["type"] == "json_invalid" and "error" in context:
            context["error"] = dialect.parser_words.get(context["error"], context["error"])
    path = request.url.path
    message = traced(invalid.errors, dialect.places.get(path), request.method, path)
    return openai_response(SglangError(message, error_type="Bad Request"))


def media_type_response() -> Response:
    """Return the response to a body whose media type is not JSON."""
    detail = {
        "loc": ["header", "content-type"],
        "msg": "Unsupported Media Type: Only 'application/json' is allowed",
        "type": "value_error",
    }
    message = f"1 validation error:\n  {detail} {[detail]}"
    return openai_response(SglangError(message, error_type="Bad Request"))


async def die(request: Request) -> Response:
    """End the server as the process of a real one ends; the client gets no response.

    Raises:
        RuntimeError: If another server than `RewardServer` runs the app.
    """
    kill = request.scope.get("state", {}).get(KILL)
    if kill is None:
        raise RuntimeError(
            "Cannot end the server as this request ends a real one: the app does not run in "
            "RewardServer. Send it to a RewardServer."
        )
    kill()
    while (await request.receive())["type"] != "http.disconnect":
        pass
    return Response()
