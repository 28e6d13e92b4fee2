"""Warn once of prompts that are unlike those of the model's training."""

from __future__ import annotations

import logging

from reward_client._base.samples import Conversation, Prompt
from reward_client._tokenization.prompt_rules import PromptRules

_logger = logging.getLogger("reward_client")


class Notices:
    """The warnings of one client, each of which is logged once."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def note(self, rules: PromptRules, prompt: Prompt, size: int) -> None:
        """Look at a prompt and its number of tokens.

        The rules hold what the recipe says and the server does not.
        """
        if rules.trained_tokens is not None and size > rules.trained_tokens:
            self._warn(
                "length",
                f"a prompt has {size} tokens, and the model was trained on at most "
                f"{rules.trained_tokens}: its reward may mean little",
            )
        if (
            rules.system is not None
            and isinstance(prompt, Conversation)
            and prompt.messages[0].get("role") != "system"
        ):
            self._warn(
                "system",
                "a conversation has no system message, and the model was trained with one. Begin "
                f"each with {{'role': 'system', 'content': {rules.system!r}}}",
            )

    def _warn(self, kind: str, message: str) -> None:
        if kind not in self._given:
            self._given.add(kind)
            _logger.warning(message)
