"""Binds responses to requests, as proxies mix up, repeat, delay and cache responses."""

from __future__ import annotations

import asyncio
import logging
import random
import re
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import orjson

from reward_client._base.json_values import as_list, as_mapping, is_dict
from reward_client._protocols.http import Request, Response, receipts
from reward_client._transport.backends.base import RawResponse
from reward_client._transport.ledger import SYSTEM_ROLES, Asked, Ledger, asked_by
from reward_client._transport.retry import Failure
from reward_client.errors import ResponseMismatchError

_logger = logging.getLogger("reward_client")

_MAX_ASKED = 5
"""How often a request is asked again whose response has answered another one."""
_TOKENS = ("prompt", "tokens")
_OUTPUTS = ("choices", "data", *_TOKENS)
_LEAST_CHANGED, _MOST_CHANGED = 8, 16
"""Characters of a text that differ in the variant of a request."""

# vLLM builds the ID of a pooling response from the request ID, and can be told to return it.
_REQUEST_ID = re.compile(r"rc-[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Repeat:
    """A response whose content has answered another request before."""

    response: Response


_Send = Callable[[Request], Awaitable[Response | Failure | Repeat]]


class Binding:
    """Binds the responses of one server to their requests.

    A response that names its request is proven by that. The others are entered in a ledger: one
    that has answered another request before is asked for again. Once a proxy has mixed up token
    IDs, all token IDs must come twice, one prompt after the other.
    """

    def __init__(self) -> None:
        self._mixes_up = False
        self._ledger = Ledger()
        self._in_doubt: set[asyncio.Future[None]] = set()
        self._alone = asyncio.Lock()

    def take_over(self, earlier: Binding) -> None:
        """Continue with what was known in an event loop that has ended."""
        self._mixes_up = earlier._mixes_up
        self._ledger = earlier._ledger

    def forget(self) -> None:
        """Forget all responses: another server may give the same ones."""
        self._ledger = Ledger()

    def check(
        self, request: Request, body: bytes | None, raw: RawResponse, response: Response
    ) -> Response | Failure | Repeat:
        """Return the response, unless it may be the answer to another request.

        Args:
            request: The request.
            body: Its body as bytes.
            raw: The response as it came.
            response: The same, parsed.
        """
        named = _named_requests(response.payload, raw.headers)
        for other in named - {response.request_id}:
            return _mismatch(f"The response belongs to another request, {other}.", response)
        if named or _writes(request) or not _has_output(response.payload):
            return response
        if not raw.is_only:
            return _mismatch("A second response followed on the connection.", response)
        unnamed = replace(response, fingerprint=_fingerprint(raw.body, response.payload))
        asked = asked_by(request, body)
        if not self._ledger.is_new(asked, unnamed.fingerprint):
            return Repeat(unnamed)
        self._ledger.enter(asked, unnamed.fingerprint)
        return unnamed

    async def send(
        self, request: Request, body: bytes | None, send_once: _Send
    ) -> Response | Failure:
        """Send a request until its response is its own.

        Args:
            request: The request.
            body: Its body as bytes.
            send_once: Sends a request, once.
        """
        first = None
        if not self._mixes_up or not request.prepares:
            first = await send_once(request)
            if isinstance(first, Failure) or (isinstance(first, Response) and first.is_named):
                return first
            if isinstance(first, Response):
                await self._settled()  # somebody else got a wrong one, so this one may be theirs
                if not self._mixes_up or not request.prepares:
                    return self._taken(first, is_sure=False)
        found: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._in_doubt.add(found)
        try:
            async with self._alone:  # a proxy cannot exchange what is not in flight
                first = first or await send_once(request)
                if isinstance(first, Failure):
                    return first
                outcome = await self._ask_again(request, body, first, send_once)
        finally:
            self._in_doubt.remove(found)
            found.set_result(None)
        return outcome if isinstance(outcome, Failure) else self._taken(outcome, is_sure=True)

    def _taken(self, response: Response, *, is_sure: bool) -> Response:
        taken = receipts.get()
        if taken is not None:
            taken.append(partial(self._holds, is_sure))
        return response

    async def _holds(self, is_sure: bool) -> bool:  # noqa: FBT001
        if not is_sure:
            await self._settled()
        return is_sure or not self._mixes_up

    async def _settled(self) -> None:
        """Wait for everybody whose response is in doubt now."""
        if self._in_doubt:
            await asyncio.wait(tuple(self._in_doubt))

    async def _ask_again(
        self, request: Request, body: bytes | None, first: Response | Repeat, send_once: _Send
    ) -> Response | Failure:
        """Ask again, until two responses in a row are the same.

        Some requests truly share a response. Before it is believed, a variant of the request must
        get another one: a cache gives both the same.
        """
        asked, last = asked_by(request, body), first
        for _ in range(_MAX_ASKED):
            if isinstance(last, Repeat) and not self._mixes_up:
                told_apart = await self._tells_apart(request, asked, last, send_once)
                if isinstance(told_apart, Failure):
                    return told_apart
                if not told_apart:
                    continue
            again = await send_once(replace(request, prepares=False))  # others wait for it
            if isinstance(again, Failure):
                return again
            reply = _bare(again).fingerprint
            if isinstance(again, Repeat):
                if reply == _bare(last).fingerprint and not self._mixes_up:
                    self._ledger.share(asked, reply)
                    return again.response
            elif reply == _bare(last).fingerprint or not request.prepares:  # numbers may differ
                self._ledger.enter(asked, reply)
                return again
            if request.prepares and reply != _bare(last).fingerprint:
                self._note_mix()
            last = again
        return _repeats(_bare(last))

    async def _tells_apart(
        self, request: Request, asked: Asked, repeat: Repeat, send_once: _Send
    ) -> bool | Failure:
        """Return False if a variant of a request, which has another response, gets an old one."""
        differing = self._ledger.differing(asked, repeat.response.fingerprint)
        for variant in _variants(request, differing):
            outcome = await send_once(replace(variant, prepares=False))
            if isinstance(outcome, Repeat):
                if request.prepares and outcome.response.fingerprint != repeat.response.fingerprint:
                    self._note_mix()
                return False
            # The server may refuse the variant: another text may be too long.
            if isinstance(outcome, Failure) and outcome.network_error is not None:
                return outcome
        return True

    def _note_mix(self) -> None:
        if not self._mixes_up:
            self._mixes_up = True
            self._ledger = Ledger()  # what came once proves nothing
            _logger.warning(
                "a proxy mixes up responses: token IDs are asked for twice from now on, one prompt "
                "after the other, which takes longer. Connect to the server itself."
            )


def _variants(request: Request, differing: Sequence[int]) -> Iterator[Request]:
    """Vary a request at its end and at its start, where it differs from an earlier one.

    A cache may look at the path, at the length, at one message, or at one end of a text.

    Args:
        request: The request.
        differing: The turns that differ from the earlier ones, without the system's messages.
    """
    body = as_mapping(orjson.loads(orjson.dumps(request.body))) or {}
    for key in ("messages", "prompt", "input", "tokens"):
        # Without a difference that counts, the start may be a thought, which templates drop.
        for at_end in (True, False) if differing or key != "messages" else (True,):
            if body.get(key):
                other = _other(body[key], differing, at_end=at_end)
                yield replace(request, body={**body, key: other})


def _other(given: object, differing: Sequence[int], *, at_end: bool) -> object:
    if isinstance(given, str):
        return _other_text(given, at_end=at_end)
    items = as_list(given) or ()
    if items and isinstance(items[0], int):
        return _other_ids(items, at_end=at_end)
    if items and is_dict(items[0]):
        return _other_messages(items, differing, at_end=at_end)
    return [_other(item, differing, at_end=at_end) for item in items]


def _other_messages(
    given: Sequence[object], differing: Sequence[int], *, at_end: bool
) -> list[object]:
    """Change the differing texts; if there are none, the longest: a short one has no other.

    The first message counts only if it is alone: some templates drop that of the system.
    """
    messages = [as_mapping(message) or {} for message in given]
    contents = [message.get("content") for message in messages]
    texts = [content if isinstance(content, str) else "" for content in contents]
    roles = [message.get("role") for message in messages]
    turns = [place for place, role in enumerate(roles) if role not in SYSTEM_ROLES]
    places = [turns[turn] for turn in differing if isinstance(contents[turns[turn]], str)]
    if not places:
        places = [max(range(len(texts) > 1, len(texts)), key=lambda place: len(texts[place]))]
    others = {place: _other_text(texts[place], at_end=at_end) for place in places}
    return [
        {**message, "content": others[place]} if place in others else message
        for place, message in enumerate(messages)
    ]


def _other_text(text: str, *, at_end: bool) -> str:
    """Exchange the end or the start of a text; a short text becomes another as a whole."""
    size = min(_MOST_CHANGED, max(len(text), _LEAST_CHANGED))
    marker = uuid.uuid4().hex[:size]
    return text[:-size] + marker if at_end else marker + text[size:]


def _other_ids(ids: Sequence[object], *, at_end: bool) -> list[object]:
    """Exchange one ID for another one of the list that is as long; if all are equal, append it."""
    inner = range(1, len(ids))  # the first one may have to be BOS
    for place in reversed(inner) if at_end else inner:
        size = len(str(ids[place]))
        others = [each for each in ids if each != ids[place] and len(str(each)) == size]
        if others:
            return [*ids[:place], random.choice(others), *ids[place + 1 :]]  # noqa: S311
    return [*ids, ids[0]]


def _named_requests(payload: object, headers: Mapping[str, str]) -> set[str]:
    """Return the IDs of requests of this client that a response names."""
    texts = [headers.get("x-request-id"), *map(_id_of, as_list(payload) or [payload])]
    found = [_REQUEST_ID.search(text) for text in texts if isinstance(text, str)]
    return {match[0] for match in found if match is not None}


def _id_of(answer: object) -> object:
    """Return the ID in a response, or in an item of a list."""
    fields = as_mapping(answer) or {}
    return fields.get("id") or (as_mapping(fields.get("meta_info")) or {}).get("id")


def _has_output(payload: object) -> bool:
    """Return False for a response that says the same of each request, and gives no reward."""
    fields = as_mapping(payload) or {}
    return as_list(payload) is not None or any(fields.get(key) is not None for key in _OUTPUTS)


def _fingerprint(body: bytes, payload: object) -> int:
    """Return a hash that is equal for equal content.

    A gateway may write its own JSON, with a time of its own: of token IDs, they alone count.
    """
    fields = as_mapping(payload) or {}
    tokens = [fields.get(key) for key in _TOKENS]
    return hash(body if tokens == [None, None] else orjson.dumps(tokens))


def _writes(request: Request) -> bool:
    """Return True for a request whose response is a text: different prompts get equal ones."""
    limit = (request.body or {}).get("max_tokens")
    return isinstance(limit, int) and limit > 1


def _mismatch(reason: str, response: Response) -> Failure:
    return Failure(
        response.error(
            ResponseMismatchError, f"{reason} A proxy mixes up, repeats or caches responses."
        ),
        summary="a response to another request",
        retried=True,
    )


def _repeats(response: Response) -> Failure:
    failure = _mismatch("The response has answered another request before.", response)
    return replace(failure, retried=False)


def _bare(response: Response | Repeat) -> Response:
    return response.response if isinstance(response, Repeat) else response
