"""Token IDs of the few texts that discovery needs, by the server or by a local tokenizer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from reward_client._base.json_values import as_count
from reward_client._base.token_ids import TokenIds
from reward_client._protocols.engine import Served
from reward_client._protocols.http import Response, Transport
from reward_client._protocols.tokenizing import detokenize, tokenize_text
from reward_client._server.optional_requests import may_hide_route
from reward_client._server.vocabulary import vocabulary_size
from reward_client._tokenization.local_tokenizer import LocalTokenizer
from reward_client.errors import (
    BadRequestError,
    InputError,
    ProtocolError,
    ResponseMismatchError,
    RouteNotFoundError,
    StatusError,
)

# Tokenized once for each server, cut into pieces of different lengths and scored. Diverse, so that
# the values differ.
PROBE_TEXT = (
    "What is 17 + 25? The answer is 42, because seven and five make twelve. Paris, Zürich and 東京 "
    "are cities; def f(x): return x ** 2 is code!!! I am sorry, I cannot help with that. ¿Por qué "
    "no? No no no no. Yes. https://example.org/a?b=c&d=%20 {'key': [1, 2.5, null]} THE END"
)
_OTHER_TEXT = "Another text, so that two responses differ."
# The lowest IDs of every vocabulary, without the first ones, which are mostly control tokens.
_PLAIN_IDS = range(40, 168)


class Texts(Protocol):
    """Makes token IDs of texts, and texts of token IDs."""

    @property
    def max_model_len(self) -> int | None:
        """The length limit that ``/tokenize`` names, if any."""
        ...

    async def ids(self, text: str, *, add_special_tokens: bool) -> TokenIds:
        """Return the token IDs of a text.

        Raises:
            InputError: If nobody can make them.
            RewardClientError: As `Transport.send`.
        """
        ...

    async def text(self, ids: Sequence[int]) -> str:
        """Return the text of token IDs, special tokens included.

        Raises:
            InputError: If nobody can make it.
            RewardClientError: As `Transport.send`.
        """
        ...

    async def probe(self) -> tuple[TokenIds, int | None]:
        """Return token IDs to score, and the BOS token, if the tokenizer adds one.

        Raises:
            RewardClientError: As `ids`.
        """
        ...

    async def vocabulary_size(self) -> int:
        """Return the number of token IDs.

        Raises:
            RewardClientError: As `ids`.
        """
        ...


class ServerTexts:
    """`Texts` by ``/tokenize`` and ``/detokenize``.

    Args:
        transport: The connection to the server.
        served: The model.
        first: The response to the text of the probes, with special tokens.
    """

    def __init__(self, transport: Transport, served: Served, first: Response) -> None:
        self._transport = transport
        self._served = served
        self._whole = served.engine.token_ids(first)
        self.max_model_len = as_count(first.fields().get("max_model_len"))

    async def ids(self, text: str, *, add_special_tokens: bool) -> TokenIds:
        """See `Texts`."""
        return await tokenize_text(
            self._transport, self._served, text, add_special_tokens=add_special_tokens
        )

    async def text(self, ids: Sequence[int]) -> str:
        """See `Texts`."""
        return await detokenize(self._transport, self._served, ids)

    async def probe(self) -> tuple[TokenIds, int | None]:
        """See `Texts`."""
        bare = await self.ids(PROBE_TEXT, add_special_tokens=False)
        return bare, _bos(self._whole, bare)

    async def vocabulary_size(self) -> int:
        """See `Texts`."""
        return await vocabulary_size(self.text, self._whole.largest())


class LocalTexts:
    """`Texts` by a local tokenizer, for a server whose ``/tokenize`` is hidden.

    Args:
        tokenizer: The tokenizer.
    """

    max_model_len = None

    def __init__(self, tokenizer: LocalTokenizer) -> None:
        self._tokenizer = tokenizer

    async def ids(self, text: str, *, add_special_tokens: bool) -> TokenIds:
        """See `Texts`."""
        return await asyncio.to_thread(
            self._tokenizer.text_ids, text, add_special_tokens=add_special_tokens
        )

    async def text(self, ids: Sequence[int]) -> str:
        """See `Texts`."""
        return self._tokenizer.text(ids)

    async def probe(self) -> tuple[TokenIds, int | None]:
        """See `Texts`."""
        bare = await self.ids(PROBE_TEXT, add_special_tokens=False)
        return bare, _bos(await self.ids(PROBE_TEXT, add_special_tokens=True), bare)

    async def vocabulary_size(self) -> int:
        """See `Texts`."""
        return self._tokenizer.vocabulary_size


class NoTexts:
    """`Texts` of nobody: only token IDs can be scored.

    Args:
        refusal: What ``/tokenize`` answers, as a sentence.
    """

    max_model_len = None

    def __init__(self, refusal: str) -> None:
        self._refusal = refusal

    async def ids(self, text: str, *, add_special_tokens: bool) -> TokenIds:
        """See `Texts`."""
        raise InputError(
            f"Cannot find the token of {text!r}: nothing answers at /tokenize. Give its ID, or the "
            f"model's tokenizer as tokenizer=. {self._refusal}"
        )

    async def text(self, ids: Sequence[int]) -> str:
        """See `Texts`."""
        raise InputError(
            f"Cannot find the text of token {ids[0]}: nothing answers at /detokenize. Give the "
            f"model's tokenizer as tokenizer=. {self._refusal}"
        )

    async def probe(self) -> tuple[TokenIds, int | None]:
        """See `Texts`."""
        return TokenIds.of([*_PLAIN_IDS]), None

    async def vocabulary_size(self) -> int:
        """See `Texts`."""
        raise RouteNotFoundError(
            "Cannot find the size of the vocabulary, and a token ID past it would end the server. "
            f"Give the model's tokenizer as tokenizer=. {self._refusal}",
            status=404,
        )


async def server_texts(
    transport: Transport, served: Served
) -> ServerTexts | StatusError | ProtocolError:
    """Return the texts of a server; the refusal if a gateway hides its ``/tokenize``.

    Raises:
        ResponseMismatchError: If two different texts get the same token IDs.
        RewardClientError: As `Transport.send`.
    """
    try:
        first = await transport.send(
            served.engine.text_request(served.model, PROBE_TEXT, add_special_tokens=True)
        )
    except BadRequestError as error:
        return error
    except (StatusError, ProtocolError) as error:
        if not may_hide_route(error):
            raise
        return error  # the key fits, and the model is listed
    other = await tokenize_text(transport, served, _OTHER_TEXT, add_special_tokens=True)
    if served.engine.token_ids(first) == other:
        raise first.error(
            ResponseMismatchError,
            "Cannot trust /tokenize: two different texts get the same token IDs. A proxy caches "
            "responses by their path. Connect to the server itself.",
        )
    return ServerTexts(transport, served, first)


def local_texts(tokenizer: LocalTokenizer | None, refusal: str) -> LocalTexts | NoTexts:
    """Return the texts of a local tokenizer; those of nobody without one."""
    return NoTexts(refusal) if tokenizer is None else LocalTexts(tokenizer)


def refusal_of(error: StatusError | ProtocolError) -> str:
    """Return the sentence that says what ``/tokenize`` answers: its cure may lie there."""
    if isinstance(error, ProtocolError):
        return "/tokenize answers with a page."
    says = error.server_message.rstrip(".")
    return f"/tokenize answers {error.status}{f': {says}' if says else ''}."


def _bos(ids: TokenIds, bare: TokenIds) -> int | None:
    return ids[0] if ids[1 : 1 + len(bare)] == bare else None
