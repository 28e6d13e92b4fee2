"""Token IDs of prompts and texts, and texts of token IDs, by the server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reward_client._base.samples import Conversation, Prompt
from reward_client._base.token_ids import TokenIds
from reward_client._protocols.engine import Served
from reward_client._protocols.http import Request, Transport
from reward_client._protocols.strategies import Rendering
from reward_client.errors import InputError, TemplateUnavailableError

_FAULTS: Mapping[Rendering, str] = {
    "none": "renders no conversations",
    "questions": "makes a user's turn of its answer",
}


async def tokenize_prompt(
    transport: Transport,
    served: Served,
    prompt: Prompt,
    *,
    generation_prompt: bool,
    continues: bool = False,
) -> TokenIds:
    """Return the token IDs that the server makes of a prompt; token IDs stay as they are.

    Raises:
        InputError: As `conversation_request`.
        RewardClientError: As `Transport.send`.
    """
    if isinstance(prompt, TokenIds):
        return prompt
    if not isinstance(prompt, Conversation):
        return await tokenize_text(transport, served, prompt.text, add_special_tokens=False)
    request = conversation_request(
        served, prompt, generation_prompt=generation_prompt, continues=continues
    )
    return served.engine.token_ids(await transport.send(request))


def conversation_request(
    served: Served,
    conversation: Conversation,
    *,
    generation_prompt: bool,
    continues: bool = False,
) -> Request:
    """Build the request for the token IDs of a conversation.

    Raises:
        InputError: If the conversation holds something that this server would silently ignore, or
            the server renders it wrongly and there is no template on the client.
    """
    if served.renders_answers:
        return served.engine.chat_request(
            served.model,
            served.version,
            conversation,
            generation_prompt=generation_prompt,
            continues=continues,
        )
    if served.renderer is None:
        raise TemplateUnavailableError(
            f"Cannot tokenize the conversation: {served} {_FAULTS[served.renders]}. Give "
            'the model\'s tokenizer as tokenizer="local" or by its folder or name, which renders '
            "the chat template here; or give FormattedText, or token IDs."
        )
    if continues:
        raise InputError(
            f"Cannot leave the last turn open for the model to continue: {served} renders no "
            "conversation. Upgrade the server, or give FormattedText."
        )
    text = served.renderer.rendered(conversation, generation_prompt=generation_prompt)
    return served.engine.text_request(served.model, text, add_special_tokens=False)


async def tokenize_text(
    transport: Transport, served: Served, text: str, *, add_special_tokens: bool
) -> TokenIds:
    """Return the token IDs that the server makes of plain text.

    Raises:
        RewardClientError: As `Transport.send`.
    """
    request = served.engine.text_request(served.model, text, add_special_tokens=add_special_tokens)
    return served.engine.token_ids(await transport.send(request))


async def detokenize(transport: Transport, served: Served, ids: Sequence[int]) -> str:
    """Return the text that the server makes of token IDs, special tokens included.

    Raises:
        RewardClientError: As `Transport.send`.
    """
    request = served.engine.detokenize_request(served.model, ids)
    return served.engine.text_of(await transport.send(request))
