"""SGLang's test server beyond the recordings: values, rewritten prompts, limits, and its end."""

from __future__ import annotations

import base64
import json
import socket
import struct

import httpx
import numpy as np
import pytest

from reward_client.testing import Fault, RewardServer, create_app

from .replay import NO_REUSE

SUM = [{"role": "user", "content": "What is 37 + 45?"}, {"role": "assistant", "content": "82"}]
VERSIONS = ("0.4.9", "0.5.22", "0.5.23")
PAST_VOCABULARY = 384
# Float32 in another order of operations.
CLOSE = 1e-4


@pytest.fixture
def sglang():
    """A function that starts a server, and returns it with a client."""
    started = []

    def start(dialect="0.5.23", **options):
        server = RewardServer(engine="sglang", dialect=dialect, **options)
        server.__enter__()
        client = httpx.Client(base_url=server.url, verify=False, limits=NO_REUSE)
        started.append((server, client))
        return server, client

    yield start
    for server, client in started:
        client.close()
        server.__exit__(None, None, None)


def post(client, path, **body):
    reply = client.post(path, json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()


def sum_ids(client):
    return post(client, "/tokenize", messages=SUM, add_generation_prompt=False)["tokens"]


def ids_of(server):
    """The token IDs of the sum, for versions without `/tokenize` too."""
    with RewardServer() as vllm, httpx.Client(base_url=vllm.url, verify=False) as client:
        return sum_ids(client)


@pytest.mark.parametrize("dialect", VERSIONS)
@pytest.mark.parametrize(
    ("head", "of"),
    [
        ("sequence", lambda values: [values.score]),
        ("token", lambda values: [values.token_scores[-1]]),
        ("labels", lambda values: values.labels),
        ("embed", lambda values: (values.hidden / np.linalg.norm(values.hidden)).tolist()),
    ],
)
def test_values_of_each_head_are_the_models(sglang, dialect, head, of):
    server, client = sglang(dialect, head=head)
    ids = ids_of(server)
    expected = of(server.reference_values(ids))
    for path in ("/classify", "/encode"):
        one = post(client, path, input_ids=ids)
        assert one["embedding"] == pytest.approx(expected, abs=CLOSE)
        assert one["meta_info"]["prompt_tokens"] == len(ids)
        (alone,) = post(client, path, input_ids=[ids])
        assert alone["embedding"] == one["embedding"]
    first, second = post(client, "/v1/embeddings", model="m", input=[ids[:5], ids])["data"]
    assert (first["index"], second["index"]) == (0, 1)
    assert second["embedding"] == pytest.approx(expected, abs=CLOSE)
    assert first["embedding"] != pytest.approx(expected, abs=CLOSE)


@pytest.mark.parametrize("dialect", VERSIONS)
def test_base64_is_heeded_since_0_5_18(sglang, dialect):
    server, client = sglang(dialect)
    ids = ids_of(server)
    reply = post(client, "/v1/embeddings", model="m", input=ids, encoding_format="base64")
    (item,) = reply["data"]
    if dialect == "0.4.9":
        assert item["embedding"] == [server.reference(ids)]
    else:
        assert struct.unpack("<f", base64.b64decode(item["embedding"])) == (server.reference(ids),)


def test_v1_classify_says_nothing_of_the_reward(sglang):
    server, client = sglang()
    (item,) = post(client, "/v1/classify", input=sum_ids(client))["data"]
    assert (item["label"], item["probs"]) == ("LABEL_0", [1.0])
    server, client = sglang(head="labels")
    (item,) = post(client, "/v1/classify", input=sum_ids(client))["data"]
    assert sum(item["probs"]) == pytest.approx(1)
    assert item["probs"] != pytest.approx(server.reference_values(sum_ids(client)).labels)


def test_text_doubles_the_bos(sglang):
    server, client = sglang()
    ids = sum_ids(client)
    text = post(client, "/detokenize", tokens=ids, skip_special_tokens=False)["text"]
    doubled = post(client, "/classify", text=text)
    assert doubled["embedding"] == [server.reference([ids[0], *ids])]
    whole = post(client, "/tokenize", prompt=text, add_special_tokens=False)
    assert whole["tokens"] == ids


def test_last_answers_become_questions(sglang):
    _, client = sglang()
    exact, asked = sum_ids(client), [{**SUM[0]}, {**SUM[1], "role": "user"}]
    for dialect in ("0.5.22", "0.5.23"):
        _, client = sglang(dialect)
        rewritten = post(client, "/tokenize", messages=SUM)["tokens"]
        assert rewritten == post(client, "/tokenize", messages=asked)["tokens"]
        closed = post(client, "/tokenize", messages=SUM, add_generation_prompt=False)["tokens"]
        assert closed == (rewritten if dialect == "0.5.22" else exact)
        parts = [{"type": "text", "text": part} for part in ("37", "+ 45")]
        joined = [{"role": "user", "content": parts}]
        plain = [{"role": "user", "content": "37 + 45"}]
        assert (
            post(client, "/tokenize", messages=joined)["tokens"]
            == post(client, "/tokenize", messages=plain)["tokens"]
        )


@pytest.mark.parametrize("body", [{"messages": []}, {"messages": [{**SUM[0], "role": "system"}]}])
def test_conversations_that_cannot_be_rendered(sglang, body):
    _, client = sglang(chat_template="{{ raise_exception('no system message') }}")
    reply = client.post("/tokenize", json=body)
    words = "no system message" if body["messages"] else "Messages cannot be empty."
    assert (reply.status_code, reply.json()["message"]) == (400, words)


def test_rerank_scores_pairs_best_first(sglang):
    server, client = sglang()
    documents = ["82", "83", "84"]
    rows = post(client, "/v1/rerank", query="What is 37 + 45?", documents=documents)
    query = post(client, "/tokenize", prompt="What is 37 + 45?")["tokens"]
    for row in rows:
        assert row["document"] == documents[row["index"]]
        pair = [*query, *post(client, "/tokenize", prompt=row["document"])["tokens"]]
        assert row["score"] == pytest.approx(server.reference(pair), abs=CLOSE)
    scores = [row["score"] for row in rows]
    assert scores == sorted(scores, reverse=True)
    (best,) = post(
        client,
        "/v1/rerank",
        query="What is 37 + 45?",
        documents=documents,
        top_n=1,
        return_documents=False,
    )
    assert (best["index"], best["score"]) == (rows[0]["index"], scores[0])
    assert "document" not in best


def test_bias_is_added_to_every_value(sglang):
    plain, _ = sglang(head="labels")
    server, client = sglang(head="labels", score_bias=-0.0848)
    ids = sum_ids(client)
    expected = [value - 0.0848 for value in plain.reference_values(ids).labels]
    assert post(client, "/classify", input_ids=ids)["embedding"] == pytest.approx(expected)
    assert server.reference(ids) == plain.reference(ids)
    facts = client.get("/model_info").json()
    assert facts["architectures"] == ["Qwen2ForSequenceClassification"]


def test_each_start_has_its_random_seed(sglang):
    seeds = [sglang()[1].get("/server_info").json()["random_seed"] for _ in range(2)]
    assert seeds[0] != seeds[1]


def test_version_is_in_the_servers_information(sglang):
    _, client = sglang("0.4.9")
    assert client.get("/get_server_info").json()["version"] == "0.4.9.post6"
    assert client.get("/server_info").status_code == client.get("/version").status_code == 404
    _, client = sglang(version=None)
    assert "version" not in client.get("/server_info").json()
    _, client = sglang(version="0.5.99")
    assert client.get("/get_server_info").json()["version"] == "0.5.99"


def test_context_takes_one_token_less(sglang):
    _, client = sglang(max_model_len=16)
    assert client.post("/classify", json={"input_ids": [5] * 15}).status_code == 200
    reply = client.post("/classify", json={"input_ids": [[5], [5] * 16]})
    message = "The input (16 tokens) is longer than the model's context length (16 tokens)."
    assert (reply.status_code, reply.json()) == (400, {"error": {"message": message}})


def test_key_guards_all_but_health(sglang):
    _, client = sglang(api_key="secret")
    assert client.get("/health").status_code == 200
    assert client.post("/classify", json={"input_ids": [5]}).status_code == 401
    key = {"Authorization": "Bearer secret"}
    assert client.post("/classify", json={"input_ids": [5]}, headers=key).status_code == 200


class TestGeneration:
    @pytest.fixture
    def generating(self, sglang):
        return sglang(logprobs="processed_logprobs")

    def logprobs(self, server, ids):
        logits = np.array(server.reference_logits(ids))
        return logits - np.logaddexp.reduce(logits)

    def test_logprobs_of_named_tokens(self, generating):
        server, client = generating
        ids = sum_ids(client)
        none = {"max_new_tokens": 0, "temperature": 0}
        body = {"sampling_params": none, "return_logprob": True}
        replies = post(
            client, "/generate", input_ids=[ids, ids[:4]], token_ids_logprob=[9, 17], **body
        )
        for prompt, reply in zip([ids, ids[:4]], replies, strict=True):
            expected = self.logprobs(server, prompt)
            (told,) = reply["meta_info"]["output_token_ids_logprobs"]
            assert told == [
                [pytest.approx(expected[token], abs=CLOSE), token, None] for token in (9, 17)
            ]
        one, other = post(
            client, "/generate", input_ids=[ids, ids], token_ids_logprob=[[9], [17]], **body
        )
        assert one["meta_info"]["output_token_ids_logprobs"] == [[replies_of(replies, 0)]]
        assert other["meta_info"]["output_token_ids_logprobs"] == [[replies_of(replies, 1)]]

    def test_logprobs_of_the_prompt(self, generating):
        server, client = generating
        ids = sum_ids(client)
        facts = post(
            client,
            "/generate",
            input_ids=ids,
            sampling_params={"max_new_tokens": 0},
            return_logprob=True,
            logprob_start_len=2,
            top_logprobs_num=2,
        )["meta_info"]
        first, *rest = facts["input_token_logprobs"]
        assert first == [None, ids[2], None]
        for end, (logprob, token, _) in enumerate(rest, start=3):
            expected = self.logprobs(server, ids[:end])
            assert (token, logprob) == (ids[end], pytest.approx(expected[token], abs=CLOSE))
            (best, likeliest, _), _ = facts["input_top_logprobs"][end - 2]
            assert (likeliest, best) == (
                expected.argmax(),
                pytest.approx(expected.max(), abs=CLOSE),
            )

    def test_text_ends_by_the_end_token(self, generating):
        _, client = generating
        question = post(client, "/tokenize", messages=SUM[:1])["tokens"]
        greedy = {"temperature": 0, "max_new_tokens": 20}
        reply = post(client, "/generate", input_ids=question, sampling_params=greedy)
        assert reply["text"] == "82"
        assert reply["meta_info"]["finish_reason"] == {"type": "stop", "matched": 2}
        assert reply["meta_info"]["completion_tokens"] == len(reply["output_ids"]) == 3
        completion = post(
            client, "/v1/completions", prompt=[question, question], temperature=0, logprobs=2
        )
        for choice in completion["choices"]:
            assert (choice["text"], choice["matched_stop"]) == ("82", 2)
            assert choice["logprobs"]["tokens"] == ["8", "2", "<|end|>"]
        assert completion["usage"]["completion_tokens"] == 6
        stopped = post(
            client, "/generate", input_ids=question, sampling_params={**greedy, "stop": "2"}
        )
        assert (stopped["text"], stopped["meta_info"]["finish_reason"]["matched"]) == ("8", "2")

    def test_score_is_the_probability_of_the_labels(self, generating):
        server, client = generating
        ids = sum_ids(client)
        expected = np.exp(self.logprobs(server, ids)[[9, 17]])
        body = {"query": ids[:4], "items": [ids[4:]], "label_token_ids": [9, 17]}
        (scores,) = post(client, "/v1/score", **body)["scores"]
        assert scores == pytest.approx(expected, rel=CLOSE)
        (scores,) = post(client, "/v1/score", apply_softmax=True, **body)["scores"]
        assert scores == pytest.approx(expected / expected.sum(), rel=CLOSE)

    def test_the_completion_must_fit_too(self, sglang):
        for dialect, fits in (("0.4.9", 5), ("0.5.23", 6)):
            _, client = sglang(dialect, logprobs="processed_logprobs", max_model_len=16)
            body = {"model": "m", "prompt": [5] * 10, "max_tokens": fits}
            assert client.post("/v1/completions", json=body).status_code == 200
            reply = client.post("/v1/completions", json={**body, "max_tokens": fits + 1})
            assert reply.status_code == 400
            assert f"a total of {11 + fits} tokens" in reply.json()["message"]

    def test_what_the_test_server_lacks_is_refused(self, generating):
        _, client = generating
        for options in ({"n": 2}, {"regex": "a+"}):
            body = {"input_ids": [5], "sampling_params": options}
            assert client.post("/generate", json=body).status_code == 501


def replies_of(replies, place):
    return replies[0]["meta_info"]["output_token_ids_logprobs"][0][place]


IDS = [5, 6, 7]
ENDS = [
    ("/classify", {"input_ids": [IDS, []]}),
    ("/classify", {"input_ids": [[]]}),
    ("/classify", {"input_ids": [-1]}),
    ("/classify", {"input_ids": [PAST_VOCABULARY]}),
    ("/encode", {"input_ids": [IDS, [5, PAST_VOCABULARY]]}),
    ("/v1/embeddings", {"input": [IDS, []]}),
    ("/v1/embeddings", {"input": [PAST_VOCABULARY]}),
    ("/v1/classify", {"input": [PAST_VOCABULARY]}),
    ("/v1/score", {"query": [], "items": [[]]}),
    ("/generate", {"input_ids": IDS, "return_logprob": True, "token_ids_logprob": [5]}),
]


def assert_ended(server, client, path, body):
    """A request gets no response, and no later one a connection."""
    with httpx.Client(base_url=server.url, verify=False) as idle:
        idle.get("/health")
        with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
            client.post(path, json=body)
        with pytest.raises(httpx.TransportError):
            idle.get("/health")
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url + "/health", verify=False)


