"""Which shape a server answers in, told from a handful of token lists of different lengths."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward_client._protocols.pooled_output import Layout, PooledOutput, find_layout
from reward_client.errors import NotARewardError, ShapeError
from reward_client.heads import Head, ObjectiveHead, ScalarHead, StepHead

COUNTS = [3, 4, 5]
STEPS = [1, 2, 1]
NO_STEPS = [0, 0, 0]
STEP_HEAD = StepHead(step_token=5, good_label=1, aggregate="min")


def vectors(width: int) -> list[PooledOutput]:
    return [PooledOutput([1.0] * width, None) for _ in COUNTS]


def rows(width: int, counts: list[int] | None = None) -> list[PooledOutput]:
    return [PooledOutput([1.0] * (n * width), n) for n in counts or COUNTS]


def flat_rows(width: int) -> list[PooledOutput]:
    return [PooledOutput(output.values, None) for output in rows(width)]


@given(st.integers(1, 5000))
def test_vectors(width: int) -> None:
    for steps in (NO_STEPS, STEPS):
        assert find_layout(vectors(width), COUNTS, steps) == Layout("vector", width)


@given(st.integers(1, 50))
def test_one_row_for_each_token(width: int) -> None:
    for steps in (NO_STEPS, STEPS):
        assert find_layout(rows(width), COUNTS, steps) == Layout("per token", width)
        assert find_layout(flat_rows(width), COUNTS, steps) == Layout("per token", width)


@given(st.integers(1, 50))
def test_one_row_for_each_step(width: int) -> None:
    expected = Layout("per step", width)
    assert find_layout(rows(width, STEPS), COUNTS, STEPS) == expected
    flat = [PooledOutput(output.values, None) for output in rows(width, STEPS)]
    assert find_layout(flat, COUNTS, STEPS) == expected


@pytest.mark.parametrize("counts", [[0, 0, 0], [1, 0, 2], [1, 1, 1]])
def test_rows_for_steps_that_the_client_does_not_know_of(counts: list[int]) -> None:
    layout = find_layout(rows(2, counts), COUNTS, NO_STEPS)
    assert layout == Layout("per step", 0)
    assert "StepHead" in str(ScalarHead().problem(layout))
    assert "step_tag_id" in str(STEP_HEAD.problem(layout))


def test_nothing_for_lists_without_a_step() -> None:
    assert find_layout([PooledOutput([], None)] * 3, COUNTS, NO_STEPS) == Layout("per step", 0)


def test_no_shape() -> None:
    outputs = [PooledOutput([1.0] * n, None) for n in (1, 2, 3)]
    assert find_layout(outputs, COUNTS, NO_STEPS) is None


@pytest.mark.parametrize(
    ("head", "layout", "kind"),
    [
        (ScalarHead(), Layout("vector", 1), None),
        (ScalarHead(), Layout("per token", 1), None),
        (ScalarHead(), Layout("per step", 1), ShapeError),
        (ScalarHead(), Layout("vector", 2), ShapeError),
        (ScalarHead(), Layout("per token", 2), ShapeError),
        (ScalarHead(), Layout("vector", 64), ShapeError),
        (ScalarHead(), Layout("vector", 65), NotARewardError),
        (ScalarHead(), Layout("vector", 8192), NotARewardError),
        (ScalarHead(), Layout("per token", 128), NotARewardError),
        (ObjectiveHead(5), Layout("vector", 5), None),
        (ObjectiveHead(5), Layout("per token", 5), None),
        (ObjectiveHead(5), Layout("per step", 5), ShapeError),
        (ObjectiveHead(5), Layout("vector", 4), ShapeError),
        (ObjectiveHead(5), Layout("vector", 1), ShapeError),
        (ObjectiveHead(5), Layout("vector", 128), NotARewardError),
        (STEP_HEAD, Layout("per step", 2), None),
        (STEP_HEAD, Layout("per token", 2), None),
        (STEP_HEAD, Layout("per step", 3), None),
        (STEP_HEAD, Layout("per step", 1), ShapeError),
        (STEP_HEAD, Layout("vector", 2), ShapeError),
        (STEP_HEAD, Layout("vector", 128), NotARewardError),
        (STEP_HEAD, Layout("per token", 128), NotARewardError),
        (StepHead(step_token=5, good_label=None, aggregate="min"), Layout("per step", 1), None),
        (
            StepHead(step_token=5, good_label=None, aggregate="min"),
            Layout("per step", 2),
            ShapeError,
        ),
        (StepHead(step_token=5, good_label=2, aggregate="min"), Layout("per step", 2), ShapeError),
    ],
)
def test_what_a_head_can_read(head: Head, layout: Layout, kind: type | None) -> None:
    assert type(head.problem(layout)) is (kind or type(None))


@pytest.mark.parametrize(
    ("layout", "named"),
    [
        (Layout("vector", 5), "ObjectiveHead(5)"),
        (Layout("per token", 2), "StepHead"),
        (Layout("per step", 2), "StepHead"),
        (Layout("vector", 128), "LinearHead"),
    ],
)
def test_the_heads_to_choose_from_are_named(layout: Layout, named: str) -> None:
    assert named in str(ScalarHead().problem(layout))


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
        (Layout("per step", 2), PooledOutput([1.0] * 4, 2), True),
        (Layout("per step", 2), PooledOutput([1.0] * 4, None), True),
        (Layout("per step", 2), PooledOutput([1.0] * 2, 1), False),
        (Layout("per step", 2), PooledOutput([1.0] * 6, 3), False),
        (Layout("per step", 2), PooledOutput([], 0), False),
    ],
)
def test_a_reply_has_the_shape_that_was_found(
    layout: Layout, output: PooledOutput, *, right: bool
) -> None:
    assert layout.fits(output, token_count=3, step_count=2) == right
