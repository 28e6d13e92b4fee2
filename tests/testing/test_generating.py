"""What a generating server generates, and what it scores.

`data/generated.json` holds what vLLM 0.32.0 answered with the shipped model, so that even numbers
and texts are compared; `record_generated.py` says how it was served.
"""

from __future__ import annotations

import json
import math
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
import pytest

from reward_client.testing import RewardServer
from reward_client.testing._model import generate
from reward_client.testing._model.llama import KeyValueCache
from reward_client.testing._model.sum_judge import load_sum_judge

from .record_generated import body_of

CASES = json.loads((Path(__file__).parent / "data" / "generated.json").read_text("utf-8"))
# vLLM computes the same sums in another order.
TOLERANCE = {"rel": 1e-3, "abs": 1e-3}
DIALECTS = ("0.8", "0.10", "0.12", "0.16", "0.20", "0.25", "0.32", "0.33")
MODES = ("raw_logits", "raw_logprobs", "processed_logits", "processed_logprobs")
# 0.8 has one mode.
WAYS = [("0.8", "processed_logprobs"), *((d, mode) for d in DIALECTS[1:] for mode in MODES)]
QUESTION = [1, 4, 312, 272, 227, 25, 29, 278, 227, 26, 27, 37, 2, 5]
END = 2
AS_IDS = {"return_tokens_as_token_ids": True, "return_token_ids": True}
GREEDY = {"temperature": 0, **AS_IDS}
FLOOR = -9999.0


@pytest.fixture(scope="module")
def servers():
    """A client for each way of serving; servers are started when they are first asked."""
    made = {}
    with ExitStack() as stack:

        def client(logprobs="raw_logits", **serving):
            key = (logprobs, *serving.items())
            if key not in made:
                server = stack.enter_context(RewardServer(logprobs=logprobs, **serving))
                made[key] = stack.enter_context(httpx.Client(base_url=server.url, verify=False))
            return made[key]

        yield client


def ask(client, prompt=QUESTION, **asked):
    return client.post("/v1/completions", json={"prompt": prompt, **asked})


def choice(client, prompt=QUESTION, **asked):
    (made,) = ask(client, prompt, **asked).json()["choices"]
    return made


def of_dialect(servers, dialect):
    return servers("processed_logprobs" if dialect == "0.8" else "raw_logits", dialect=dialect)


def plain(response):
    """A reply without what is another one's in every reply or of every server.

    Of tokens that cannot come next, which all have the same number, any may be told.
    """
    if isinstance(response, dict):
        left_out = {"id", "created", "system_fingerprint"}
        return {k: plain(v) for k, v in response.items() if k not in left_out and v != FLOOR}
    return [plain(item) for item in response] if isinstance(response, list) else response


def close_to(response):
    if isinstance(response, dict):
        return {key: close_to(value) for key, value in response.items()}
    if isinstance(response, list):
        return [close_to(item) for item in response]
    return pytest.approx(response, **TOLERANCE) if isinstance(response, float) else response


def recorded(name):
    (case,) = (case for case in CASES if case["name"] == name)
    return case


@pytest.mark.parametrize(
    ("case", "mode"),
    [
        pytest.param(case, mode, id=f"{case['name']}-{mode}")
        for case in CASES
        for mode in case["replies"]
        if case["name"] != "bytes"
    ],
)
def test_as_vllm(servers, case, mode):
    status, expected = case["replies"][mode]
    response = servers(mode).post(case["path"], json=body_of(case["json"]))
    assert response.status_code == status
    answered = response.json()
    assert answered.keys() == expected.keys()
    assert plain(answered) == close_to(plain(expected))


def forced(monkeypatch, token_ids):
    """Let these tokens be drawn."""
    left = iter(token_ids)

    def certain(logits):
        return np.eye(len(logits))[next(left)]

    monkeypatch.setattr(generate, "_softmax", certain)


