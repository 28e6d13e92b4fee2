"""Comparison of texts and token lists."""

from __future__ import annotations

from collections.abc import Sequence


def common_prefix_length(one: Sequence[object], other: Sequence[object]) -> int:
    """Return the length of the common beginning, which is the index of the first difference."""
    pairs = enumerate(zip(one, other, strict=False))
    different = (index for index, (mine, theirs) in pairs if mine != theirs)
    return next(different, min(len(one), len(other)))
