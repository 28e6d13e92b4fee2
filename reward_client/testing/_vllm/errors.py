"""Error responses in the words and shapes of each vLLM version."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from starlette.responses import JSONResponse

from reward_client.testing._bodies import counted, traced

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from reward_client.testing._bodies import BodyError
    from reward_client.testing._vllm.dialect import Dialect

_MAX_REPORTED_ERRORS = 10


class VllmError(Exception):
    """An error that vLLM answers with an error body.

    Attributes:
        status: The HTTP status.
        message: The message, in vLLM's words.
        error_type: The `type` in the body.
        parameter: The `param` in the body.
        code: The `code` in the body, which may differ from the HTTP status.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = HTTPStatus.BAD_REQUEST,
        error_type: str = "BadRequestError",
        parameter: str | None = None,
        code: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.error_type = error_type
        self.parameter = parameter
        self.code = int(status if code is None else code)


class UnhandledError(Exception):
    """An exception within vLLM that it answers with a bare 500."""


def invalid_parameter(message: str, parameter: str, dialect: Dialect) -> VllmError:
    """Return the error about a parameter; later versions name the parameter."""
    if not dialect.names_parameters:
        return VllmError(message)
    return VllmError(f"{message} (parameter={parameter})", parameter=parameter)


def invalid_value(message: str, parameter: str, value: object, dialect: Dialect) -> VllmError:
    """Return the error about a value in a request to generate; later versions name the value."""
    if not dialect.generation.names_values:
        return VllmError(message)
    return VllmError(f"{message} (parameter={parameter}, value={value})", parameter=parameter)


def not_implemented(message: str) -> VllmError:
    """Return the error about a feature of vLLM that this server does not have."""
    return VllmError(message, status=HTTPStatus.NOT_IMPLEMENTED, error_type="NotImplementedError")


def error_body(error: VllmError, dialect: Dialect) -> dict[str, Any]:
    """Return the JSON body of an error."""
    fields = {
        "message": error.message,
        "type": error.error_type,
        "param": error.parameter,
        "code": error.code,
    }
    return {"error": fields} if dialect.nested_errors else {"object": "error", **fields}


def error_response(error: VllmError, dialect: Dialect) -> JSONResponse:
    """Return the HTTP response of an error."""
    return JSONResponse(error_body(error, dialect), status_code=error.status)


def validation_error(error: BodyError, dialect: Dialect, path: str) -> VllmError:
    """Return the error about a body that matches none of the accepted forms."""
    errors = error.errors
    if dialect.validation == "list":
        message = str(errors)
    elif dialect.validation == "trace":
        message = traced(errors, dialect.traces.get(path), "POST", path)
    else:
        lines = [_line(detail) for detail in errors[:_MAX_REPORTED_ERRORS]]
        if len(errors) > _MAX_REPORTED_ERRORS:
            lines.append(f"  ...and {len(errors) - _MAX_REPORTED_ERRORS} more errors")
        message = "\n".join([counted(errors), *lines])
    return VllmError(
        message,
        error_type="Bad Request" if dialect.nested_errors else "BadRequestError",
        parameter=_dotted(errors[0]["loc"]) if dialect.names_field else None,
    )


def unread_body_error(reason: str, dialect: Dialect) -> VllmError:
    """Return the error about a body that vLLM refuses before it validates the fields."""
    message = {
        "list": f" {[reason]}",
        "trace": f"1 validation error:\n  {reason} {[reason]}",
        "lines": f"1 validation error:\n  {reason}",
    }[dialect.validation]
    return VllmError(message, error_type="Bad Request")


def media_type_response(dialect: Dialect) -> JSONResponse:
    """Return the response to a body whose media type is not JSON."""
    reason = "Unsupported Media Type: Only 'application/json' is allowed"
    if dialect.media_type_status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
        return JSONResponse({"detail": reason}, status_code=dialect.media_type_status)
    return error_response(unread_body_error(reason, dialect), dialect)


def _line(detail: ErrorDetails) -> str:
    shown: dict[str, Any] = {**detail, "loc": _dotted(detail["loc"])}
    shown["input"] = _summary(detail["input"])
    return f"  {shown}"


def _summary(value: object) -> str:
    """Return the invalid input as text; for a container, only its type and size."""
    if isinstance(value, list | dict):
        container = cast("list[object] | dict[str, object]", value)
        return f"<{type(container).__name__} of {len(container)} items>"
    return str(value)


def _dotted(location: tuple[int | str, ...]) -> str:
    """Join a location by dots, without pydantic's names of types and validators."""
    return ".".join(
        str(part) for part in location if not ("[" in str(part) or part in {"str", "int", "list"})
    )
