"""Checks of numbers that callers and files provide."""

from __future__ import annotations

import math
from typing import TypeGuard


def is_finite_number(value: object) -> TypeGuard[float]:
    """Return True for a finite int or float, including NumPy's float64; False for a bool."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # the integer is larger than any float
        return False
