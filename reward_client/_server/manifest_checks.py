"""What must be true of a server that applies the whole head of an exported checkpoint. Pure.

vLLM at most logs that it could not load a ``Dense`` module, and answers what the others make of the
hidden state, or the hidden state itself (code of 0.32.0, ``model_executor/models/adapters.py``; a
file that is missing was not even logged there).
"""

from __future__ import annotations

from collections.abc import Sequence

from reward_client._protocols.vllm import Layout
from reward_client._protocols.vllm.versions import Kind, VersionRange, first_with
from reward_client.errors import NotARewardError, RecipeError
from reward_client.heads import Head, Scores, StepHead
from reward_client.recipes import ExportTable, Recipe, Reference

_CAUSE = (
    'The server did not load all of the Dense modules, which at most its log says ("ST projector '
    'loading failed", "Failed to load"), or it serves another checkpoint than the manifest is of. '
    "Look into its log, serve the folder that the manifest lies in, with vLLM 0.10.2 or later "
    "(earlier ones apply no Dense modules), and export it anew if a file is missing."
)


def provable(recipe: Recipe | None, limit: int | None) -> list[Reference]:
    """The references of a manifest that prove its head: token IDs that the server takes."""
    if recipe is None or recipe.export is None:
        return []
    return [
        reference
        for reference in recipe.references
        if reference.token_ids and (limit is None or len(reference.token_ids) <= limit)
    ]


def unserved(era: VersionRange, head: Head | None, version: str | None) -> NotARewardError | None:
    """The error for a version that applies no exported head, None for others."""
    kind: Kind = "exported steps" if isinstance(head, StepHead) else "exported"
    if kind in era.ways:
        return None
    what = (
        "has no task that answers what Dense modules make of each token"
        if kind == "exported steps"
        else "applies no Dense modules: of an exported checkpoint it answers hidden states"
    )
    return NotARewardError(f"vLLM {version} {what}. Serve it with {first_with(kind)} or later.")


def wrong_width(layout: Layout, export: ExportTable | None) -> NotARewardError | None:
    """The error for rows of another width than a manifest's head gives, None for others."""
    if export is None:
        return None
    first, last = export.layers[0], export.layers[-1]
    if layout.width == last.out_features:
        return None
    hidden = " (hidden states)" if layout.width == first.in_features else ""
    return NotARewardError(
        f"The server answers rows of {layout.width} numbers{hidden}, and the head that the "
        f"manifest tells of gives {last.out_features}. {_CAUSE}"
    )


def reported(reference: Reference, scores: Scores) -> list[float]:
    """What was found where a reference says what is expected."""
    if isinstance(reference.expected, tuple):
        return [step.value for step in scores.steps] or list(scores.objectives.values())
    return [] if scores.value is None else [scores.value]


def agrees(reference: Reference, found: Sequence[float]) -> bool:
    """Whether each value is the expected one, as far as its tolerance tells."""
    expected = _expected(reference)
    return len(found) == len(expected) and all(
        abs(value - wanted) <= reference.tolerance
        for value, wanted in zip(found, expected, strict=True)
    )


def disagreement(
    reference: Reference, number: int, found: Sequence[float]
) -> NotARewardError | RecipeError | None:
    """The error for values that are not those of a manifest's reference, None for others.

    Args:
        reference: The reference.
        number: Which of the manifest's it is, from 1.
        found: What the head reads of the server's reply.
    """
    expected = _expected(reference)
    if len(found) != len(expected):
        return RecipeError(
            f"Reference {number} of the manifest has {len(expected)} values, and the head reads "
            f"{len(found)}: they are of another head. Leave head= to the manifest, or give the one "
            "that it was verified with."
        )
    if agrees(reference, found):
        return None
    return NotARewardError(
        f"The server answers {_listed(found)} for reference {number} of the manifest "
        f"({len(reference.token_ids or ())} tokens), and {_listed(expected)} ± "
        f"{reference.tolerance:g} is right. {_CAUSE}"
    )


def _expected(reference: Reference) -> Sequence[float]:
    expected = reference.expected
    return expected if isinstance(expected, tuple) else (expected,)


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)
