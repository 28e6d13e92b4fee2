"""HTTP statuses and error bodies: the error, retries and advice for each."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType

import orjson

from reward_client._base.json_values import as_mapping
from reward_client._base.wording import shorten
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
# The patterns search no further: they take quadratic time on hostile pages.
_READ_CHARACTERS = 4_096

STATUS_RULES = {
    408: (True, "the server stopped waiting for the request and did not process it"),
    420: (True, "some gateways send it in the place of 429"),
    425: (True, "the server asks for it"),
    429: (True, "the server or a gateway asks to come back later"),
    500: (True, "vLLM up to 0.17 sends it when its engine fails, gateways when they restart"),
    501: (False, "the server does not know the method"),
    502: (True, "a gateway has lost its server for a moment"),
    503: (True, "the server scales or starts"),
    504: (True, "a gateway has lost its server for a moment"),
    505: (False, "the server does not speak this HTTP"),
    508: (False, "the proxies form a loop"),
    509: (True, "a gateway has no bandwidth left for the moment"),
    511: (False, "the network wants a login first"),
    525: (False, "Cloudflare and the server agree on no TLS"),
    526: (False, "the server's certificate is invalid for Cloudflare"),
    529: (True, "the server or a gateway is overloaded; Dynamo and others send it"),
}
"""Status → (retried, why). Every other 5xx is a gateway's own word for a failure, and is retried.
Every other status is permanent: the same request would get the same response."""

_BUSY = frozenset({420, 429, 509, 529})
_AWAY = frozenset({*_BUSY, 502, 503, 504, 520, 521, 522, 523, 524, 530, 598, 599})

# Types of errors that gateways send with a status of their own. Dynamo sends "Overloaded" with the
# status that its operator chose (DYN_HTTP_OVERLOAD_STATUS_CODE).
_BUSY_TYPE = re.compile(
    r"overload|too.?many.?requests|rate.?limit|throttl|service.?unavailable|server.?busy"
    r"|slow.?down|resource.?exhausted|(?:out.?of|insufficient|no).?capacity|capacity.?exhausted",
    re.IGNORECASE,
)
_BUSY_MESSAGE = re.compile(
    r"overload|too many (?:\w+ )?requests|rate.?limit|throttl|at capacity|out of capacity"
    r"|queue is full"
    r"|try again (?:later|in )|retry (?:later|after)"
    r"|\b(?:busy|not ready|temporarily unavailable|starting up|warming up)\b"
    r"|no (?:available|healthy|free|ready) (?:\w+ )?"
    r"(?:workers?|upstreams?|backends?|replicas?|instances?|servers?|endpoints?|deployments?)",
    re.IGNORECASE,
)
# verl's router sends 500 for each error of its server. Others send 502 for what they cannot read.
_HIDING = frozenset({500, 502})
# These statuses quote the sample, whose own words must not decide.
_QUOTING = frozenset({400, 413, 415, 422})

# Recorded from 0.8.5, 0.10.2, 0.12.0, 0.16.0, 0.20.2, 0.25.1 and 0.33.0 after their engine died.
# The last line is all that 0.33.0 says, and it says it of nothing else.
_DEAD_ENGINE = re.compile(
    r"EngineCore encountered an issue|EngineDead|engine (?:is )?(?:already )?dead"
    r"|Background loop (?:has errored|is not running)|Engine loop (?:has died|is not running)"
    r"|^The server had an error while processing your request\.$",
    re.IGNORECASE,
)
# vLLM says the first. Dynamo says "Model not found", others the rest.
_UNKNOWN_MODEL = re.compile(
    r"\bmodel\b.{0,200}?\b(?:does not exist|not found|not exist|is not served|unknown)\b"
    r"|\b(?:unknown|no such|invalid) model\b",
    re.IGNORECASE | re.DOTALL,
)
# The words of nginx, Go and Apache.
_PLAIN_TO_TLS = re.compile(
    r"plain HTTP request was sent to HTTPS port|HTTP request to an HTTPS server"
    r"|speaking plain HTTP to an SSL-enabled",
    re.IGNORECASE,
)
# The messages of vLLM 0.8.5 to 0.33.0 for a route or pooling task that the model does not have. The
# last one is of 0.33: a model that embeds each token answers rows on /v1/embeddings, and no base64.
_NOT_SERVED = re.compile(
    r"does not support \w[\w ()]* API|Unsupported task|Task \w+ is not supported"
    r"|pooling_task must be one of|switching the model's pooling_task|task was removed"
    r"|body\.encoding_format\W+msg\W+Input should be 'float'",
    re.IGNORECASE,
)
# Where gateways name the kind of an error: Spring, AWS, Google, Alibaba and others beside OpenAI.
_KIND_KEYS = ("type", "__type", "code", "status", "reason", "error")
# Sentences may quote the sample.
_KIND = re.compile(r"\S{1,80}")
_MESSAGE_KEYS = ("Message", "msg", "title", "reason", "description", "error_description")
# The text before a prompt. pydantic's validation errors repeat the input: as a list of dicts, as
# JSON (also within a JSON text) or as text. A response of /detokenize may be cut within the prompt.
_ECHO = re.compile(r"""\\*['"](?:input|prompt|messages|content)\\*['"]\s*:|input_value=""")


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """The content of an error response.

    Attributes:
        message: The server's message, shortened and without echoed input.
        type: vLLM's error type, such as ``"NotFoundError"``; empty if there is none.
        code: The status in the body, which overrides the HTTP status.
        kinds: All names of the kind of the error, by which gateways say that they are busy.
    """

    message: str
    type: str = ""
    code: int | None = None
    kinds: tuple[str, ...] = ()


