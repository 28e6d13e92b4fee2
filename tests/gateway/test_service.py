"""The gateway around its contracts: keys, limits, bad bodies, faults, figures, logs."""

from __future__ import annotations

import json
import logging
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import httpx
import jsonschema
import pytest
from prometheus_client.parser import text_string_to_metric_families

from reward_client import AsyncRewardClient, InputError, RetryPolicy, _option_names, cli
from reward_client.gateway import GatewayLimits, create_app
from reward_client.gateway.contracts import CONTRACTS
from reward_client.gateway.contracts.contract import OPTIONS
from reward_client.gateway.logs import JsonLines
from reward_client.methods import Verdict
from reward_client.testing import Fault, RewardServer
from reward_client.testing._model.sum_judge import load_sum_judge

from ..replicas.restarting import free_port
from ..support.running_gateway import RunningGateway

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "a-key-of-its-own"
ROW = {"prompt": "What is 45 + 43?", "response": "88"}
TEXT = "<|bos|><|user|>What is 45 + 43?<|end|><|assistant|>88<|end|>"
PATIENT_FOR_A_SECOND = {"retry": RetryPolicy(budget=1, max_wait=0.1)}


def row(number: int) -> dict[str, str]:
    return {"prompt": f"What is {number} + 1?", "response": str(number + 1)}


@pytest.fixture(scope="module")
def guarded(server: RewardServer) -> Iterator[RunningGateway]:
    with RunningGateway(server.url, key=KEY) as gateway:
        yield gateway


