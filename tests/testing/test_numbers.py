"""What every version does to the raw values of every head, by the numbers.

The table below was read off real servers: which positions come back, and what was applied to them.
"""

from __future__ import annotations

import base64
from contextlib import ExitStack

import httpx
import numpy as np
import pytest
from safetensors.numpy import load_file

from reward_client.testing import RewardServer
from reward_client.testing._model.sum_judge import load_sum_judge

# float32, against the same arithmetic in float64.
TOLERANCE = 1e-4
TEXT = "<|bos|><|user|>What is 37 + 45?<|end|><|assistant|>30 + 40 = 70 ~ 7 + 5 = 12 ~ 82~<|end|>"
RAW = {"use_activation": False}
ON = {"use_activation": True}
OLD = {"activation": False}
SOFTMAX = {"softmax": False}
SHOTGUN = {**RAW, **OLD}
PLAIN = {"normalize": False}
UNIT = {"normalize": True}
CLASSIFY = {"task": "classify"}
TOKEN_CLASSIFY = {"task": "token_classify"}
EMBED = {"task": "embed"}
TOKEN_EMBED = {"task": "token_embed"}

NEW = "0.16 0.20 0.25 0.32"
ALL = "0.10 0.12 0.16 0.20 0.25 0.32"
# Dialects, heads, route, body, the positions that come back, and what was applied to them.
TABLE = [
    # 0.8 knows no switch, and its softmax over one label is 1.0.
    ("0.8", "sequence labels", "/pooling /v1/embeddings", {}, "last", "softmax"),
    ("0.8", "sequence labels", "/pooling /v1/embeddings", RAW, "last", "softmax"),
    ("0.8", "token", "/pooling", {}, "all", "none"),
    ("0.8", "token", "/pooling", ON, "all", "none"),
    ("0.8", "steps", "/pooling", {}, "steps", "softmax"),
    ("0.8", "steps", "/pooling", RAW, "steps", "softmax"),
    ("0.8", "embed", "/pooling /v1/embeddings", {}, "last", "unit"),
    ("0.8", "embed", "/pooling /v1/embeddings", PLAIN, "last", "unit"),
    # One label: 0.10 takes text only; its switch is named `activation`.
    ("0.10 0.12", "sequence", "/classify", {}, "last", "sigmoid"),
    ("0.10", "sequence", "/classify", OLD, "last", "none"),
    ("0.10", "sequence", "/classify", SHOTGUN, "last", "none"),
    ("0.10", "sequence", "/classify", RAW, "last", "sigmoid"),
    ("0.10 0.12", "sequence", "/classify", SOFTMAX, "last", "sigmoid"),
    # 0.12: the old keys turn the activation on, whatever they say.
    ("0.12", "sequence", "/classify", RAW, "last", "none"),
    ("0.12", "sequence", "/classify", OLD, "last", "sigmoid"),
    ("0.12", "sequence", "/classify", SHOTGUN, "last", "sigmoid"),
    ("0.12", "sequence", "/pooling", CLASSIFY, "last", "sigmoid"),
    ("0.12", "sequence", "/pooling", {**CLASSIFY, **RAW}, "last", "none"),
    ("0.12", "sequence", "/pooling", {**CLASSIFY, **OLD}, "last", "sigmoid"),
    ("0.12", "sequence", "/pooling", {**CLASSIFY, **SHOTGUN}, "last", "sigmoid"),
    ("0.12", "sequence", "/pooling", {"task": "score", **RAW}, "last", "none"),
    # 0.16 answers per token unless the task is named, and takes `normalize` for the switch.
    ("0.16", "sequence", "/pooling", {}, "all", "sigmoid"),
    ("0.16", "sequence", "/pooling", RAW, "all", "none"),
    ("0.16", "sequence", "/pooling", PLAIN, "all", "none"),
    ("0.16", "sequence", "/pooling", {**CLASSIFY, **UNIT}, "last", "sigmoid"),
    (NEW, "sequence", "/pooling", CLASSIFY, "last", "sigmoid"),
    (NEW, "sequence", "/pooling", {**CLASSIFY, **RAW}, "last", "none"),
    (NEW, "sequence", "/pooling", {**CLASSIFY, **SHOTGUN}, "last", "none"),
    (NEW, "sequence", "/pooling", {**CLASSIFY, **OLD}, "last", "sigmoid"),
    (NEW, "sequence", "/classify", {}, "last", "sigmoid"),
    (NEW, "sequence", "/classify", RAW, "last", "none"),
    ("0.16 0.20 0.25", "sequence", "/classify", PLAIN, "last", "sigmoid"),
    ("0.20 0.25 0.32", "sequence", "/pooling", {}, "last", "sigmoid"),
    ("0.20 0.25 0.32", "sequence", "/pooling", RAW, "last", "none"),
    ("0.20 0.25", "sequence", "/pooling", PLAIN, "last", "sigmoid"),
    ("0.16 0.20", "sequence", "/pooling", TOKEN_CLASSIFY, "all", "sigmoid"),
    ("0.16 0.20", "sequence", "/pooling", {**TOKEN_CLASSIFY, **RAW}, "all", "none"),
    # Five labels.
    (ALL, "labels", "/classify", {}, "last", "softmax"),
    ("0.10", "labels", "/classify", OLD, "last", "none"),
    ("0.12 0.16 0.20 0.25 0.32", "labels", "/classify", RAW, "last", "none"),
    ("0.12 0.16 0.20 0.25 0.32", "labels", "/pooling", CLASSIFY, "last", "softmax"),
    ("0.12 0.16 0.20 0.25 0.32", "labels", "/pooling", {**CLASSIFY, **RAW}, "last", "none"),
    ("0.16", "labels", "/pooling", {}, "all", "softmax"),
    ("0.20 0.25 0.32", "labels", "/pooling", {}, "last", "softmax"),
    # One value per token: raw, but a sigmoid in 0.12.
    ("0.10", "token", "/pooling", {}, "all", "none"),
    ("0.10", "token", "/pooling", ON, "all", "none"),
    ("0.12", "token", "/pooling", {}, "all", "sigmoid"),
    ("0.12", "token", "/pooling", RAW, "all", "none"),
    ("0.12", "token", "/pooling", SOFTMAX, "all", "sigmoid"),
    ("0.12", "token", "/pooling", SHOTGUN, "all", "sigmoid"),
    (NEW, "token", "/pooling", {}, "all", "none"),
    (NEW, "token", "/pooling", {**TOKEN_CLASSIFY, **RAW}, "all", "none"),
    (NEW, "token", "/pooling", ON, "all", "sigmoid"),
    ("0.16", "token", "/pooling", UNIT, "all", "sigmoid"),
    # Two values per step.
    (ALL, "steps", "/pooling", {}, "steps", "softmax"),
    ("0.10", "steps", "/pooling", RAW, "steps", "softmax"),
    ("0.12 0.16 0.20 0.25 0.32", "steps", "/pooling", RAW, "steps", "none"),
    ("0.12", "steps", "/pooling", SHOTGUN, "steps", "softmax"),
    ("0.20 0.25 0.32", "steps", "/pooling", {**TOKEN_CLASSIFY, **SHOTGUN}, "steps", "none"),
    # Hidden states: `normalize` up to 0.16, `use_activation` since then.
    (ALL, "embed", "/v1/embeddings", {}, "last", "unit"),
    ("0.10 0.12 0.16", "embed", "/v1/embeddings", PLAIN, "last", "none"),
    ("0.20 0.25", "embed", "/v1/embeddings", PLAIN, "last", "unit"),
    ("0.10 0.12", "embed", "/v1/embeddings", RAW, "last", "unit"),
    (NEW, "embed", "/v1/embeddings", RAW, "last", "none"),
    ("0.12 0.16 0.20 0.25 0.32", "embed", "/pooling", EMBED, "last", "unit"),
    ("0.12 0.16", "embed", "/pooling", {**EMBED, **PLAIN}, "last", "none"),
    (NEW, "embed", "/pooling", {**EMBED, **RAW}, "last", "none"),
    ("0.16", "embed", "/pooling", {}, "all", "unit"),
    ("0.16", "embed", "/pooling", RAW, "all", "none"),
    ("0.16 0.20", "embed", "/pooling", TOKEN_EMBED, "all", "unit"),
    ("0.20 0.25 0.32", "embed", "/pooling", {}, "last", "unit"),
    # The reward as a Dense module: raw, and ±1 if it is normalised all the same.
    (ALL, "export", "/v1/embeddings", {}, "last", "none"),
    (ALL, "export", "/v1/embeddings", RAW, "last", "none"),
    ("0.10 0.12 0.16", "export", "/v1/embeddings", UNIT, "last", "unit"),
    (NEW, "export", "/v1/embeddings", ON, "last", "unit"),
    ("0.16", "export", "/pooling", {}, "all", "none"),
    ("0.16 0.20", "export", "/pooling", TOKEN_EMBED, "all", "none"),
    ("0.20 0.25 0.32", "export", "/pooling", {}, "last", "none"),
    ("0.12 0.16 0.20 0.25 0.32", "export", "/pooling", EMBED, "last", "none"),
]


