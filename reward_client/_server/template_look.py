"""A look at what the chat template writes around contents: headers of turns, and today's date."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from reward_client._base.samples import Conversation
from reward_client._base.token_ids import TokenIds
from reward_client._protocols.http import Transport
from reward_client._protocols.vllm.tokenize import detokenize_request, text_of, tokenize_prompt
from reward_client._protocols.vllm.versions import template_keys
from reward_client._server.identity import Identity
from reward_client._server.optional_requests import response_if_any
from reward_client._tokenization.control_tokens import headers_of
from reward_client.errors import (
    AuthenticationError,
    BadRequestError,
    InputError,
    ProtocolError,
    RouteNotFoundError,
)

CONTENTS = ("What is 17 + 25?", "The sum is 42.", "And twice as much?", "That makes 84.")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
# Llama 3.1 to 4 take the first; the others stand in templates of finetunes.
_PINS = ("date_string", "current_date", "today_date", "date", "today")
_OTHER_DAY = "26 Jul 2024"


@dataclass(frozen=True, slots=True)
class TemplateLook:
    """The texts that the chat template writes around contents.

    Attributes:
        headers: The markers and plain texts that separate turns.
        day: Today in ISO format, if the template writes today's date; else None.
        pin: The argument of the template that sets its date, if it takes one.
        digest: The SHA-256 (hex) of the token IDs of a fixed conversation; None if the server
            renders none, or another one each day.
    """

    headers: tuple[str, ...] = ()
    day: str | None = None
    pin: str | None = None
    digest: str | None = None


async def look_at_template(
    transport: Transport, identity: Identity, *, generation_prompt: bool
) -> TemplateLook:
    """Tokenize a conversation, and read the text of its tokens.

    A server without a chat template or without ``/detokenize`` shows nothing.

    Raises:
        RewardClientError: As `Transport.send`, if the server cannot be reached.
    """

    async def ids_of(arguments: dict[str, object] | None = None) -> TokenIds:
        return await _ids(transport, identity, generation_prompt, arguments)

    digest = None
    try:
        ids = await ids_of()
        digest = ids.digest
        response = await response_if_any(transport, detokenize_request(identity.model, ids))
        if response is None:
            return TemplateLook(digest=digest)
        pieces = _pieces(text_of(response))
        day = _today_in(pieces)
        pin = None
        if day is not None and "chat_template_kwargs" in template_keys(identity.version):
            for name in _PINS:
                if await ids_of({name: _OTHER_DAY}) != ids:
                    pin = name
                    break
    except (
        AuthenticationError,
        BadRequestError,
        InputError,
        ProtocolError,
        RouteNotFoundError,
    ):
        return TemplateLook(digest=digest)
    return TemplateLook(headers_of(pieces[1:]), day, pin, digest if day is None else None)


async def template_digest(
    transport: Transport, identity: Identity, *, generation_prompt: bool
) -> str:
    """Return the SHA-256 (hex) of the token IDs of the conversation that `look_at_template` uses.

    Raises:
        RewardClientError: As `tokenize_prompt`.
    """
    return (await _ids(transport, identity, generation_prompt)).digest


async def _ids(
    transport: Transport,
    identity: Identity,
    generation_prompt: bool,  # noqa: FBT001
    arguments: dict[str, object] | None = None,
) -> TokenIds:
    turns = [
        {"role": "assistant" if number % 2 else "user", "content": content}
        for number, content in enumerate(CONTENTS)
    ]
    return await tokenize_prompt(
        transport,
        identity.model,
        identity.version,
        Conversation(turns, chat_template_kwargs=arguments),
        generation_prompt=generation_prompt,
    )


def _pieces(text: str) -> list[str]:
    """Return what stands before, between and after the contents; the whole if one is missing."""
    pieces: list[str] = []
    rest = text
    for content in CONTENTS:
        before, found, rest = rest.partition(content)
        if not found:
            return [text]
        pieces.append(before)
    return [*pieces, rest]


def _today_in(pieces: Sequence[str]) -> str | None:
    """Return the day in ISO format, if a date of these days stands in a text.

    The server may be in another time zone.
    """
    today = datetime.now(UTC).date()
    for days in (0, 1, -1):
        day = today + timedelta(days)
        if any(written in piece for written in _written(day) for piece in pieces):
            return day.isoformat()
    return None


def _written(day: date) -> Iterator[str]:
    """Yield the ways in which templates write a day, in English whatever the locale."""
    month = _MONTHS[day.month - 1]
    yield from (f"{day:%Y-%m-%d}", f"{day:%Y/%m/%d}", f"{day:%Y%m%d}", f"{day:%Y.%m.%d}")
    yield from (f"{day:%m/%d/%Y}", f"{day:%d/%m/%Y}", f"{day:%d.%m.%Y}", f"{day:%d-%m-%Y}")
    yield from (f"{day.month}/{day.day}/{day.year}", f"{day.day}/{day.month}/{day.year}")
    yield f"{day.year}年{day.month}月{day.day}日"
    yield f"{day:%Y年%m月%d日}"
    for name in (month, month[:3]):
        for number in (str(day.day), f"{day:%d}"):
            yield from (f"{number} {name} {day.year}", f"{name} {number}, {day.year}")
            yield f"{name} {number} {day.year}"
            yield f"{number}-{name}-{day.year}"


def date_cure(template: TemplateLook) -> str:
    """Return what to do about a template that writes today's date."""
    if template.pin is None:
        return (
            "serve a template without a date by `--chat-template`, or give FormattedText with the "
            "date that the model was trained with"
        )
    return (
        f'give each conversation chat_template_kwargs={{"{template.pin}": "{_OTHER_DAY}"}}, or '
        "another date, always the same"
    )
