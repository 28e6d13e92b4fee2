"""The tokens of labels whose probabilities a method reads. Each label must be one token."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from copy import copy

from reward_client._base.sequences import common_prefix_length
from reward_client._protocols.engine import Served
from reward_client._protocols.http import Transport
from reward_client._protocols.tokenizing import tokenize_text
from reward_client._server.state import ServerState
from reward_client.errors import InputError

_BEFORE = ("", " ", "\n")
"""The texts before a label. SentencePiece puts a token of its own before the start of a text, and
many tokenizers have a token for a word with the blank before it."""


class LabelTokens:
    """Asks each server once for the tokens of labels. Belongs to one event loop.

    Args:
        labels: The labels.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = labels
        self._lock = asyncio.Lock()
        self._known: dict[str, tuple[ServerState, Mapping[str, frozenset[int]] | InputError]] = {}

    async def of(self, transport: Transport, state: ServerState) -> Mapping[str, frozenset[int]]:
        """Return the tokens of each label: alone, and after a blank or the end of a line.

        Raises:
            InputError: If a label is several tokens, or two labels are one.
            RewardClientError: As `Transport.send`.
        """
        async with self._lock:
            known = self._known.get(transport.url)
            if known is None or known[0] is not state:
                known = self._known[transport.url] = state, await self._ask(transport, state.served)
        if isinstance(known[1], InputError):
            raise copy(known[1])
        return known[1]

    async def _ask(
        self, transport: Transport, served: Served
    ) -> Mapping[str, frozenset[int]] | InputError:
        async def ids(text: str) -> tuple[int, ...]:
            return tuple(await tokenize_text(transport, served, text, add_special_tokens=False))

        tokens: dict[str, frozenset[int]] = {}
        starts = {before: await ids(before) if before else () for before in _BEFORE}
        for label in self._labels:
            whole = {before: await ids(before + label) for before in _BEFORE}
            ends = [
                each[common_prefix_length(starts[before], each) :] for before, each in whole.items()
            ]
            # A text of one token is also a token, whatever its beginning is on its own.
            ends += [each for each in whole.values() if len(each) == 1]
            tokens[label] = frozenset(end[0] for end in ends if len(end) == 1)
            if not tokens[label]:
                return InputError(
                    f"Cannot read the probability of the verdict {label!r}: it is "
                    f"{min(map(len, ends))} tokens of this model, and must be one. Use verdicts of "
                    "one token each, such as digits or letters, or omit expected=True."
                )
        if len(frozenset[int]().union(*tokens.values())) < sum(map(len, tokens.values())):
            return InputError(
                "Cannot read the probabilities of the verdicts: two of them have the same token of "
                "this model. Use others, or omit expected=True."
            )
        return tokens
