"""From a prompt to token IDs, by the server's ``/tokenize``, and what is checked on them."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from itertools import takewhile
from typing import cast

from reward_client.calls import Call, Caller, Reply
from reward_client.errors import (
    InputError,
    PromptTooLongError,
    ProtocolError,
    ResponseMismatchError,
)
from reward_client.narrowing import as_list
from reward_client.rewards import ServerProfile, TokenizedSample
from reward_client.samples import Conversation, Prompt
from reward_client.server.versions import template_keys

__all__ = ["check_length", "digest", "text_call", "token_ids", "tokenize"]

PATH = "/tokenize"


async def tokenize(caller: Caller, profile: ServerProfile, prompt: Prompt) -> TokenizedSample:
    """The token IDs that a prompt is scored as; token IDs stay as they are.

    Raises:
        InputError: The prompt needs something that this server would silently ignore.
        RewardClientError: As `Caller.call`.
    """
    if isinstance(prompt, tuple):
        ids: Sequence[int] = prompt
    elif isinstance(prompt, Conversation):
        ids = token_ids(await caller.call(_chat_call(profile, prompt)))
    else:
        call = text_call(profile.model, prompt.text, add_special_tokens=False)
        ids = token_ids(await caller.call(call))
    bos = profile.bos_token_id
    return TokenizedSample(
        token_ids=tuple(ids),
        max_model_len=profile.max_model_len,
        bos_count=sum(1 for _ in takewhile(lambda token: token == bos, ids)),
    )


def text_call(model: str, text: str, *, add_special_tokens: bool) -> Call:
    """The request for the token IDs of plain text."""
    return Call(
        "POST",
        PATH,
        {"model": model, "prompt": text, "add_special_tokens": add_special_tokens},
    )


def token_ids(reply: Reply) -> list[int]:
    """The token IDs of a reply.

    Raises:
        ProtocolError: It holds none, or not as many as it says.
    """
    fields = reply.fields()
    tokens = as_list(fields.get("tokens"))
    if not tokens:
        raise reply.error(ProtocolError, "The reply of /tokenize holds no token IDs.")
    if any(type(token) is not int or token < 0 for token in tokens):
        raise reply.error(ProtocolError, "The reply of /tokenize holds what is not a token ID.")
    if fields.get("count") != len(tokens):
        raise reply.error(
            ResponseMismatchError,
            f"/tokenize counts {fields.get('count')} tokens and gives {len(tokens)}.",
        )
    return cast("list[int]", tokens)


def check_length(tokenized: TokenizedSample) -> None:
    """Refuses what the server would refuse, or truncate.

    Raises:
        PromptTooLongError: There are more tokens than `max_model_len`.
    """
    count, limit = len(tokenized.token_ids), tokenized.max_model_len
    if limit is not None and count > limit:
        raise PromptTooLongError(
            f"The sample has {count} tokens and the server takes {limit} (max_model_len). "
            "Shorten the conversation, or start the server with a larger --max-model-len."
        )


def digest(ids: Sequence[int]) -> str:
    """SHA-256 (hex) of token IDs as little-endian 32-bit integers."""
    return hashlib.sha256(struct.pack(f"<{len(ids)}I", *ids)).hexdigest()


def _chat_call(profile: ServerProfile, conversation: Conversation) -> Call:
    # Both flags are always sent: /tokenize adds a generation prompt by default, and checks one
    # flag against the other only where both are named.
    body: dict[str, object] = {
        "model": profile.model,
        "messages": list(conversation.messages),
        "add_generation_prompt": False,
        "continue_final_message": False,
    }
    wanted = {
        "tools": conversation.tools,
        "chat_template_kwargs": conversation.chat_template_kwargs,
    }
    for key, value in wanted.items():
        if value is None:
            continue
        if key not in template_keys(profile.version):
            raise InputError(
                f"vLLM {profile.version} ignores {key} in /tokenize and would score another "
                "conversation. Use a newer server, or FormattedText."
            )
        body[key] = value
    return Call("POST", PATH, body)
