"""Asking a server that seems to apply an exported head for what proves it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from reward_client._base.activation import Activation
from reward_client._protocols.http import Transport
from reward_client._protocols.vllm.scoring_request import Encoding
from reward_client._server.manifest_checks import disagreement, reported
from reward_client._server.negotiation import Negotiated
from reward_client._server.state import is_same
from reward_client._tokenization.prompt_rules import PromptRules
from reward_client.errors import RecipeError, ResponseMismatchError, ShapeError
from reward_client.heads import Rows
from reward_client.recipes import Reference

# How far apart the values of one sample may lie, alone and among others, as a part of how far those
# of different samples do: an engine's rounding moves them less, and another sample's lie further.
_ROUNDING = 0.1
_OTHER: dict[Encoding, Encoding] = {"base64": "float", "float": "base64"}


async def cross_check(transport: Transport, model: str, found: Negotiated) -> None:
    """Asks for one probe alone, in the other encoding: it must be what came among the others.

    A gateway may write the numbers anew, and a server mix its batches up.

    Raises:
        ResponseMismatchError: It is another value.
        RewardClientError: As `Transport.call` and `ScoringRequest.read`.
    """
    ask, ids, packed = found.way.ask, found.ids[-1], found.outputs[-1].values
    other = _OTHER[ask.encoding]
    response = await transport.call(ask.call(model, [ids], other))
    try:
        (output,) = ask.read(response, [ids], other)
    except ShapeError:
        (output,) = ask.read(
            response, [ids]
        )  # encoding_format is not heeded: the value may be right
    alone = output.values
    values = list(chain.from_iterable(each.values for each in found.outputs))
    rounding = _ROUNDING * (max(values) - min(values))
    pairs = zip(alone, packed, strict=False)
    if len(alone) != len(packed) or not (
        is_same(alone, packed) or all(abs(one - two) <= rounding for one, two in pairs)
    ):
        raise response.error(
            ResponseMismatchError,
            f"A sample that is asked for alone, as {other}, gets {_listed(alone)}, and among "
            f"others, as {ask.encoding}, {_listed(packed)}. A gateway changes the values, or the "
            "server mixes up the samples of a request: ask the server itself, without what is "
            "before it.",
        )


async def prove_head(
    transport: Transport,
    model: str,
    found: Negotiated,
    rules: PromptRules,
    activation: Activation,
    references: Sequence[Reference],
) -> None:
    """Scores the references of a manifest, all in one request, by the way that was found.

    Raises:
        NotARewardError: One of them gets another value than the manifest says.
        RecipeError: They are of another head.
        RewardClientError: As `Transport.call` and `ScoringRequest.read`.
    """
    lists = [reference.token_ids or () for reference in references]
    response = await transport.call(found.way.ask.call(model, lists))
    outputs = found.way.ask.read(response, lists)
    for number, (reference, ids, output) in enumerate(
        zip(references, lists, outputs, strict=True), start=1
    ):
        places = rules.step_places(ids)
        if rules.step is not None and not places:
            raise RecipeError(
                f"Reference {number} of the manifest has no token {rules.step.token_id}, by which "
                "steps end here: it is of another head, or of another tokenizer than the server's."
            )
        problem = found.layout.problem(output, len(ids), len(places))
        if problem is not None:
            raise response.error(ShapeError, problem)
        rows = Rows(found.layout.rows(output), found.layout.kind, places)
        values = reported(reference, found.head.read(rows, activation))
        error = disagreement(reference, number, values)
        if error is not None:
            raise response.error(type(error), str(error))


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.6g}" for value in values[:3])