def read_error(
    body: bytes,
    payload: object,
    sent: Mapping[str, str] = MappingProxyType({}),
    *,
    failed: bool = False,
) -> ErrorBody | None:
    """Read the error in a response of any status; None if it holds none.

    The forms: vLLM's flat (up to 0.10.0) and nested errors, a bare string (401), FastAPI's
    ``detail``, and the pages of proxies. With a status of failure, also flat errors of gateways,
    and any other JSON.

    Args:
        body: The raw body.
        payload: The body as JSON; None if it is no JSON.
        sent: The headers of the request, which are redacted if the response repeats them.
        failed: True if the status says that the request failed.
    """
    fields = as_mapping(payload)
    if fields is None:
        if payload is not None and not failed:
            return None
        return ErrorBody(_message(body.decode("utf-8", "replace"), sent))
    error = fields.get("error")
    nested = as_mapping(error)
    if nested:
        fields = nested
    elif error and not (failed and isinstance(fields.get("message"), str)):
        return ErrorBody(_message(error, sent), kinds=tuple(_kinds(fields)))
    elif "detail" in fields:
        return ErrorBody(_message(fields["detail"], sent))
    elif fields.get("object") != "error" and not failed:
        return None
    kind, code = fields.get("type"), fields.get("code")
    message = fields.get("message")
    if message is None and failed and not nested and fields:
        named = (fields.get(key) for key in _MESSAGE_KEYS)
        message = next((each for each in named if isinstance(each, str)), fields)
    return ErrorBody(
        message=_message(message, sent),
        type=kind if isinstance(kind, str) else "",
        kinds=tuple(_kinds(fields)),
        code=code if isinstance(code, int) and 400 <= code <= 599 else None,
    )


def _kinds(fields: Mapping[str, object]) -> Iterator[str]:
    named = (fields.get(key) for key in _KIND_KEYS)
    return (each for each in named if isinstance(each, str) and _KIND.fullmatch(each))


def is_busy(status: int, error: ErrorBody, wait: float | None) -> bool:
    """Return True if the server or a gateway says, in any way, that only time can help.

    Args:
        status: The status.
        error: The content of the error.
        wait: The seconds to wait that the server names; None if it names none.
    """
    if _DEAD_ENGINE.search(error.message) or status < 400:
        return False
    if status in _BUSY or wait is not None or any(map(_BUSY_TYPE.search, error.kinds)):
        return True
    return status not in _QUOTING and bool(_BUSY_MESSAGE.search(error.message))


