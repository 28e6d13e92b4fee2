"""Which prompts are compared, where token IDs come another way than by the server's /tokenize."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Hashable
from contextlib import asynccontextmanager

from reward_client._base.samples import Conversation, FormattedText

_FIRST = 8
EVERY = 64
"""After the first ones of its form, each prompt with such a number is compared."""


class SpotChecks:
    """The first prompts are compared, then some; belongs to one event loop.

    Texts prove nothing of the chat template, nor do conversations without a system message of what
    it makes of one: each form of prompt is proven by itself.
    """

    def __init__(self) -> None:
        self._agreed: Counter[Hashable] = Counter()
        self._under_way: Counter[Hashable] = Counter()
        self._asked: Counter[Hashable] = Counter()
        self._owed: Counter[Hashable] = Counter()
        self._changed = asyncio.Event()

    def holds(self, prompt: Conversation | FormattedText) -> bool:
        """Whether the first prompts of this form agreed."""
        return self._agreed[_form(prompt)] >= _FIRST

    def passes(self, prompt: Conversation | FormattedText) -> bool:
        """Whether this prompt need not be compared; it is counted."""
        form = _form(prompt)
        self._asked[form] += 1
        if self._agreed[form] < _FIRST:
            return False
        is_owed = self._asked[form] % EVERY == 0
        self._owed[form] += is_owed
        return not is_owed

    @asynccontextmanager
    async def turn(self, prompt: Conversation | FormattedText) -> AsyncGenerator[bool]:
        """For a prompt that did not pass: whether it is to be compared in this context.

        No more are than prove its form: the others wait for them, and need not be compared then.
        """
        form = _form(prompt)
        while self._agreed[form] < _FIRST <= self._agreed[form] + self._under_way[form]:
            await self._changed.wait()
        is_owed = self._agreed[form] >= _FIRST and self._owed[form] > 0
        self._owed[form] -= is_owed
        is_due = is_owed or self._agreed[form] < _FIRST
        self._under_way[form] += is_due
        try:
            yield is_due
        finally:
            self._under_way[form] -= is_due
            self._changed.set()
            self._changed = asyncio.Event()

    def agreed(self, prompt: Conversation | FormattedText) -> None:
        """Notes that a prompt was compared and is the same."""
        self._agreed[_form(prompt)] += 1


def _form(prompt: Conversation | FormattedText) -> Hashable:
    """Which parts of the chat template a prompt goes through, roughly."""
    if isinstance(prompt, FormattedText):
        return None
    roles = frozenset(message["role"] for message in prompt.messages)
    return roles, frozenset(prompt.chat_template_kwargs or ())