def rows():
    return list(_rows())


def _rows():
    for dialects, heads, paths, body, positions, applied in TABLE:
        for dialect in dialects.split():
            for head in heads.split():
                for path in paths.split():
                    name = f"{dialect}-{head}-{path}-{body}"
                    yield pytest.param(dialect, head, path, body, positions, applied, id=name)


def softmax(x):
    raised = np.exp(x - x.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


APPLIED = {
    "none": lambda x: x,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softmax": softmax,
    "unit": lambda x: x / np.sqrt((x * x).sum(axis=-1, keepdims=True)),
}


def expected(ids, head, positions, applied):
    evaluation = load_sum_judge().evaluate(ids)
    outputs = evaluation.outputs(head).astype(np.float64)
    selected = {
        "last": lambda: outputs[-1],
        "all": lambda: outputs,
        "steps": lambda: outputs[[i for i, token in enumerate(ids) if token == STEP_ID]],
    }[positions]()
    return APPLIED[applied](selected)


def ids_of(text):
    return load_sum_judge().tokenizer.encode(text, add_special_tokens=False)


(STEP_ID,) = ids_of(RewardServer.step_token)


@pytest.fixture(scope="module")
def clients():
    """A client for each version and head; servers are started when they are first asked."""
    made = {}
    with ExitStack() as stack:

        def client(dialect, head, **options):
            key = (dialect, head, *options.items())
            if key not in made:
                server = stack.enter_context(RewardServer(dialect=dialect, head=head, **options))
                made[key] = stack.enter_context(httpx.Client(base_url=server.url, verify=False))
            return made[key]

        yield client


def pooled(response):
    assert response.status_code == 200, response.text
    assert "error" not in response.json(), response.text
    return [
        item.get("data", item.get("embedding", item.get("probs")))
        for item in response.json()["data"]
    ]


def request_for(dialect, path, texts):
    """0.10 and 0.12 take text only on `/classify`, and 0.10 puts a BOS before it."""
    if path != "/classify" or dialect not in ("0.10", "0.12"):
        return {"input": [ids_of(text) for text in texts]}
    if dialect == "0.10":
        return {"input": [text.removeprefix("<|bos|>") for text in texts]}
    return {"input": texts, "add_special_tokens": False}


@pytest.mark.parametrize(("dialect", "head", "path", "body", "positions", "applied"), rows())
def test_numbers(clients, dialect, head, path, body, positions, applied):
    texts = [TEXT, TEXT.replace("82", "83")]
    request = {**request_for(dialect, path, texts), **body}
    values = pooled(clients(dialect, head).post(path, json=request))
    for value, text in zip(values, texts, strict=True):
        reference = expected(ids_of(text), head, positions, applied)
        assert np.shape(value) == reference.shape
        assert np.abs(np.asarray(value) - reference).max() < TOLERANCE


@pytest.mark.parametrize(
    ("dialect", "head", "path", "body", "positions", "applied"),
    [row for row in rows() if row.values[2] != "/classify"],  # has no encoding_format
)
def test_base64_is_the_same_numbers(clients, dialect, head, path, body, positions, applied):
    request = {"input": ids_of(TEXT), "encoding_format": "base64", **body}
    (value,) = pooled(clients(dialect, head).post(path, json=request))
    reference = expected(ids_of(TEXT), head, positions, applied)
    decoded = np.frombuffer(base64.b64decode(value), dtype="<f4").reshape(reference.shape)
    assert np.abs(decoded - reference).max() < TOLERANCE


@pytest.mark.parametrize("head", ["sequence", "token", "labels", "steps", "embed"])
def test_every_head_and_version_is_in_the_table(head):
    covered = {row.values[0] for row in rows() if row.values[1] == head}
    assert covered == {"0.8", *ALL.split()}


@pytest.mark.parametrize(
    ("dialect", "head", "path"),
    [
        ("0.8", "sequence", "/pooling"),
        ("0.8", "steps", "/pooling"),
        ("0.8", "embed", "/v1/embeddings"),
        ("0.10", "labels", "/classify"),
        ("0.32", "sequence", "/pooling"),
        ("0.32", "embed", "/v1/embeddings"),
    ],
)
def test_started_without_an_activation(clients, dialect, head, path):
    values = pooled(
        clients(dialect, head, raw=True).post(path, json=request_for(dialect, path, [TEXT]))
    )
    positions = "steps" if head == "steps" else "last"
    reference = expected(ids_of(TEXT), head, positions, "none")
    assert np.abs(np.asarray(values[0]) - reference).max() < TOLERANCE


@pytest.mark.parametrize("dialect", ["0.8", *ALL.split()])
def test_no_rows_without_a_step_token(clients, dialect):
    ids = ids_of(TEXT.replace("~", ""))
    client = clients(dialect, "steps")
    assert pooled(client.post("/pooling", json={"input": ids})) == [[]]
    assert pooled(client.post("/pooling", json={"input": ids, "encoding_format": "base64"})) == [""]


@pytest.mark.parametrize("text", ["a~b", "a ~ b", "~~", "4~\n\n", "é~.", "<|end|>~<|end|>"])
def test_the_step_token_is_one_token_wherever_it_stands(text):
    assert ids_of(text).count(STEP_ID) == text.count("~")
    assert load_sum_judge().tokenizer.decode([STEP_ID]) == RewardServer.step_token == "~"


def test_references_are_those_of_one_weight():
    """The score is the hidden state times the trained row; the labels' rows are that row turned."""
    weight = load_file(RewardServer.checkpoint / "model.safetensors")["score.weight"][0]
    weight = weight.astype(np.float64)
    ids = ids_of(TEXT)
    server = RewardServer()
    values = server.reference_values(ids)
    assert np.dot(weight, values.hidden) == pytest.approx(server.reference(ids), abs=TOLERANCE)
    assert values.score == values.token_scores[-1] == values.labels[0] == server.reference(ids)
    assert len(values.token_scores) == len(ids)
    turned = [np.dot(np.roll(weight, 11 * label), values.hidden) for label in range(5)]
    assert values.labels == pytest.approx(turned, abs=TOLERANCE)
    at_steps = [values.token_scores[i] for i, token in enumerate(ids) if token == STEP_ID]
    assert [good for _, good in values.steps] == at_steps
    # No number is there twice: one that is read in the wrong place is another.
    assert len({*values.labels, *(logit for step in values.steps for logit in step)}) == 5 + 6
