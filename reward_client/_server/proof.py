"""Requests that prove a discovered server: its exported head, and its logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from reward_client._base.activation import Activation
from reward_client._base.wording import list_numbers
from reward_client._protocols.http import Transport
from reward_client._protocols.vllm.scoring_request import Encoding
from reward_client._server.manifest_checks import disagreement, reported
from reward_client._server.state import ServerState, is_same
from reward_client.errors import ActivationError, RecipeError, ResponseMismatchError, ShapeError
from reward_client.recipes import Reference

# The tolerance between the values of one sample, alone and in a batch, as a share of the range of
# different samples' values: an engine's rounding moves them less, another sample's value lies
# further away.
_BATCH_TOLERANCE = 0.1
_LOGPROB_ROUNDING = 1e-3
"""How far rounding may lift a log-probability above 0."""

_OTHER_ENCODING: dict[Encoding, Encoding] = {"base64": "float", "float": "base64"}


async def cross_check(transport: Transport, state: ServerState) -> None:
    """Score one probe alone, in the other encoding, and compare it with its value in the batch.

    A gateway may rewrite the numbers, and a server may mix up its batches.

    Raises:
        ResponseMismatchError: If the values differ.
        RewardClientError: As `Transport.send` and `ScoringRequest.read`.
    """
    request, ids, batched = state.request, state.probes[-1], state.outputs[-1].values
    other = _OTHER_ENCODING[request.encoding]
    response = await transport.send(request.build(state.model, [ids], other))
    try:
        (output,) = request.read(response, [ids], other)
    except ShapeError:
        # The server ignores encoding_format: the value may be right.
        (output,) = request.read(response, [ids])
    alone = output.values
    rounding = _BATCH_TOLERANCE * (max(state.scores) - min(state.scores))
    pairs = zip(alone, batched, strict=False)
    if len(alone) != len(batched) or not (
        is_same(alone, batched) or all(abs(one - two) <= rounding for one, two in pairs)
    ):
        raise response.error(
            ResponseMismatchError,
            f"Cannot trust this server: one sample gets {list_numbers(alone[:3])} alone, as "
            f"{other}, and {list_numbers(batched[:3])} in a batch, as {request.encoding}. A "
            "gateway changes the values, or the server mixes up the samples of a request. "
            "Connect to the server itself.",
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
