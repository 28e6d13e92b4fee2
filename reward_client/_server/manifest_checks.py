"""Check that a server applies the whole head of an exported checkpoint. Pure.

If vLLM cannot load a ``Dense`` module, it at most logs that, and answers the output of the other
modules or the hidden state itself (code of 0.32.0, ``model_executor/models/adapters.py``; it does
not even log a missing file).
"""

from __future__ import annotations

from collections.abc import Sequence

from reward_client._base.wording import list_numbers
from reward_client._protocols.engine import Engine
from reward_client._protocols.pooled_output import Layout
from reward_client._protocols.strategies import ModelKind
from reward_client.errors import NotARewardError, RecipeError
from reward_client.heads import Head, Scores, StepHead
from reward_client.recipes import ExportTable, Recipe, Reference

_CAUSE = (
    "The server did not load all Dense modules, or it serves another checkpoint than the "
    'manifest describes. Look into its log ("ST projector loading failed", "Failed to load"), '
    "serve the folder of the manifest with vLLM 0.10.2 or later (earlier versions apply no Dense "
    "modules), and export it again if a file is missing."
)


def provable(recipe: Recipe | None, limit: int | None) -> list[Reference]:
    """Return the references of a manifest that prove its head: token IDs that the server takes."""
    if recipe is None or recipe.export is None:
        return []
    return [
        reference
        for reference in recipe.references
        if reference.token_ids and (limit is None or len(reference.token_ids) <= limit)
    ]


def unserved(engine: Engine, head: Head, version: str | None) -> NotARewardError | None:
    """Return the error for a version that applies no exported head; None for other versions."""
    kind: ModelKind = "exported steps" if isinstance(head, StepHead) else "exported"
    if kind in engine.range_of(version).strategies:
        return None
    gap = (
        "has no task that applies Dense modules to each token"
        if kind == "exported steps"
        else "applies no Dense modules, and answers hidden states of an exported checkpoint"
    )
    first = engine.first_version_with(kind)
    if first is None:
        advice = engine.advice
        cure = advice.exported_steps if kind == "exported steps" else advice.exported
    else:
        cure = f"Serve it with {first} or later."
    return NotARewardError(f"{engine.name} {version} {gap}. {cure}")


def wrong_width(layout: Layout, export: ExportTable | None) -> NotARewardError | None:
    """Return the error for rows of another width than the manifest's head; None for others."""
    if export is None:
        return None
    first, last = export.layers[0], export.layers[-1]
    if layout.width == last.out_features:
        return None
    hidden = " (hidden states)" if layout.width == first.in_features else ""
    return NotARewardError(
        f"The server answers rows of {layout.width} numbers{hidden}, and the manifest's head gives "
        f"{last.out_features}. {_CAUSE}"
    )


def reported(reference: Reference, scores: Scores) -> list[float]:
    """Return the values of the scores that the reference has expected values for."""
    if isinstance(reference.expected, tuple):
        return [step.value for step in scores.steps] or list(scores.objectives.values())
    return [] if scores.value is None else [scores.value]


def agrees(reference: Reference, found: Sequence[float]) -> bool:
    """Return True if each value equals the expected one within the reference's tolerance."""
    expected = _expected(reference)
    return len(found) == len(expected) and all(
        abs(value - wanted) <= reference.tolerance
        for value, wanted in zip(found, expected, strict=True)
    )


def disagreement(
    reference: Reference, number: int, found: Sequence[float]
) -> NotARewardError | RecipeError | None:
    """Return the error for values that contradict a manifest's reference; None if they agree.

    Args:
        reference: The reference.
        number: Its number in the manifest, from 1.
        found: The values that the head reads from the server's response.
    """
    expected = _expected(reference)
    if len(found) != len(expected):
        return RecipeError(
            f"Reference {number} of the manifest has {len(expected)} values, and the head reads "
            f"{len(found)}: the reference belongs to another head. Leave head= out, or give the "
            "head that verified the manifest."
        )
    if agrees(reference, found):
        return None
    return NotARewardError(
        f"The server answers {list_numbers(found)} for reference {number} of the manifest "
        f"({len(reference.token_ids or ())} tokens), and {list_numbers(expected)} ± "
        f"{reference.tolerance:g} is right. {_CAUSE}"
    )


def _expected(reference: Reference) -> Sequence[float]:
    expected = reference.expected
    return expected if isinstance(expected, tuple) else (expected,)