class TestKey:
    def test_as_a_bearer_token(self, guarded: RunningGateway) -> None:
        assert guarded.post("/score", ROW).status_code == 200

    def test_as_the_password_of_the_url(self, guarded: RunningGateway) -> None:
        url = guarded.url.replace("http://", f"http://trainer:{KEY}@")
        answer = httpx.post(f"{url}/score", json=ROW, trust_env=False)
        assert answer.status_code == 200

    @pytest.mark.parametrize(
        "header",
        [
            "",
            "Bearer",
            "Bearer wrong",
            f"Bearer {KEY}x",
            f"Bearer {KEY[:-1]}",
            KEY,
            "Basic !!!",
            "Basic dHJhaW5lcjp3cm9uZw==",
            "Bearer \xfc",
        ],
    )
    @pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.name)
    def test_anything_else_is_refused(
        self, guarded: RunningGateway, contract: Any, header: str
    ) -> None:
        answer = httpx.post(
            guarded.url + contract.path,
            json=contract.example,
            headers={"authorization": header.encode("latin-1")},
            trust_env=False,
        )
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert set(answer.json()) <= {"detail", "error"}
        assert KEY not in answer.text

    @pytest.mark.parametrize("path", ["/metrics", "/docs", "/openapi.json"])
    def test_figures_and_documentation_need_it_too(
        self, guarded: RunningGateway, path: str
    ) -> None:
        assert httpx.get(guarded.url + path, trust_env=False).status_code == 401
        assert guarded.http.get(path).status_code == 200

    @pytest.mark.parametrize("path", ["/health", "/ready"])
    def test_orchestrators_need_none(self, guarded: RunningGateway, path: str) -> None:
        assert httpx.get(guarded.url + path, trust_env=False).status_code == 200

    def test_is_in_no_log_and_no_repr(
        self, guarded: RunningGateway, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        guarded.post("/score", ROW)
        httpx.post(f"{guarded.url}/score", json=ROW, trust_env=False)
        lines = [JsonLines().format(record) for record in caplog.records]
        assert not any(KEY in line for line in lines)
        app = create_app(guarded.client, key=KEY)
        assert KEY not in repr(app)
        assert KEY not in repr(vars(app))


class TestBadBodies:
    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"not JSON",
            b'{"rows": [',
            b"NaN",
            b'{"messages": NaN}',
            b"[]",
            b"null",
            b'"text"',
            b"7",
            b"[" * 5000,
            b'{"a":' * 5000,
            b'{"messages": "\\ud800"}',
            b"\xff\xfe",
            b'{"rows": []}',
            b'{"rows": 5}',
            b'{"rows": ["text"]}',
            b'{"rows": [{"messages": []}], "model": "x"}',
        ],
    )
    def test_get_the_form_of_the_contract(self, gateway: RunningGateway, body: bytes) -> None:
        for contract in CONTRACTS:
            if (
                contract.name == "nemo_gym_seed"
                and body.startswith(b'{"rows"')
                and body[-1:] == b"}"
            ):
                continue  # a session takes any object
            answer = gateway.http.post(contract.path, content=body)
            assert answer.status_code in (400, 422), (contract.name, answer.text)
            jsonschema.validate(answer.json(), contract.error)
            keys = {"score": {"error"}, "classify": {"error"}, "embeddings": {"error"}}
            assert set(answer.json()) == keys.get(contract.name, {"detail"})

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/get_reward", {}),
            ("/get_reward", {"query": [TEXT]}),
            ("/get_reward", {"query": [TEXT, TEXT], "prompts": [TEXT]}),
            ("/get_reward", {"query": "one text", "prompts": ["one text"]}),
            ("/get_reward", {"query": []}),
            ("/get_reward", {"query": [1]}),
            ("/get_reward", {"query": [None, TEXT]}),
            ("/v1/score/evaluation", {"messages": [{"role": "user"}]}),
            ("/v1/score/evaluation", {"messages": None}),
            ("/remote_rm", {"prompt": "x"}),
            ("/remote_rm", {"prompt": 1, "response": "88"}),
            ("/remote_rm", {"prompt": [], "response": "88"}),
            ("/verify", {"response": {}}),
            ("/verify", {"responses_create_params": [], "response": {}}),
            ("/classify", {"input": {}, "use_activation": False}),
            ("/classify", {"input": [], "use_activation": False}),
            ("/classify", {"input": [[]], "use_activation": False}),
            ("/classify", {"input": [1.5], "use_activation": False}),
            ("/classify", {"input": "", "use_activation": False}),
            ("/classify", {"input": [TEXT, ""], "use_activation": False}),
            ("/classify", {"use_activation": False}),
            ("/v1/embeddings", {"input": TEXT, "encoding_format": "base64"}),
        ],
    )
    def test_wrong_types(self, gateway: RunningGateway, path: str, body: dict[str, Any]) -> None:
        assert gateway.post(path, body).status_code == 400

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/verify", {"responses_create_params": {"input": []}, "response": {"output": []}}),
            ("/verify", {"responses_create_params": {"input": "x"}, "response": {"output": [3]}}),
            (
                "/verify",
                {
                    "responses_create_params": {"input": "x"},
                    "response": {"output": [{"type": "message", "role": "assistant"}]},
                },
            ),
            ("/classify", {"input": [1, -1], "use_activation": False}),
            ("/classify", {"input": [1, 10**9], "use_activation": False}),
            ("/classify", {"input": "8" * 4000, "use_activation": False}),
        ],
    )
    def test_samples_that_cannot_be_scored(
        self, gateway: RunningGateway, path: str, body: dict[str, Any]
    ) -> None:
        answer = gateway.post(path, body)
        assert answer.status_code == 422
        assert "probs" not in answer.text
        assert "reward" not in answer.json()

    def test_unknown_paths_and_methods(self, gateway: RunningGateway) -> None:
        for answer, status in (
            (gateway.http.get("/nothing"), 404),
            (gateway.http.get("/score"), 405),
        ):
            assert answer.status_code == status
            assert "/get_reward" in answer.json()["error"]["message"]

    @pytest.mark.parametrize("encodings", [["gzip"], ["identity", "gzip"], ["identity, br"]])
    def test_a_compressed_body(self, gateway: RunningGateway, encodings: list[str]) -> None:
        headers = [("content-encoding", encoding) for encoding in encodings]
        assert gateway.http.post("/score", content=b"x", headers=headers).status_code == 415

    @pytest.mark.parametrize("encoding", ["", "identity", "Identity"])
    def test_a_body_that_is_not_compressed(self, gateway: RunningGateway, encoding: str) -> None:
        assert gateway.post("/score", ROW, headers={"content-encoding": encoding}).is_success

    def test_a_path_with_a_slash_at_its_end_is_no_redirect(self, gateway: RunningGateway) -> None:
        answer = gateway.post("/score/", ROW)
        assert answer.status_code == 404
        assert "/score" in answer.json()["error"]["message"]

    def test_the_gateway_answers_on(self, gateway: RunningGateway) -> None:
        assert gateway.post("/score", ROW).status_code == 200