def is_away(kind: type[StatusError], status: int, *, busy: bool) -> bool:
    """Return True if the server is away behind a gateway, starting, or busy."""
    return not issubclass(kind, EngineDeadError) and (busy or status in _AWAY)


def may_be_anyones(kind: type[StatusError]) -> bool:
    """Return True if a router without the server behind it may have sent this refusal."""
    return issubclass(kind, RouteNotFoundError | ModelNotFoundError)


def may_hide_refusal(kind: type[StatusError], status: int, error: ErrorBody, *, busy: bool) -> bool:
    """Return True if a gateway may have put this failure in the place of a server's refusal.

    vLLM's own errors have a type.
    """
    return issubclass(kind, ServerError) and status in _HIDING and not error.type and not busy


def error_kind(
    status: int, error: ErrorBody, *, busy: bool = False
) -> tuple[type[StatusError], str]:
    """Return the class of a status error, and the advice to the caller.

    Args:
        status: The status.
        error: The content of the error.
        busy: True if the error says that only time can help.
    """
    if _DEAD_ENGINE.search(error.message):
        return (
            EngineDeadError,
            "The engine has died. Read the server's log and restart it.",
        )
    if _PLAIN_TO_TLS.search(error.message):
        return BadRequestError, "Give base_url with https://."
    if status in _BUSY or (busy and status < 500):
        return RateLimitedError, "Lower Limits(max_concurrency=…) or try again later."
    if _NOT_SERVED.search(error.message):
        return RouteNotFoundError, "The server does not serve this model's task on this route."
    if status == 404 and (error.type == "NotFoundError" or _UNKNOWN_MODEL.search(error.message)):
        return ModelNotFoundError, "Name a model that the server lists on /v1/models."
    match status:
        case 401 | 403:
            return AuthenticationError, "Check api_key= (or REWARD_CLIENT_API_KEY)."
        case 407:
            return StatusError, "The proxy needs a user and password: give Connection(proxy=…)."
        case 404 | 405 | 501:
            return RouteNotFoundError, "Does base_url point at the model's server?"
        case 408 | 425:
            return ServerError, "The server asked for retries, which did not help."
        case _ if 300 <= status < 400:
            return (
                StatusError,
                "The client follows no redirects: give the final address as base_url.",
            )
        case _ if 400 <= status < 500:
            return BadRequestError, "The same request would get the same response."
        case _:
            return ServerError, "The server or a proxy before it failed. Read its log."


def is_retried(kind: type[StatusError], status: int, *, busy: bool = False) -> bool:
    """Return whether another attempt can help."""
    if busy:
        return True
    if issubclass(kind, EngineDeadError):
        return True  # but only once: the input may be what kills the engine
    if issubclass(kind, RouteNotFoundError | ModelNotFoundError):
        return False
    return STATUS_RULES.get(status, (status >= 500, ""))[0]


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return the seconds in ``retry-after-ms`` or ``retry-after``, if the server sent either.

    Args:
        headers: The response headers, with lower-case names.
        now: The time to compare a date in ``retry-after`` with.
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


def _message(value: object, sent: Mapping[str, str]) -> str:
    """Return the part of a server's message that may be shown."""
    text = value if isinstance(value, str) else _dump(value)
    text = redact(text, sent)[:_READ_CHARACTERS]  # in this order, so that no half of a secret stays
    text = _ECHO.split(text, maxsplit=1)[0]
    if "<html" in text[:1000].lower() or "<!doctype" in text[:1000].lower():
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
        text = f"an HTML page{f' titled {title[1].strip()!r}' if title else ''}"
    text = " ".join(text.split())
    return shorten(text, _SHOWN_CHARACTERS)


def _dump(value: object) -> str:
    try:
        return orjson.dumps(value).decode() if value is not None else ""
    except TypeError:  # orjson refuses deeper nesting
        return "a deeply nested error"