def test_characters_of_several_tokens_as_vllm(servers, monkeypatch):
    case = recorded("bytes")
    _, expected = case["replies"]["raw_logits"]
    forced(monkeypatch, expected["choices"][0]["token_ids"])
    response = servers("raw_logits").post(case["path"], json=case["json"]).json()
    assert "\ufffd" in expected["choices"][0]["text"]
    assert plain(response) == close_to(plain(expected))


@pytest.mark.parametrize("character", ["é", "€", "😀"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_names_of_parts_of_a_character(servers, dialect, character, monkeypatch):
    parts = load_sum_judge().tokenizer.encode(character, add_special_tokens=False)
    assert len(parts) == len(character.encode())
    forced(monkeypatch, parts)
    made = choice(of_dialect(servers, dialect), max_tokens=len(parts), logprobs=0)
    if dialect in ("0.10", "0.12"):
        names = ["\ufffd"] * len(parts)
    else:
        names = [""] * (len(parts) - 1) + [character]
    assert (made["text"], made["logprobs"]["tokens"]) == (character, names)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_greedy_is_one_token_after_another(servers, dialect):
    client = of_dialect(servers, dialect)
    asked = {**GREEDY, "logprobs": 3, "ignore_eos": True}
    lists = choice(client, max_tokens=40, **asked)["logprobs"]
    prompt = list(QUESTION)
    for position, token in enumerate(lists["tokens"]):
        one = choice(client, prompt, max_tokens=1, **asked)["logprobs"]
        assert one["tokens"] == [token]
        assert one["top_logprobs"] == [pytest.approx(lists["top_logprobs"][position], abs=1e-4)]
        assert one["token_logprobs"] == [pytest.approx(lists["token_logprobs"][position], abs=1e-4)]
        prompt.append(int(token.removeprefix("token_id:")))
    assert len(prompt) == len(QUESTION) + 40


def test_what_is_cached_of_the_past_changes_nothing():
    judge, past = load_sum_judge(), KeyValueCache()
    for start, end in ((0, 5), (5, 6), (6, 14)):
        stepped = judge.logits(QUESTION[start:end], past)
        assert stepped == pytest.approx(judge.logits(QUESTION[:end]), abs=1e-4)
        assert past.length == end


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_token_that_is_the_end(servers, dialect):
    response = ask(of_dialect(servers, dialect), max_tokens=20, **GREEDY, logprobs=1).json()
    (made,) = response["choices"]
    assert (made["text"], made["finish_reason"], made["stop_reason"]) == ("82", "stop", None)
    assert made["logprobs"]["tokens"][-1] == f"token_id:{END}"
    assert response["usage"]["completion_tokens"] == len(made["logprobs"]["tokens"]) == 3
    if dialect == "0.8":
        assert not {"token_ids", "prompt_token_ids"} & made.keys()
    else:
        assert (made["token_ids"][-1], made["prompt_token_ids"]) == (END, QUESTION)


def test_a_seed_decides(servers):
    def drawn(**asked):
        return [
            made["text"]
            for made in ask(
                servers(), [QUESTION, QUESTION], temperature=2, max_tokens=20, **asked
            ).json()["choices"]
        ]

    first, second = drawn(seed=1)
    assert [first, second] == drawn(seed=1)
    assert first == second
    assert first != drawn(seed=2)[0]
    unseeded = drawn()
    assert unseeded[0] != unseeded[1]


def frequencies(client, count, **asked):
    drawn = [
        choice(client, max_tokens=1, seed=seed, **AS_IDS, logprobs=0, **asked)["token_ids"][0]
        for seed in range(count)
    ]
    return np.bincount(drawn, minlength=load_sum_judge().vocabulary_size) / count


@pytest.mark.parametrize("temperature", [0.5, 1.0, None])
def test_tokens_are_drawn_by_their_probabilities(servers, temperature):
    logits = load_sum_judge().logits(QUESTION) / (temperature or 1.0)
    probabilities = np.exp(logits - np.logaddexp.reduce(logits))
    found = frequencies(servers(), 200, temperature=temperature)
    # Four standard deviations.
    assert abs(found - probabilities).max() < 4 * math.sqrt(0.25 / 200)
    assert np.count_nonzero(found) > 3


def test_top_p_leaves_the_likeliest(servers):
    logits = load_sum_judge().logits(QUESTION)
    probabilities = np.exp(logits - np.logaddexp.reduce(logits))
    order = np.argsort(-probabilities)
    kept = order[: np.searchsorted(np.cumsum(probabilities[order]), 0.7) + 1]
    found = frequencies(servers(), 200, top_p=0.7)
    assert set(np.flatnonzero(found)) == set(kept)
    assert len(kept) > 1


def test_the_first_stop_text_counts(servers):
    text = choice(servers(), max_tokens=20, ignore_eos=True, **GREEDY)["text"]
    assert text == "82 answer is 119. = 84"
    made = choice(
        servers(), max_tokens=20, ignore_eos=True, **GREEDY, stop=["19", "is", "wer", "nowhere"]
    )
    assert (made["text"], made["stop_reason"]) == ("82 ans", "wer")
    assert made["finish_reason"] == "stop"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("given", ["ids", "text"])
def test_limits_of_a_prompt_and_its_completion(servers, dialect, given):
    """Of 64 positions, as many are left as the prompt leaves; what is then said has the numbers."""
    logprobs = "processed_logprobs" if dialect == "0.8" else "raw_logits"
    client = servers(logprobs, dialect=dialect, max_model_len=64)
    # A text has the BOS before it.
    prompt = [5] * 50 if given == "ids" else "~" * 49
    exact = ask(client, prompt, max_tokens=14, ignore_eos=True, temperature=0).json()
    assert exact["usage"]["total_tokens"] == 64
    beyond = ask(client, prompt, max_tokens=20, ignore_eos=True, temperature=0)
    if dialect in ("0.32", "0.33"):
        assert beyond.json()["usage"]["completion_tokens"] == 14
        assert beyond.json()["choices"][0]["finish_reason"] == "length"
        return
    assert beyond.status_code == 400
    counted = 45 if given == "text" and dialect in ("0.16", "0.20", "0.25") else 50
    at_least = "at least " if counted == 45 else ""
    total = counted + 20
    said = {
        "0.8": "length is 64 tokens. However, you requested 70 tokens (50 in the messages, 20 in",
        "0.10": "This maximum context length is 44 tokens. However, your request has 50 input",
        "0.12": "model's maximum context length is 44 tokens. However, your request has 50 input",
        "0.16": f"You passed {counted} input tokens and requested 20 output tokens. However, the "
        "model's context length is only 64 tokens, resulting in a maximum input length of 44",
        "0.20": f"requested 20 output tokens and your prompt contains {at_least}{counted} input "
        f"tokens, for a total of {at_least}{total} tokens",
    }
    assert said.get(dialect, said["0.20"]) in beyond.text


@pytest.mark.parametrize("dialect", DIALECTS)
def test_more_than_a_sequence_has(servers, dialect):
    response = ask(of_dialect(servers, dialect), max_tokens=2000, temperature=0)
    assert response.status_code == 400
    said = "max_tokens=2000 cannot be greater than max_model_len=1024"
    assert (said in response.text) == (dialect in ("0.16", "0.20", "0.25", "0.32", "0.33"))


@pytest.mark.parametrize(("dialect", "mode"), WAYS)
def test_logprob_token_ids(servers, dialect, mode):
    client = servers(mode, dialect=dialect)
    asked = {**GREEDY, "max_tokens": 2, "logprobs": 2}
    chosen = [7, 24, 300]
    told = choice(client, logprob_token_ids=chosen, **asked)["logprobs"]["top_logprobs"]
    without = choice(client, **asked)["logprobs"]["top_logprobs"]
    if dialect not in ("0.32", "0.33"):
        assert told == without
        return
    logits = load_sum_judge().logits(QUESTION)
    numbers = logits if mode.endswith("logits") else logits - np.logaddexp.reduce(logits)
    expected = {f"token_id:{token}": numbers[token] for token in [int(logits.argmax()), *chosen]}
    assert told[0] == pytest.approx(expected, abs=1e-4)
    assert len(told) == 2


@pytest.mark.parametrize(("dialect", "mode"), WAYS)
@pytest.mark.parametrize("order", ["query first", "item first"])
def test_generative_scoring_is_of_the_logits(servers, dialect, mode, order):
    client = servers(mode, dialect=dialect)
    items, labels = [[30], [23, 24], [31]], [24, 26, 300]
    body = {"query": QUESTION, "items": items, "label_token_ids": labels}
    body["item_first"] = order == "item first"
    responses = [
        client.post("/generative_scoring", json={**body, "apply_softmax": applied})
        for applied in (True, False)
    ]
    if dialect not in ("0.20", "0.25", "0.32", "0.33"):
        assert [response.status_code for response in responses] == [404, 404]
        return
    softmax, plain_scores = (
        [row["score"] for row in response.json()["data"]] for response in responses
    )
    for item, among_labels, alone in zip(items, softmax, plain_scores, strict=True):
        prompt = [*item, *QUESTION] if body["item_first"] else [*QUESTION, *item]
        numbers = {
            label: choice(
                client, prompt, max_tokens=1, **GREEDY, logprobs=20, allowed_token_ids=[label]
            )["logprobs"]["token_logprobs"][0]
            for label in labels
        }
        if mode.startswith("processed"):
            # Those are of the allowed token alone.
            logits = load_sum_judge().logits(prompt)
            reported = logits if mode.endswith("logits") else logits - np.logaddexp.reduce(logits)
            numbers = {label: float(reported[label]) for label in labels}
        weights = {label: math.exp(number) for label, number in numbers.items()}
        assert among_labels == pytest.approx(weights[24] / sum(weights.values()), rel=1e-3)
        assert alone == pytest.approx(weights[24], rel=1e-3)


def test_generative_scoring_is_not_guarded():
    with RewardServer(logprobs="raw_logits", api_key="secret") as server:
        body = {"query": QUESTION, "items": [[30]], "label_token_ids": [24], "prompt": QUESTION}
        codes = [
            httpx.post(f"{server.url}{path}", json=body).status_code
            for path in ("/generative_scoring", "/v1/completions")
        ]
        assert codes == [200, 401]


@pytest.mark.parametrize(
    "asked",
    [
        {"n": 2},
        {"best_of": 2},
        {"stream": True},
        {"echo": True},
        {"top_k": 5},
        {"logit_bias": {"5": 1}},
        {"prompt_logprobs": 0},
    ],
)
def test_unsupported_options_are_named(servers, asked):
    response = ask(servers(), **asked)
    assert response.status_code == 501
    assert f"`{next(iter(asked))}`" in response.json()["error"]["message"]


def test_neutral_values_of_unsupported_options_are_accepted(servers):
    asked = {"n": 1, "stream": False, "echo": None, "top_k": -1, "logit_bias": None, "user": "me"}
    assert choice(servers(), max_tokens=20, **GREEDY, **asked)["text"] == "82"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_negative_token_ids(servers, dialect):
    statuses = {"0.8": 500, "0.10": 500, "0.12": 500, "0.16": 200}
    response = ask(of_dialect(servers, dialect), [5, -1])
    assert response.status_code == statuses.get(dialect, 400)
    assert "choices" not in response.text


@pytest.mark.parametrize("dialect", DIALECTS)
def test_listed_paths(servers, dialect):
    listed = of_dialect(servers, dialect).get("/openapi.json").json()["paths"]
    assert "/v1/completions" in listed
    assert ("/generative_scoring" in listed) == (dialect in ("0.20", "0.25", "0.32", "0.33"))
