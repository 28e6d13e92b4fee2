"""What a recipe is: its fields, its digest, its heads, and what is refused."""

from __future__ import annotations

import pickle
import re

import pytest

from reward_client import Conversation, FormattedText, ObjectiveHead, ScalarHead, StepHead
from reward_client.errors import RecipeError
from reward_client.recipes import Recipe, load_recipe

SCALAR = """
models = ["my/judge"]
[head]
type = "scalar"
"""
STEPS = """
models = ["my/prm", "my/other"]
[head]
type = "steps"
step_token = "<step>"
good_label = 1
aggregate = "min"
"""


@pytest.fixture
def load(tmp_path):
    def written(text: str, name: str = "mine.toml") -> Recipe:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return load_recipe(path)

    return written


def test_the_least_recipe(load):
    recipe = load(SCALAR)
    assert recipe.name == "mine"
    assert recipe.models == ("my/judge",)
    assert recipe.head == ScalarHead()
    assert recipe.refusal is None
    assert recipe.prompt.bos is None
    assert recipe.prompt.generation_prompt is False
    assert recipe.prompt.append_tokens == ()
    assert recipe.references == ()
    assert recipe.commands == {}


def test_a_name_in_the_file_wins(load):
    assert load('name = "judge"' + SCALAR).name == "judge"


@pytest.mark.parametrize(
    ("table", "head"),
    [
        ('type = "scalar"', ScalarHead()),
        (
            'type = "steps"\nstep_token = 7\naggregate = "last"',
            StepHead(step_token=7, good_label=None, aggregate="last"),
        ),
        (
            STEPS.partition("[head]")[2].replace('"min"', '"mean"') + 'separator = "\\n"',
            StepHead(step_token="<step>", good_label=1, aggregate="mean", separator="\n"),
        ),
        ('type = "objectives"\nnames = 3', ObjectiveHead(3)),
        (
            'type = "objectives"\nnames = ["a", "b"]\nweights = { b = 0.5 }',
            ObjectiveHead(["a", "b"], {"b": 0.5}),
        ),
    ],
)
def test_heads(load, table, head):
    assert load(f"[head]\n{table}\n").head == head


def test_refusal_has_no_head(load):
    recipe = load('refusal = "It writes text."')
    assert recipe.head is None
    assert recipe.refusal == "It writes text."


def test_samples_of_references(load):
    recipe = load(
        STEPS
        + """
[[references]]
messages = [{ role = "user", content = "1+1?" }]
steps = ["one", "two"]
expected = [0.9, 0.1]
tolerance = 0.02
source = "card"

[[references]]
messages = [{ role = "user", content = "1+1?" }, { role = "assistant", content = "2" }]
expected = 3
tolerance = 0.02
source = "card"

[[references]]
text = "<s>1+1?"
expected = [0.5]
tolerance = 1
source = "card"

[[references]]
token_ids = [1, 2]
expected = -0.5
tolerance = 0.02
source = "card"
"""
    )
    user = {"role": "user", "content": "1+1?"}
    assert [reference.sample for reference in recipe.references] == [
        Conversation([user], steps=("one", "two")),
        Conversation([user, {"role": "assistant", "content": "2"}]),
        FormattedText("<s>1+1?"),
        (1, 2),
    ]
    assert [reference.expected for reference in recipe.references] == [
        (0.9, 0.1),
        3.0,
        (0.5,),
        -0.5,
    ]
    assert isinstance(recipe.references[1].expected, float)


def test_one_model_of_several(load):
    values = """
[[references]]
models = ["my/prm"]
text = "a"
expected = 1.0
tolerance = 0.1
source = "card"

[[references]]
text = "b"
expected = 2.0
tolerance = 0.1
source = "card"
"""
    recipe = load(STEPS + '[serve]\ntoday = "vllm serve {model} --runner pooling"\n' + values)
    other = recipe.for_model("my/other")
    assert other.models == ("my/other",)
    assert [reference.expected for reference in other.references] == [2.0]
    assert other.commands == {"today": "vllm serve my/other --runner pooling"}
    first = recipe.for_model("my/prm")
    assert [reference.expected for reference in first.references] == [1.0, 2.0]
    both = recipe.for_model(*recipe.models)
    assert [reference.expected for reference in both.references] == [2.0]
    assert len({recipe.digest, other.digest, first.digest}) == 3


