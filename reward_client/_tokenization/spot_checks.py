"""Which prompts are compared with the server, if token IDs come from somewhere else."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Hashable
from contextlib import asynccontextmanager

from reward_client._base.samples import Conversation, FormattedText

_FIRST = 8
INTERVAL = 64
"""After the first prompts of a form, one prompt of this many is compared."""


class SpotChecks:
    """Selects the first prompts of each form, then one of `INTERVAL`. For one event loop.

    Each form of prompt is proven separately: plain text does not exercise the chat template, and a
    conversation without a system message does not exercise the template's system part.
    """

    def __init__(self) -> None:
        self._agreed: Counter[Hashable] = Counter()
        self._under_way: Counter[Hashable] = Counter()
        self._seen: Counter[Hashable] = Counter()
        self._remaining: Counter[Hashable] = Counter()
        self._changed = asyncio.Event()

    def take_over(self, earlier: SpotChecks) -> None:
        """Continue the checks of an event loop that has ended."""
        self._agreed.update(earlier._agreed)
        self._seen.update(earlier._seen)
        self._remaining.update(earlier._remaining)

    def is_proven(self, prompt: Conversation | FormattedText) -> bool:
        """Return whether the first prompts of this form agreed."""
        return self._agreed[_form(prompt)] >= _FIRST

    def may_skip(self, prompt: Conversation | FormattedText) -> bool:
        """Count a prompt, and return whether it needs no comparison."""
        form = _form(prompt)
        self._seen[form] += 1
        if self._agreed[form] < _FIRST:
            return False
        is_chosen = self._seen[form] % INTERVAL == 0
        self._remaining[form] += is_chosen
        return not is_chosen

    @asynccontextmanager
    async def turn(self, prompt: Conversation | FormattedText) -> AsyncGenerator[bool]:
        """Yield whether to compare a prompt that `may_skip` did not let pass.

        No more prompts are compared at a time than prove the form: the others wait for them, and
        need no comparison afterwards.
        """
        form = _form(prompt)
        while self._agreed[form] < _FIRST <= self._agreed[form] + self._under_way[form]:
            await self._changed.wait()
        is_left = self._agreed[form] >= _FIRST and self._remaining[form] > 0
        self._remaining[form] -= is_left
        is_due = is_left or self._agreed[form] < _FIRST
        self._under_way[form] += is_due
        try:
            yield is_due
        finally:
            self._under_way[form] -= is_due
            self._changed.set()
            self._changed = asyncio.Event()

    def mark_agreed(self, prompt: Conversation | FormattedText) -> None:
        """Count a prompt that was compared and agreed."""
        self._agreed[_form(prompt)] += 1


def _form(prompt: Conversation | FormattedText) -> Hashable:
    """Return a key for the parts of the chat template that a prompt goes through, roughly."""
    if isinstance(prompt, FormattedText):
        return None
    roles = frozenset(message["role"] for message in prompt.messages)
    return roles, frozenset(prompt.chat_template_kwargs or ())