class TestLimits:
    def test_a_large_body(self, server: RewardServer) -> None:
        with RunningGateway(server.url, limits=GatewayLimits(max_body_bytes=2000)) as gateway:
            assert gateway.post("/score", {"text": "8" * 1900}).status_code == 422
            for size in (2001, 100_000, 5_000_000):
                answer = gateway.post("/get_reward", {"query": ["8" * size]})
                assert answer.status_code == 413
                assert "2,000 bytes" in answer.json()["detail"]

    def test_a_body_of_unknown_length(self, server: RewardServer) -> None:
        with RunningGateway(server.url, limits=GatewayLimits(max_body_bytes=2000)) as gateway:
            pieces = (b"8" * 1000 for _ in range(4))
            assert gateway.http.post("/score", content=pieces).status_code == 413

    def test_many_samples(self, server: RewardServer) -> None:
        with RunningGateway(server.url, limits=GatewayLimits(max_samples=3)) as gateway:
            rows = [row(number) for number in range(4)]
            assert gateway.post("/score", {"rows": rows[:3]}).status_code == 200
            answer = gateway.post("/score", {"rows": rows})
            assert answer.status_code == 413
            assert "4 samples" in answer.json()["error"]["message"]

    def test_many_samples_in_flight(self) -> None:
        limits = GatewayLimits(max_samples=2, max_in_flight=2)
        with RewardServer() as server, RunningGateway(server.url, limits=limits) as gateway:
            assert gateway.post("/score", ROW).status_code == 200
            server.inject(Fault.delay(1), path="/pooling")
            with ThreadPoolExecutor() as pool:
                first = pool.submit(gateway.post, "/score", {"rows": [row(1), row(2)]})
                wait_for(lambda: figures(gateway)["samples_in_flight"] == 2)
                refused = gateway.post("/verify", verify_body())
                assert refused.status_code == 503
                assert refused.headers["retry-after"] == "1"
                assert set(refused.json()) == {"detail"}
                assert first.result().status_code == 200
            assert gateway.post("/verify", verify_body()).status_code == 200

    def test_many_bodies_in_flight(self, server: RewardServer) -> None:
        """Callers that send large bodies slowly hold memory, all together."""
        limits = GatewayLimits(max_body_bytes=2000)
        part = b"POST /score HTTP/1.1\r\nhost: x\r\ncontent-length: 2000\r\n\r\n" + b" " * 1999
        with RunningGateway(server.url, limits=limits) as gateway, ExitStack() as stack:
            assert gateway.post("/score", ROW).status_code == 200
            host, port = gateway.url.removeprefix("http://").split(":")
            opened = 0

            def is_full() -> bool:
                nonlocal opened
                connection = stack.enter_context(socket.create_connection((host, int(port))))
                connection.sendall(part)
                opened += 1
                return gateway.post("/score", ROW).status_code == 503

            wait_for(is_full)
            assert opened >= 16
            refused = gateway.post("/classify", CLASSIFY)
            assert refused.json()["error"]["type"] == "Busy"
            assert refused.headers["retry-after"] == "1"
            stack.close()
            wait_for(lambda: gateway.post("/score", ROW).status_code == 200)

    def test_limits_that_would_refuse_for_ever(self) -> None:
        with pytest.raises(ValueError, match="refused for ever"):
            GatewayLimits(max_samples=11, max_in_flight=10)


