"""Messages to rewards by one server, which tokenizes them in the scoring request."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import orjson

from reward_client._base.samples import Conversation
from reward_client._protocols.http import Transport
from reward_client._server.requests import response_of, scores_of
from reward_client._server.state import ServerState
from reward_client.errors import InputError, RewardClientError
from reward_client.heads import Scores

_BYTES_A_TOKEN = 4
_MOST_TOKENS = 2**31 - 1


class Turns(NamedTuple):
    """The messages of a conversation.

    Attributes:
        written: As JSON.
        size: About how many tokens they become.
        key: Equal for equal messages.
    """

    written: bytes
    size: int
    key: bytes

    @classmethod
    def of(cls, conversation: Conversation) -> Turns:
        """The messages of a conversation that has nothing else."""
        written = bytes(memoryview(orjson.dumps(list(conversation.messages))))  # as token IDs
        size = len(written) // _BYTES_A_TOKEN + 1
        return cls(written, size, hashlib.sha256(written).digest())


def check_servable(serving: ServerState) -> None:
    """Refuses models whose prompts need more than the server does by itself.

    Raises:
        InputError: What it needs, and what to do.
    """
    rules = serving.rules
    needs = {
        "one BOS token more or less than the template writes": rules.bos is not None,
        "tokens at its end": bool(rules.append),
        "step tokens": rules.step is not None,
        "the last of its tokens' values": serving.layout.kind != "vector",
        "text in place of token IDs": serving.ask.sends == "text",
        "the number of a token, which only token IDs are answered with": (
            serving.ask.route == "completions"
        ),
    }
    needed = [need for need, is_so in needs.items() if is_so]
    if needed:
        raise InputError(
            f"method=Messages() leaves the prompt to the server, and this model needs "
            f"{' and '.join(needed)}: leave method= out."
        )


async def scored_turns(
    transport: Transport, serving: ServerState, samples: Sequence[Turns], tokens: int | None = None
) -> list[Scores | RewardClientError]:
    """What the head reads for each conversation, or why nothing.

    Args:
        transport: The way to the server.
        serving: The server.
        samples: The conversations.
        tokens: How many tokens they have, where that is known.

    Raises:
        OtherModelError: The reply is of another model.
        RewardClientError: As `Transport.call`, and as `ScoringRequest.read_conversations`.
    """
    ask = serving.conversations or serving.ask
    call = ask.chat_call(
        serving.profile.model,
        [each.written for each in samples],
        generation_prompt=serving.rules.generation_prompt,
    )
    response = await response_of(transport, serving, call)
    count, longest = len(samples), serving.profile.max_model_len or _MOST_TOKENS
    expected = range(count, count * longest + 1) if tokens is None else range(tokens, tokens + 1)
    outputs = ask.read_conversations(response, count, expected)
    return [scores_of(serving, response, output, ()) for output in outputs]
