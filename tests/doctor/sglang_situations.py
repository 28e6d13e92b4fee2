"""What may be wrong with an SGLang, and what the doctor must say of it."""

from __future__ import annotations

from typing import Any

from reward_client import LinearHead, ObjectiveHead
from reward_client.testing import RewardServer

from .situations import KEY, OK, STEP_HEAD, Situation, Verdict, knowing_the_reward, named, recipe


def sglang(
    name: str,
    status: int,
    expected: dict[str, Verdict],
    dialect: str = "0.5.23",
    *,
    client: Any = lambda _: {},
    **serves: Any,
) -> Situation:
    return Situation(
        f"SGLang {dialect}, {name}",
        status,
        expected,
        serves={"engine": "sglang", "dialect": dialect, **serves},
        client=client,
    )


def with_tokenizer(server: RewardServer) -> dict[str, Any]:
    return {"tokenizer": str(server.checkpoint)}


SGLANG_SITUATIONS = [
    sglang(
        "healthy",
        0,
        {
            "version": ("ok", "SGLang 0.5.23.", ""),
            "activation": ("ok", "SGLang applies none to the values of /classify", ""),
            "one server": OK,
            "sample": ("ok", "reward -", ""),
        },
    ),
    sglang(
        "the right value",
        0,
        {"reference value": OK},
        client=lambda server: knowing_the_reward(server, off=0.0),
    ),
    sglang(
        "a random bias",
        2,
        {"recipe": ("failed", "", "")},
        score_bias=0.5,
        client=lambda server: knowing_the_reward(server, off=0.0),
    ),
    sglang(
        "a random bias, and no value to find it by",
        1,
        {
            "offset": ("warning", "SGLang adds an unknown constant", "`reward-client zero-bias"),
            "sample": ("ok", "offset unknown", ""),
        },
        score_bias=0.5,
    ),
    sglang(
        "no tokenizer here",
        2,
        {
            "tokens": ("failed", "a user's turn", 'tokenizer="local"'),
            "sample": ("not checked", "", ""),
        },
        "0.5.22",
    ),
    sglang(
        "a tokenizer here",
        0,
        {"tokens": ("ok", "37: ", ""), "one server": OK, "sample": OK},
        "0.5.22",
        client=with_tokenizer,
    ),
    sglang(
        "a tokenizer here",
        1,
        {
            "tokens": ("not checked", "The tokenizer on this machine", ""),
            "offset": ("warning", "", ""),  # this version does not say which class it serves
            "sample": OK,
        },
        "0.4.9",
        client=with_tokenizer,
    ),
    sglang("every token's value is asked for", 0, {"head": OK, "sample": OK}, head="token"),
    sglang(
        "several labels", 2, {"head": ("failed", "5 values", "ObjectiveHead(5)")}, head="labels"
    ),
    sglang(
        "several labels with their head",
        0,
        {"sample": ("ok", "label_0 -", "")},
        head="labels",
        client=lambda _: {"head": ObjectiveHead(5)},
    ),
    sglang(
        "a recipe that refuses it",
        2,
        {"recipe": ("failed", "no heads here", "Serve it with vLLM.")},
        client=named(
            recipe(engines={"SGLang": {"refusal": "It has no heads here. Serve it with vLLM."}})
        ),
    ),
    sglang("hidden states", 2, {"head": ("failed", "hidden states", "")}, head="embed"),
    sglang(
        "it generates",
        2,
        {"route": ("failed", "No route of this server gives a reward", "--is-embedding")},
        logprobs="processed_logprobs",
    ),
    sglang(
        "hidden states with their head",
        2,
        {"activation": ("failed", "normaliz", "vLLM")},
        head="embed",
        client=lambda _: {"head": LinearHead([1.0] * 128)},
    ),
    sglang(
        "steps",
        2,
        {"route": ("failed", "No route", "")},
        client=lambda _: {"head": STEP_HEAD},
    ),
    sglang(
        "wrong key",
        2,
        {"key": ("failed", "HTTP 401: Unauthorized.", "--api-key, api_key=")},
        api_key=KEY,
        client=lambda _: {"api_key": "sk-another-key-01234"},
    ),
    sglang(
        "no version",
        1,
        {"version": ("warning", "does not report", "let it forward /get_server_info")},
        version=None,
    ),
    sglang(
        "unknown version",
        1,
        {"version": ("warning", "SGLang 0.99.0 is not in the version", "a released SGLang")},
        version="0.99.0",
    ),
    sglang(
        "trained on less",
        1,
        {"length limit": ("warning", "accepts 1023 tokens", "--context-length 512")},
        client=named(recipe(prompt={"max_tokens": 512})),
    ),
]
