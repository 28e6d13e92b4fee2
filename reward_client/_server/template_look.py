"""A look at what the chat template writes around contents: headers of turns, and today's date."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise, permutations, product

from reward_client._base.samples import Conversation
from reward_client._base.token_ids import TokenIds
from reward_client._protocols.http import Transport
from reward_client._protocols.vllm.tokenize import detokenize_request, text_of, tokenize_prompt
from reward_client._protocols.vllm.versions import template_keys
from reward_client._server.identity import Identity
from reward_client._server.optional_requests import response_if_any
from reward_client._tokenization.control_tokens import headers_of
from reward_client._tokenization.local_tokenizer import LocalTokenizer
from reward_client.errors import (
    AuthenticationError,
    BadRequestError,
    InputError,
    ProtocolError,
    RouteNotFoundError,
)

CONTENTS = ("What is 17 + 25?", "The sum is 42.", "And twice as much?", "That makes 84.")
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_WORDS = re.compile(r"\d+|[^\W\d_]+")
_COMPACT = ("%Y%m%d", "%d%m%Y", "%m%d%Y", "%y%m%d")
# "Saturday, the 28th of November 2026" and "year: 2026, month: 11, day: 28" are dates.
_MOST_APART = 25
_GAP = 2
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


def look_at_local_template(tokenizer: LocalTokenizer, *, generation_prompt: bool) -> TemplateLook:
    """Render a conversation by the template of a local tokenizer, with and without a clock.

    A template knows the day by nothing else, so no spelling escapes. A tokenizer without a chat
    template shows nothing.
    """

    def text(arguments: dict[str, object] | None = None, *, knows_day: bool = True) -> str | None:
        try:
            return tokenizer.shown(
                _conversation(arguments), generation_prompt=generation_prompt, knows_day=knows_day
            )
        except InputError:
            return None

    written, day, pin = text(), None, None
    if written is None:
        return TemplateLook()
    if text(knows_day=False) != written:
        day = today_here()
        pinned = (each for each in _PINS if text({each: _OTHER_DAY}) not in (written, None))
        pin = next(pinned, None)
    return TemplateLook(headers_of(_pieces(written)[1:]), day, pin)


def today_here() -> str:
    """Return the day in ISO format that a local tokenizer writes."""
    return datetime.now().astimezone().date().isoformat()


async def _ids(
    transport: Transport,
    identity: Identity,
    generation_prompt: bool,  # noqa: FBT001
    arguments: dict[str, object] | None = None,
) -> TokenIds:
    return await tokenize_prompt(
        transport,
        identity.model,
        identity.version,
        _conversation(arguments),
        generation_prompt=generation_prompt,
    )


def _conversation(arguments: dict[str, object] | None = None) -> Conversation:
    turns = [
        {"role": "assistant" if number % 2 else "user", "content": content}
        for number, content in enumerate(CONTENTS)
    ]
    return Conversation(turns, chat_template_kwargs=arguments)


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
        if any(is_written(day, piece) for piece in pieces):
            return day.isoformat()
    return None


def is_written(day: date, text: str) -> bool:
    """Return True if a text holds a day: its year, month and day close together, in any order.

    Months may have English names: `strftime` of a server writes no others.
    """
    month = _MONTHS[day.month - 1]
    months = {month, month[:3], month[:4], f"{day.month}", f"{day.month:02}"}
    days = {f"{day.day}", f"{day.day:02}"}
    words = [*_WORDS.finditer(text.casefold())]
    if not {f"{day:{pattern}}" for pattern in _COMPACT}.isdisjoint(word[0] for word in words):
        return True
    for year in (word for word in words if word[0] == f"{day:%Y}"):
        near = [word for word in words if word is not year and _span((word, year)) <= _MOST_APART]
        of_month = [word for word in near if word[0] in months]
        of_day = [word for word in near if word[0] in days]
        if any(
            one is not other and _span((year, one, other)) <= _MOST_APART
            for one, other in product(of_month, of_day)
        ):
            return True
    # The two digits of a short year may mean anything, unless the others stand beside them.
    parts = ({f"{day:%y}"}, months, days)
    return any(
        all(word[0] in spellings for word, spellings in zip(order, parts, strict=True))
        for three in zip(words, words[1:], words[2:], strict=False)
        if all(after.start() - before.end() <= _GAP for before, after in pairwise(three))
        for order in permutations(three)
    )


def _span(words: Sequence[re.Match[str]]) -> int:
    """Return the number of characters from the first word to the end of the last."""
    return max(word.end() for word in words) - min(word.start() for word in words)


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
