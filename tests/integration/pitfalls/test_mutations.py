"""The list of cures fits the package and the tests; `nox -s cures` proves what it says."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

import reward_client

from .mutate import look, mutated, places
from .mutations import TRAPS, Cure

PACKAGE = Path(reward_client.__file__).parent
TESTS = Path(__file__).parents[2]
CURES = [(number, cure) for number, trap in TRAPS.items() for cure in trap.cures]


def name(value: object) -> str:
    return value.does if isinstance(value, Cure) else str(value)


def test_every_trap_has_a_cure() -> None:
    assert list(TRAPS) == list(range(1, 35))
    assert all(trap.cures for trap in TRAPS.values())


@pytest.mark.parametrize(("number", "cure"), CURES, ids=name)
def test_a_cure_is_in_the_package_once(number: int, cure: Cure) -> None:
    """If the code has changed, say in `mutations.py` how the measure is taken out of it now."""
    source = (PACKAGE / cure.file).read_text(encoding="utf-8")
    assert len(places(source, cure.present)) == 1
    if cure.file.endswith(".py"):
        assert ast.dump(ast.parse(mutated(source, cure))) != ast.dump(ast.parse(source))


@pytest.mark.parametrize(
    "written",
    [
        "if a:\n        f(x, [y])\n",
        "if a:\n    f(\n        x,\n        [y],\n    )\n",
        "if a: f( x ,[ y ] )\n",
    ],
)
def test_formatting_hides_no_measure(written: str) -> None:
    cure = Cure("", "a.py", "    f(x, [y])\n", "    g(x)\n    h(y)\n", ())
    source = f"ff(x, [y])\n{written}f(x, [y, z])\n"
    [(start, end)] = places(source, cure.present)
    assert "".join(source[start:end].split()) in ("f(x,[y])", "f(x,[y],)")
    if "\n " in written:
        assert ast.unparse(ast.parse(mutated(source, cure))) == (
            "ff(x, [y])\nif a:\n    g(x)\n    h(y)\nf(x, [y, z])"
        )


def test_a_measure_without_a_substitute_takes_its_line_along() -> None:
    cure = Cure("", "a.py", "    f(x)\n", "", ())
    assert mutated("if a:\n        f( x )\n        y\n", cure) == "if a:\n        y\n"


@pytest.mark.parametrize(("number", "cure"), CURES, ids=name)
def test_its_tests_exist(number: int, cure: Cure) -> None:
    assert cure.tests
    for test in cure.tests:
        file, _, function = test.partition("::")
        assert function in functions(TESTS / file)


@pytest.mark.parametrize("number", TRAPS)
def test_the_tests_that_are_named_after_a_trap_are_listed(number: int) -> None:
    """Else they would show no more than that the client works."""
    listed = {test.partition("::")[2] for cure in TRAPS[number].cures for test in cure.tests}
    named = {
        function
        for file in Path(__file__).parent.glob("test_*.py")
        for function in functions(file)
        if function.startswith(f"test_{number}_")
    }
    assert named <= listed


READS = "protocols/test_responses.py::test_items_are_sorted_by_index"


@pytest.mark.parametrize(
    ("absent", "failed", "problem"),
    [
        ("type(value) is list else None", False, ""),
        ("isinstance(value, dict) else None", True, ""),
        ("is_lits(value) else None", True, "call: NameError"),
        ("is_list(value else None", False, "pytest ended with"),
    ],
    ids=["no change", "noticed", "broken", "not even Python"],
)
def test_which_outcomes_prove_a_mutation_noticed(absent: str, failed: bool, problem: str) -> None:
    cure = Cure("", "_base/json_values.py", "is_list(value) else None", absent, (READS,))
    outcome = look(cure, READS)
    assert outcome.failed is failed
    assert outcome.problem.startswith(problem)
    assert bool(outcome.problem) is bool(problem)


@cache
def functions(file: Path) -> frozenset[str]:
    """The names of a file's functions."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))
