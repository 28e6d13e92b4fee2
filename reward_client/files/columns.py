"""The columns of an input row: those that a sample is made of, and those that must not be ignored.

Without a check, a column that the model should see and this package does not read would be dropped
without a word. The reward would then belong to another conversation.
"""

from __future__ import annotations

from collections.abc import Mapping

from reward_client.errors import InputError

FORMS = ("messages", "text", "token_ids", "responses", "chosen", "rejected")
SYSTEM = ("system", "system_prompt", "system_message")
ALLOWED_WITH: Mapping[str, tuple[str, ...]] = {
    "tools": ("messages", "responses", "chosen"),
    "chat_template_kwargs": ("messages", "responses", "chosen"),
    "steps": ("messages",),
    "prompt": ("responses", "chosen"),
    **dict.fromkeys(SYSTEM, ("messages", "responses", "chosen")),
}
"""Fields that only some forms use. Any other form would silently ignore them."""

_PARTS = "Write it as a part of a message's content"
_TURNS = "Write its turns into messages or prompt"
_ANSWERS = "Write it as the last message, or into responses"
_PROMPT = "Write it into the prompt or a message"
_TEMPLATE = "Write it into chat_template_kwargs"

# From the columns of public preference, chat and instruction data sets, and of chat requests.
_MEANINGS: Mapping[str, tuple[str, ...]] = {
    _PARTS: (
        *("image", "images", "image_url", "image_urls", "image_path", "pixel_values", "video"),
        *("videos", "audio", "audios", "files", "media", "multi_modal_data"),
    ),
    _TURNS: (
        *("history", "chat_history", "conversation", "conversations", "dialog", "dialogue"),
        *("turns", "context_messages", "previous_messages"),
    ),
    _ANSWERS: (
        *("response", "completion", "completions", "candidates", "generations", "generation"),
        *("chosen_response", "rejected_response", "response_a", "response_b"),
    ),
    _PROMPT: ("instruction", "instructions", "input", "context", "contexts", "query", "passage"),
    _TEMPLATE: (
        *("documents", "chat_template", "add_generation_prompt", "continue_final_message"),
        *("enable_thinking", "reasoning_effort"),
    ),
    "Write them as tools": ("functions", "function", "tool", "function_call", "tool_choice"),
}
_ADVICE = {name: advice for advice, names in _MEANINGS.items() for name in names}
_READ = frozenset((*FORMS, *ALLOWED_WITH))


def known_fields(given: Mapping[str, object]) -> dict[str, object]:
    """Return the fields of a row that a sample is made of.

    Files that were made from tables contain null for a missing field, and often an empty text,
    list or object for an optional one.

    Raises:
        InputError: If another field has a meaning for the model, which would be ignored.
    """
    for name, value in given.items():
        if name in _READ or value is None or value == "" or value == [] or value == {}:
            continue
        usual = name.strip().lower().replace("-", "_").replace(" ", "_")
        advice = f"Name it {usual}" if usual in _READ else _ADVICE.get(usual)
        if advice is not None:
            raise InputError(
                f"Cannot score a row with the field {name!r}: it would be ignored. {advice}, or "
                "rename the field if the model should not see it."
            )
    return {
        key: given[key]
        for key in (*FORMS, *ALLOWED_WITH)
        if given.get(key) is not None and not (key in SYSTEM and given[key] == "")
    }


def system_message(row: Mapping[str, object]) -> str | None:
    """Return the text of the row's system message; None without one.

    Raises:
        InputError: If it is no text, or if two fields differ.
    """
    given = {name: row[name] for name in SYSTEM if name in row}
    texts = [*given.values()]
    if not texts:
        return None
    text = texts[0]
    if not isinstance(text, str) or any(other != text for other in texts):
        raise InputError(f"{' and '.join(given)} must be one text: the system message.")
    return text
