"""The server around the wire: start, stop, records, keys, and what needs no recording."""

from __future__ import annotations

import base64
import math
import struct
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest

from reward_client.testing import RecordedRequest, RewardServer, create_app

SUM = [{"role": "user", "content": "What is 37 + 45?"}, {"role": "assistant", "content": "82"}]


def test_stops_and_leaves_nothing():
    before = set(threading.enumerate())  # other tests may keep a server for longer
    with RewardServer() as server:
        url = server.url
        assert httpx.get(url + "/health").status_code == 200
        assert "RewardServer" in {thread.name for thread in set(threading.enumerate()) - before}
    assert "RewardServer" not in {thread.name for thread in set(threading.enumerate()) - before}
    with pytest.raises(httpx.ConnectError):
        httpx.get(url + "/health")
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.url


def test_a_taken_port_is_an_error():
    with RewardServer() as server:
        second = RewardServer(port=int(server.url.rpartition(":")[2]))
        with pytest.raises(OSError, match="in use"):
            second.__enter__()


def test_listens_on_loopback_only():
    with RewardServer() as server:
        assert server.url.startswith("http://127.0.0.1:")


def test_records_requests():
    with RewardServer() as server:
        httpx.post(server.url + "/tokenize", json={"prompt": "1"}, headers={"X-Test": "yes"})
        httpx.get(server.url + "/version")
        first, second = server.requests
    assert isinstance(first, RecordedRequest)
    assert (first.method, first.path, first.json) == ("POST", "/tokenize", {"prompt": "1"})
    assert first.headers["x-test"] == "yes"
    assert (second.method, second.path, second.json) == ("GET", "/version", None)


def test_key_guards_v1_only():
    with RewardServer(api_key="secret") as server, httpx.Client(base_url=server.url) as client:
        refused = client.get("/v1/models")
        assert (refused.status_code, refused.json()) == (401, {"error": "Unauthorized"})
        assert client.get("/v1/no-such-route").status_code == 401
        key = {"Authorization": "Bearer secret"}
        assert client.get("/v1/models", headers=key).status_code == 200
        assert client.get("/version").status_code == 200
        assert client.post("/pooling", json={"input": [1]}).status_code == 200


@pytest.mark.parametrize("dialect", ["0.8", "0.32"])
def test_tokens_to_raw_reward(dialect):
    with (
        RewardServer(dialect=dialect, raw=True, model_name="m", max_model_len=64) as server,
        httpx.Client(base_url=server.url) as client,
    ):
        chat = {"model": "m", "messages": SUM, "add_generation_prompt": False}
        tokens = client.post("/tokenize", json=chat).json()
        assert tokens["max_model_len"] == 64
        body = {"model": "m", "input": tokens["tokens"]}
        value = client.post("/pooling", json=body).json()["data"][0]["data"][0]
        assert value == server.reference(tokens["tokens"])
        long = client.post("/pooling", json={"input": [5] * 65})
        assert "context length is 64 tokens" in long.text


def test_doubled_bos_is_reproducible():
    with RewardServer() as server, httpx.Client(base_url=server.url) as client:
        chat = {"messages": SUM, "add_generation_prompt": False}
        tokens = client.post("/tokenize", json=chat).json()["tokens"]
        text = client.post("/detokenize", json={"tokens": tokens}).json()["prompt"]
        assert text.startswith("<|bos|>")
        doubled = client.post("/tokenize", json={"prompt": text}).json()["tokens"]
        single = {"prompt": text, "add_special_tokens": False}
        assert client.post("/tokenize", json=single).json()["tokens"] == tokens
        assert doubled == [tokens[0], *tokens]
        assert server.reference(doubled) != server.reference(tokens)
        again = client.post("/tokenize", json={**chat, "add_special_tokens": True}).json()["tokens"]
        assert again == doubled


