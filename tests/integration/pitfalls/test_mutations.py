"""The list of measures fits the package and the tests; `nox -s cures` proves what it says."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

import reward_client

from .mutate import look, mutated, places
from .mutations import PITFALLS, Mutation

PACKAGE = Path(reward_client.__file__).parent
TESTS = Path(__file__).parents[2]
MUTATIONS = [
    (number, mutation) for number, pitfall in PITFALLS.items() for mutation in pitfall.mutations
]


def name(value: object) -> str:
    return value.does if isinstance(value, Mutation) else str(value)


def test_every_pitfall_has_a_mutation() -> None:
    assert list(PITFALLS) == sorted(PITFALLS)
    assert all(pitfall.mutations for pitfall in PITFALLS.values())


@pytest.mark.parametrize(("number", "mutation"), MUTATIONS, ids=name)
def test_a_measure_is_in_the_package_once(number: int, mutation: Mutation) -> None:
    """If the code has changed, say in `mutations.py` how the measure is taken out of it now."""
    source = (PACKAGE / mutation.file).read_text(encoding="utf-8")
    assert len(places(source, mutation.present)) == 1
    if mutation.file.endswith(".py"):
        assert ast.dump(ast.parse(mutated(source, mutation))) != dumped(source)


@pytest.mark.parametrize(
    "written",
    [
        "if a:\n        f(x, [y])\n",
        "if a:\n    f(\n        x,\n        [y],\n    )\n",
        "if a: f( x ,[ y ] )\n",
    ],
)
def test_formatting_hides_no_measure(written: str) -> None:
    mutation = Mutation("", "a.py", "    f(x, [y])\n", "    g(x)\n    h(y)\n", ())
    source = f"ff(x, [y])\n{written}f(x, [y, z])\n"
    [(start, end)] = places(source, mutation.present)
    assert "".join(source[start:end].split()) in ("f(x,[y])", "f(x,[y],)")
    if "\n " in written:
        assert ast.unparse(ast.parse(mutated(source, mutation))) == (
            "ff(x, [y])\nif a:\n    g(x)\n    h(y)\nf(x, [y, z])"
        )


def test_a_measure_without_a_substitute_takes_its_line_along() -> None:
    mutation = Mutation("", "a.py", "    f(x)\n", "", ())
    assert mutated("if a:\n        f( x )\n        y\n", mutation) == "if a:\n        y\n"


@pytest.mark.parametrize(("number", "mutation"), MUTATIONS, ids=name)
def test_its_tests_exist(number: int, mutation: Mutation) -> None:
    assert mutation.tests
    for test in mutation.tests:
        file, _, function = test.partition("::")
        assert function in functions(TESTS / file)


@pytest.mark.parametrize("number", PITFALLS)
def test_tests_named_after_a_pitfall_are_listed(number: int) -> None:
    """Else they would show no more than that the client works."""
    listed = {
        test.partition("::")[2]
        for mutation in PITFALLS[number].mutations
        for test in mutation.tests
    }
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
    mutation = Mutation("", "_base/json_values.py", "is_list(value) else None", absent, (READS,))
    outcome = look(mutation, READS)
    assert outcome.failed is failed
    assert outcome.problem.startswith(problem)
    assert bool(outcome.problem) is bool(problem)


@cache
def dumped(source: str) -> str:
    return ast.dump(ast.parse(source))


@cache
def functions(file: Path) -> frozenset[str]:
    """The names of a file's functions."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))
