"""Names of roles that other formats use, and those that chat templates know.

Sources: ShareGPT (human, gpt, chatgpt, bing, bard), OpenAssistant (prompter), LangChain (human,
ai), Gemini (model), and chat interfaces (bot, chatbot).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

USUAL_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})

_OTHER_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "human": "user",
        "prompter": "user",
        "ai": "assistant",
        "bard": "assistant",
        "bing": "assistant",
        "bot": "assistant",
        "chatbot": "assistant",
        "chatgpt": "assistant",
        "gpt": "assistant",
        "model": "assistant",
        **{role: role for role in USUAL_ROLES},
    }
)


def usual_role(role: str) -> str | None:
    """Return the role that another name or spelling stands for; None for a role of its own.

    A template may know further roles, such as those of a judge.
    """
    usual = _OTHER_NAMES.get(role.strip().lower())
    return None if usual == role else usual
