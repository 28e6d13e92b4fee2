"""A look at what the chat template writes around contents: headers of turns, and today's date."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from itertools import starmap

import orjson

from reward_client._base.samples import Conversation
from reward_client._base.together import together
from reward_client._base.token_ids import TokenIds
from reward_client._protocols.http import Response, Transport
from reward_client._protocols.tokenizing import conversation_request, tokenize_prompt
from reward_client._server.identity import Identity
from reward_client._server.optional_requests import is_refusal, response_or_error
from reward_client._server.written_dates import today_in
from reward_client._tokenization.control_tokens import headers_of
from reward_client._tokenization.local_tokenizer import LocalTokenizer, is_plain
from reward_client.errors import InputError, ProtocolError, ServerError, StatusError

QUESTION = "What is 17 + 25?"
_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "add",
            "description": "Add two numbers.",
            "parameters": {
                "type": "object",
                "properties": {"left": {"type": "number"}, "right": {"type": "number"}},
                "required": ["left", "right"],
            },
        },
    }
]
_CALL = {
    "id": "abcdefghi",  # Mistral's templates want nine characters
    "type": "function",
    "function": {"name": "add", "arguments": '{"left": 17, "right": 25}'},
}
_WITH_HEADERS = ("turns", "system message")
_REFUSED = "refused"
# Llama 3.1 to 4 take the first; the others stand in templates of finetunes.
_PINS = ("date_string", "current_date", "today_date", "date", "today")
_OTHER_DAY = "26 Jul 2024"


def _turns(*contents: str) -> list[dict[str, object]]:
    return [
        {"role": "assistant" if number % 2 else "user", "content": content}
        for number, content in enumerate(contents)
    ]


@cache
def _looks() -> Mapping[str, Conversation]:
    """Return the conversations by their names.

    Templates branch on a system message, tools, empty contents, thoughts, and whose turn is the
    last. No two conversations are alike without these parts: equal responses would be in doubt.
    """
    return {
        "turns": Conversation(
            _turns(QUESTION, "The sum is 42.", "And twice as much?", "That makes 84.")
        ),
        "system message": Conversation(
            [
                {"role": "system", "content": "You judge sums."},
                *_turns(QUESTION, "It is 42.", "Are you sure?", "I am."),
            ]
        ),
        "empty answer": Conversation(_turns(QUESTION, "", "Please answer.")),
        "thoughts": Conversation(
            _turns(
                QUESTION,
                "<think>\nI add them.\n</think>\n\nThat is 42.",
                "And the product?",
                "<think>\nI multiply them.\n</think>\n\n It is 425. \n",
            )
        ),
        # What the known templates take, other than by default.
        "arguments": Conversation(
            _turns(QUESTION, "The result is 42."),
            chat_template_kwargs={"enable_thinking": False, "thinking": True},
        ),
        "tools": Conversation(
            [
                *_turns(QUESTION),
                {
                    "role": "assistant",
                    "content": "",
                    "reasoning": "The tool adds.",
                    "tool_calls": [_CALL],
                },
                {"role": "tool", "tool_call_id": _CALL["id"], "name": "add", "content": "42"},
                {"role": "assistant", "content": "The tool says 42."},
            ],
            tools=_TOOLS,
        ),
        "system message and tools": Conversation(
            [
                {"role": "system", "content": "You may use tools."},
                *_turns(QUESTION, "No tool is needed: 42."),
            ],
            tools=_TOOLS,
        ),
    }


def questions() -> dict[str, Conversation]:
    """Return the plain conversations, each up to its last question, by their names."""
    asked = {
        "question": Conversation(_turns(QUESTION)),
        "many turns": Conversation(_turns(*("Add 1.", "1.", "And 2?", "3.") * 2, "Thanks.")),
        "spaces": Conversation(_turns(QUESTION, "\n That is 42. \n", " And twice as much?\n")),
    }
    for name, each in _looks().items():
        messages = each.messages
        if each.chat_template_kwargs is None and is_plain(each):
            is_answer = messages[-1]["role"] == "assistant"
            asked[name] = Conversation(messages[:-1] if is_answer else messages)
    return asked


@dataclass(frozen=True, slots=True)
class TemplateLook:
    """The texts that the chat template writes around contents.

    Attributes:
        headers: The markers and plain texts that separate turns.
        day: Today in ISO format, if the template writes today's date; else None.
        pin: The argument of the template that sets its date, if it takes one.
        renderings: What the server makes of fixed conversations, by their names: the SHA-256 (hex)
            of the token IDs, or that it refuses them.
        dated: The names of the conversations beside which the template writes the date.
        of_texts: True if the renderings are of the texts that a local template writes.
    """

    headers: tuple[str, ...] = ()
    day: str | None = None
    pin: str | None = None
    renderings: Mapping[str, str] = field(default_factory=dict[str, str])
    dated: frozenset[str] = frozenset()
    of_texts: bool = False

    @property
    def digest(self) -> str | None:
        """The SHA-256 (hex) of all renderings; None if the server renders no conversation."""
        if {*self.renderings.values()} <= {_REFUSED}:
            return None
        return hashlib.sha256(orjson.dumps(sorted(self.renderings.items()))).hexdigest()

    def differences(self, other: TemplateLook) -> list[str]:
        """Return the names of the conversations that both know and render differently."""
        if self.of_texts is not other.of_texts:
            return []
        known = self.renderings.keys() & other.renderings.keys()
        if self.day != other.day:
            known -= self.dated | other.dated
        return sorted(name for name in known if self.renderings[name] != other.renderings[name])


async def look_at_template(
    transport: Transport, identity: Identity, *, generation_prompt: bool
) -> TemplateLook:
    """Tokenize several conversations, and read the text of their tokens.

    A server without a chat template or without ``/detokenize`` shows nothing.

    Raises:
        RewardClientError: As `Transport.send`, if the server cannot be reached.
    """
    rendered = await together(
        _rendered(transport, identity, each, generation_prompt) for each in _looks().values()
    )
    found = dict(zip(_looks(), rendered, strict=True))
    ids = {name: each for name, each in found.items() if isinstance(each, TokenIds)}
    texts: list[str | None] = []
    for some in ([*ids.values()][:1], [*ids.values()][1:]):
        if texts != [None]:  # each request to a hidden route may take several attempts
            texts += await together(_text(transport, identity, each) for each in some)
    shown = {name: text for name, text in zip(ids, texts, strict=False) if text is not None}
    days = _days(shown)
    pin = None
    if days and "chat_template_kwargs" in identity.engine.template_keys(identity.version):
        name = next(iter(days))
        pin = await _pin(transport, identity, _looks()[name], ids[name], generation_prompt)
    return TemplateLook(
        _headers(shown),
        next(iter(days.values()), None),
        pin,
        {
            name: each.digest if isinstance(each, TokenIds) else each
            for name, each in found.items()
            if each is not None
        },
        frozenset(days),
    )


async def renders_as_before(
    transport: Transport, identity: Identity, before: TemplateLook, *, generation_prompt: bool
) -> bool:
    """Return True if the server still makes the same of the conversations of a look.

    Another date on another day is the same.

    Raises:
        RewardClientError: As `tokenize_prompt`.
    """

    async def is_same(name: str, known: str) -> bool:
        try:
            ids = await tokenize_prompt(
                transport,
                identity.served,
                _looks()[name],
                generation_prompt=generation_prompt,
            )
        except StatusError as error:
            if not is_refusal(error):
                raise
            return known == _REFUSED
        if ids.digest == known or name not in before.dated:
            return ids.digest == known
        text = await _text(transport, identity, ids)
        day = None if text is None else today_in(_pieces(name, text))
        return day not in (None, before.day)

    if before.digest is None:
        return True
    return all(await together(starmap(is_same, before.renderings.items())))


def look_at_local_template(tokenizer: LocalTokenizer, *, generation_prompt: bool) -> TemplateLook:
    """Render conversations by the template of a local tokenizer, with and without a clock.

    A template knows the day by nothing else, so no spelling escapes. The renderings are digests of
    the texts without a clock. A tokenizer without a chat template shows nothing.
    """

    def text(conversation: Conversation, *, knows_day: bool = True) -> str | None:
        try:
            return tokenizer.shown(
                conversation, generation_prompt=generation_prompt, knows_day=knows_day
            )
        except InputError:
            return None

    plain = {name: _looks()[name] for name, each in _looks().items() if is_plain(each)}
    shown = {name: written for name, each in plain.items() if (written := text(each)) is not None}
    timeless = {name: text(each, knows_day=False) for name, each in plain.items()}
    renderings = {
        name: _REFUSED if written is None else hashlib.sha256(written.encode()).hexdigest()
        for name, written in timeless.items()
    }
    dated = [name for name, written in shown.items() if written != timeless[name]]
    if not dated:
        return TemplateLook(_headers(shown), renderings=renderings, of_texts=True)
    name = dated[0]
    pins = (pin for pin in _PINS if text(_with_dates(plain[name], pin)) not in (shown[name], None))
    return TemplateLook(_headers(shown), today_here(), next(pins, None), renderings, of_texts=True)


def today_here() -> str:
    """Return the day in ISO format that a local tokenizer writes."""
    return datetime.now().astimezone().date().isoformat()


async def _rendered(
    transport: Transport,
    identity: Identity,
    conversation: Conversation,
    generation_prompt: bool,  # noqa: FBT001
) -> TokenIds | str | None:
    """Return the token IDs, or that the server refuses; None if it does neither.

    vLLM up to 0.9.0 answers 500 if a template refuses a conversation.
    """
    try:
        request = conversation_request(
            identity.served, conversation, generation_prompt=generation_prompt
        )
    except InputError:
        return None  # the version ignores a part of it
    outcome = await response_or_error(transport, request)
    if isinstance(outcome, StatusError) and is_refusal(outcome):
        return _REFUSED
    if isinstance(outcome, ServerError | ProtocolError):
        return None
    if not isinstance(outcome, Response):
        outcome = await transport.send(request)  # with all patience: the server is away or busy
    try:
        return identity.engine.token_ids(outcome)
    except ProtocolError:
        return None


async def _text(transport: Transport, identity: Identity, ids: TokenIds) -> str | None:
    outcome = await response_or_error(
        transport, identity.engine.detokenize_request(identity.model, ids)
    )
    try:
        return identity.engine.text_of(outcome) if isinstance(outcome, Response) else None
    except ProtocolError:
        return None


async def _pin(
    transport: Transport,
    identity: Identity,
    conversation: Conversation,
    dated: TokenIds,
    generation_prompt: bool,  # noqa: FBT001
) -> str | None:
    """Return the argument that sets the date of a conversation, if there is one."""
    for pins in (_PINS, *zip(_PINS)):
        ids = await _rendered(
            transport, identity, _with_dates(conversation, *pins), generation_prompt
        )
        sets = isinstance(ids, TokenIds) and ids != dated
        if sets and len(pins) == 1:
            return pins[0]
        if not sets and pins is _PINS:
            return None
    return None


def _with_dates(conversation: Conversation, *names: str) -> Conversation:
    arguments = {**(conversation.chat_template_kwargs or {}), **dict.fromkeys(names, _OTHER_DAY)}
    return replace(conversation, chat_template_kwargs=arguments)


def _days(shown: Mapping[str, str]) -> dict[str, str]:
    """Return the day in ISO format of each text that holds today's date."""
    days = {name: today_in(_pieces(name, text)) for name, text in shown.items()}
    return {name: day for name, day in days.items() if day is not None}


def _headers(shown: Mapping[str, str]) -> tuple[str, ...]:
    between = [
        piece
        for name in _WITH_HEADERS
        if name in shown
        and len(pieces := _pieces(name, shown[name])) > len(_looks()[name].messages)
        for piece in pieces[1:]
    ]
    return headers_of(between)


def _pieces(name: str, text: str) -> list[str]:
    """Return what stands before, between and after the contents that the template shows."""
    pieces: list[str] = []
    for message in _looks()[name].messages:
        content = str(message["content"])
        before, found, rest = text.partition(content) if content else (text, "", "")
        if found:
            pieces.append(before)
            text = rest
    return [*pieces, text]


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
