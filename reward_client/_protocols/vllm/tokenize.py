"""Requests to ``/tokenize`` and ``/detokenize``, and their responses."""

from __future__ import annotations

from collections.abc import Sequence

from reward_client._base.samples import Conversation
from reward_client._protocols.http import Request, Response
from reward_client._protocols.messages import chat_content
from reward_client._protocols.vllm.versions import message_keys, template_keys
from reward_client.errors import ProtocolError

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
    # Both flags are always sent: /tokenize adds a generation prompt by default, and checks one
    # flag against the other only if the request names both.
    body: dict[str, object] = {
        "model": model,
        **chat_content(
            conversation,
            message_keys(version),
            template_keys(version),
            f"vLLM {version}" if version else "the server",
            "Give method=Messages(), without tools, steps or arguments for the chat template.",
        ),
        "add_generation_prompt": generation_prompt,
        "continue_final_message": continues,
    }
    return Request("POST", PATH, body, prepares=True)


def detokenize_request(model: str, ids: Sequence[int]) -> Request:
    """Build the request for the text of token IDs."""
    return Request("POST", "/detokenize", {"model": model, "tokens": list(ids)}, prepares=True)


def text_of(response: Response) -> str:
    """Read the text of a response of ``/detokenize``.

    Raises:
        ProtocolError: If the response holds no text.
    """
    text = response.fields().get("prompt")
    if not isinstance(text, str):
        raise response.error(ProtocolError, "The response of /detokenize holds no text.")
    return text