@pytest.mark.parametrize(("path", "body"), ENDS, ids=lambda value: json.dumps(value))
def test_one_request_ends_the_server(sglang, path, body):
    server, client = sglang()
    assert_ended(server, client, path, body)


def test_an_id_past_the_vocabulary_ends_a_server_that_generates(sglang):
    server, client = sglang(logprobs="processed_logprobs")
    assert_ended(server, client, "/generate", {"input_ids": [PAST_VOCABULARY]})


def test_a_score_ends_an_embedding_server_of_0_4_9(sglang):
    body = {"model": "m", "query": IDS, "items": [IDS], "label_token_ids": [5, 6]}
    server, client = sglang("0.4.9")
    assert_ended(server, client, "/v1/score", body)
    _, client = sglang("0.5.22")
    assert client.post("/v1/score", json=body).status_code == 200


def test_an_empty_list_has_the_value_of_its_neighbour_in_0_4_9(sglang):
    server, client = sglang("0.4.9")
    items = post(client, "/classify", input_ids=[[], IDS, [], [8]])
    values = [item["embedding"] for item in items]
    assert values == [[server.reference(ids)] for ids in ([8], IDS, IDS, [8])]
    assert [item["meta_info"]["prompt_tokens"] for item in items] == [0, 3, 0, 1]
    assert_ended(server, client, "/classify", {"input_ids": [[]]})


