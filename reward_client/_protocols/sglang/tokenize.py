"""Requests to ``/tokenize`` and ``/detokenize``, and their responses.

Token IDs by text are right from 0.5.4 on. Those of conversations are right from 0.5.23 on: earlier
versions turn the last answer into a user's turn, and add a generation prompt (live on 0.5.22).
"""

from __future__ import annotations

from collections.abc import Sequence

from reward_client._base.samples import Conversation
from reward_client._protocols.http import Request, Response
from reward_client._protocols.messages import chat_content
from reward_client._protocols.sglang.versions import message_keys, template_keys
from reward_client.errors import InputError, ProtocolError

PATH = "/tokenize"

_CALLS = frozenset({"tools", "tool_calls", "tool_call_id"})
"""Code of 0.5.23: ``"strict": null`` and ``"defer_loading": null`` in a tool, for example."""


def text_request(model: str, text: str, *, add_special_tokens: bool) -> Request:
    """Build the request for the token IDs of plain text."""
    body: dict[str, object] = {
        "model": model,
        "prompt": text,
        "add_special_tokens": add_special_tokens,
    }
    return Request("POST", PATH, body, prepares=True)


def chat_request(
    model: str,
    version: str | None,
    conversation: Conversation,
    *,
    generation_prompt: bool,
    continues: bool = False,
) -> Request:
    """Build the request for the token IDs of a conversation. See `Engine`."""
    if conversation.tools or any(_CALLS & message.keys() for message in conversation.messages):
        raise InputError(
            "Cannot score tools or their calls by /tokenize of SGLang: it adds keys of its own to "
            "them, which the chat template may write. Render the conversation by the model's own "
            "template, and give FormattedText."
        )
    if continues and conversation.messages[-1]["role"] != "assistant":
        raise InputError(
            "Cannot leave the user's turn open: SGLang does that only to an assistant's turn "
            "(0.5.23). Use a method without a text that begins in the user's turn, or vLLM."
        )
    body: dict[str, object] = {
        "model": model,
        **chat_content(
            conversation,
            message_keys(version),
            template_keys(version),
            f"SGLang {version}" if version else "the server",
            "Serve the model with vLLM, and give method=Messages().",
        ),
        # To leave the last turn open, it opens one and writes the last content into it.
        "add_generation_prompt": generation_prompt or continues,
    }
    if continues:
        body["continue_final_message"] = True
    return Request("POST", PATH, body, prepares=True)


def detokenize_request(model: str, ids: Sequence[int]) -> Request:
    """Build the request for the text of token IDs; special tokens are left out by default."""
    body: dict[str, object] = {"model": model, "tokens": [*ids], "skip_special_tokens": False}
    return Request("POST", "/detokenize", body, prepares=True)


def text_of(response: Response) -> str:
    """Read the text of a response of ``/detokenize``.

    Raises:
        ProtocolError: If the response holds no text.
    """
    text = response.fields().get("text")
    if not isinstance(text, str):
        raise response.error(ProtocolError, "The response of /detokenize holds no text.")
    return text
