"""Every fault, as a client sees it on a real socket."""

from __future__ import annotations

import base64
import json
import math
import socket
import struct
import time

import httpx
import pytest

from reward_client.testing import Fault, RewardServer

BATCH = {"input": [[1, 4, 30, 2], [1, 4, 31, 2], [1, 4, 32, 2]]}


@pytest.fixture(scope="module")
def shared():
    with RewardServer() as server:
        yield server


@pytest.fixture
def client(shared):
    with httpx.Client(base_url=shared.url, timeout=10) as client:
        yield client


def strike(server, client, fault, body=BATCH, path="/pooling"):
    server.inject(fault, path=path)
    return client.post(path, json=body)


def raw_reply(url, path="/pooling", body=BATCH):
    """All bytes until the connection ends, or the error that ends it."""
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    return received


def still_answers(client):
    assert client.post("/pooling", json=BATCH).status_code == 200


def test_reset(shared, client):
    shared.inject(Fault.reset())
    with pytest.raises(ConnectionResetError):
        raw_reply(shared.url)
    with pytest.raises(httpx.ReadError):
        strike(shared, client, Fault.reset())
    still_answers(client)


def test_disconnect(shared, client):
    shared.inject(Fault.disconnect())
    assert raw_reply(shared.url) == b""
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        strike(shared, client, Fault.disconnect())
    still_answers(client)


def test_cut(shared, client):
    shared.inject(Fault.cut())
    head, _, body = raw_reply(shared.url).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    announced = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    assert len(body) == announced // 2
    with pytest.raises(httpx.RemoteProtocolError, match="complete message body"):
        strike(shared, client, Fault.cut())
    still_answers(client)


def test_delay(shared, client):
    truth = client.post("/pooling", json=BATCH).json()["data"]
    started = time.perf_counter()
    response = strike(shared, client, Fault.delay(0.2))
    assert time.perf_counter() - started >= 0.2
    assert response.json()["data"] == truth


def test_delayed_request_does_not_hold_up_the_end():
    with RewardServer() as server:
        server.inject(Fault.delay(60))
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(server.url + "/pooling", json=BATCH, timeout=0.1)
        started = time.perf_counter()
    assert time.perf_counter() - started < 5


def test_status(shared, client):
    fault = Fault.status(429, headers={"Retry-After": "1"}, body=b"later")
    response = strike(shared, client, fault)
    assert (response.status_code, response.headers["retry-after"], response.text) == (
        429,
        "1",
        "later",
    )


@pytest.mark.parametrize("code", [502, 200])
def test_html(shared, client, code):
    response = strike(shared, client, Fault.html(code))
    assert response.status_code == code
    assert response.headers["content-type"] == "text/html"
    assert "<html>" in response.text


def test_truncated_json(shared, client):
    response = strike(shared, client, Fault.truncated_json())
    assert response.status_code == 200
    assert int(response.headers["content-length"]) == len(response.content)
    with pytest.raises(json.JSONDecodeError):
        response.json()


def test_shuffled_index(shared, client):
    truth = client.post("/pooling", json=BATCH).json()["data"]
    data = strike(shared, client, Fault.shuffled_index()).json()["data"]
    assert data != truth
    assert sorted(data, key=lambda item: item["index"]) == truth


def test_missing_item(shared, client):
    data = strike(shared, client, Fault.missing_item()).json()["data"]
    assert [item["index"] for item in data] == [0, 1]


@pytest.mark.parametrize(("body", "indices"), [(BATCH, [0, 1, 1]), ({"input": [1, 2]}, [0, 0])])
def test_doubled_index(shared, client, body, indices):
    data = strike(shared, client, Fault.doubled_index(), body).json()["data"]
    assert [item["index"] for item in data] == indices


def test_nan(shared, client):
    data = strike(shared, client, Fault.nan()).json()["data"]
    assert math.isnan(data[0]["data"][0])
    assert not math.isnan(data[1]["data"][0])
    coded = strike(shared, client, Fault.nan(), {**BATCH, "encoding_format": "base64"})
    (value,) = struct.unpack("<f", base64.b64decode(coded.json()["data"][0]["data"]))
    assert math.isnan(value)
    probs = strike(shared, client, Fault.nan(), path="/classify").json()["data"][0]["probs"]
    assert math.isnan(probs[0])


def test_null(shared, client):
    data = strike(shared, client, Fault.null()).json()["data"]
    assert data[0]["data"] == [None]
    coded = strike(shared, client, Fault.null(), {**BATCH, "encoding_format": "base64"})
    assert coded.json()["data"][0]["data"] is None


def test_other_model(shared, client):
    assert strike(shared, client, Fault.other_model("another")).json()["model"] == "another"


def test_wrong_usage(shared, client):
    usage = strike(shared, client, Fault.wrong_usage()).json()["usage"]
    assert (usage["prompt_tokens"], usage["total_tokens"]) == (13, 13)


def test_changed_replies_leave_errors_alone(shared, client):
    response = strike(shared, client, Fault.missing_item(), {"input": []})
    assert response.status_code == 400
    assert response.json()["error"]["message"] == "You must pass at least one prompt"


def test_order_path_and_times(shared, client):
    shared.inject(Fault.status(500), path="/pooling", times=2)
    shared.inject(Fault.status(503), path="/pooling")
    shared.inject(Fault.status(404), path="/version")
    statuses = [client.post("/pooling", json=BATCH).status_code for _ in range(4)]
    assert statuses == [500, 500, 503, 200]
    assert client.get("/version").status_code == 404
    with pytest.raises(ValueError, match="times"):
        shared.inject(Fault.reset(), times=0)


def test_faults_are_told_apart_by_name():
    assert Fault.delay(1).name == "delay"
    assert repr(Fault.reset()) == "Fault(name='reset')"
