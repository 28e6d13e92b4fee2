"""Requests that prove a discovered server: its exported head, and its logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

from reward_client._base.activation import Activation
from reward_client._base.wording import list_numbers
from reward_client._protocols.http import Transport
from reward_client._protocols.vllm.scoring_request import Encoding
from reward_client._server.manifest_checks import disagreement, reported
from reward_client._server.negotiation import Negotiated
from reward_client._server.state import is_same
from reward_client._tokenization.prompt_rules import PromptRules
from reward_client.errors import ActivationError, RecipeError, ResponseMismatchError, ShapeError
from reward_client.heads import Rows
from reward_client.recipes import Reference

# The tolerance between the values of one sample, alone and in a batch, as a share of the range of
# different samples' values: an engine's rounding moves them less, another sample's value lies
# further away.
_BATCH_TOLERANCE = 0.1
_LOGPROB_ROUNDING = 1e-3
"""How far rounding may lift a log-probability above 0."""

_OTHER_ENCODING: dict[Encoding, Encoding] = {"base64": "float", "float": "base64"}


async def cross_check(transport: Transport, model: str, found: Negotiated) -> None:
    """Score one probe alone, in the other encoding, and compare it with its value in the batch.

    A gateway may rewrite the numbers, and a server may mix up its batches.

    Raises:
        ResponseMismatchError: If the values differ.
        RewardClientError: As `Transport.send` and `ScoringRequest.read`.
    """
    request, ids, batched = found.strategy.request, found.ids[-1], found.outputs[-1].values
    other = _OTHER_ENCODING[request.encoding]
    response = await transport.send(request.build(model, [ids], other))
    try:
        (output,) = request.read(response, [ids], other)
    except ShapeError:
        # The server ignores encoding_format: the value may be right.
        (output,) = request.read(response, [ids])
    alone = output.values
    values = list(chain.from_iterable(each.values for each in found.outputs))
    rounding = _BATCH_TOLERANCE * (max(values) - min(values))
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
    transport: Transport,
    model: str,
    found: Negotiated,
    rules: PromptRules,
    activation: Activation,
    references: Sequence[Reference],
) -> None:
    """Score the references of a manifest in one request, and compare the values.

    Raises:
        NotARewardError: If a value differs from the manifest.
        RecipeError: If the references belong to another head.
        RewardClientError: As `Transport.send` and `ScoringRequest.read`.
    """
    lists = [reference.token_ids or () for reference in references]
    response = await transport.send(found.strategy.request.build(model, lists))
    outputs = found.strategy.request.read(response, lists)
    for number, (reference, ids, output) in enumerate(
        zip(references, lists, outputs, strict=True), start=1
    ):
        steps = rules.step_places(ids)
        if rules.step is not None and not steps:
            raise RecipeError(
                f"Reference {number} of the manifest has no step token {rules.step.token_id}: it "
                "belongs to another head, or to another tokenizer than the server's. Export the "
                "checkpoint again."
            )
        problem = found.layout.problem(output, len(ids), len(steps))
        if problem is not None:
            raise response.error(ShapeError, problem)
        rows = Rows(found.layout.rows(output), found.layout.kind, steps)
        error = disagreement(
            reference, number, reported(reference, found.head.read(rows, activation))
        )
        if error is not None:
            raise response.error(type(error), str(error))


async def prove_logits(transport: Transport, model: str, found: Negotiated) -> Activation:
    """Prove that a generating server answers logits: the likeliest token's is above 0 somewhere.

    A log-probability is never above 0. No server says which of the two it answers.

    Raises:
        ActivationError: If the numbers may be log-probabilities.
        RewardClientError: As `Transport.send`.
    """
    likeliest = replace(found.strategy.request, tokens=())
    response = await transport.send(likeliest.build(model, found.ids))
    numbers = [output.values[0] for output in likeliest.read(response, found.ids)]
    if max(numbers) > _LOGPROB_ROUNDING:
        return Activation("none", "probe")
    raise response.error(
        ActivationError,
        f"Cannot read logits: the likeliest tokens after {len(numbers)} probes have numbers up to "
        f"{max(numbers):.4g}, none above 0, so these are log-probabilities. Start the server with "
        f"{found.strategy.flag} (vLLM 0.10.0 and later).",
    )
