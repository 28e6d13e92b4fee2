"""Requests that prove a discovered server: its exported head, and its logits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

import orjson

from reward_client._base.activation import Activation
from reward_client._base.samples import Conversation
from reward_client._base.wording import list_numbers
from reward_client._protocols.http import Transport
from reward_client._server.manifest_checks import disagreement, reported
from reward_client._server.state import ServerState, is_same
from reward_client._tokenization.local_tokenizer import LocalTokenizer
from reward_client.errors import (
    ActivationError,
    BadRequestError,
    InputError,
    ModelNotFoundError,
    ProtocolError,
    RecipeError,
    ResponseMismatchError,
    RouteNotFoundError,
    ShapeError,
    TokenizerMismatchError,
)
from reward_client.recipes import Reference

_logger = logging.getLogger("reward_client")

_TURNS = [
    {"role": "user", "content": "What is 2 + 2?"},
    {"role": "assistant", "content": "Two and two are added. 2 + 2 = 4."},
]

_LOGPROB_ROUNDING = 1e-3
"""How far rounding may lift a log-probability above 0."""


async def prove_ends(transport: Transport, state: ServerState) -> None:
    """Show that each end of a sample counts, for a gateway that drops the count of tokens.

    Raises:
        ResponseMismatchError: If a change of the first or of the last token changes no value.
        RewardClientError: As `Transport.send` and `ScoringRequest.read`.
    """
    request, ids = state.request, state.probes[-1]
    lists = [ids, (_another(state, ids[0]), *ids[1:])]
    if state.layout.kind == "vector":  # otherwise the number of rows shows the end
        lists.append((*ids[:-1], _another(state, ids[-1])))
    response = await transport.send(request.build(state.model, lists))
    same, *changed = (output.values for output in request.read(response, lists))
    if same in changed:
        raise response.error(
            ResponseMismatchError,
            "Cannot trust this server: a sample with another first or last token gets the same "
            "value, and the response does not count the tokens. A gateway cuts samples, or repeats "
            "responses. Connect to the server itself.",
        )
    _logger.warning(
        "the gateway drops the count of tokens (usage): the client cannot see that one cuts samples"
    )


def _another(state: ServerState, token: int) -> int:
    """Return another token, which ends no step."""
    return next(ids[0] for ids in state.probes if ids[0] != token)


async def prove_tokenizer(
    transport: Transport, state: ServerState, tokenizer: LocalTokenizer
) -> bool:
    """Compare a local tokenizer with the server's, by the value of one conversation sent as both.

    Returns:
        True if they agree; False if the server takes no messages, or needs more than a template.

    Raises:
        TokenizerMismatchError: If they differ.
        RewardClientError: As `Transport.send` and `ScoringRequest.read`.
    """
    request, rules = state.strategy.conversations or state.request, state.rules
    is_plain = rules.bos is None and not rules.append and rules.step is None
    if not is_plain or request.route == "completions":
        return False
    prompt = Conversation(_TURNS)
    try:
        ids = await asyncio.to_thread(
            tokenizer.ids, prompt, generation_prompt=rules.generation_prompt
        )
        written = [orjson.dumps(_TURNS)]
        chat = request.build_chat(state.model, written, generation_prompt=rules.generation_prompt)
        response = await transport.send(chat)
    except (InputError, BadRequestError, RouteNotFoundError, ModelNotFoundError):
        return False
    by_ids = await transport.send(state.request.build(state.model, [ids]))
    (here,) = state.request.read(by_ids, [ids])
    try:
        (there,) = request.read_conversations(response, 1, range(len(ids), len(ids) + 1))
    except ResponseMismatchError as error:
        raise _other_tokenizer(tokenizer, str(error)) from None
    if isinstance(there, ProtocolError):
        raise there
    mine, theirs = state.layout.rows(here)[-1], state.layout.rows(there)[-1]
    if not is_same(mine, theirs):
        values = list_numbers(mine[:3]), list_numbers(theirs[:3])
        raise _other_tokenizer(tokenizer, "{} by its token IDs, {} as messages.".format(*values))
    return True


def _other_tokenizer(tokenizer: LocalTokenizer, difference: str) -> TokenizerMismatchError:
    return TokenizerMismatchError(
        f"The tokenizer of {tokenizer.source!r} is not the server's: one conversation differs. "
        f"{difference} Its files or its chat template differ from those of the server. Give the "
        "tokenizer of the served model."
    )


async def prove_head(
    transport: Transport, state: ServerState, references: Sequence[Reference]
) -> None:
    """Score the references of a manifest in one request, and compare the values.

    Raises:
        NotARewardError: If a value differs from the manifest.
        RecipeError: If the references belong to another head.
        RewardClientError: As `Transport.send` and `ScoringRequest.read`.
    """
    request, rules = state.request, state.rules
    lists = [reference.token_ids or () for reference in references]
    response = await transport.send(request.build(state.model, lists))
    outputs = request.read(response, lists)
    for number, (reference, ids, output) in enumerate(
        zip(references, lists, outputs, strict=True), start=1
    ):
        if rules.step is not None and not rules.step_places(ids):
            raise RecipeError(
                f"Reference {number} of the manifest has no step token {rules.step.token_id}: it "
                "belongs to another head, or to another tokenizer than the server's. Export the "
                "checkpoint again."
            )
        try:
            scores = state.read(output, ids)
        except ShapeError as problem:
            raise response.error(ShapeError, str(problem)) from None
        error = disagreement(reference, number, reported(reference, scores))
        if error is not None:
            raise response.error(type(error), str(error))


async def prove_logits(transport: Transport, state: ServerState) -> Activation:
    """Prove that a generating server answers logits: the likeliest token's is above 0 somewhere.

    A log-probability is never above 0. No server says which of the two it answers.

    Raises:
        ActivationError: If the numbers may be log-probabilities.
        RewardClientError: As `Transport.send`.
    """
    likeliest = replace(state.request, tokens=())
    response = await transport.send(likeliest.build(state.model, state.probes))
    numbers = [output.values[0] for output in likeliest.read(response, state.probes)]
    if max(numbers) > _LOGPROB_ROUNDING:
        return Activation("none", "probe")
    raise response.error(
        ActivationError,
        f"Cannot read logits: the likeliest tokens after {len(numbers)} probes have numbers up to "
        f"{max(numbers):.4g}, none above 0, so these are log-probabilities. Start the server with "
        f"{state.strategy.flag} (vLLM 0.10.0 and later).",
    )