def test_generation_prompt_is_the_default_of_tokenize():
    with RewardServer() as server, httpx.Client(base_url=server.url) as client:
        opened = client.post("/tokenize", json={"messages": SUM}).json()["tokens"]
        chat = {"messages": SUM, "add_generation_prompt": False}
        closed = client.post("/tokenize", json=chat).json()["tokens"]
        assert opened[: len(closed)] == closed
        assert len(opened) == len(closed) + 1


def test_template_variables_and_roles():
    with RewardServer() as server, httpx.Client(base_url=server.url) as client:
        parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
        chat = {
            "messages": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": parts},
                {"role": "tool", "content": "t"},
            ],
            "tools": [{"type": "function", "function": {"name": "add"}}],
            "add_generation_prompt": False,
        }
        tokens = client.post("/tokenize", json=chat).json()["tokens"]
        text = client.post("/detokenize", json={"tokens": tokens}).json()["prompt"]
        tools = '<|system|>Tools: [{"type": "function", "function": {"name": "add"}}]<|end|>'
        assert text == f"<|bos|>{tools}<|system|>s<|end|><|user|>a\nb<|end|><|tool|>t<|end|>"
        critic = {"messages": [{"role": "critic", "content": "x"}]}
        refused = client.post("/tokenize", json=critic)
        assert refused.status_code == 400
        assert refused.json()["error"]["message"] == "Unknown role: critic"


def test_answers_requests_at_once():
    with RewardServer() as server, httpx.Client(base_url=server.url) as client:

        def ask(number):
            ids = [1, 4, 22 + number, 2]
            response = client.post("/pooling", json={"input": ids, "use_activation": False})
            return response.json()["data"][0]["data"][0], server.reference(ids)

        with ThreadPoolExecutor(8) as pool:
            for served, direct in pool.map(ask, range(40)):
                assert served == direct


def pooled(client, **body):
    (item,) = client.post("/pooling", json=body).json()["data"]
    return item["data"]


def test_values_in_place_of_the_models():
    with RewardServer(values=len) as server, httpx.Client(base_url=server.url) as client:
        assert pooled(client, input=[5, 6, 7], use_activation=False) == [3]
        assert pooled(client, input=[5] * 20, use_activation=False) == [20]
        assert pooled(client, input=[5, 6]) == pytest.approx([1 / (1 + math.exp(-2))], abs=1e-6)
        assert server.reference([5, 6, 7]) != 3


def test_tiny_values_arrive_as_float32_has_them():
    def tiny(_token_ids):
        return 1e-42

    float32 = struct.unpack("<f", struct.pack("<f", 1e-42))[0]
    with (
        RewardServer(values=tiny, head="labels", raw=True) as server,
        httpx.Client(base_url=server.url) as client,
    ):
        assert pooled(client, input=[5, 6]) == [float32] * 5
        encoded = pooled(client, input=[5, 6], encoding_format="base64")
        assert struct.unpack("<5f", base64.b64decode(encoded)) == (float32,) * 5


@pytest.mark.parametrize("head", ["token", "steps", "embed", "export"])
def test_values_have_the_shape_of_the_head(head):
    ids = [1, 100, 5, 100]
    answers = []
    for values in (None, len):
        with RewardServer(head=head, raw=True, values=values) as server:
            answers.append(httpx.post(server.url + "/pooling", json={"input": ids}).json())
    right, wrong = (answer["data"][0]["data"] for answer in answers)
    assert wrong == np.full_like(right, 4).tolist()


def test_what_the_server_says_of_itself():
    with (
        RewardServer(version="0.99.0.dev1", owned_by="proxy", root="org/model") as server,
        httpx.Client(base_url=server.url) as client,
    ):
        assert client.get("/version").json() == {"version": "0.99.0.dev1"}
        (card,) = client.get("/v1/models").json()["data"]
        assert (card["owned_by"], card["root"]) == ("proxy", "org/model")
    with RewardServer(version=None, dialect="0.12") as server:
        hidden = httpx.get(server.url + "/version")
        assert (hidden.status_code, hidden.json()) == (404, {"detail": "Not Found"})


