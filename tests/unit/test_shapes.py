"""Which shape a server answers in, told from a handful of token lists of different lengths."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward_client.errors import NotARewardError, ShapeError
from reward_client.heads import ScalarHead
from reward_client.routes import Layout, PooledOutput, find_layout

COUNTS = [3, 4, 5]


def vectors(width: int) -> list[PooledOutput]:
    return [PooledOutput([1.0] * width, None) for _ in COUNTS]


def rows(width: int, counts: list[int] | None = None) -> list[PooledOutput]:
    return [PooledOutput([1.0] * (n * width), n) for n in counts or COUNTS]


def flat_rows(width: int) -> list[PooledOutput]:
    return [PooledOutput(output.values, None) for output in rows(width)]


@given(st.integers(1, 5000))
def test_vectors(width: int) -> None:
    assert find_layout(vectors(width), COUNTS) == Layout("vector", width)


@given(st.integers(1, 50))
def test_one_row_for_each_token(width: int) -> None:
    assert find_layout(rows(width), COUNTS) == Layout("per token", width)
    assert find_layout(flat_rows(width), COUNTS) == Layout("per token", width)


def test_one_row_for_each_step() -> None:
    for counts in ([0, 0, 0], [1, 0, 2], [1, 1, 1]):
        layout = find_layout(rows(2, counts), COUNTS)
        assert layout is not None
        assert isinstance(layout.scalar_problem(), ShapeError)


def test_no_shape() -> None:
    assert find_layout([PooledOutput([1.0] * n, None) for n in (1, 2, 3)], COUNTS) is None


@pytest.mark.parametrize(
    ("layout", "kind"),
    [
        (Layout("vector", 1), None),
        (Layout("per token", 1), None),
        (Layout("vector", 2), ShapeError),
        (Layout("per token", 2), ShapeError),
        (Layout("vector", 64), ShapeError),
        (Layout("vector", 65), NotARewardError),
        (Layout("vector", 8192), NotARewardError),
        (Layout("per token", 128), NotARewardError),
        (Layout("vector", 0), ShapeError),
    ],
)
def test_what_a_scalar_reward_can_be_read_from(layout: Layout, kind: type | None) -> None:
    problem = layout.scalar_problem()
    assert type(problem) is (kind or type(None))


@pytest.mark.parametrize(
    ("layout", "output", "right"),
    [
        (Layout("vector", 1), PooledOutput([1.0], None), True),
        (Layout("vector", 1), PooledOutput([1.0, 2.0], None), False),
        (Layout("vector", 1), PooledOutput([1.0], 1), False),
        (Layout("vector", 1), PooledOutput([], None), False),
        (Layout("per token", 1), PooledOutput([1.0, 2.0, 3.0], 3), True),
        (Layout("per token", 1), PooledOutput([1.0, 2.0, 3.0], None), True),
        (Layout("per token", 1), PooledOutput([1.0, 2.0], 2), False),
        (Layout("per token", 1), PooledOutput([1.0] * 6, 3), False),
        (Layout("per token", 2), PooledOutput([1.0] * 6, 3), True),
        (Layout("per token", 1), PooledOutput([], 0), False),
    ],
)
def test_a_reply_has_the_shape_that_was_found(
    layout: Layout, output: PooledOutput, *, right: bool
) -> None:
    assert (layout.problem(output, token_count=3) is None) == right


def test_a_per_token_reward_is_the_last_token_s() -> None:
    assert ScalarHead().value(PooledOutput([1.0, 2.0, 3.0], 3)) == 3.0
    assert ScalarHead().value(PooledOutput((0.25,), None)) == 0.25
