"""Errors as the vLLM versions word and wrap them."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_core import ErrorDetails

    from reward_client.testing.dialect import Dialect
    from reward_client.testing.forms import BodyError

_MOST_REPORTED = 10


class Refusal(Exception):
    """A request that vLLM refuses.

    Attributes:
        status: The HTTP status.
        message: vLLM's words.
        kind: The `type` of the error.
        parameter: The `param` of the error.
        code: The status that the body tells.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = HTTPStatus.BAD_REQUEST,
        kind: str = "BadRequestError",
        parameter: str | None = None,
        code: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.parameter = parameter
        self.code = int(status if code is None else code)


def refused_parameter(message: str, parameter: str, dialect: Dialect) -> Refusal:
    """The refusal of a parameter, which some versions name."""
    if not dialect.names_parameters:
        return Refusal(message)
    return Refusal(f"{message} (parameter={parameter})", parameter=parameter)


def refused_value(message: str, parameter: str, value: object, dialect: Dialect) -> Refusal:
    """The refusal of a value in a request to generate, which some versions name."""
    if not dialect.generation.names_values:
        return Refusal(message)
    return Refusal(f"{message} (parameter={parameter}, value={value})", parameter=parameter)


def refusal_body(refusal: Refusal, dialect: Dialect) -> dict[str, Any]:
    """The body of a refusal."""
    error = {
        "message": refusal.message,
        "type": refusal.kind,
        "param": refusal.parameter,
        "code": refusal.code,
    }
    return {"error": error} if dialect.nested_errors else {"object": "error", **error}


def refusal_response(refusal: Refusal, dialect: Dialect) -> JSONResponse:
    """The reply to a refused request."""
    return JSONResponse(refusal_body(refusal, dialect), status_code=refusal.status)


def validation_refusal(error: BodyError, dialect: Dialect, path: str) -> Refusal:
    """What is said to a body that has none of the accepted forms."""
    errors = error.errors
    if dialect.validation == "list":
        message = str(errors)
    elif dialect.validation == "trace":
        lines = [f"  {detail}" for detail in errors]
        known = [dialect.traces[path]] if path in dialect.traces else []
        place = ["", *known, f"    POST {path} {errors}"]
        message = "\n".join([_counted(errors), *lines, *place])
    else:
        lines = [_line(detail) for detail in errors[:_MOST_REPORTED]]
        if len(errors) > _MOST_REPORTED:
            lines.append(f"  ...and {len(errors) - _MOST_REPORTED} more errors")
        message = "\n".join([_counted(errors), *lines])
    return Refusal(
        message,
        kind="Bad Request" if dialect.nested_errors else "BadRequestError",
        parameter=_dotted(errors[0]["loc"]) if dialect.names_field else None,
    )


def unread_refusal(text: str, dialect: Dialect) -> Refusal:
    """What is said to a body that is not even looked at, for the reason in the text."""
    message = {
        "list": f" {[text]}",
        "trace": f"1 validation error:\n  {text} {[text]}",
        "lines": f"1 validation error:\n  {text}",
    }[dialect.validation]
    return Refusal(message, kind="Bad Request")


def media_type_refusal(dialect: Dialect) -> JSONResponse:
    """The reply to a body that is not declared as JSON."""
    text = "Unsupported Media Type: Only 'application/json' is allowed"
    if dialect.media_type_status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
        return JSONResponse({"detail": text}, status_code=dialect.media_type_status)
    return refusal_response(unread_refusal(text, dialect), dialect)


def _counted(errors: Sequence[ErrorDetails]) -> str:
    return f"{len(errors)} validation {'error' if len(errors) == 1 else 'errors'}:"


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
