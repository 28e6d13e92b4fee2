"""JSON bodies of requests, and what FastAPI and pydantic say about invalid ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_core import ErrorDetails


class BodyError(Exception):
    """A body that matches none of the accepted forms.

    Attributes:
        errors: The errors of pydantic, with the locations that the server reports.
    """

    def __init__(self, errors: Sequence[ErrorDetails]) -> None:
        super().__init__(counted(errors))
        self.errors = list(errors)


def read_json(body: bytes) -> object:
    """Parse a body as JSON.

    Raises:
        BodyError: If the body is not JSON.
    """
    try:
        return json.loads(body)
    except ValueError as error:
        position = error.pos if isinstance(error, json.JSONDecodeError) else 0
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        detail: ErrorDetails = {
            "type": "json_invalid",
            "loc": ("body", position),
            "msg": "JSON decode error",
            "input": {},
            "ctx": {"error": reason},
        }
        raise BodyError([detail]) from error


def json_fields(body: object) -> dict[str, Any]:
    """Return the fields of a JSON object; none for any other JSON."""
    return cast("dict[str, Any]", body) if isinstance(body, dict) else {}


def counted(errors: Sequence[ErrorDetails]) -> str:
    """Return the first line of FastAPI's error."""
    return f"{len(errors)} validation {'error' if len(errors) == 1 else 'errors'}:"


def traced(errors: Sequence[ErrorDetails], place: str | None, method: str, path: str) -> str:
    """Return FastAPI's error with the place of the route in the server's code, where known."""
    lines = [f"  {detail}" for detail in errors]
    known = [] if place is None else [place]
    return "\n".join([counted(errors), *lines, "", *known, f"    {method} {path} {errors}"])
