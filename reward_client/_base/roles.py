"""Names of roles: those that chat templates know, and what other names stand for.

Sources of the other names: ShareGPT (human, gpt, chatgpt, bing, bard), OpenAssistant (prompter),
LangChain (human, ai), Gemini (model), Alpaca (instruction, response), and chat interfaces (bot,
chatbot).
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType

USUAL_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})

# The results of tools: of Llama 3.1, InternLM2, GLM-4 and Granite.
KNOWN_ROLES = USUAL_ROLES | {"ipython", "environment", "observation", "tool_response"}
"""The roles of chat templates that vLLM serves."""

ROLES_BY_NAME: Mapping[str, str] = MappingProxyType(
    {
        "human": "user",
        "input": "user",
        "instruction": "user",
        "prompt": "user",
        "prompter": "user",
        "query": "user",
        "question": "user",
        "ai": "assistant",
        "answer": "assistant",
        "bard": "assistant",
        "bing": "assistant",
        "bot": "assistant",
        "chatbot": "assistant",
        "chatgpt": "assistant",
        "completion": "assistant",
        "gpt": "assistant",
        "llm": "assistant",
        "model": "assistant",
        "output": "assistant",
        "response": "assistant",
        **{role: role for role in KNOWN_ROLES},
    }
)
"""The role that each name stands for, as a role or as the key of a text."""


def usual_role(role: str) -> str | None:
    """Return the role that another name or a misspelling most likely stands for, if any."""
    name = role.strip().lower()
    close = [name] if name in ROLES_BY_NAME else get_close_matches(name, ROLES_BY_NAME, 1)
    return ROLES_BY_NAME[close[0]] if close else None
