"""Token IDs by the server: requests to ``/tokenize`` and ``/detokenize``, and what they answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reward_client._base.json_values import as_list
from reward_client._base.samples import Conversation, Prompt
from reward_client._base.token_ids import TokenIds, checked
from reward_client._base.wording import describe_type
from reward_client._protocols.http import Request, Response, Transport
from reward_client._protocols.vllm.versions import template_keys
from reward_client.errors import InputError, ProtocolError, ResponseMismatchError

PATH = "/tokenize"

_SHOWN_CHARACTERS = 40


async def server_ids(
    transport: Transport,
    model: str,
    version: str | None,
    prompt: Prompt,
    *,
    generation_prompt: bool,
    continues: bool = False,
) -> TokenIds:
    """The token IDs of a prompt by the server; token IDs stay as they are.

    Raises:
        InputError: The prompt needs something that this server would silently ignore.
        RewardClientError: As `Transport.send`.
    """
    if isinstance(prompt, TokenIds):
        return prompt
    if isinstance(prompt, Conversation):
        request = chat_request(
            model, version, prompt, generation_prompt=generation_prompt, continues=continues
        )
    else:
        request = text_request(model, prompt.text, add_special_tokens=False)
    return token_ids(await transport.send(request))


def text_request(model: str, text: str, *, add_special_tokens: bool) -> Request:
    """The request for the token IDs of plain text."""
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
    """The request for the token IDs of a conversation, whose last turn may be left open.

    Raises:
        InputError: The conversation needs something that this server would silently ignore, or
            holds what no token ID stands for.
    """
    others = conversation.other_parts()
    if others:
        # There are placeholder tokens for an image; the image itself would be lost.
        raise InputError(
            f"The messages hold parts other than text ({', '.join(others)[:_SHOWN_CHARACTERS]}), "
            "which a reward from token IDs would ignore: give method=Messages(), and no tools, "
            "steps or arguments for the chat template with them."
        )
    # Both flags are always sent: /tokenize adds a generation prompt by default, and checks one
    # flag against the other only where both are named.
    body: dict[str, object] = {
        "model": model,
        "messages": list(conversation.messages),
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
    """The request for the text of token IDs, special tokens included."""
    return Request("POST", "/detokenize", {"model": model, "tokens": list(ids)}, prepares=True)


def token_ids(response: Response) -> TokenIds:
    """The token IDs of a reply.

    Raises:
        ProtocolError: It holds none, or not as many as it says.
    """
    fields = response.fields()
    tokens = as_list(fields.get("tokens"))
    if not tokens:
        raise response.error(ProtocolError, "The reply of /tokenize holds no token IDs.")
    ids = checked(tokens)
    if ids is None:
        raise response.error(ProtocolError, "The reply of /tokenize holds what is not a token ID.")
    count = fields.get("count")
    if type(count) is not int or count != len(tokens):
        counted = count if type(count) is int else describe_type(count)
        raise response.error(
            ResponseMismatchError, f"/tokenize counts {counted} tokens and gives {len(tokens)}."
        )
    return ids


def text_of(response: Response) -> str:
    """The text of a reply of ``/detokenize``.

    Raises:
        ProtocolError: It holds none.
    """
    text = response.fields().get("prompt")
    if not isinstance(text, str):
        raise response.error(ProtocolError, "The reply of /detokenize holds no text.")
    return text