def test_what_looks_deadly_and_is_not(sglang):
    _, client = sglang()
    assert client.post("/classify", json={"input_ids": []}).text == "Internal Server Error"
    refused = client.post("/v1/embeddings", json={"input": [5, -1]})
    assert refused.json()["message"] == "Token ID at index 1 must be non-negative"
    assert client.get("/health").status_code == 200


def test_an_exception_closes_the_connection_and_not_the_server(sglang):
    server, client = sglang()
    address = server.url.removeprefix("http://").split(":")
    content = b'{"input_ids": []}'
    head = f"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n"
    with socket.create_connection((address[0], int(address[1]))) as connection:
        connection.sendall(head.encode() + content)
        received = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    assert received.startswith(b"HTTP/1.1 500 Internal Server Error")
    assert client.get("/health").status_code == 200


def test_an_ended_server_starts_again(sglang):
    server, client = sglang()
    port = int(server.url.rpartition(":")[2])
    assert_ended(server, client, "/classify", {"input_ids": [[]]})
    with RewardServer(engine="sglang", port=port) as again:
        assert again.url == server.url
        assert client.get("/health").status_code == 200
    with server:
        assert httpx.get(server.url + "/health", verify=False).status_code == 200


def test_an_ended_server_keeps_its_records(sglang):
    server, client = sglang()
    assert_ended(server, client, "/classify", {"input_ids": [[]]})
    assert server.requests[-1].path == "/classify"


