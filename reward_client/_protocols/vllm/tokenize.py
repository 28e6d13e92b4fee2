"""Requests to ``/tokenize`` and ``/detokenize``, and their responses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reward_client._base.json_values import as_list
from reward_client._base.samples import Conversation
from reward_client._base.token_ids import TokenIds, checked
from reward_client._base.wording import describe_type, shorten
from reward_client._protocols.http import Request, Response
from reward_client._protocols.vllm.messages import readable
from reward_client._protocols.vllm.versions import template_keys
from reward_client.errors import InputError, ProtocolError, ResponseMismatchError

PATH = "/tokenize"


def text_request(model: str, text: str, *, add_special_tokens: bool) -> Request:
    """Build the request for the token IDs of plain text."""
    return Request(
        "POST",
        PATH,
        {"model": model, "prompt": text, "add_special_tokens": add_special_tokens},
        prepares=True,
    )


def chat_request(
    model: str,
    version: str | None,
    conversation: Conversation,
    *,
    generation_prompt: bool,
    continues: bool = False,
) -> Request:
    """Build the request for the token IDs of a conversation. See `Engine`."""
    others = conversation.other_parts()
    if others:
        # There are placeholder tokens for an image; the image itself would be lost.
        raise InputError(
            f"Cannot score parts other than text ({shorten(', '.join(others), 40)}) by token IDs, "
            "which would ignore them. Give method=Messages(), without tools, steps or arguments "
            "for the chat template."
        )
    # Both flags are always sent: /tokenize adds a generation prompt by default, and checks one
    # flag against the other only if the request names both.
    body: dict[str, object] = {
        "model": model,
        "messages": readable(conversation.messages, version),
        "add_generation_prompt": generation_prompt,
        "continue_final_message": continues,
    }
    wanted: Mapping[str, object] = {
        "tools": conversation.tools,
        "chat_template_kwargs": conversation.chat_template_kwargs,
    }
    for key, value in wanted.items():
        if value is None:
            continue
        if key not in template_keys(version):
            raise InputError(
                f"vLLM {version} ignores {key} in /tokenize and would score another "
                "conversation. Use a newer server, or FormattedText."
            )
        body[key] = value
    return Request("POST", PATH, body, prepares=True)


def detokenize_request(model: str, ids: Sequence[int]) -> Request:
    """Build the request for the text of token IDs."""
    return Request("POST", "/detokenize", {"model": model, "tokens": list(ids)}, prepares=True)


def token_ids(response: Response) -> TokenIds:
    """Read the token IDs of a response of ``/tokenize``.

    Raises:
        ProtocolError: If the response holds no token IDs.
        ResponseMismatchError: If their number is not the one that the response names.
    """
    fields = response.fields()
    tokens = as_list(fields.get("tokens"))
    if not tokens:
        raise response.error(ProtocolError, "The response of /tokenize holds no token IDs.")
    ids = checked(tokens)
    if ids is None:
        raise response.error(ProtocolError, "The response of /tokenize holds invalid token IDs.")
    count = fields.get("count")
    if type(count) is not int or count != len(tokens):
        counted = count if type(count) is int else describe_type(count)
        raise response.error(
            ResponseMismatchError, f"/tokenize counts {counted} tokens and gives {len(tokens)}."
        )
    return ids


def text_of(response: Response) -> str:
    """Read the text of a response of ``/detokenize``.

    Raises:
        ProtocolError: If the response holds no text.
    """
    text = response.fields().get("prompt")
    if not isinstance(text, str):
        raise response.error(ProtocolError, "The response of /detokenize holds no text.")
    return text
