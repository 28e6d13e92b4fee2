"""`reward-client recipe`."""

from __future__ import annotations

import pytest

from reward_client.cli import main
from reward_client.recipes import catalogue, find_recipe, recipe_names
from reward_client.recipes.model_names import model_key


def test_without_a_name_it_lists_all(capsys):
    assert main(["recipe"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(recipe_names())
    listed = dict(line.split("  ") for line in lines)
    assert listed.keys() == set(recipe_names())
    assert listed["Qwen/Qwen2.5-Math-PRM-7B"] == "(qwen2.5-math-prm: a number for each step)"
    assert listed["internlm/internlm2-7b-reward"] == "(internlm2-reward: one number)"
    assert listed["llm-blender/PairRM"] == "(pair-rm: refused)"


def test_the_cure_of_a_command_stands_above_it(capsys):
    """Who copies the command alone gets a random constant in every reward."""
    assert main(["recipe", "Skywork/Skywork-Reward-V2-Qwen3-8B"]) == 0
    _, _, serve = capsys.readouterr().out.partition("  SGLang, from 0.5.1 on:\n")
    caveat, launch, rest = serve.partition("    python -m sglang.launch_server ")
    assert launch
    assert "`reward-client zero-bias SOURCE COPY`" in caveat
    assert "zero-bias" not in rest


def test_of_a_model(capsys):
    assert main(["recipe", "/models/internlm2-1_8b-reward"]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    recipe = find_recipe("internlm/internlm2-1_8b-reward")
    assert lines[0] == f"internlm2-reward  (digest {recipe.digest[:12]})"
    assert "internlm2-7b-reward" not in out
    assert "  token IDs appended: 92527" in lines
    assert "  exactly one BOS" in lines
    assert "  sigmoid, unless the request asks for raw values" in lines
    today, old = recipe.commands["today"], recipe.commands["0.8"]
    assert f"Serve\n  {today}\n" in out
    assert f"  vLLM 0.8:\n    {old}\n" in out
    assert f"  SGLang, from 0.3.6.post3 on:\n    {recipe.commands['SGLang']}\n" in out
    assert "  internlm/internlm2-1_8b-reward: 0.4868164 ± 0.03 for" in out
    for source in recipe.sources:
        assert " ".join(source.split()) in " ".join(out.split())


def test_of_a_process_model(capsys):
    assert main(["recipe", "Qwen/Qwen2.5-Math-PRM-7B"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert (
        "a number for each step: token '<extra_0>', softmax, label 1 is good, "
        "product, steps split at '\\n\\n'"
    ) in out
    assert "1, 0.1904297, 0.9765625, 1 ± 0.06 for" in out


def test_of_a_model_that_is_refused(capsys):
    assert main(["recipe", "pku-alignment/beaver-7b-v1.0-COST"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "Not served by a stock vLLM This is a cost, not a reward" in out
    assert "Serve" not in out.partition("Not served")[2]


@pytest.mark.parametrize("name", catalogue())
def test_every_recipe_can_be_printed(capsys, name):
    assert main(["recipe", name]) == 0
    out = " ".join(capsys.readouterr().out.split())
    recipe = catalogue()[name]
    assert out.startswith(f"{name} (digest ")
    for words in [
        *recipe.models,
        *recipe.architectures,
        *recipe.caveats,
        *recipe.notes,
        *recipe.unconfirmed,
        *recipe.sources,
        *recipe.commands.values(),
        recipe.refusal or "",
        *(engine.refusal or "" for engine in recipe.engines.values()),
        *(caveat for engine in recipe.engines.values() for caveat in engine.caveats),
    ]:
        assert " ".join(words.split()) in out


@pytest.mark.parametrize(
    ("part", "keys"),
    [
        ("skywork", ["skywork"]),
        ("SKYWORK reward_v2", ["skywork", "reward-v2"]),
        ("Math-PRM", ["math-prm"]),
        ("nvidia/", ["nvidia"]),
        ("qwen 72b", ["qwen", "72b"]),
        ("8x7b", ["8x7b"]),
    ],
)
def test_a_part_of_a_name_lists_what_it_fits(capsys, part, keys):
    assert main(["recipe", part]) == 0
    found = [line.partition("  ")[0] for line in capsys.readouterr().out.splitlines()]
    families = {model: name for name, recipe in catalogue().items() for model in recipe.models}
    assert found
    assert sorted(found) == sorted(
        model
        for model, family in families.items()
        if all(key in model_key(f"{model} {family}") for key in keys)
    )


@pytest.mark.parametrize(
    ("name", "near"),
    [
        (
            "Skywork/Skywork-Reward-V2-Lama-3.1-8B",
            "Similar names: Skywork/Skywork-Reward-V2-Llama-3.1-8B, ",
        ),
        ("math-sheperd", "Similar names: math-shepherd"),
        ("zzzzzz", "`reward-client recipe` lists all names"),
        ("東京", "`reward-client recipe` lists all names"),
    ],
)
def test_unknown_names(capsys, name, near):
    assert main(["recipe", name]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"There is no recipe for {name!r}. {near}" in captured.err