def test_an_app_alone_cannot_end():
    transport = httpx.ASGITransport(create_app(engine="sglang"))

    async def ask():
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            await client.post("/classify", json={"input_ids": [[]]})

    import asyncio

    with pytest.raises(RuntimeError, match="does not run in RewardServer"):
        asyncio.run(ask())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"engine": "tgi"}, "vllm, sglang"),
        ({"dialect": "0.32"}, "0.4.9, 0.5.22, 0.5.23"),
        ({"raw": True}, "no activation"),
        ({"head": "steps"}, "no such head"),
        ({"head": "export"}, "no such head"),
        ({"logprobs": "raw_logits"}, "processed_logprobs"),
        ({"head": "token", "score_bias": 0.1}, "classifiers only"),
        ({"engine": "vllm", "score_bias": 0.1}, 'engine="sglang"'),
    ],
    ids=str,
)
def test_options_that_do_not_fit(options, words):
    with pytest.raises(ValueError, match=words):
        RewardServer(**{"engine": "sglang", **options})


class TestFaults:
    """The faults of replies, on replies without `data`."""

    def items(self, sglang, fault, *inputs):
        server, client = sglang()
        body = {"input_ids": [*inputs], "rid": [f"r{place}" for place in range(len(inputs))]}
        clean = client.post("/classify", json=body).json()
        server.inject(fault, path="/classify")
        return clean, client.post("/classify", json=body).json()

    def test_shuffled(self, sglang):
        clean, shuffled = self.items(sglang, Fault.shuffled_index(), [5], [6], [7])
        ids = [item["meta_info"]["id"] for item in shuffled]
        assert ids == ["r2", "r1", "r0"]
        assert [item["embedding"] for item in shuffled] == [
            item["embedding"] for item in reversed(clean)
        ]

    def test_missing(self, sglang):
        _, fewer = self.items(sglang, Fault.missing_item(), [5], [6])
        assert [item["meta_info"]["id"] for item in fewer] == ["r0"]

    def test_doubled(self, sglang):
        _, doubled = self.items(sglang, Fault.doubled_index(), [5], [6])
        assert [item["meta_info"]["id"] for item in doubled] == ["r0", "r0"]

    def test_values(self, sglang):
        clean, broken = self.items(sglang, Fault.null(), [5], [6])
        assert [item["embedding"] for item in broken] == [[None], clean[1]["embedding"]]
        _, broken = self.items(sglang, Fault.nan(), [5])
        assert np.isnan(broken[0]["embedding"]).all()

    def test_usage(self, sglang):
        _, miscounted = self.items(sglang, Fault.wrong_usage(), [5, 6], [7])
        assert [item["meta_info"]["prompt_tokens"] for item in miscounted] == [3, 1]

    def test_one_item(self, sglang):
        server, client = sglang()
        server.inject(Fault.null(), path="/classify")
        assert client.post("/classify", json={"input_ids": [5]}).json()["embedding"] == [None]
