"""What an HTTP status and an error body mean, and which are worth another attempt."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType

import orjson

from reward_client._base.json_values import as_mapping
from reward_client._transport.redaction import redact
from reward_client.errors import (
    AuthenticationError,
    BadRequestError,
    EngineDeadError,
    ModelNotFoundError,
    RateLimitedError,
    RouteNotFoundError,
    ServerError,
    StatusError,
)

# vLLM up to 0.31 echoes the whole input in validation errors (184 kB seen).
_SHOWN_CHARACTERS = 300
# What is searched for those: patterns take quadratic time on hostile pages.
_READ_CHARACTERS = 4_096

STATUS_RULES = {
    408: (True, "the server gave up waiting for the request, not on it"),
    425: (True, "the server asks for it"),
    429: (True, "the server or a gateway asks to come back later"),
    500: (True, "vLLM up to 0.17 answers so while its engine fails, gateways while they restart"),
    502: (True, "a gateway has lost its server for a moment"),
    503: (True, "the server scales or starts"),
    504: (True, "a gateway has lost its server for a moment"),
}
"""Status → (retried, why). Every status not named here is permanent: the same request would get
the same answer."""

# Recorded from 0.8.5, 0.10.2, 0.12.0, 0.16.0, 0.20.2 and 0.25.1 after their engine died.
_DEAD_ENGINE = re.compile(
    r"EngineCore encountered an issue|EngineDead|engine (?:is )?(?:already )?dead"
    r"|Background loop (?:has errored|is not running)|Engine loop (?:has died|is not running)",
    re.IGNORECASE,
)
_UNKNOWN_MODEL = re.compile(r"\bmodel\b.*does not exist", re.IGNORECASE | re.DOTALL)
# What vLLM 0.8.5 to 0.32.0 say when a route or a pooling task is not served for the model.
_NOT_SERVED = re.compile(
    r"does not support \w[\w ()]* API|Unsupported task|Task \w+ is not supported"
    r"|pooling_task must be one of|switching the model's pooling_task|task was removed",
    re.IGNORECASE,
)
# What a prompt stands behind: pydantic's validation errors repeat the input, as a list of dicts, as
# JSON (also within a text of JSON) or as text, and a reply of /detokenize may come cut off.
_ECHO = re.compile(r"""\\*['"](?:input|prompt|messages|content)\\*['"]\s*:|input_value=""")


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """What an error reply says.

    Attributes:
        message: The server's words, shortened and without echoed input.
        type: vLLM's error type, such as ``"NotFoundError"``; empty where there is none.
        code: The status inside the body, which counts more than the one outside.
    """

    message: str
    type: str = ""
    code: int | None = None


def read_error(
    body: bytes, payload: object, sent: Mapping[str, str] = MappingProxyType({})
) -> ErrorBody | None:
    """The error in a reply of any status, or None if there is none in it.

    Understands vLLM's flat (up to 0.10.0) and nested errors, a bare string (401), FastAPI's
    ``detail``, and whatever a proxy sends.

    Args:
        body: The reply as it came.
        payload: The reply as JSON, None where it is not.
        sent: The headers of the request, which must not be shown where the reply repeats them.
    """
    fields = as_mapping(payload)
    if fields is None:
        if payload is not None:
            return None
        return ErrorBody(_shown(body.decode("utf-8", "replace"), sent))
    error = fields.get("error")
    nested = as_mapping(error)
    if nested:
        fields = nested
    elif error:
        return ErrorBody(_shown(error, sent))
    elif "detail" in fields:
        return ErrorBody(_shown(fields["detail"], sent))
    elif fields.get("object") != "error":
        return None
    message, kind, code = fields.get("message"), fields.get("type"), fields.get("code")
    return ErrorBody(
        message=_shown(message, sent),
        type=kind if isinstance(kind, str) else "",
        code=code if isinstance(code, int) and 400 <= code <= 599 else None,
    )


def error_kind(status: int, error: ErrorBody) -> tuple[type[StatusError], str]:
    """The class of a status error, and what the caller can do about it."""
    if _DEAD_ENGINE.search(error.message):
        return EngineDeadError, "vLLM's engine has died: start the server again; its log says why."
    if _NOT_SERVED.search(error.message):
        return RouteNotFoundError, "The server does not serve this model's task on this route."
    if status == 404 and (error.type == "NotFoundError" or _UNKNOWN_MODEL.search(error.message)):
        return ModelNotFoundError, "Name a model that the server lists on /v1/models."
    match status:
        case 401 | 403:
            return AuthenticationError, "Check api_key= (or REWARD_CLIENT_API_KEY)."
        case 407:
            return StatusError, "The proxy wants a user and password: Connection(proxy=…)."
        case 404 | 405 | 501:
            return RouteNotFoundError, "Does base_url point at a vLLM server?"
        case 408 | 425:
            return ServerError, "It asked to try again, and that did not help."
        case 429:
            return RateLimitedError, "Lower Limits(max_concurrency=…) or try again later."
        case _ if 300 <= status < 400:
            return StatusError, "Redirects are not followed: give the final address as base_url."
        case _ if 400 <= status < 500:
            return BadRequestError, "Sending it again would give the same answer."
        case _:
            return ServerError, "The server, or a proxy before it, failed; its log says more."


def is_retried(kind: type[StatusError], status: int) -> bool:
    """Whether another attempt can help."""
    if issubclass(kind, EngineDeadError):
        return True  # once: the caller of this counts deaths, the input may be the killer
    if issubclass(kind, RouteNotFoundError | ModelNotFoundError):
        return False
    return STATUS_RULES.get(status, (False, ""))[0]


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds to wait as the server asks, from ``retry-after-ms`` or ``retry-after``.

    The latter may be seconds or a date.

    Args:
        headers: With lower-case names.
        now: The time that a date is compared with.
    """
    milliseconds = _non_negative(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after", "")
    seconds = _non_negative(value)
    if seconds is not None:
        return seconds
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())


def _non_negative(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _shown(value: object, sent: Mapping[str, str]) -> str:
    """What may be shown of the server's words."""
    text = value if isinstance(value, str) else _dump(value)
    text = redact(text, sent)[:_READ_CHARACTERS]  # in this order: no half of a secret stays
    text = _ECHO.split(text, maxsplit=1)[0]
    if "<html" in text[:1000].lower() or "<!doctype" in text[:1000].lower():
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
        text = f"an HTML page{f' titled {title[1].strip()!r}' if title else ''}"
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"


def _dump(value: object) -> str:
    try:
        return orjson.dumps(value).decode() if value is not None else ""
    except TypeError:  # more deeply nested than orjson writes
        return "a deeply nested error"
