"""What a server makes of a sample, to compare it with its replicas."""

from __future__ import annotations

from reward_client._base.samples import Conversation, Prompt
from reward_client._base.token_ids import TokenIds
from reward_client._protocols.http import Transport
from reward_client._replicas.comparison import ReplicaFingerprint
from reward_client._server.requests import prepared, reward_of, scored
from reward_client._server.state import ServerState
from reward_client._tokenization import Needs, Tokenizer
from reward_client.errors import BadRequestError, InputError

_QUESTION = {"role": "user", "content": "What is 2 + 2?"}
_ANSWER = ("Two and two are added.", "2 + 2 = 4.")


async def first_seen(
    transport: Transport, serving: ServerState
) -> tuple[Prompt, ReplicaFingerprint]:
    """The sample that all replicas are compared on, and what the first of them makes of it.

    It is a conversation, in which the chat template shows; token IDs where the model takes none.

    Raises:
        RewardClientError: As `seen`.
    """
    prompt = _conversation(serving)
    try:
        return prompt, await seen(transport, serving, prompt)
    except (BadRequestError, InputError):
        ids = TokenIds.of(serving.probes[-1])
        return ids, await seen(transport, serving, ids)


async def seen(transport: Transport, serving: ServerState, prompt: Prompt) -> ReplicaFingerprint:
    """What a server makes of the sample.

    Raises:
        RewardClientError: Its tokens or its reward are not to be had.
    """
    profile = serving.profile
    needs = Needs(profile, serving.rules, profile.max_model_len)
    tokens = await Tokenizer("server", "raise").tokenize(transport, needs, prompt)
    (scores,) = await scored(transport, serving, [await prepared(transport, serving, tokens)])
    if isinstance(scores, Exception):
        raise scores
    return ReplicaFingerprint(profile, tokens.sample(), reward_of(serving, tokens, scores))


def _conversation(serving: ServerState) -> Conversation:
    if serving.rules.step is not None:
        return Conversation([_QUESTION], steps=_ANSWER)
    return Conversation([_QUESTION, {"role": "assistant", "content": " ".join(_ANSWER)}])
