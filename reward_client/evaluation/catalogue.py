"""All benchmarks, and which one a file belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from reward_client._base.wording import shorten
from reward_client._printable import one_line
from reward_client.errors import InputError
from reward_client.evaluation.benchmark import Benchmark, Row
from reward_client.evaluation.choices import BEST_OF_N, PPE_CORRECTNESS
from reward_client.evaluation.lists import REWARDBENCH_2, RM_BENCH
from reward_client.evaluation.pairs import JUDGEBENCH, PPE_HUMAN, REWARDBENCH, RMB
from reward_client.evaluation.steps import PRMBENCH, PROCESSBENCH

BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType(
    {
        each.name: each
        for each in (
            *(REWARDBENCH, REWARDBENCH_2, RM_BENCH, JUDGEBENCH, RMB, PPE_HUMAN, PPE_CORRECTNESS),
            *(PROCESSBENCH, PRMBENCH, BEST_OF_N),
        )
    }
)
_COLUMNS_CHARACTERS = 400


def benchmark_of(name: str) -> Benchmark:
    """Return the benchmark of a name.

    Raises:
        InputError: If there is none.
    """
    if name not in BENCHMARKS:
        raise InputError(
            f"Cannot evaluate {str(name)[:40]!r}: no benchmark has this name. The benchmarks are "
            f"{', '.join(BENCHMARKS)}."
        )
    return BENCHMARKS[name]


def check_row(benchmark: Benchmark, row: Row) -> None:
    """Refuse the file of another benchmark by its first row.

    Raises:
        InputError: If the row is not one of the benchmark's.
    """
    if benchmark.fits(row):
        return
    other = next((each for each in BENCHMARKS.values() if each.fits(row)), None)
    columns = shorten(", ".join(one_line(str(name)) for name in row), _COLUMNS_CHARACTERS)
    looks = f" It looks like {other.title}: evaluate it as {other.name}." if other else ""
    raise InputError(
        f"Cannot evaluate this file as {benchmark.title}, which needs {benchmark.needs}. The "
        f"first row has {columns or 'no columns'}.{looks}"
    )
