"""Every recipe of the catalogue: complete, sourced, and found by its models' names."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import time

import pytest
from pydantic import ValidationError

from reward_client import FormattedText, GenerationError, StepHead
from reward_client._client.config import verdict_of
from reward_client._doctor.server_checks import length_limit
from reward_client._protocols.engines import ENGINES
from reward_client._protocols.releases import release_of
from reward_client.recipes import Recipe, catalogue, find_recipe, recipe_names
from reward_client.recipes.loader import similar_model
from reward_client.recipes.model_names import model_key

from ..support.sglang_flags import sglang_flags

RECIPES = catalogue()
SERVED = {name: recipe for name, recipe in RECIPES.items() if recipe.head is not None}
JUDGES = {name: recipe for name, recipe in RECIPES.items() if recipe.verdict is not None}
REFUSED = {name: recipe for name, recipe in RECIPES.items() if recipe.refusal is not None}
COMMANDS = [
    (model, server, command)
    for recipe in RECIPES.values()
    for model in recipe.models
    for server, command in recipe.for_model(model).commands.items()
]
ON_SGLANG = [(model, command) for model, server, command in COMMANDS if server == "SGLang"]
SGLANG = ENGINES["sglang"]
LENGTH_OPTIONS = {"SGLang": "--context-length"}
SIZE = re.compile(r"(?:(\d+)x)?(\d+(?:\.\d+)?)b(?![a-z])")


def each(recipes):
    return pytest.mark.parametrize("recipe", recipes.values(), ids=recipes)


@each(RECIPES)
def test_is_of_models_and_has_sources(recipe):
    assert recipe.models
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+", model) for model in recipe.models)
    assert recipe.sources


@each(SERVED)
def test_served_models(recipe):
    assert recipe.head is not None
    assert recipe.architectures
    assert recipe.activation is not None
    assert (recipe.output == "per step") == isinstance(recipe.head, StepHead)
    assert "today" in recipe.serve


@each(JUDGES)
def test_judges(recipe):
    assert recipe.architectures
    assert recipe.head is recipe.refusal is recipe.output is recipe.activation is None
    assert not recipe.references
    for model in recipe.models:
        assert recipe.for_model(model).commands["today"].startswith(f"vllm serve {model}")
        assert "--runner" not in recipe.serve["today"]


VERDICTS = {
    "prometheus-2": {
        "Feedback: good. [RESULT] 4": 4,
        "so (so) [RESULT] (2)": 2,
        "[RESULT] 3.": 3,
        "[RESULT] 9": None,
        "[RESULT] 4.5": None,
        "[RESULT] 4/10": None,
        "[RESULT] 1,5": None,
        "[RESULT] 3-4": None,
        "[RESULT] 2. On reflection: [RESULT] Five": None,
    },
    "skywork-critic": {
        "[[A]]": 1,
        "[[B]]": -1,
        "[[A]] or rather [[ B ]]": -1,
        "I have to say [[A]] or [[B]]: [[C]]": None,
        "A": None,
    },
    "rm-r1": {
        "[[A]] <answer>[[B]]</answer>": -1,
        "<answer>[[A]]</answer>": 1,
        "<answer>[[A]]</answer> no, <answer>B</answer>": -1,
        "<answer>[[A]]</answer> or <answer>[[B]]</answer>? <answer>[[Tie]]</answer>": None,
        "[[A]]": None,
    },
    "nemotron-genrm": {
        "[The Begin of Individual Scores]\n\\boxed{2, 4} [The End of Individual Scores]\n"
        "[The Begin of Ranking Score]\n\\boxed{6}\n[The End of Ranking Score]": -1,
        "[The Begin of Ranking Score]\n\\boxed{3} [The End of Ranking Score]": 0.2,
        "[The Begin of Individual Scores]\n\\boxed{2, 4}": None,
        "[The Begin of Ranking Score] \\boxed{3} [The Begin of Ranking Score] \\boxed{3.5}": None,
    },
}


@each(JUDGES)
def test_verdicts_are_read(recipe):
    method = verdict_of(recipe)
    for text, value in VERDICTS[recipe.name].items():
        if value is None:
            with pytest.raises(GenerationError):
                method.value(text)
        else:
            assert method.value(text) == value
    compares = recipe.name != "prometheus-2"
    assert method.compares == compares
    turns = [{"role": "user", "content": "2+2?"}]
    asked = method.judge_prompt(turns, ["four", "five"][: 1 + compares])
    said = "".join(message["content"] for message in asked.messages)
    assert "2+2?" in said
    assert "four" in said
    assert ("five" in said) == compares


@each(REFUSED)
def test_refused_models_have_nothing_to_go_wrong_with(recipe):
    assert recipe.head is None
    assert not recipe.serve
    assert not recipe.references
    assert recipe.output is recipe.activation is None
    assert recipe.refusal.endswith(".")


@pytest.mark.parametrize(
    ("model", "command"), [(model, line) for model, _, line in COMMANDS], ids=lambda text: text[:60]
)
def test_a_model_fits_on_its_gpus(model, command):
    """In bfloat16, with a tenth of the memory left for the cache."""
    size = SIZE.search(model.lower())
    gigabytes = 2 * float(size[2]) * int(size[1] or 1) if size else 0
    words = shlex.split(command)
    option = "--tensor-parallel-size"
    gpus = int(words[words.index(option) + 1]) if option in words else 1
    assert gigabytes < 0.9 * 80 * gpus


@pytest.mark.parametrize(
    ("model", "server", "command"), COMMANDS, ids=lambda text: text.split(" ")[0][:60]
)
def test_74_commands_serve_no_more_tokens_than_were_trained_on(model, server, command):
    recipe = find_recipe(model)
    words = shlex.split(command)
    option = LENGTH_OPTIONS.get(server, "--max-model-len")
    limit = int(words[words.index(option) + 1]) if option in words else None
    assert limit == recipe.prompt.max_tokens, (model, server)
    engine = SGLANG if server == SGLANG.name else ENGINES["vllm"]
    assert length_limit(limit, recipe, engine).verdict == ("not checked" if limit is None else "ok")


def test_gpus_of_an_unknown_model():
    with pytest.raises(ValidationError, match="are not in models"):
        Recipe.model_validate({"name": "x", "head": {"type": "scalar"}, "gpus": {"a/b-70B": 4}})


@each(SERVED)
def test_commands_name_the_model_and_hold_json(recipe):
    for model in recipe.models:
        for version in recipe.serve:
            command = recipe.for_model(model).commands[version]
            words = shlex.split(command)
            assert words[:3] == ["vllm", "serve", model]
            assert "{model}" not in command
            assert ("--runner" in words) == (version != "0.8")
            assert ("--task" in words) == (version == "0.8")
            for option in ("--hf-overrides", "--pooler-config", "--override-pooler-config"):
                if option in words:
                    assert json.loads(words[words.index(option) + 1])


@each(SERVED | JUDGES)
def test_sglang_has_a_command_or_a_reason(recipe):
    sglang = recipe.engines[SGLANG.name]
    if sglang.refusal:
        assert sglang.refusal.endswith("Serve it with vLLM.")
    else:
        kind = "text" if recipe.verdict else "difference" if recipe.logit_tokens else "sequence"
        first = SGLANG.first_version_with(kind)
        assert release_of(sglang.since) >= release_of(first)
    assert any("SGLang" in source for source in recipe.sources)


@pytest.mark.parametrize(("model", "command"), ON_SGLANG)
def test_commands_of_sglang(model, command):
    recipe = find_recipe(model)
    words = shlex.split(command)
    assert words[:5] == ["python", "-m", "sglang.launch_server", "--model-path", model]
    assert ("--is-embedding" in words) == (recipe.head is not None and not recipe.logit_tokens)


@pytest.mark.parametrize(("version", "flags"), sglang_flags().items())
def test_sglang_knows_the_options_of_every_command(version, flags):
    assert ON_SGLANG
    for _, command in ON_SGLANG:
        options = {word for word in shlex.split(command)[3:] if word.startswith("--")}
        assert options <= flags, command


def test_random_biases_are_a_caveat():
    """Of every model whose head SGLang builds with a bias that checkpoints lack."""
    for recipe in RECIPES.values():
        biased = {"Qwen2ForSequenceClassification", "Qwen3ForSequenceClassification"}
        caveats = " ".join(recipe.engines["SGLang"].caveats) if recipe.engines else ""
        assert ("zero-bias" in caveats) == bool(biased & {*recipe.architectures}), recipe.name


@each(SERVED)
def test_references_are_exact(recipe):
    for reference in recipe.references:
        assert reference.source
        assert 0 < reference.tolerance <= 0.4
        assert reference.sample
        assert len(recipe.models) == 1 or reference.models
        if isinstance(recipe.head, StepHead):
            assert isinstance(reference.expected, tuple)
            assert all(0 <= value <= 1 for value in reference.expected)


def test_ids_and_their_last_parts_are_of_one_recipe_each():
    models = [model.casefold() for recipe in RECIPES.values() for model in recipe.models]
    assert len(set(models)) == len(models)
    parts = [model.rpartition("/")[2] for model in models]
    assert len(set(parts)) == len(parts)
    assert not {*models, *parts} & RECIPES.keys()
    assert sorted(models) == [name.casefold() for name in recipe_names()]


@pytest.mark.parametrize(
    "name",
    [
        "Skywork/Skywork-Reward-V2-Llama-3.1-8B",
        "skywork/skywork-reward-v2-LLAMA-3.1-8b",
        "/data/models/Skywork-Reward-V2-Llama-3.1-8B",
        "/data/models/Skywork-Reward-V2-Llama-3.1-8B/",
        "Skywork-Reward-V2-Llama-3.1-8B",
        "mirror/Skywork-Reward-V2-Llama-3.1-8B",
        "C:\\models\\Skywork-Reward-V2-Llama-3.1-8B",
        "/root/.cache/hub/models--Skywork--Skywork-Reward-V2-Llama-3.1-8B/snapshots/0123abcd",
        "/root/.cache/modelscope/hub/models/Skywork/Skywork-Reward-V2-Llama-3___1-8B",
        "/mnt/models/Skywork--Skywork-Reward-V2-Llama-3.1-8B",
        "mirror__Skywork-Reward-V2-Llama-3.1-8B",
        "skywork-skywork-reward-v2-llama-3-1-8b",
        "Skywork/Skywork-Reward-V2-Llama-3.1-8B@main",
        "models:/Skywork-Reward-V2-Llama-3.1-8B/3",
        "s3://bucket/Skywork-Reward-V2-Llama-3.1-8B/2026-10-01T10",
        "skywork-reward-v2-llama-3.1-8b:latest",
        "./Skywork-Reward-V2-Llama-3.1-8B/.",
        "/mnt/Skywork-Reward-V2-Llama-3.1-8B/versions/2",
        "/mnt/Skywork-Reward-V2-Llama-3.1-8B/final/merged",
        "skywork/skywork-reward-v2-llama-3.1-8b/transformers/default/1",
        f"oci://registry/skywork-reward-v2-llama-3.1-8b:1.2.0@sha256:{'0a' * 32}",
        "models:/Skywork-Reward-V2-Llama-3.1-8B@champion",
        "models:/Skywork-Reward-V2-Llama-3.1-8B/Staging",
        "s3://bucket/Skywork-Reward-V2-Llama-3.1-8B?versionId=3sL4.x",
        "/mnt/Skywork-Reward-V2-Llama-3.1-8B/original",
    ],
)
def test_found_by(name):
    recipe = find_recipe(name)
    assert recipe.name == "skywork-reward-v2-llama"
    assert recipe.models == ("Skywork/Skywork-Reward-V2-Llama-3.1-8B",)
    assert [reference.expected for reference in recipe.references] == [23.0, 3.59375]
    assert recipe.commands["today"].split()[2] == "Skywork/Skywork-Reward-V2-Llama-3.1-8B"


@pytest.mark.parametrize(
    "precision",
    [
        *["-FP8", "-FP8-dynamic", "-AWQ", "-GPTQ-Int4", "-bnb-4bit", "-quantized.w8a8", "-NVFP4"],
        *["-w4a16-g128", "-bf16", "-4bit", "-Q4_K_M.gguf", "-i1-GGUF", "-FP8-KV", "-NVFP4A16"],
        *["-EXL2-6.0bpw", "-gptq-4bit-128g", "-nf4", "-PTPC-FP8", "-hf", "-GGUF-Q5_K_M"],
        *["-UD-Q4_K_XL-GGUF", "-6_5bpw-h8-exl2", "-mlx-8bit-gs64", "-GPTQ-4bit-32g-actorder_True"],
        *["-FP8_E4M3FN", "-int4wo-hqq", "-auto-round-int4-sym", "-q4f16_1-MLC", "-Q4_0_4_4.gguf"],
        *["-W4A8KV4", "-int8-ov", "-FP8-per-channel", "-unsloth-bnb-4bit", "-iq3_XXS", "/fp16"],
        *["-BF16-00001-of-00003.gguf", ":q8_0", "/merged/AWQ", "-40M-FP8", "-MXFP4_MOE"],
    ],
)
def test_a_copy_in_another_precision_has_no_reference_values(precision):
    recipe = find_recipe(f"copies/Skywork-Reward-V2-Llama-3.1-8B{precision}")
    assert recipe.name == "skywork-reward-v2-llama"
    assert recipe.references == ()


OTHER = [
    *["-v0.2", "-20M", "-v2-FP8", "-FP8-tuned", "-merged", "-lora", "-math", "-DPO", "-q", "-1"],
    *["-4B", "-best", "-40M-v2", "-instruct", "-2bits-of-luck"],
]


@pytest.mark.parametrize("end", OTHER)
def test_a_name_with_other_words_looks_like_a_known_one(end):
    known = similar_model(f"mine/Skywork-Reward-V2-Llama-3.1-8B{end}")
    assert known == "Skywork/Skywork-Reward-V2-Llama-3.1-8B" + "-40M" * end.startswith("-40M")


KNOWN = "Skywork-Reward-V2-Llama-3.1-8B"


@pytest.mark.parametrize(
    "name",
    [
        *(f"my-{KNOWN}", f"/srv/unsloth_{KNOWN}", f"models:/prod.rm.{KNOWN}/3", f"{KNOWN}-step500"),
        *(
            f"/out/{KNOWN}/checkpoint-1200",
            f"/out/{KNOWN}/hf-1d54af3",
            f"{KNOWN}:8b-q4",
            f"{KNOWN}@x",
        ),
        *(f"/nix/store/abc123-{KNOWN}", f"https://h/x/{KNOWN}.git", f"{KNOWN}-predictor-00001"),
        *(
            "skywork-reward-v2-llama31-8b",
            "skywork_reward_v2_llama_31_8b",
            "SkyworkRewardV2Llama31-8B",
        ),
        *(f"/models/{KNOWN}/fp16/1/model.onnx", f"{KNOWN}--main-2", f"{KNOWN} (1)"),
    ],
)
def test_a_name_that_holds_a_known_one_looks_like_it(name):
    assert (find_recipe(name), similar_model(name)) == (None, f"Skywork/{KNOWN}")


@pytest.mark.parametrize(
    "name",
    [
        *("internlm2-7b", "internlm2-chat-7b", "Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-Math-7B"),
        *(
            "my-llama-3.1-8b-finetune",
            "bipolar-7b",
            "polar-70b",
            "polar-7bit",
            "reward-model",
            "rm",
        ),
        *(
            "Skywork-Reward-V2-Llama-3.1-80B",
            "QRM-Llama3.1-70B",
            "skywork-reward-v2",
            "UltraRM-130b",
        ),
        *(
            "internlm2-7b-rewarding",
            "nvidia/Llama-3.1-Nemotron-70B-Instruct-HF",
            "deberta-v3-large",
        ),
    ],
)
def test_a_name_that_shares_a_part_with_a_known_one(name):
    assert find_recipe(name) is similar_model(name) is None


def test_known_names_look_like_no_other_one():
    assert not [name for name in recipe_names() if similar_model(name)]
    assert similar_model("mine/other") is similar_model("") is None
    assert similar_model("Skywork-Reward-V2-Llama-3.1-8B-AWQ") is None


def test_names_take_linear_time():
    location = "/Skywork-Reward-V2-Llama-3.1-8B" + "-kv-cache" * 50_000 + "-x"
    began = time.perf_counter()
    assert find_recipe(location) is find_recipe("a/" * 50_000) is None
    assert time.perf_counter() - began < 5


def test_each_model_has_a_key_of_its_own():
    keys = [model_key(name) for name in recipe_names()]
    ends = [model_key(name.rpartition("/")[2]) for name in recipe_names()]
    assert len({*keys, *ends}) == len(keys) + len(ends)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "Skywork",
        "Skywork/",
        "Skywork/Skywork-Reward-V2-Llama-3.1-8B-finetuned",
        "/data/Skywork-Reward-V2-Llama-3.1-8B/checkpoint-100",
        "my-Skywork-Reward-V2-Llama-3.1-8B",
        *(f"Skywork-Reward-V2-Llama-3.1-8B{end}" for end in OTHER),
    ],
)
def test_not_found_by(name):
    assert find_recipe(name) is None


def test_values_of_one_model_are_not_those_of_its_siblings():
    sibling = find_recipe("Skywork/Skywork-Reward-V2-Llama-3.2-1B")
    assert sibling.name == "skywork-reward-v2-llama"
    assert sibling.references == ()
    family = find_recipe("skywork-reward-v2-llama")
    assert family.models == RECIPES["skywork-reward-v2-llama"].models
    assert family.references == ()
    alone = find_recipe("qwen2.5-math-rm")
    assert [reference.expected for reference in alone.references] == [3.75]


def test_the_traps_that_recipes_are_for():
    assert find_recipe("internlm/internlm2-7b-reward").prompt.append_tokens == (92527,)
    assert find_recipe("Skywork/Skywork-Reward-Llama-3.1-8B").prompt.bos is True
    assert find_recipe("nvidia/Llama-3.3-Nemotron-70B-Reward-Principle").prompt.generation_prompt
    assert find_recipe("Qwen/Qwen2.5-Math-PRM-7B").head == StepHead(
        step_token="<extra_0>", good_label=1, aggregate="product", separator="\n\n"
    )
    assert "harmful" in find_recipe("PKU-Alignment/beaver-7b-v1.0-cost").refusal
    assert "drop its head" in find_recipe("Ray2333/GRM-llama3-8B-sftreg").refusal


def test_step_tokens_of_references_are_as_many_as_their_values():
    shepherd = find_recipe("peiyi9979/math-shepherd-mistral-7b-prm")
    assert [
        reference.token_ids.count(shepherd.head.step_token) for reference in shepherd.references
    ] == [len(reference.expected) for reference in shepherd.references]


def test_names_are_sorted():
    names = recipe_names()
    assert list(names) == sorted(names, key=str.casefold)
    assert "Qwen/Qwen2.5-Math-RM-72B" in names


def test_no_reference_is_text_that_a_tokenizer_would_read_twice():
    samples = [reference.sample for recipe in SERVED.values() for reference in recipe.references]
    assert not any(isinstance(sample, FormattedText) for sample in samples)


def test_importing_the_package_reads_no_recipe():
    code = (
        "import sys\n"
        "before = 'tomllib' in sys.modules\n"
        "opened = []\n"
        "sys.addaudithook(lambda event, args: opened.append(str(args[0]))"
        " if event == 'open' else None)\n"
        "import reward_client\n"
        "assert not before and 'tomllib' not in sys.modules, 'tomllib'\n"
        "assert not [path for path in opened if path.endswith('.toml')], opened\n"
        "from reward_client.recipes import find_recipe\n"
        "assert find_recipe('nobody/nothing') is None\n"
        "assert 'tomllib' in sys.modules\n"
        "assert [path for path in opened if path.endswith('.toml')]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
