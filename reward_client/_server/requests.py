"""Requests for scores to one server, and the rewards that their responses give."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeAlias

import orjson

from reward_client._base.results import Reward
from reward_client._base.samples import Conversation
from reward_client._base.together import together
from reward_client._protocols.http import Request, Response, Transport
from reward_client._protocols.pooled_output import MissingLogprobError, PooledOutput
from reward_client._protocols.scoring_request import ScoringRequest
from reward_client._protocols.tokenizing import detokenize, tokenize_text
from reward_client._server.state import ServerState
from reward_client._tokenization import Tokenized
from reward_client.errors import (
    BadRequestError,
    InputError,
    ModelNotFoundError,
    ProtocolError,
    RewardClientError,
    RouteNotFoundError,
    ShapeError,
)
from reward_client.heads import Scores

MAY_BE_ANOTHER_SERVER = (RouteNotFoundError, ModelNotFoundError, ShapeError)
"""Errors that a request built for one server may get from another that took its place."""

WRONG_ADDRESSEE = (*MAY_BE_ANOTHER_SERVER, BadRequestError, ProtocolError)
"""These, and those that the first server gives too."""

_BYTES_PER_TOKEN = 4
_MAX_TOKENS = 2**31 - 1


class OtherModelError(Exception):
    """The response names another model: another server has come up. Callers never see it."""


class ChatPrompt(NamedTuple):
    """The messages of a conversation, for a server that tokenizes them itself.

    Attributes:
        written: The messages as JSON.
        size: A rough number of tokens.
        key: Equal for equal messages.
    """

    written: bytes
    size: int
    key: str

    @classmethod
    def of(cls, conversation: Conversation) -> ChatPrompt:
        """The messages of a conversation that has nothing else."""
        written = bytes(memoryview(orjson.dumps(list(conversation.messages))))  # as `TokenIds` does
        size = len(written) // _BYTES_PER_TOKEN + 1
        return cls(written, size, hashlib.sha256(written).hexdigest())


Scorable: TypeAlias = Tokenized | ChatPrompt
"""A sample in the form in which a server scores it."""


async def score_batch(
    transport: Transport, state: ServerState, samples: Sequence[Scorable]
) -> list[Scores | RewardClientError]:
    """Score samples of one kind in one request; return the scores or the error of each.

    Raises:
        OtherModelError: If the response names another model.
        RewardClientError: As `Transport.send`, and for a response that is wrong as a whole.
    """
    tokenized = [sample for sample in samples if isinstance(sample, Tokenized)]
    if tokenized:
        return await score_tokens(transport, state, tokenized)
    return await score_messages(
        transport, state, [sample for sample in samples if isinstance(sample, ChatPrompt)]
    )


async def score_tokens(
    transport: Transport, state: ServerState, samples: Sequence[Tokenized]
) -> list[Scores | RewardClientError]:
    """As `score_batch`, for token IDs."""
    ids = [sample.ids for sample in samples]
    inputs = [sample.text or sample.ids for sample in samples]
    response, outputs = await pooled_outputs(
        transport, state.request, state.model, inputs, ids, state
    )
    return _read_each(state, response, zip(outputs, ids, strict=True))


async def score_messages(
    transport: Transport,
    state: ServerState,
    samples: Sequence[ChatPrompt],
    token_count: int | None = None,
) -> list[Scores | RewardClientError]:
    """As `score_batch`, for messages that the server tokenizes.

    Args:
        transport: The connection to the server.
        state: The server.
        samples: The conversations.
        token_count: The number of all their tokens, if it is known.
    """
    request = state.strategy.conversations or state.request
    response = await send(
        transport,
        request.build_chat(
            state.model,
            [sample.written for sample in samples],
            generation_prompt=state.rules.generation_prompt,
        ),
        state,
    )
    count, limit = len(samples), state.max_model_len or _MAX_TOKENS
    expected = range(count, count * limit + 1)
    if token_count is not None:
        expected = range(token_count, token_count + 1)
    outputs = request.read_conversations(response, count, expected)
    _check_names_model(response, state)
    return _read_each(state, response, ((output, ()) for output in outputs))


async def pooled_outputs(
    transport: Transport,
    request: ScoringRequest,
    model: str,
    inputs: Sequence[Sequence[int] | str],
    ids: Sequence[Sequence[int]],
    state: ServerState | None = None,
) -> tuple[Response, list[PooledOutput | ProtocolError]]:
    """Return the pooled output or the error of each token list, and the response that held them.

    A generating server may leave out a logprob; two further requests then ask for it.

    Args:
        transport: The connection to the server.
        request: The scoring request.
        model: The model's name.
        inputs: The token lists, or their texts if the server takes nothing else.
        ids: The token lists.
        state: The server; None if it is being discovered.

    Raises:
        OtherModelError: If a response names another model than the state.
        RewardClientError: As `Transport.send`, and for a response that is wrong as a whole.
    """
    response = await send(transport, request.build(model, inputs), state)
    outputs = request.read_each(response, ids)
    _check_names_model(response, state)
    missing = [i for i, output in enumerate(outputs) if isinstance(output, MissingLogprobError)]
    if missing:
        # vLLM tells the logprob of the only token that is allowed, whatever its rank.
        singles = [
            replace(request, tokens=(token,), names_tokens=False) for token in request.tokens
        ]
        asked = [inputs[i] for i in missing]
        responses = await together(
            send(transport, single.build(model, asked), state) for single in singles
        )
        lists = [ids[i] for i in missing]
        first, second = (
            single.read_each(each, lists) for single, each in zip(singles, responses, strict=True)
        )
        for i, one, two in zip(missing, first, second, strict=True):
            outputs[i] = _difference(one, two) or outputs[i]
    return response, outputs


async def send(transport: Transport, request: Request, state: ServerState | None) -> Response:
    """Return the response, which must not name another model than the state's.

    Raises:
        OtherModelError: If it names another model.
        RewardClientError: As `Transport.send`.
    """
    response = await transport.send(request)
    if state is not None and response.model not in (None, state.response_model):
        raise OtherModelError
    return response


def _check_names_model(response: Response, state: ServerState | None) -> None:
    """Refuse outputs without a model's name from a server that names it.

    A response without outputs is no other server's: its reader says what is missing.

    Raises:
        OtherModelError: If the name is missing.
    """
    if state is not None and response.model != state.response_model:
        raise OtherModelError


def reward_of(state: ServerState, sample: Scorable, scores: Scores) -> Reward:
    """Return the reward of a sample; only token IDs have a count and a digest."""
    scalar, steps, objectives = scores
    if isinstance(sample, ChatPrompt):
        return Reward.of_checked(
            scalar=scalar, provenance=state.provenance, steps=steps, objectives=objectives
        )
    return Reward.of_checked(
        scalar=scalar,
        provenance=state.provenance,
        steps=steps,
        objectives=objectives,
        token_count=sample.ids.size,
        token_digest=sample.ids.digest,
        bos_count=sample.bos_count,
        truncated=sample.truncated,
    )


async def fit_to_server(transport: Transport, state: ServerState, tokens: Tokenized) -> Tokenized:
    """Return the sample with the text that becomes its token IDs, if the server takes only text.

    Raises:
        InputError: If no text becomes these token IDs.
        RewardClientError: As `Transport.send`.
    """
    if state.request.sends == "ids":
        return tokens
    ids = tokens.ids
    # The server adds special tokens itself.
    bare = ids[1:] if ids.leading(state.rules.bos_token_id) else ids[:]
    text = await detokenize(transport, state.served, bare)
    retokenized = await tokenize_text(transport, state.served, text, add_special_tokens=True)
    if retokenized != ids:
        raise InputError(
            f"Cannot score these {len(ids)} token IDs on {state.served}: it takes "
            f"only text for this kind of model, and their text becomes {len(retokenized)} other "
            "token IDs. Upgrade the server to 0.11.1 or later."
        )
    return tokens._replace(text=text)


def check_takes_messages(state: ServerState) -> None:
    """Refuse models whose prompts need more than the server does by itself.

    Raises:
        InputError: If the model needs more.
    """
    rules = state.rules
    needs = {
        "one BOS token more or less than the template writes": rules.bos is not None,
        "tokens at its end": bool(rules.append),
        "step tokens": rules.step is not None,
        "the last of its tokens' values": state.layout.kind != "vector",
        "text in place of token IDs": state.request.sends == "text",
        "the logprob of a token, which needs token IDs": state.request.reads_tokens,
        f"token IDs, as no route of {state.engine.name} takes conversations rightly": not (
            state.request.takes_messages or state.request.reads_tokens
        ),
    }
    needed = [need for need, is_needed in needs.items() if is_needed]
    if needed:
        raise InputError(
            "Cannot use method=Messages(): it leaves the prompt to the server, and this model "
            f"needs {' and '.join(needed)}. Leave method= out."
        )


def _read_each(
    state: ServerState,
    response: Response,
    outputs: Iterable[tuple[PooledOutput | ProtocolError, Sequence[int]]],
) -> list[Scores | RewardClientError]:
    """Return the scores of each output and its token list, or the error."""
    read: list[Scores | RewardClientError] = []
    for output, ids in outputs:
        try:
            read.append(output if isinstance(output, ProtocolError) else state.read(output, ids))
        except RewardClientError as error:
            error.endpoint, error.request_id = response.endpoint, response.request_id
            read.append(error)
    return read


def _difference(
    first: PooledOutput | ProtocolError, second: PooledOutput | ProtocolError
) -> PooledOutput | ProtocolError | None:
    """Subtract two logprobs; return the error of one of them, or None if both say nothing."""
    if isinstance(first, ProtocolError):
        return first
    if isinstance(second, ProtocolError):
        return second
    if first.values[0] == second.values[0] == 0:
        return None  # the logarithms of 1: each is told among the allowed tokens alone
    return PooledOutput((first.values[0] - second.values[0],), None)