@pytest.mark.parametrize("dialect", ["0.10", "0.12", "0.16"])
def test_by_way_of_text(dialect):
    """Where `/classify` takes no token IDs: detokenized, without the BOS that it puts there."""
    server = RewardServer(dialect=dialect)
    with server, httpx.Client(base_url=server.url) as client:
        chat = {"messages": SUM, "add_generation_prompt": False}
        tokens = client.post("/tokenize", json=chat).json()["tokens"]
        text = client.post("/detokenize", json={"tokens": tokens}).json()["prompt"]
        assert text.startswith("<|bos|>")
        switch = "activation" if dialect == "0.10" else "use_activation"
        body = {"input": [text.removeprefix("<|bos|>")], switch: False}
        response = client.post("/classify", json=body).json()
        assert response["usage"]["prompt_tokens"] == len(tokens)
        assert response["data"][0]["probs"] == [server.reference(tokens)]


@pytest.mark.parametrize(
    ("dialect", "status", "code"),
    [("0.8", 500, None), ("0.12", 500, 500), ("0.16", 200, 500), ("0.32", 400, 400)],
)
def test_a_negative_id(dialect, status, code):
    """It kills a real server of 0.10 to 0.27; this one answers as that did, and goes on."""
    with (
        RewardServer(dialect=dialect, head="token") as server,
        httpx.Client(base_url=server.url) as client,
    ):
        response = client.post("/pooling", json={"input": [5, -1]})
        assert response.status_code == status
        assert (response.text == "Internal Server Error") is (code is None)
        if code is not None:
            assert response.json()["error"]["code"] == code
        assert client.post("/pooling", json={"input": [5]}).json()["usage"]["prompt_tokens"] == 1


def test_a_row_for_each_token_on_the_embeddings_route():
    """As 0.33.0 answered with `--pooler-config '{"task": "token_embed"}'`."""
    server = RewardServer(dialect="0.33", head="export-steps")
    with server, httpx.Client(base_url=server.url) as client:
        response = client.post("/v1/embeddings", json={"input": [[5, 6, 7]]}).json()
        assert response["id"].startswith("embd-")
        (item,) = response["data"]
        assert item["object"] == "embedding"
        assert np.shape(item["embedding"]) == (3, 2)

        body = {"input": [[5, 6, 7]], "encoding_format": "base64"}
        response = client.post("/v1/embeddings", json=body)
        assert response.status_code == 400
        assert response.json()["error"] == {
            "message": "1 validation error:\n  {'type': 'literal_error', 'loc': "
            "'body.encoding_format', 'msg': \"Input should be 'float'\", 'input': 'base64', 'ctx': "
            "{'expected': \"'float'\"}}",
            "type": "Bad Request",
            "param": "body.encoding_format",
            "code": 400,
        }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dialect": "0.7"}, "dialect='0.7': it is unknown"),
        ({"head": "process"}, "head='process': it is unknown"),
        ({"dialect": "0.8", "head": "export"}, "came with 0.10.2"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(ValueError, match=message):
        create_app(**options)


def test_missing_extra_is_named():
    code = (
        "import sys; sys.modules['starlette'] = None\n"
        "import reward_client.testing as t\n"
        "try: t.RewardServer\n"
        "except ImportError as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'reward-client[testing]'" in run.stdout


def test_unknown_name():
    import reward_client.testing

    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = reward_client.testing.Nothing


def test_two_servers_have_two_ports():
    with RewardServer() as one, RewardServer() as two:
        assert one.url != two.url


def test_public_names_report_the_package() -> None:
    from reward_client import testing

    modules = {getattr(testing, name).__module__ for name in testing.__all__}
    assert modules == {"reward_client.testing"}
