"""Checks of the token IDs that the server makes of a conversation. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from reward_client._base.samples import Conversation, Prompt
from reward_client._base.token_ids import TokenIds
from reward_client._doctor.report import Finding, failed, ok, warning
from reward_client._tokenization import PromptRules

_MAX_SHOWN_CHARACTERS = 200
_OTHER_TEMPLATE = "Start the server with the model's own chat template: --chat-template FILE."


def tokens(count: int, text: str) -> Finding:
    """Report the number of tokens and their text; an empty text is unknown."""
    return ok("tokens", f"{count}: {_shortened(text)!r}" if text else f"{count}.")


def bos(rules: PromptRules, ids: TokenIds, prompt: Prompt) -> Finding:
    """Compare the number of BOS tokens at the start of the prompt with the model's rules.

    Args:
        rules: The rules of the model's prompts.
        ids: The token IDs of the prompt, as the server's tokenizer made them.
        prompt: The prompt.
    """
    token, count = rules.bos_token_id, rules.bos_count(ids)
    cure = (
        _OTHER_TEMPLATE
        if isinstance(prompt, Conversation)
        else "Correct the sample: the client changes neither its text nor its token IDs."
    )
    if token is None:
        if rules.bos:
            return failed(
                "BOS",
                "The model requires a BOS, but the server's tokenizer adds none to a text.",
                "Serve the model with its own tokenizer, or name the right recipe.",
            )
        return ok("BOS", "The tokenizer adds no BOS to a text.")
    if count > 1:
        return failed("BOS", f"The prompt starts with {count} BOS tokens (ID {token}).", cure)
    if rules.bos is False:
        if count:
            return failed(
                "BOS", f"The prompt starts with a BOS (ID {token}), but must have none.", cure
            )
        return ok("BOS", "The prompt starts without a BOS, as required.")
    if count:
        return ok("BOS", f"The prompt starts with one BOS (ID {token}).")
    if rules.bos and isinstance(prompt, Conversation):
        return ok("BOS", f"The chat template writes no BOS; the client adds it (ID {token}).")
    if rules.bos:
        return failed("BOS", f"The sample has no BOS, but the model requires one ({token}).", cure)
    return warning(
        "BOS",
        f"The tokenizer adds a BOS to a text (ID {token}), but this prompt has none.",
        "If the model was trained with a BOS, give bos=True or name its recipe. If its chat "
        "template omits the BOS on purpose, change nothing.",
    )


def generation_prompt(
    closed: Sequence[int],
    opened: Sequence[int],
    *,
    required: bool,
    text: str,
    turns: Sequence[str],
) -> Finding:
    """Compare the prompt with and without a generation prompt.

    Args:
        closed: The token IDs without a generation prompt.
        opened: The token IDs with a generation prompt.
        required: True if the model needs a generation prompt.
        text: The prompt as text; empty if unknown.
        turns: The texts of the last two turns.
    """
    if list(closed) != list(opened):
        added = f"+{len(opened) - len(closed)}"
        if required:
            return ok(
                "generation prompt",
                f"Requested ({added} tokens), as the recipe or the method requires.",
            )
        return ok(
            "generation prompt",
            f"Omitted: nothing opens another turn. /tokenize adds one by default ({added} tokens).",
        )
    if required:
        return failed(
            "generation prompt",
            "The recipe requires one, but the chat template ignores the request.",
            _OTHER_TEMPLATE,
        )
    between, after = _around(text, turns)
    if after and after == between:
        return warning(
            "generation prompt",
            f"The chat template ignores the request, and writes {after!r} after the answer, as it "
            "does before the answer.",
            "If that text opens another turn, the prompt ends with an empty turn. Correct the chat "
            "template, unless the model was trained with it.",
        )
    return ok("generation prompt", "The chat template never writes one.")


def lost_turns(conversation: Conversation, text: str) -> list[str]:
    """Return the roles of messages whose text is not in the prompt, apart from white space."""
    whole = _squeezed(text)
    return [
        str(message.get("role"))
        for message in conversation.messages
        if isinstance(content := message.get("content"), str) and _squeezed(content) not in whole
    ]


def template(lost: Sequence[str], refused: str | None) -> Finding:
    """Report the messages of a conversation that are not in its prompt.

    Args:
        lost: The roles of these messages.
        refused: The kind of conversations that the template refuses, in words.
    """
    if lost:
        return warning(
            "template",
            f"The chat template drops or rewrites messages of these roles: {', '.join(lost)}.",
            "Rewards do not depend on dropped text. If the model was trained with another "
            "template, start the server with it: --chat-template FILE.",
        )
    if refused is not None:
        return ok("template", f"It refuses {refused}: such samples become errors.")
    return ok("template", "Every message is in the prompt.")


def text_path(ids: Sequence[int], plain: Sequence[int], special: Sequence[int]) -> Finding:
    """Compare the prompt's token IDs with those of its text.

    Args:
        ids: The token IDs of the prompt.
        plain: The token IDs of its text, as the server tokenizes `FormattedText`.
        special: The token IDs of its text with special tokens, the default of scoring routes.
    """
    if list(plain) != list(ids):
        return warning(
            "text path",
            f"The prompt has {len(ids)} tokens; its text gives {len(plain)} different ones.",
            "Score conversations or token IDs instead of FormattedText.",
        )
    same = "The prompt's text gives the same tokens."
    added = len(special) - len(plain)
    if not added:
        return ok("text path", same)
    return ok(
        "text path",
        f"{same} By default, a scoring route adds {added} to a text (usually a second BOS). This "
        "client avoids that.",
    )


def _around(text: str, turns: Sequence[str]) -> tuple[str, str]:
    """Return the text between the last two turns, and the text after the last turn."""
    if len(turns) < 2 or any(turn not in text for turn in turns):
        return "", ""
    before, after = text.rsplit(turns[-1], maxsplit=1)
    return before.rpartition(turns[-2])[2].strip(), after.strip()


def _squeezed(text: str) -> str:
    return "".join(text.split()).casefold()


def _shortened(text: str) -> str:
    half = _MAX_SHOWN_CHARACTERS // 2
    return text if len(text) <= _MAX_SHOWN_CHARACTERS else f"{text[:half]} … {text[-half:]}"
