"""What becomes of a conversation on its way to token IDs. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from reward_client._base.samples import Conversation, Prompt
from reward_client._base.token_ids import TokenIds
from reward_client._doctor.findings import failed, ok, warning
from reward_client._doctor.report import Finding
from reward_client._tokenization import PromptRules

_SHOWN_CHARACTERS = 200
_OTHER_TEMPLATE = "Start the server with the model's own chat template: --chat-template FILE."


def tokens(count: int, text: str) -> Finding:
    """What the sample becomes; without its text, where that is not to be had."""
    return ok("tokens", f"{count}: {_shortened(text)!r}" if text else f"{count}.")


def bos(rules: PromptRules, ids: TokenIds, prompt: Prompt) -> Finding:
    """Whether the prompt starts with as many BOS tokens as the model wants.

    Args:
        rules: What is known of the model's prompts.
        ids: As the server's tokenizer made them.
        prompt: The sample.
    """
    token, count = rules.bos_token_id, rules.bos_count(ids)
    cure = (
        _OTHER_TEMPLATE
        if isinstance(prompt, Conversation)
        else "Correct the sample: its text or token IDs are taken as they are."
    )
    if token is None:
        if rules.bos:
            return failed(
                "BOS",
                "One is demanded, and the server's tokenizer adds none to a text.",
                "Serve the model with its own tokenizer, or name the right recipe.",
            )
        return ok("BOS", "The tokenizer has none that it adds to a text.")
    if count > 1:
        return failed("BOS", f"The prompt starts with {count} of them (ID {token}).", cure)
    if rules.bos is False:
        if count:
            return failed("BOS", f"The prompt starts with one (ID {token}), none is right.", cure)
        return ok("BOS", "None, as it must be.")
    if count:
        return ok("BOS", f"The prompt starts with one (ID {token}).")
    if rules.bos and isinstance(prompt, Conversation):
        return ok("BOS", f"The chat template writes none; the client adds it (ID {token}).")
    if rules.bos:
        return failed("BOS", f"The sample has none, and one is demanded (ID {token}).", cure)
    return warning(
        "BOS",
        f"The tokenizer puts one before a text (ID {token}), and this prompt has none.",
        "If the model was trained with one, say bos=True or name its recipe; a chat template that "
        "writes none on purpose is right as it is.",
    )


def generation_prompt(
    closed: Sequence[int],
    opened: Sequence[int],
    *,
    demanded: bool,
    text: str,
    turns: Sequence[str],
) -> Finding:
    """Whether the template can end the prompt as the model wants it.

    Args:
        closed: The token IDs without a generation prompt.
        opened: With one.
        demanded: Whether the model wants one.
        text: The prompt as text; empty where that is not to be had.
        turns: The texts of the last two turns.
    """
    if list(closed) != list(opened):
        added = f"+{len(opened) - len(closed)}"
        if demanded:
            return ok(
                "generation prompt",
                f"Asked for ({added} tokens), as the recipe or the method demands.",
            )
        return ok(
            "generation prompt",
            f"Left out: nothing opens another turn. /tokenize by itself would add one ({added} "
            "tokens).",
        )
    if demanded:
        return failed(
            "generation prompt",
            "The recipe demands one, and the chat template takes no notice of it.",
            _OTHER_TEMPLATE,
        )
    between, after = _around(text, turns)
    if after and after == between:
        return warning(
            "generation prompt",
            f"The chat template takes no notice of it, and writes {after!r} after the answer, as "
            "it does before it.",
            "If that opens another turn, the model sees a turn that nobody took: correct the chat "
            "template, unless the model was trained so.",
        )
    return ok("generation prompt", "The chat template never writes one.")


def lost_turns(conversation: Conversation, text: str) -> list[str]:
    """The roles of messages whose text is not in the prompt; tokenizers may change its spaces."""
    whole = _squeezed(text)
    return [
        str(message.get("role"))
        for message in conversation.messages
        if isinstance(content := message.get("content"), str) and _squeezed(content) not in whole
    ]


def template(lost: Sequence[str], refusal: str | None) -> Finding:
    """Whether all messages of a conversation are in its prompt.

    Args:
        lost: The roles of those that are not.
        refusal: What conversations the template refuses, in words.
    """
    if lost:
        return warning(
            "template",
            f"It leaves out or rewrites messages of these roles: {', '.join(lost)}.",
            "Rewards do not depend on what is left out. If the model was not trained so, start the "
            "server with its own chat template: --chat-template FILE.",
        )
    if refusal is not None:
        return ok("template", f"It refuses {refusal}: such samples are errors, not wrong rewards.")
    return ok("template", "Every message is in the prompt.")


def text_path(ids: Sequence[int], plain: Sequence[int], special: Sequence[int]) -> Finding:
    """Whether the prompt as a string would be scored as the same tokens.

    Args:
        ids: The prompt's token IDs.
        plain: Those of its text, as `FormattedText` is tokenized.
        special: Those of its text with special tokens, as a server tokenizes a string by itself.
    """
    if list(plain) != list(ids):
        return warning(
            "text path",
            f"The prompt's text becomes {len(plain)} tokens that are not the prompt's {len(ids)}.",
            "Score conversations or token IDs, and not FormattedText.",
        )
    same = "The prompt's text becomes the same tokens."
    added = len(special) - len(plain)
    if not added:
        return ok("text path", same)
    return ok(
        "text path",
        f"{same} A string that is sent to the scoring route gets {added} more (a doubled BOS, "
        "mostly): this client never sends it so.",
    )


def _around(text: str, turns: Sequence[str]) -> tuple[str, str]:
    """What stands between the last two turns, and after the last one."""
    if len(turns) < 2 or any(turn not in text for turn in turns):
        return "", ""
    before, after = text.rsplit(turns[-1], maxsplit=1)
    return before.rpartition(turns[-2])[2].strip(), after.strip()


def _squeezed(text: str) -> str:
    return "".join(text.split()).casefold()


def _shortened(text: str) -> str:
    half = _SHOWN_CHARACTERS // 2
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:half]} … {text[-half:]}"
