"""A server that dies in the middle of score_many, and comes back behind the same URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ..real.killing import check_killed_and_started_again

if TYPE_CHECKING:
    from .bench import Bench


@pytest.mark.parametrize("model", ["llama"])
def test_killed_and_started_again(bench: Bench, model: str) -> None:
    check_killed_and_started_again(bench, model)
