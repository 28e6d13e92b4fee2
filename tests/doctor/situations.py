"""What may be wrong with a server, and what the doctor must say of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from reward_client import Finding, ObjectiveHead, ScalarHead, StepHead
from reward_client.recipes import Recipe
from reward_client.testing import Fault, RewardServer

from ..support import manifests
from ..support.altered import ALWAYS, alter_replies, alter_requests

KEY = "sk-a-key-0123456789"
STEP_HEAD = StepHead(step_token=RewardServer.step_token, good_label=1, aggregate="min")
ANSWERED = [
    {"role": "user", "content": "What is 37 + 45?"},
    {"role": "assistant", "content": "The answer is 82."},
]

Verdict = tuple[str, str, str]
"""A verdict, words of the detail, and words of the cure: empty where there must be none."""


@dataclass(frozen=True)
class Situation:
    """A server, its caller, and what comes of them.

    Attributes:
        name: In words.
        status: The exit status.
        expected: By check; nothing else may be complained about.
        serves: Options of the test server.
        wrong: What is done to it.
        client: Options of the client.
        sample: What is scored.
    """

    name: str
    status: int
    expected: dict[str, Verdict]
    serves: dict[str, Any] = field(default_factory=dict)
    wrong: Callable[[RewardServer], object] = lambda _: None
    client: Callable[[RewardServer], dict[str, Any]] = lambda _: {}
    sample: Any = None


def failing(path: str, fault: Fault, *others: str) -> Callable[[RewardServer], object]:
    """Each request to a path, or to one of the others, ends so."""

    def inject(server: RewardServer) -> None:
        for each in (path, *others):
            server.inject(fault, path=each, times=ALWAYS)

    return inject


def asking(change: Callable[[dict[str, Any]], object]) -> Callable[[RewardServer], object]:
    """The chat template gets something else than was sent."""

    def if_chat(body: dict[str, Any]) -> None:
        if "messages" in body:
            change(body)

    return lambda server: alter_requests(server, "/tokenize", if_chat)


def tokens(change: Callable[[list[int]], list[int]]) -> Callable[[RewardServer], object]:
    """The chat template makes other tokens."""

    def if_chat(request: dict[str, Any], response: dict[str, Any]) -> None:
        if "messages" in request and "tokens" in response:
            response["tokens"] = change(response["tokens"])
            response["count"] = len(response["tokens"])

    return lambda server: alter_replies(server, "/tokenize", if_chat)


def without_system(body: dict[str, Any]) -> None:
    body["messages"] = [turn for turn in body["messages"] if turn["role"] != "system"]


def refusing_system(body: dict[str, Any]) -> None:
    if any(turn["role"] == "system" for turn in body["messages"]):
        body["messages"] = []


def refusing_several_turns(body: dict[str, Any]) -> None:
    if len(body["messages"]) > 2:
        body["messages"] = []


def recipe(**fields: Any) -> Recipe:
    known = {"name": "mine", "models": ["my/judge"], "head": {"type": "scalar"}, **fields}
    return Recipe.model_validate_json(json.dumps(known))


def reference(expected: float | list[float], **prompt: Any) -> dict[str, Any]:
    given = prompt or {"messages": ANSWERED}
    return {**given, "expected": expected, "tolerance": 0.01, "source": "its card"}


def named(made: Recipe, **options: Any) -> Callable[[RewardServer], dict[str, Any]]:
    return lambda _: {"recipe": made, **options}


def knowing_the_reward(server: RewardServer, *, off: float) -> dict[str, Any]:
    """A recipe with a value that is off by so much."""
    ids = [1, 4, 312, 272, 227, 24, 2]
    value = server.reference(ids) + off
    return {"recipe": recipe(references=[reference(value, token_ids=ids)])}


def knowing_the_labels(server: RewardServer, *, off: float) -> dict[str, Any]:
    """A recipe of five objectives, of which the last value is off by so much."""
    ids = [1, 4, 312, 272, 227, 24, 2]
    values = server.reference_values(ids).labels
    values[-1] += off
    five = {"type": "objectives", "names": 5}
    return {"recipe": recipe(head=five, references=[reference(values, token_ids=ids)])}


def exported(server: RewardServer) -> dict[str, Any]:
    """The manifest of an export of the server's model."""
    return {"recipe": manifests.of_sum_judge(server)}


def between(low: float, high: float) -> Callable[[list[int]], float]:
    """A reward that differs from input to input and stays within bounds."""
    return lambda ids: low + (high - low) * (sum(ids) % 101) / 101


