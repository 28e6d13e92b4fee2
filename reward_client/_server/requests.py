"""Token lists to rewards by one server: a request, and what its reply is worth for each list."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from reward_client._base.results import Reward
from reward_client._protocols.http import Request, Response, Transport
from reward_client._protocols.vllm import PooledOutput
from reward_client._protocols.vllm.tokenize import detokenize_call, text_call, text_of, token_ids
from reward_client._server.outputs import outputs_of
from reward_client._server.state import ServerState
from reward_client._tokenization import Tokenized
from reward_client.errors import InputError, RewardClientError
from reward_client.heads import Scores


class OtherModelError(Exception):
    """The reply is of another model: another server has come up. Never reaches a caller."""


async def scored(
    transport: Transport, serving: ServerState, samples: Sequence[Tokenized]
) -> list[Scores | RewardClientError]:
    """What the head reads for each sample, or why nothing.

    Raises:
        OtherModelError: The reply is of another model.
        RewardClientError: As `Transport.call`, and as `ScoringRequest.read_each`.
    """
    lists = [each.ids for each in samples]
    inputs = [each.text or each.ids for each in samples]
    send = partial(response_of, transport, serving)
    response, outputs = await outputs_of(send, serving.ask, serving.profile.model, inputs, lists)
    pairs = zip(outputs, lists, strict=True)
    return [scores_of(serving, response, output, ids) for output, ids in pairs]


async def response_of(transport: Transport, serving: ServerState, call: Request) -> Response:
    """The reply of the model that was found on this server.

    Raises:
        OtherModelError: It is of another one.
        RewardClientError: As `Transport.call`.
    """
    response = await transport.call(call)
    if response.model != serving.response_model:
        raise OtherModelError
    return response


def scores_of(
    serving: ServerState,
    response: Response,
    output: PooledOutput | RewardClientError,
    ids: Sequence[int],
) -> Scores | RewardClientError:
    """What the head reads in an output, or why nothing."""
    if isinstance(output, RewardClientError):
        return output
    try:
        return serving.read(output, ids)
    except RewardClientError as error:
        error.endpoint, error.request_id = response.endpoint, response.request_id
        return error


def reward_of(serving: ServerState, tokens: Tokenized, scores: Scores) -> Reward:
    """The reward, with where it came from."""
    return Reward.of_checked(
        scalar=scores.value,
        steps=scores.steps,
        objectives=dict(scores.objectives) if scores.objectives else {},
        token_count=len(tokens.ids),
        token_digest=tokens.ids.digest,
        bos_count=tokens.bos_count,
        truncated=tokens.truncated,
        provenance=serving.provenance,
    )


def untold_reward(serving: ServerState, scores: Scores) -> Reward:
    """The reward of a sample whose tokens only the server knows."""
    return Reward.of_checked(
        scalar=scores.value,
        steps=scores.steps,
        objectives=dict(scores.objectives),
        token_count=None,
        token_digest=None,
        bos_count=None,
        truncated=False,
        provenance=serving.provenance,
    )


async def prepared(transport: Transport, serving: ServerState, tokens: Tokenized) -> Tokenized:
    """A sample for this server: with the text that becomes its token IDs, where need be.

    Raises:
        InputError: The server takes text only, and none becomes these very IDs.
        RewardClientError: As `Transport.call`.
    """
    if serving.ask.sends == "ids":
        return tokens
    ids = tokens.ids
    model, bos = serving.profile.model, serving.profile.bos_token_id
    # The server adds special tokens itself.
    bare = ids[1:] if ids.leading(bos) else ids[:]
    text = text_of(await transport.call(detokenize_call(model, bare)))
    again = token_ids(await transport.call(text_call(model, text, add_special_tokens=True)))
    if again != ids:
        raise InputError(
            f"vLLM {serving.profile.version} scores this kind of model from text only, and these "
            f"{len(ids)} token IDs are not what its tokenizer makes of their text (it makes "
            f"{len(again)}). Upgrade the server to 0.11.1 or later."
        )
    return tokens._replace(text=text)