class TestFaults:
    def test_a_server_that_fails_for_long_is_a_503_with_the_reason(self) -> None:
        with (
            RewardServer() as server,
            RunningGateway(server.url, client=PATIENT_FOR_A_SECOND) as gateway,
        ):
            assert gateway.post("/score", ROW).status_code == 200
            server.inject(Fault.status(503), times=10_000)
            for path, body in (
                ("/score", row(7)),
                ("/verify", verify_body()),
                ("/classify", CLASSIFY),
            ):
                answer = gateway.post(path, body)
                assert answer.status_code == 503
                assert answer.headers["retry-after"] == "5"
                assert set(answer.json()) <= {"error", "detail"}
                assert "503" in answer.text

    def test_a_short_outage_costs_time_only(self) -> None:
        with RewardServer() as server, RunningGateway(server.url) as gateway:
            reward = gateway.post("/score", ROW).json()["reward"]
            server.inject(Fault.status(503), times=3)
            assert gateway.post("/score", ROW).json()["reward"] == reward

    def test_a_server_that_starts_after_the_gateway(self) -> None:
        port = free_port()
        with (
            ThreadPoolExecutor() as pool,
            RunningGateway(f"http://127.0.0.1:{port}") as gateway,
        ):
            early = pool.submit(gateway.post, "/score", ROW)
            not_ready = gateway.http.get("/ready")
            assert not_ready.status_code == 503
            assert not_ready.json()["ready"] is False
            assert gateway.http.get("/health").status_code == 200
            assert figures(gateway)["ready"] == 0
            with RewardServer(port=port):
                assert early.result().status_code == 200
                ready = gateway.http.get("/ready")
                assert ready.status_code == 200
                assert ready.json()["servers"][0]["model"] == "sum-judge"
                assert figures(gateway)["ready"] == 1

    def test_readiness_ends_with_the_server(self) -> None:
        running = ExitStack()
        server = running.enter_context(RewardServer())
        with running, RunningGateway(server.url) as gateway:
            gateway.post("/score", ROW)
            assert gateway.http.get("/ready").status_code == 200
            running.close()
            wait_for(lambda: gateway.http.get("/ready").status_code == 503)
            assert gateway.http.get("/ready").json()["reason"]
            assert gateway.http.get("/health").status_code == 200

    def test_a_server_that_never_starts(self) -> None:
        """The cause is named in the words of who runs the gateway, and not of its client."""
        limits = GatewayLimits(patience=0.1)
        url = f"http://127.0.0.1:{free_port()}"
        with RunningGateway(url, limits=limits) as gateway:
            answer = gateway.post("/score", ROW)
            assert answer.status_code == 503
            for reason in (
                answer.json()["error"]["message"],
                gateway.http.get("/ready").json()["reason"],
            ):
                assert reason.startswith("Cannot score now: ")
                assert "Connection refused" in reason
                assert url in reason
                assert "is --url right" in reason
                assert "base_url" not in reason
                assert "wait_until_ready" not in reason

    def test_a_server_that_never_answers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("reward_client.gateway.readiness._ANSWER", 0.1)
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            with RunningGateway(url, limits=GatewayLimits(patience=0.1)) as gateway:
                said = f"No server was ready within 0.1 s at {url}"
                assert said in gateway.post("/score", ROW).json()["error"]["message"]
                assert said in gateway.http.get("/ready").json()["reason"]

    def test_another_model_behind_the_url(self) -> None:
        """Callers cannot see that the scale has changed: the gateway refuses until it is told."""
        port = free_port()
        judge = load_sum_judge()
        bodies = {"/score": row(7), "/verify": verify_body(), "/classify": CLASSIFY}
        running = ExitStack()
        first = running.enter_context(RewardServer(port=port))

        def stop_and_notice() -> None:
            running.close()
            wait_for(lambda: "refused" in gateway.http.get("/ready").text)

        with running, RunningGateway(first.url) as gateway:
            before = [gateway.post(path, body).json() for path, body in bodies.items()]
            stop_and_notice()
            running.enter_context(
                RewardServer(port=port, values=lambda ids: judge.score(ids) + sum(ids) % 23)
            )
            for path, body in bodies.items():
                answer = gateway.post(path, body)
                assert answer.status_code == 503
                assert "than at the start of the gateway" in answer.text
                assert "restart the gateway" in answer.text
                assert set(answer.json()) <= {"error", "detail"}
            not_ready = gateway.http.get("/ready")
            assert not_ready.status_code == 503
            assert "than at the start of the gateway" in not_ready.json()["reason"]
            stop_and_notice()
            running.enter_context(RewardServer(port=port))
            assert [gateway.post(path, body).json() for path, body in bodies.items()] == before
            assert gateway.http.get("/ready").status_code == 200

    def test_a_server_without_rewards_says_so_at_once(self) -> None:
        with RewardServer(head="embed") as server, RunningGateway(server.url) as gateway:
            answer = gateway.post("/score", ROW)
            assert answer.status_code == 503
            assert gateway.http.get("/ready").status_code == 503
            assert figures(gateway)["ready"] == 0

    def test_a_judge_of_two_has_no_reward_for_one_answer(self) -> None:
        asks = "{conversation}\nA: {response_a}\nB: {response_b}\nEnd with [[A]] or [[B]]."
        method = Verdict(r"\[\[([AB])\]\]", asks, values={"A": 1, "B": -1})
        with pytest.raises(InputError, match="compares two answers"):
            create_app(AsyncRewardClient("http://127.0.0.1:9", method=method))

    def test_nan_from_the_server_is_no_reward(self) -> None:
        with (
            RewardServer(values=lambda _: float("nan")) as server,
            RunningGateway(server.url, limits=GatewayLimits(patience=1)) as gateway,
        ):
            assert gateway.post("/score", ROW).status_code == 503

    def test_a_caller_that_leaves_takes_its_work_along(self) -> None:
        with RewardServer() as server, RunningGateway(server.url) as gateway:
            gateway.post("/score", ROW)
            server.inject(Fault.delay(5), path="/pooling", times=8)
            before = len(server.requests)
            with pytest.raises(httpx.ReadTimeout):
                gateway.post(
                    "/score", {"rows": [row(number) for number in range(400)]}, timeout=0.5
                )
            wait_for(lambda: figures(gateway)["samples_in_flight"] == 0)
            sent = [request for request in server.requests[before:] if request.path == "/pooling"]
            assert len(sent) <= 8  # of 13, which is as many as go at once
            counted = figures(gateway)
            assert counted["requests_in_flight"] == 0
            assert counted["requests_total", "499"] == 1
            assert gateway.post("/score", ROW).status_code == 200

    def test_a_caller_that_leaves_within_its_body(self, gateway: RunningGateway) -> None:
        host, port = gateway.url.removeprefix("http://").split(":")
        before = figures(gateway).get(("requests_total", "499"), 0)
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"POST /score HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        wait_for(lambda: figures(gateway).get(("requests_total", "499"), 0) == before + 1)

    def test_a_slow_caller_gets_its_reward(self, gateway: RunningGateway) -> None:
        body = json.dumps(ROW).encode()
        pieces = (body[start : start + 8] for start in range(0, len(body), 8))

        def slowly() -> Iterator[bytes]:
            for piece in pieces:
                time.sleep(0.02)
                yield piece

        assert gateway.http.post("/score", content=slowly()).status_code == 200

    def test_a_body_that_never_ends_is_a_408(
        self, server: RewardServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("reward_client.gateway.bodies._SECONDS", 0.2)
        with RunningGateway(server.url) as gateway:
            host, port = gateway.url.removeprefix("http://").split(":")
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(b"POST /score HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{")
                assert connection.recv(1000).startswith(b"HTTP/1.1 408")

    def test_a_mistake_of_the_gateway_shows_no_prompt(
        self,
        gateway: RunningGateway,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        async def broken(*_: object, **__: object) -> None:
            raise RuntimeError(TEXT)

        monkeypatch.setattr(gateway.client, "score_many", broken)
        answer = gateway.post("/get_reward", {"query": [TEXT], "prompts": [TEXT]})
        assert answer.status_code == 422
        answer = gateway.post("/score", {"text": TEXT})
        assert answer.status_code == 500
        lines = [JsonLines().format(record) for record in caplog.records]
        assert any('"exception":"RuntimeError"' in line for line in lines)
        assert not any("What is" in line for line in [*lines, answer.text])


class TestFigures:
    def test_count_requests_samples_tokens_and_failures(self) -> None:
        with RewardServer() as server, RunningGateway(server.url) as gateway:
            gateway.post("/score", ROW)
            gateway.post("/score", {"rows": [ROW, {"prompt": "What?", "response": "8" * 4000}]})
            gateway.post("/score", {"text": ""})
            gateway.post("/verify", verify_body())
            gateway.post("/classify", {})
            counted = figures(gateway)
            assert counted["requests_total", "score", "200"] == 2
            assert counted["requests_total", "score", "422"] == 1
            assert counted["requests_total", "nemo_gym", "200"] == 1
            assert counted["requests_total", "classify", "400"] == 1
            assert counted["samples_total", "score"] == 2
            assert counted["tokens_total", "score"] == 34
            assert counted["failures_total", "score", "PromptTooLongError"] == 1
            assert counted["request_seconds_count", "score"] == 3
            assert counted["server_requests_total", server.url] == len(server.requests)

    def test_are_in_the_format_of_prometheus(self, gateway: RunningGateway) -> None:
        gateway.post("/score", ROW)
        answer = gateway.http.get("/metrics")
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        families = {each.name: each for each in text_string_to_metric_families(answer.text)}
        seconds = families["reward_client_gateway_request_seconds"]
        buckets = [
            sample.value
            for sample in seconds.samples
            if sample.name.endswith("_bucket") and sample.labels["contract"] == "score"
        ]
        assert buckets == sorted(buckets)
        (count,) = [
            sample.value
            for sample in seconds.samples
            if sample.name.endswith("_count") and sample.labels["contract"] == "score"
        ]
        assert buckets[-1] == count


class TestErrorsOfSamples:
    def test_name_the_options_of_the_gateway(self, gateway: RunningGateway) -> None:
        marked = {"prompt": [{"role": "user", "content": "Hi"}], "responses": ["88<|end|>", "88"]}
        direct = gateway.post("/score", {"prompt": "Hi", "response": "88<|end|>"})
        messages = [direct.json()["error"]["message"]]
        rows = [{**marked, "responses": marked["responses"][:1]}, marked]
        each = gateway.post("/score", {"rows": rows}).json()["rows"]
        messages += [result["error"][0]["message"] for result in each]
        pair = {"prompt": "Hi", "chosen": "88<|end|>", "rejected": "9"}
        error = gateway.post("/score", pair).json()["error"]
        assert error["rejected"] is None
        messages.append(error["chosen"]["message"])
        for said in messages:
            assert "--on-control-tokens" in said
            assert "on_control_tokens" not in said

    def test_know_every_option_of_the_command(self) -> None:
        parsed = {*vars(cli._parser().parse_args(["gateway"]))}
        named = {name for _, name, _ in [*_option_names._OPTIONS, *_option_names._PHRASES]}
        assert parsed & named == OPTIONS


class TestLogs:
    def test_a_line_for_each_request(
        self, gateway: RunningGateway, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "reward_client.gateway")
        answer = gateway.post("/score", ROW, headers={"x-request-id": "step-7"})
        assert answer.headers["x-request-id"] == "step-7"
        gateway.post("/classify", {"input": TEXT})
        first, second = [
            json.loads(JsonLines().format(record))
            for record in caplog.records
            if record.getMessage() == "request"
        ]
        assert first["contract"] == "score"
        assert first["status"] == 200
        assert first["samples"] == 1
        assert first["request_id"] == "step-7"
        assert first["seconds"] > 0
        assert second["refusal"] == "InvalidBody"
        assert second["request_id"] != "step-7"
        assert "What is" not in caplog.text


CLASSIFY = {"input": TEXT, "use_activation": False}


def verify_body() -> dict[str, Any]:
    content = [{"type": "output_text", "text": "88"}]
    output = [{"type": "message", "role": "assistant", "content": content}]
    return {
        "responses_create_params": {"input": "What is 45 + 43?"},
        "response": {"output": output},
    }


def figures(gateway: RunningGateway) -> dict[Any, float]:
    """Return the figures by their name and the values of their labels."""
    text = httpx.get(f"{gateway.url}/metrics", trust_env=False).text
    found: dict[Any, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = sample.name.removeprefix("reward_client_gateway_")
            labels = tuple(sample.labels.values())
            found[(name, *labels) if labels else name] = sample.value
            if name == "requests_total":
                status = sample.labels["status"]
                found[name, status] = found.get((name, status), 0) + sample.value
    return found


def wait_for(condition: Any) -> None:
    """Wait until something is true; the test's own time limit ends the wait."""
    while not condition():
        time.sleep(0.01)