def test_digest_is_of_the_content(load):
    recipe = load(STEPS)
    assert re.fullmatch(r"[0-9a-f]{64}", recipe.digest)
    turned = """
[head]
aggregate = "min"
good_label = 1
step_token = "<step>"
type = "steps"
"""
    assert load('models = ["my/prm", "my/other"]' + turned).digest == recipe.digest
    assert load('models = ["my/other", "my/prm"]' + turned).digest != recipe.digest
    assert load(STEPS.replace('"min"', '"mean"')).digest != recipe.digest
    assert load(STEPS + "[prompt]\nbos = false\n").digest != recipe.digest


def test_pickles(load):
    recipe = load(STEPS)
    copy = pickle.loads(pickle.dumps(recipe))
    assert copy == recipe
    assert copy.digest == recipe.digest
    assert copy.head == recipe.head


REFERENCE = """
[[references]]
text = "a"
expected = 1.0
tolerance = 0.1
source = "card"
"""


@pytest.mark.parametrize(
    ("text", "field", "reason"),
    [
        ("models = [", "not a TOML file", "end of document"),
        ("models = 2026-01-01" + SCALAR.replace('models = ["my/judge"]', ""), "not a TOML", "date"),
        ("", "recipe", "exactly one of a head, a verdict and a refusal"),
        (
            SCALAR.replace("[head]", 'refusal = "no"\n[head]'),
            "recipe",
            "exactly one of a head, a verdict and a refusal",
        ),
        ('models = "my/judge"\nrefusal = "no"', "models", "valid array"),
        ('modells = ["a"]\nrefusal = "no"', "modells", "not permitted"),
        ('refusal = ""', "refusal", "at least 1 character"),
        ('[head]\ntype = "vector"', "head", "'scalar', 'steps', 'objectives'"),
        ('[head]\ntype = "scalar"\nnames = 2', "head.scalar.names", "not permitted"),
        ('[head]\ntype = "steps"\nstep_token = 7', "head.steps.aggregate", "required"),
        (STEPS.replace('"min"', '"max"'), "head.steps.aggregate", "'min'"),
        (STEPS.replace('"<step>"', "-1"), "head.steps.step_token", "greater than or equal to 0"),
        (STEPS.replace('"<step>"', "true"), "head.steps.step_token", "valid"),
        ('[head]\ntype = "objectives"\nnames = ["a", "a"]', "recipe", "must be unique"),
        (
            '[head]\ntype = "objectives"\nnames = ["a"]\nweights = { b = 1.0 }',
            "recipe",
            "unknown objective 'b'",
        ),
        (SCALAR + '[prompt]\nbos = "yes"', "prompt.bos", "boolean"),
        (SCALAR + "[prompt]\nappend_tokens = [-1]", "prompt.append_tokens.0", "greater than"),
        (SCALAR + "[prompt]\nappend_tokens = [true]", "prompt.append_tokens.0", "integer"),
        (SCALAR + "[special_tokens]\na = 1.5", "special_tokens.a", "integer"),
        (SCALAR + "[serve]\ntoday = 1", "serve.today", "string"),
        (SCALAR + REFERENCE.replace("0.1", "0"), "references.0.tolerance", "greater than 0"),
        (SCALAR + REFERENCE.replace("1.0", "nan"), "references.0.expected", "finite"),
        (SCALAR + REFERENCE.replace('source = "card"', ""), "references.0.source", "required"),
        (SCALAR + REFERENCE.replace("1.0", "[1.0]"), "references.0", "head with steps"),
        (SCALAR + REFERENCE.replace('text = "a"', ""), "references.0", "one of messages"),
        (SCALAR + REFERENCE + "token_ids = [1]", "references.0", "one of messages"),
        (SCALAR + REFERENCE + 'steps = ["a"]', "references.0", "steps need messages"),
        (SCALAR + REFERENCE + 'models = ["your/judge"]', "references.0", "your/judge"),
        (
            STEPS
            + REFERENCE.replace('text = "a"', 'steps = ["a"]').replace("1.0", "[1.0, 0.5]")
            + '[[references.messages]]\nrole = "user"\ncontent = "q"',
            "references.0",
            "2 expected values do not fit 1 steps",
        ),
        (
            STEPS
            + REFERENCE.replace('text = "a"', 'steps = ["a"]')
            + '[[references.messages]]\nrole = "assistant"\ncontent = "q"',
            "references.0",
            "Leave the turn out",
        ),
        (
            SCALAR
            + REFERENCE.replace('text = "a"', "")
            + '[[references.messages]]\nrole = "robot"\ncontent = "q"',
            "references.0.messages.0.role",
            "'system', 'user' or 'assistant'",
        ),
    ],
)
def test_the_error_of_a_broken_file_names_field_and_reason(load, text, field, reason):
    with pytest.raises(RecipeError) as caught:
        load(text, "broken.toml")
    message = str(caught.value)
    assert "broken.toml" in message
    assert field in message
    assert reason in message


