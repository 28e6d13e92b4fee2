"""Errors as the two vLLM versions word and wrap them."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from reward_client.testing.dialects import Dialect
    from reward_client.testing.forms import BodyError

_MOST_REPORTED = 10


class Refusal(Exception):
    """A request that vLLM refuses.

    Attributes:
        status: The HTTP status.
        message: vLLM's words.
        kind: The `type` of the error.
        parameter: The `param` of the error.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = HTTPStatus.BAD_REQUEST,
        kind: str = "BadRequestError",
        parameter: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.parameter = parameter


def refusal_body(refusal: Refusal, dialect: Dialect) -> dict[str, Any]:
    """The body of a refusal."""
    error = {
        "message": refusal.message,
        "type": refusal.kind,
        "param": refusal.parameter,
        "code": int(refusal.status),
    }
    return {"error": error} if dialect.nested_errors else {"object": "error", **error}


def refusal_response(refusal: Refusal, dialect: Dialect) -> JSONResponse:
    """The reply to a refused request."""
    return JSONResponse(refusal_body(refusal, dialect), status_code=refusal.status)


def validation_refusal(error: BodyError, dialect: Dialect) -> Refusal:
    """What is said to a body that has none of the accepted forms."""
    if not dialect.nested_errors:
        return Refusal(str(error.errors))
    shown = [_line(detail) for detail in error.errors[:_MOST_REPORTED]]
    count = len(error.errors)
    label = "error" if count == 1 else "errors"
    if count > _MOST_REPORTED:
        shown.append(f"  ...and {count - _MOST_REPORTED} more {label}")
    return Refusal(
        f"{count} validation {label}:\n" + "\n".join(shown),
        kind="Bad Request",
        parameter=_dotted(error.errors[0]["loc"]),
    )


def media_type_refusal(dialect: Dialect) -> JSONResponse:
    """The reply to a body that is not declared as JSON."""
    text = "Unsupported Media Type: Only 'application/json' is allowed"
    if dialect.media_type_status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
        return JSONResponse({"detail": text}, status_code=dialect.media_type_status)
    refusal = Refusal(f"1 validation error:\n  {text}", kind="Bad Request")
    return refusal_response(refusal, dialect)


def _line(detail: ErrorDetails) -> str:
    shown: dict[str, Any] = {**detail, "loc": _dotted(detail["loc"])}
    shown["input"] = _summary(detail["input"])
    return f"  {shown}"


def _summary(value: object) -> str:
    """The input that was refused; containers are only counted."""
    if isinstance(value, list | dict):
        container = cast("list[object] | dict[str, object]", value)
        return f"<{type(container).__name__} of {len(container)} items>"
    return str(value)


def _dotted(location: tuple[int | str, ...]) -> str:
    """A location without pydantic's own markers, which are types or have brackets."""
    return ".".join(
        str(part) for part in location if not ("[" in str(part) or part in {"str", "int", "list"})
    )