STEPS_RECIPE = manifests.STEPS
IN_STEPS = {"messages": ANSWERED[:1], "steps": ["37 + 45 = 82.", "The answer is 82."]}

OK = ("ok", "", "")

SITUATIONS = [
    Situation("healthy", 0, {"sample": ("ok", "reward -", ""), "keep-alive": OK}),
    # Reach, key, model, and whether it is a vLLM at all.
    Situation(
        "wrong key",
        2,
        {"reach": OK, "key": ("failed", "HTTP 401: Unauthorized.", "--api-key, api_key=")},
        serves={"api_key": KEY},
        client=lambda _: {"api_key": "sk-another-key-01234"},
    ),
    Situation("no key", 2, {"key": ("failed", "401", "--api-key")}, serves={"api_key": KEY}),
    Situation(
        "right key",
        0,
        {"key": ("ok", "/v1/models", ""), "keep-alive": OK},
        serves={"api_key": KEY},
        client=lambda _: {"api_key": KEY},
    ),
    Situation(
        "another model",
        2,
        {"key": OK, "model": ("failed", "'nobody'; it lists: sum-judge.", "--model, or model=")},
        client=lambda _: {"model": "nobody"},
    ),
    Situation(
        "no models",
        2,
        {"model": ("failed", "it lists: none.", "It lists at least one")},
        wrong=lambda server: alter_replies(
            server, "/v1/models", lambda _, response: response.update(data=[])
        ),
    ),
    Situation(
        "a web page",
        2,
        {"reach": OK, "server": ("failed", "an HTML page titled", "`vllm serve MODEL --runner")},
        wrong=failing("/v1/models", Fault.html(200)),
    ),
    Situation(
        "no such path",
        2,
        {"server": ("failed", "HTTP 404", "without the path of a request")},
        wrong=failing("/v1/models", Fault.html(404)),
    ),
    Situation(
        "a gateway without a server",
        2,
        {"reach": ("failed", "HTTP 502", "log of the server, and the log of any proxy")},
        wrong=failing("/v1/models", Fault.html(502)),
    ),
    Situation(
        "a busy gateway",
        2,
        {"reach": ("failed", "HTTP 429", "Try again later")},
        wrong=failing("/v1/models", Fault.status(429, headers={"Retry-After": "9999"})),
    ),
    Situation(
        "resets",
        2,
        {"reach": ("failed", "reset before the response", "server's log")},
        wrong=failing("/v1/models", Fault.reset()),
    ),
    Situation(
        "TabbyAPI",
        2,
        {"server": ("failed", "This server is TabbyAPI", "`vllm serve MODEL --runner pooling`")},
        serves={"owned_by": "tabbyAPI"},
    ),
    Situation("a gateway's name", 0, {"sample": OK}, serves={"owned_by": "a-gateway"}),
    # Version, length limit, recipe.
    Situation(
        "unknown version",
        1,
        {
            "version": ("warning", "0.99.0 is not in the version table", "newer reward_client"),
            "activation": ("ok", "not all of the 8 values", ""),
        },
        serves={"version": "0.99.0"},
    ),
    Situation(
        "no version",
        1,
        {"version": ("warning", "does not report its version", "/version")},
        serves={"version": None},
    ),
    Situation(
        "a version that cannot be told raw",
        2,
        {
            "version": ("warning", "tried the newest kind of request.", "newer"),
            "activation": ("failed", "all values seen lie in [0, 1]", '"use_activation": false'),
            "tokens": OK,
            "sample": ("not checked", "cannot be scored", ""),
        },
        serves={"version": "0.99.0", "values": between(0, 1)},
    ),
    Situation(
        "trained on less",
        1,
        {
            "recipe": ("ok", "mine (digest", ""),
            "length limit": ("warning", "accepts 1024 tokens", "--max-model-len 512"),
        },
        client=named(recipe(prompt={"max_tokens": 512})),
    ),
    Situation(
        "too short for anything",
        2,
        {"length limit": ("ok", "16 tokens", ""), "sample": ("failed", "37 tokens", "--max-mod")},
        serves={"max_model_len": 16},
    ),
    Situation(
        "a refusing recipe",
        2,
        {
            "recipe": ("failed", "mine: It has no head.", "Score it elsewhere."),
            "tokens": OK,
            "BOS": OK,
            "sample": ("not checked", "", ""),
        },
        client=named(
            Recipe.model_validate_json(
                '{"name": "mine", "refusal": "It has no head. Score it elsewhere."}'
            )
        ),
    ),
    Situation(
        "a recipe of another kind of model",
        2,
        {
            "recipe": (
                "failed",
                "mine does not fit this server. Cannot read a scalar reward",
                "`reward-client recipe`",
            )
        },
        serves={"head": "labels"},
        client=named(recipe()),
    ),
    Situation(
        "a recipe of a kind without a route",
        2,
        {"route": ("failed", "No route", "recipe or head does not fit the model")},
        client=named(recipe(head=STEPS_RECIPE)),
    ),
    # Heads.
    Situation(
        "several labels",
        2,
        {"head": ("failed", "5 values for a conversation", "ObjectiveHead(5)"), "tokens": OK},
        serves={"head": "labels"},
    ),
    Situation(
        "several labels with their head",
        0,
        {"sample": ("ok", "label_0 -", "")},
        serves={"head": "labels"},
        client=lambda _: {"head": ObjectiveHead(5)},
    ),
    Situation(
        "steps",
        2,
        {"head": ("failed", "a process reward model", "--recipe NAME or FILE.toml")},
        serves={"head": "steps"},
    ),
    Situation(
        "steps with a recipe",
        0,
        {"tokens": ("ok", "~", ""), "template": OK, "sample": ("ok", "steps 0.", "")},
        serves={"head": "steps"},
        client=named(recipe(head=STEPS_RECIPE)),
    ),
    Situation(
        "a value for each token",
        1,
        {"head": ("warning", "scalar (last token, assumed)", "head=ScalarHead()")},
        serves={"head": "token"},
    ),
    Situation(
        "a value for each token, and the caller knows",
        0,
        {"head": ("ok", "scalar (last token)", "")},
        serves={"head": "token"},
        client=lambda _: {"head": ScalarHead()},
    ),
    Situation(
        "hidden states",
        2,
        {"head": ("failed", "vectors of 128 numbers", "`vllm serve MODEL --runner pooling`")},
        serves={"head": "embed"},
    ),
    Situation(
        "a head without weights",
        2,
        {"head": ("failed", "answers the same", "Check that its weights are loaded")},
        serves={"values": lambda _: 0.3},
    ),
    # Activation.
    Situation(
        "a softmax over one label",
        2,
        {"activation": ("failed", "1.0 for every input", """'{"softmax": false}'"""), "BOS": OK},
        serves={"dialect": "0.8"},
    ),
    Situation(
        "a sigmoid of a sigmoid",
        2,
        {"activation": ("failed", "[0.5, 0.7311]", "Compare the sample's reward"), "sample": OK},
        serves={"values": between(0.5, 0.73)},
    ),
    Situation(
        "all within 0 and 1",
        1,
        {"activation": ("warning", "lie in [0, 1]", "the model's own code")},
        serves={"values": between(0, 1)},
    ),
    Situation(
        "a sigmoid that the caller knows of",
        1,
        {"activation": ("warning", "as server_activation= says", """'{"softmax": false}'""")},
        serves={"dialect": "0.8", "raw": True, "version": "0.9.0.1", "values": between(0.02, 0.9)},
        client=lambda _: {"server_activation": "sigmoid"},
    ),
    Situation(
        "within 0.5 and 0.7311, as published",
        0,
        {"activation": ("ok", "as a reference value of the recipe proves", "")},
        serves={"dialect": "0.8", "raw": True, "version": "0.9.0.1", "values": between(0.5, 0.73)},
        client=named(
            recipe(
                references=[reference(between(0.5, 0.73)([1, 4, 312, 2]), token_ids=[1, 4, 312, 2])]
            )
        ),
    ),
    Situation(
        "an exported head",
        1,
        {"activation": ("warning", "nothing proves", "reward_client.json, or recipe=")},
        serves={"head": "export"},
    ),
    Situation(
        "an exported head of steps",
        1,
        {"activation": ("warning", "nothing proves", "reward_client.json, or recipe=")},
        serves={"head": "export-steps"},
        client=lambda _: {"head": STEP_HEAD},
    ),
    Situation(
        "an exported head with its manifest",
        0,
        {
            "recipe": ("ok", "the manifest of an export of my/judge", ""),
            "activation": ("ok", "The whole exported head is loaded", ""),
            "reference value": ("ok", "2 values of the manifest prove the whole head", ""),
        },
        serves={"head": "export"},
        client=exported,
    ),
    Situation(
        "an exported head of steps with its manifest",
        0,
        {"reference value": ("ok", "2 values of the manifest prove the whole head", "")},
        serves={"head": "export-steps"},
        client=lambda server: {"recipe": manifests.of_sum_judge(server, manifests.STEPS)},
    ),
    Situation(
        "an exported head whose manifest was not verified",
        1,
        {"activation": ("warning", "nothing proves", "--verify`")},
        serves={"head": "export"},
        client=named(manifests.recipe(manifests.manifest())),
    ),
    Situation(
        "an exported head that was not loaded",
        2,
        {
            "head": (
                "failed",
                "rows of 128 numbers (hidden states)",
                '"ST projector loading failed"',
            )
        },
        serves={"head": "embed", "raw": True},
        client=exported,
    ),
    Situation(
        "an exported head of which a part was loaded",
        2,
        {"head": ("failed", "for reference 1 of the manifest", '"ST projector loading failed"')},
        serves={"head": "export", "values": between(-2, 2)},
        client=exported,
    ),
    Situation(
        "an exported head with a published value",
        0,
        {"activation": OK, "reference value": ("ok", "(its card)", "")},
        serves={"head": "export"},
        client=lambda server: knowing_the_reward(server, off=0),
    ),
    Situation(
        "a softmax where probabilities are wanted",
        0,
        {"activation": ("ok", "gives no logits", "")},
        serves={"dialect": "0.10", "head": "steps"},
        client=lambda _: {"head": STEP_HEAD},
    ),
    # Values and replies that cannot be believed.
    Situation(
        "NaN",
        2,
        {"route": ("failed", "NaN, infinity or null", "--dtype bfloat16"), "BOS": OK},
        wrong=failing("/pooling", Fault.nan()),
    ),
    Situation(
        "other tokens are scored",
        2,
        {"route": ("failed", "the server scored", "without a proxy or router")},
        wrong=failing("/pooling", Fault.wrong_usage()),
    ),
    Situation(
        "the scoring route dies",
        2,
        {"route": ("failed", "reset before", "log"), "template": OK, "keep-alive": OK},
        wrong=failing("/pooling", Fault.reset()),
    ),
    Situation(
        "the scoring route wants another key",
        2,
        {"key": OK, "route": ("failed", "HTTP 401", "--api-key")},
        wrong=failing("/pooling", Fault.status(401), "/classify"),
    ),
    Situation(
        "no scoring route",
        2,
        {"route": ("failed", "No route of this server", "--runner pooling"), "text path": OK},
        wrong=failing("/pooling", Fault.status(404), "/classify"),
    ),
    # From the conversation to the tokens.
    Situation(
        "no /tokenize",
        2,
        {
            "tokens": ("failed", "HTTP 404", "Let the gateway forward /tokenize"),
            "keep-alive": OK,
            "sample": ("not checked", "", ""),
        },
        wrong=failing("/tokenize", Fault.status(404)),
    ),
    Situation(
        "/tokenize dies",
        2,
        {"tokens": ("failed", "reset before", "log")},
        wrong=failing("/tokenize", Fault.reset()),
    ),
    Situation(
        "no /detokenize",
        0,
        {
            "tokens": ("ok", "37.", ""),
            "template": ("not checked", "HTTP 404", ""),
            "text path": ("not checked", "HTTP 404", ""),
            "sample": OK,
        },
        wrong=failing("/detokenize", Fault.status(404)),
    ),
    Situation(
        "no chat template",
        2,
        {
            "route": OK,
            "tokens": ("failed", "HTTP 400", "--chat-template"),
            "sample": ("not checked", "", ""),
        },
        wrong=asking(lambda body: body.update(messages=[])),
    ),
    Situation(
        "a doubled BOS",
        2,
        {"BOS": ("failed", "starts with 2 BOS tokens (ID 1)", "--chat-template FILE")},
        wrong=tokens(lambda ids: [1, *ids]),
    ),
    Situation(
        "no BOS",
        1,
        {"BOS": ("warning", "has none", "bos=True")},
        wrong=tokens(lambda ids: ids[1:]),
    ),
    Situation(
        "no BOS, and the client adds it",
        0,
        {"BOS": ("ok", "the client adds it", "")},
        wrong=tokens(lambda ids: ids[1:]),
        client=lambda _: {"bos": True},
    ),
    Situation(
        "a doubled BOS where one is demanded",
        2,
        {
            "BOS": ("failed", "starts with 2 BOS tokens", "--chat-template FILE"),
            "sample": ("failed", "exactly one BOS token is required", "log"),
        },
        wrong=tokens(lambda ids: [1, *ids]),
        client=named(recipe(prompt={"bos": True})),
    ),
    Situation(
        "a BOS where none is right",
        2,
        {"BOS": ("failed", "must have none", "--chat"), "sample": ("failed", "no BOS token", "")},
        client=lambda _: {"bos": False},
    ),
    Situation(
        "no BOS, as it must be",
        0,
        {"BOS": ("ok", "starts without a BOS", "")},
        wrong=tokens(lambda ids: ids[1:]),
        client=lambda _: {"bos": False},
    ),
    Situation(
        "a template that always opens a turn",
        1,
        {"generation prompt": ("warning", "'<|end|><|assistant|>' after the answer", "Correct")},
        wrong=asking(lambda body: body.update(add_generation_prompt=True)),
    ),
    Situation(
        "a template that never opens a turn",
        0,
        {"generation prompt": ("ok", "never writes one", "")},
        wrong=asking(lambda body: body.update(add_generation_prompt=False)),
    ),
    Situation(
        "a template that never opens the turn that the model needs",
        2,
        {"generation prompt": ("failed", "The recipe requires one", "--chat-template FILE")},
        wrong=asking(lambda body: body.update(add_generation_prompt=False)),
        client=named(recipe(prompt={"generation_prompt": True})),
    ),
    Situation(
        "a model that needs the generation prompt",
        0,
        {"generation prompt": ("ok", "as the recipe or the method requires", "")},
        client=named(recipe(prompt={"generation_prompt": True})),
    ),
    Situation(
        "a template that drops the system message",
        1,
        {"template": ("warning", "these roles: system.", "Rewards do not depend on")},
        wrong=asking(without_system),
    ),
    Situation(
        "a template that drops the caller's system message",
        1,
        {"template": ("warning", "these roles: system.", "--chat-template FILE")},
        wrong=asking(without_system),
        sample=[{"role": "system", "content": "Add well."}, *ANSWERED],
    ),
    Situation(
        "a template that drops what the caller does not send",
        0,
        {"template": ("ok", "Every message", "")},
        wrong=asking(without_system),
        sample=ANSWERED,
    ),
    Situation(
        "a template that refuses system messages",
        0,
        {"template": ("ok", "It refuses system messages", "")},
        wrong=asking(refusing_system),
    ),
    Situation(
        "a template that refuses several turns",
        0,
        {"template": ("ok", "It refuses conversations of several turns", "")},
        wrong=asking(refusing_several_turns),
    ),
    # Published values.
    Situation(
        "the published reward",
        0,
        {"reference value": ("ok", "published: ", "")},
        client=lambda server: knowing_the_reward(server, off=0.009),
    ),
    Situation(
        "another reward than the published one",
        2,
        {
            "sample": OK,
            "reference value": ("failed", "± 0.01 (its card).", "differ from the published"),
        },
        client=lambda server: knowing_the_reward(server, off=0.011),
    ),
    Situation(
        "published for another tokenizer",
        2,
        {"recipe": ("failed", "out of vocabulary", "name the recipe")},
        client=named(recipe(references=[reference(1.0, token_ids=[10**6])])),
    ),
    Situation(
        "other steps than the published ones",
        2,
        {"recipe": ("failed", "and 0.5, 0.5 ± 0.01 (its card) was published", "recipe=None")},
        serves={"head": "steps"},
        client=named(recipe(head=STEPS_RECIPE, references=[reference([0.5, 0.5], **IN_STEPS)])),
    ),
    Situation(
        "a published number of what has none",
        2,
        {"reference value": ("failed", "The server gave 0 values", "correct its head")},
        serves={"head": "labels"},
        client=named(recipe(references=[reference(1.0)]), head=ObjectiveHead(5)),
    ),
    Situation(
        "objectives with their published values",
        0,
        {"reference value": ("ok", "(its card)", "")},
        serves={"head": "labels"},
        client=lambda server: knowing_the_labels(server, off=0),
    ),
    Situation(
        "one objective is another than the published one",
        2,
        {"reference value": ("failed", "± 0.01 (its card).", "differ from the published")},
        serves={"head": "labels"},
        client=lambda server: knowing_the_labels(server, off=0.011),
    ),
]


def complaints(findings: tuple[Finding, ...]) -> dict[str, str]:
    """What is not well."""
    bad = [finding for finding in findings if finding.verdict in ("failed", "warning")]
    return {finding.check: finding.verdict for finding in bad}