def test_every_fault_is_named_at_once(load):
    with pytest.raises(RecipeError, match=r"prompt\.bos.*references\.0\.tolerance"):
        load(SCALAR + "[prompt]\nbos = 1\n" + REFERENCE.replace("0.1", "-1"))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(RecipeError, match=r"Cannot read the recipe .*nobody\.toml: No such file"):
        load_recipe(tmp_path / "nobody.toml")


def test_a_file_that_is_no_text(tmp_path):
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(RecipeError, match=r"binary\.toml: it is not a TOML file"):
        load_recipe(str(path))


def test_a_recipe_cannot_be_changed(load):
    recipe = load(SCALAR)
    with pytest.raises(ValueError, match="frozen"):
        recipe.name = "other"


def test_commands_of_another_engine(load):
    recipe = load(
        """
        models = ["my/judge-70B", "my/judge"]
        [head]
        type = "scalar"
        [prompt]
        max_tokens = 4096
        [gpus]
        "my/judge-70B" = 4
        [serve]
        today = "vllm serve {model}"
        [engines.Other]
        since = "1.2"
        command = "other --model {model} --context {max_tokens}"
        [engines.Third]
        refusal = "It has no heads. Serve it with vLLM."
        """
    )
    assert recipe.commands == {
        "today": "vllm serve my/judge-70B --tensor-parallel-size 4 --max-model-len 4096",
        "Other": "other --model my/judge-70B --context 4096 --tensor-parallel-size 4",
    }
    small = recipe.for_model("my/judge").commands
    assert small["Other"] == "other --model my/judge --context 4096"
    assert recipe.engines["Third"].refusal == "It has no heads. Serve it with vLLM."


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("", "exactly one of a command and a refusal"),
        ('since = "1.2"', "exactly one of a command and a refusal"),
        ('since = "1.2"\ncommand = "other"\nrefusal = "no"', "exactly one of a command"),
        ('command = "other {model}"', "since belongs to a command"),
        ('since = "1.2"\nrefusal = "no"', "since belongs to a command"),
        ('since = "1.2"\ncommand = "other {max_tokens}"', "its command needs prompt.max_tokens"),
    ],
)
def test_the_error_of_a_broken_engine(load, table, reason):
    with pytest.raises(RecipeError, match=reason) as caught:
        load(SCALAR + "[engines.Other]\n" + table)
    assert "engines.Other" in str(caught.value)
