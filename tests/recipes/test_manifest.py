"""The manifest of an exported checkpoint: a recipe in JSON."""

from __future__ import annotations

import copy
import json
import math
import pickle

import pytest

from reward_client import (
    ObjectiveHead,
    RecipeError,
    RewardClient,
    ScalarHead,
    StepHead,
)
from reward_client.cli import main
from reward_client.recipes import load_recipe

from ..support.manifests import layer, manifest, reference, write

STEPS = {"type": "steps", "step_token": 7, "good_label": 1, "aggregate": "min"}
TWO = {"type": "objectives", "names": ["help", "harm"]}
GOOD = manifest(reference([1, 2], 0.5))


def altered(path, value):
    """The good manifest with another value at this place."""
    content = copy.deepcopy(GOOD)
    table = content
    for key in path[:-1]:
        table = table[key]
    table[path[-1]] = value
    return content


@pytest.fixture
def load(tmp_path):
    return lambda content: load_recipe(write(tmp_path, content))


def test_is_a_recipe(load):
    recipe = load(GOOD)
    assert recipe.name == "judge, exported"
    assert recipe.head == ScalarHead()
    assert recipe.export.source == "my/judge"
    assert [each.out_features for each in recipe.export.layers] == [1]
    assert recipe.references[0].expected == 0.5
    assert recipe.commands == {"today": "vllm serve DESTINATION --runner pooling"}
    assert pickle.loads(pickle.dumps(recipe)) == recipe


def test_digest_is_of_the_export_too(load):
    assert load(GOOD).digest != load(altered(["export", "sign"], -1)).digest


@pytest.mark.parametrize(
    ("head", "layers", "built"),
    [
        ({"type": "scalar"}, [layer(128, 64, "relu"), layer(64, 1)], ScalarHead()),
        (TWO, [layer(128, 2)], ObjectiveHead(["help", "harm"])),
        (STEPS, [layer(128, 2)], StepHead(step_token=7, good_label=1, aggregate="min")),
        (
            {**STEPS, "good_label": None},
            [layer(128, 1)],
            StepHead(step_token=7, good_label=None, aggregate="min"),
        ),
        (None, [layer(128, 2)], None),
    ],
)
def test_heads(load, head, layers, built):
    assert load(manifest(head=head, layers=layers)).head == built


def test_the_path_is_a_recipe_of_both_clients(tmp_path):
    path = write(tmp_path, GOOD)
    for given in (path, str(path)):
        with RewardClient("http://nobody", recipe=given) as client:
            assert client._session.config.known_recipe == load_recipe(path)
    with pytest.raises(RecipeError, match=r"\.toml or \.json"):
        RewardClient("http://nobody", recipe="judge.yaml")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (altered(["modells"], []), "modells: Extra inputs are not permitted"),
        (altered(["export", "author"], "me"), "export.author: Extra"),
        (altered(["export", "layers", 0, "gain"], 1), "export.layers.0.gain: Extra"),
        (altered(["export", "layers"], []), "export.layers: Tuple should have at least 1"),
        (altered(["export", "layers", 0, "out_features"], 1.0), "out_features: Input should be"),
        (altered(["export", "layers", 0, "out_features"], 0), "greater than 0"),
        (altered(["export", "layers", 0, "out_features"], 2), "the last layer has 2 outputs"),
        (altered(["export", "layers"], [layer(128, 64), layer(32, 1)]), "has 64 outputs, but"),
        (altered(["export", "digests"], {"config.json": "abc"}), "String should match pattern"),
        (altered(["export", "sign"], 0), "export.sign: Input should be 1 or -1"),
        (altered(["export", "scale"], math.nan), "export.scale: Input should be a finite number"),
        (altered(["export", "scale"], 0.0), "export.scale: Input should be greater than 0"),
        ({"name": "judge", "output": "vector"}, "exactly one of a head, a verdict and a refusal"),
        (altered(["references", 0, "expected"], math.nan), "finite number"),
        (altered(["references", 0, "expected"], math.inf), "finite number"),
        (altered(["references", 0, "expected"], "0.5"), "references.0.expected"),
        (altered(["references", 0, "expected"], [0.5, 0.5]), "head with steps or objectives"),
        (altered(["references", 0, "tolerance"], 0), "greater than 0"),
        (altered(["references", 0, "token_ids"], [1, -2]), "greater than or equal to 0"),
        (altered(["references", 0, "token_ids"], [1, True]), "valid integer"),
        (altered(["references", 0, "token_ids"], []), "at least 1"),
        (altered(["refusal"], "no"), "cannot have a refusal"),
        (altered(["head"], STEPS), "the last layer has 1 outputs"),
        (
            manifest(reference([1, 7], [0.5, 0.5]), head=STEPS, layers=[layer(128, 2)]),
            "references.0: 2 values do not fit 1 step tokens",
        ),
        (
            manifest(reference([1], [0.5, 0.5, 0.5]), head=TWO, layers=[layer(128, 2)]),
            "references.0: 3 values do not fit 2 objectives",
        ),
        (
            manifest(reference([1], 0.5), head=TWO, layers=[layer(128, 2)]),
            "references.0: objectives without weights",
        ),
        ([GOOD], "is not an object"),
        ("manifest", "is not an object"),
        (altered(["name"], 3), "name: Input should be a valid string"),
        (altered(["notes"], ["\ud800"]), "invalid"),
    ],
)
def test_wrong_manifests(tmp_path, content, reason):
    path = write(tmp_path, content)
    for attempt in (load_recipe, lambda path: RewardClient("http://nobody", recipe=path)):
        with pytest.raises(RecipeError) as caught:
            attempt(path)
        assert "reward_client.json" in str(caught.value)
        assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "not a JSON file of a recipe"),
        (b"{", "not a JSON file of a recipe"),
        (b"\xff\xfe\x00", "not a JSON file of a recipe"),
        (b"[" * 100_000, "not a JSON file of a recipe"),
        (b'{"name": "a", "name": "b"}', "twice"),
        (b'{"export": {"sign": 1, "sign": -1}}', "twice"),
        (b'[head]\ntype = "scalar"', "not a JSON file of a recipe"),
        (json.dumps(GOOD).encode() + b" " * 10_000_000, "larger than 8 MiB"),
        (b'{"name": ' + b"9" * 5000 + b"}", "not a JSON file of a recipe"),
    ],
)
def test_files_that_are_none(tmp_path, text, reason):
    path = tmp_path / "reward_client.json"
    path.write_bytes(text)
    with pytest.raises(RecipeError, match=reason):
        load_recipe(path)


def test_not_every_fault_of_thousands_is_told(load):
    with pytest.raises(RecipeError, match=r"And 1991 more\.$"):
        load(altered(["references", 0, "token_ids"], ["a"] * 2000))


def test_printed(tmp_path, capsys):
    content = manifest(reference([1, 2], 0.5), layers=[{**layer(128, 1), "bias": "score.bias"}])
    content["export"].update(sign=-1, scale=0.5)
    assert main(["recipe", str(write(tmp_path, content))]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert "from my/judge (JudgeForScore) by reward_client 0.1.0" in lines
    assert "score.1.weight and score.bias: 128 to 1, identity" in lines
    assert "negated: the source returns a cost" in lines
    assert "multiplied by 0.5" in lines
    assert "vllm serve DESTINATION --runner pooling" in lines
    assert "0.5 ± 0.01 for 2 token IDs [torch float32]" in lines


def test_a_file_that_is_not_there_is_not_printed(tmp_path, capsys):
    assert main(["recipe", str(tmp_path / "reward_client.json")]) == 2
    assert "Cannot read" in capsys.readouterr().err
