"""Gateways before a good server: what each changes, and the reward or the advice in spite of it."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from reward_client import (
    AuthenticationError,
    BadRequestError,
    Conversation,
    InputError,
    NotARewardError,
    RateLimitedError,
    ResponseMismatchError,
    RewardClientError,
    RouteNotFoundError,
    ServerUnreachableError,
    StepHead,
    TokenizerMismatchError,
)
from reward_client._protocols.vllm.gateways import GATEWAYS, Gateway
from reward_client.testing import Fault, GatewayKind, RewardGateway, RewardServer
from reward_client.testing.gateway import GATEWAY_KINDS

from ...support.altered import ALWAYS, alter_replies
from ...support.fake_vllm import FakeVllm
from .conftest import Connect
from .samples import CHAT, QUESTION

HEADS = {
    "all": ("sequence", "token", "steps", "export"),
    "exported; hidden states; a token's logit; yes or no": ("export",),
    "one label, or several": ("sequence",),
}
"""The heads of the test server for the words of the table."""

STEPS = StepHead(step_token=RewardServer.step_token, good_label=1, aggregate="min")
STEPPED = Conversation([QUESTION], steps=["37 + 45 is 72 + 10.", "The answer is 82."])

LISTS: list[Mapping[str, object]] = [
    {"paths": {"/{endpoint}": {"get": {}, "post": {}}}},
    {"paths": {"/{path:path}": {"post": {}}}},
    {"paths": {}},
    {"paths": {"/health": {}, "/admin/routes": {}, "/docs": {}}},
    {"paths": {"/v1/models": {}, "/v1/chat/completions": {}}},
    {"paths": {"/proxy/{tail}": {}, "/v1/models": {}, "/tokenize": {}, "/v1/embeddings": {}}},
    {"paths": "none"},
]


def options(gateway: Gateway) -> dict[str, Any]:
    local = {"tokenizer": RewardServer.checkpoint} if gateway.ids == "local" else {}
    return {"model": "sum-judge", **local}


@pytest.mark.parametrize("own", LISTS, ids=str)
@pytest.mark.parametrize("head", ["sequence", "token", "export"])
def test_63_the_own_list_of_a_gateway_hides_no_route(
    connect: Connect, own: Mapping[str, object], head: Any
) -> None:
    with (
        RewardServer(head=head) as server,
        RewardGateway(server.url, GatewayKind(openapi=own)) as gateway,
    ):
        assert connect(gateway).score(CHAT).value == connect(server).score(CHAT).value


@pytest.mark.parametrize("head", ["sequence", "token", "export"])
def test_63_the_list_of_another_server_hides_no_route(connect: Connect, head: Any) -> None:
    with (
        RewardServer(head=head) as server,
        RewardServer(logprobs="raw_logits") as generating,
        RewardGateway(server.url, GatewayKind(openapi=list_of(generating))) as gateway,
    ):
        assert connect(gateway).score(CHAT).value == connect(server).score(CHAT).value


def test_63_a_server_without_the_route_is_refused_soon(connect: Connect) -> None:
    with RewardServer(logprobs="raw_logits") as generating:
        with pytest.raises(RouteNotFoundError, match="vllm serve MODEL --runner pooling"):
            connect(generating).score(CHAT)
        asked = [each.path for each in generating.requests if each.path not in TOKENIZING]
    assert len(asked) == len(set(asked))


TOKENIZING = ("/tokenize", "/detokenize")


def list_of(server: RewardServer) -> Mapping[str, object]:
    return httpx.get(f"{server.url}/openapi.json", trust_env=False).json()


@pytest.mark.parametrize("row", GATEWAYS, ids=lambda row: row.played)
def test_64_the_rewards_that_the_table_promises(connect: Connect, row: Gateway) -> None:
    for head in HEADS[row.gives]:
        with RewardServer(head=head) as server, RewardGateway(server.url, row.played) as gateway:
            steps = {"head": STEPS} if head == "steps" else {}
            sample = STEPPED if head == "steps" else CHAT
            direct, behind = connect(server, **steps), connect(gateway, **options(row), **steps)
            expected = direct.score(sample)
            reward = behind.score(sample)
            assert (reward.scalar, reward.steps) == (expected.scalar, expected.steps)
            if head != "steps":  # whose text no token ID shows
                ids = direct.tokenize(sample).token_ids
                assert connect(gateway, model="sum-judge").score(ids).scalar == expected.scalar


HIDING = {
    "a redirect": Fault.status(302, headers={"Location": "/login"}),
    "a teapot": Fault.status(418),
    "401": Fault.status(401, body=b'{"error": "Unauthorized"}'),
    "403": Fault.status(403, body=b'{"detail": "Forbidden"}'),
    "500": Fault.status(500, body=b"oops"),
    "503": Fault.status(503),
    "429": Fault.status(429),
    "a page": Fault.status(200, body=b"<html>Log in</html>"),
    "a reset": Fault.reset(),
    "a list": Fault.status(200, body=b"[]"),
}
"""Ways in which gateways answer for a route that they hide."""


@pytest.mark.parametrize("way", ["a redirect", "401", "403", "a page"])
@pytest.mark.parametrize("path", ["/pooling", "/tokenize"])
def test_64_a_hidden_route_that_answers_otherwise_than_404(
    connect: Connect, path: str, way: str
) -> None:
    hidden = ["/pooling", "/v1/pooling"] if path == "/pooling" else [path]
    local = {"tokenizer": RewardServer.checkpoint} if path == "/tokenize" else {}
    with RewardServer() as direct, RewardServer() as server:
        for each in hidden:
            server.inject(HIDING[way], path=each, times=ALWAYS)
        reward = connect(server, **local).score(CHAT)
        assert reward.value == connect(direct).score(CHAT).value
        assert (reward.provenance.route == "classify") is (path == "/pooling")


@pytest.mark.parametrize("way", ["401", "403"])
def test_64_a_key_that_every_route_refuses(connect: Connect, way: str) -> None:
    with RewardServer() as server:
        for path in ("/pooling", "/classify"):
            server.inject(HIDING[way], path=path, times=ALWAYS)
        with pytest.raises(AuthenticationError, match=r"api_key=.*a gateway hides this one"):
            connect(server).score(CHAT)


@pytest.mark.parametrize("way", HIDING.values(), ids=HIDING)
@pytest.mark.parametrize("path", ["/openapi.json", "/version", "/detokenize"])
def test_64_a_route_that_rewards_do_not_need_is_hidden(
    connect: Connect, path: str, way: Fault
) -> None:
    with RewardServer() as direct, RewardServer() as server:
        server.inject(way, path=path, times=ALWAYS)
        client = connect(server)
        assert client.score(CHAT).value == connect(direct).score(CHAT).value
        assert len(server.requests) < 42
        assert (client.servers()[0].version is None) is (path == "/version")


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("way", ["500", "503", "429", "a reset"])
def test_64_a_failure_of_the_moment_hides_no_route(connect: Connect, way: str, times: int) -> None:
    with RewardServer() as server:
        server.inject(HIDING[way], path="/version", times=times)
        assert connect(server).servers()[0].version is not None


def test_64_a_tokenizer_of_another_model_is_found_out(connect: Connect, tmp_path: Any) -> None:
    for file in RewardServer.checkpoint.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    name = tmp_path / "tokenizer_config.json"
    config = json.loads(name.read_text())
    config["chat_template"] = config["chat_template"].replace("<|end|>", "<|end|><|end|>")
    name.write_text(json.dumps(config))
    with RewardServer(head="export") as server, RewardGateway(server.url, "v1") as gateway:
        client = connect(gateway, tokenizer=str(tmp_path))
        with pytest.raises(TokenizerMismatchError, match="is not the server's"):
            client.score(CHAT)


@pytest.mark.parametrize("head", ["sequence", "token"])
def test_64_advice_names_the_gateway_and_no_flag_of_the_server(connect: Connect, head: Any) -> None:
    with (
        RewardServer(head=head) as server,
        RewardGateway(server.url, "v1") as gateway,
        pytest.raises(RouteNotFoundError, match="a gateway stands before") as caught,
    ):
        connect(gateway).score(CHAT)
    assert "/tokenize" in str(caught.value)
    assert "vllm serve" not in str(caught.value)


def test_64_a_hidden_list_of_models_asks_for_the_name(connect: Connect) -> None:
    with (
        RewardServer() as server,
        RewardGateway(server.url, "classify") as gateway,
        pytest.raises(RouteNotFoundError, match="name the model by model="),
    ):
        connect(gateway).score(CHAT)


def test_64_a_hidden_tokenizer_is_named(connect: Connect) -> None:
    with (
        RewardServer(head="export") as server,
        RewardGateway(server.url, "v1") as gateway,
        pytest.raises(RouteNotFoundError, match=r"hides /tokenize.*tokenizer="),
    ):
        connect(gateway).score(CHAT)


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (401, "token expired"),
        (402, "quota exhausted"),
        (403, "not on the list of this key"),
        (400, "X-Tenant header is required"),
    ],
)
@pytest.mark.parametrize("head", ["sequence", "export"])
def test_64_the_refusal_of_a_hidden_tokenizer_is_told(
    connect: Connect, head: Any, status: int, says: str
) -> None:
    refusal = Fault.status(status, body=json.dumps({"error": {"message": says}}).encode())
    with RewardServer(head=head) as server:
        server.inject(refusal, path="/tokenize", times=100)
        with pytest.raises(RewardClientError, match=f"/tokenize answers {status}: {says}\\."):
            connect(server).score(CHAT)


@pytest.mark.parametrize("kind", ["catch-all", "bare 500", "flat", "dynamo"])
def test_65_one_refused_sample_fails_alone(connect: Connect, kind: str) -> None:
    with RewardServer() as server, RewardGateway(server.url, kind) as gateway:
        ids = list(connect(server).tokenize(CHAT).token_ids)
        samples: list[Any] = [[*ids, 20 + n] for n in range(20)]
        samples[7] = [*ids, 10**6]  # beyond the vocabulary
        expected = connect(server).score_many(samples, on_error="return")
        options = {"model": "sum-judge"} if kind == "dynamo" else {}
        found = connect(gateway, **options).score_many(samples, on_error="return")
        asked = len([each for each in gateway.requests if each.path.endswith("/pooling")])
    assert isinstance(found[7], BadRequestError)
    assert found[7].fault == "sample"
    for n in {*range(20)} - {7}:
        assert found[n].value == expected[n].value
    assert asked < 40


@pytest.mark.parametrize("hidden", ["Internal Server Error", "", '{"error": "upstream failed"}'])
@pytest.mark.parametrize("status", [400, 422, 500, 502])
@pytest.mark.parametrize("head", ["token", "export"])
def test_65_discovery_goes_on_after_a_hidden_refusal(
    connect: Connect, head: Any, status: int, hidden: str
) -> None:
    with RewardServer(head=head) as server:
        expected = connect(server).score(CHAT).value
        hide_refusals(server, status, hidden)
        assert connect(server).score(CHAT).value == expected


def test_the_first_refusal_is_told_if_no_route_gives_a_reward(connect: Connect) -> None:
    said = json.dumps({"error": {"message": "no such tenant"}}).encode()
    with RewardServer() as server:
        for path in ("/pooling", "/classify", "/v1/embeddings"):
            server.inject(Fault.status(400, body=said), path=path, times=ALWAYS)
        with pytest.raises(BadRequestError, match="HTTP 400: no such tenant"):
            connect(server).score(CHAT)


def test_65_the_words_of_a_flat_error_are_told(connect: Connect) -> None:
    said = json.dumps({"message": "no such tenant", "type": "Bad", "code": 400}).encode()
    with RewardServer() as server:
        client = connect(server)
        client.servers()
        server.inject(Fault.status(400, body=said), path="/pooling", times=ALWAYS)
        with pytest.raises(BadRequestError, match="HTTP 400: no such tenant"):
            client.score(CHAT)


def test_65_a_failure_of_the_server_is_no_refusal(connect: Connect) -> None:
    with RewardServer() as server, RewardGateway(server.url, "catch-all") as gateway:
        client = connect(gateway)
        right = client.score(CHAT)
        server.inject(Fault.status(500), path="/pooling", times=2)
        assert client.score(CHAT) == right


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (529, {"message": "Service temporarily overloaded", "type": "Overloaded", "code": 529}, {}),
        (529, {}, {"Retry-After": "0"}),
        (507, {"message": "m", "type": "Overloaded", "code": 507}, {}),
        (400, {"message": "m", "type": "Overloaded", "code": 400}, {}),
        (509, {}, {}),
        (420, {}, {}),
        (499, {}, {"Retry-After": "0"}),
        (403, {"message": "API rate limit exceeded"}, {}),
        (500, {"error": {"message": "The engine is overloaded", "type": "server_error"}}, {}),
        (500, {"error": "No available workers"}, {}),
        (522, {}, {}),
        (404, {"detail": "model is starting up, try again later"}, {}),
        (409, {"error": "server busy"}, {"retry-after-ms": "1"}),
        (400, {"__type": "ThrottlingException", "message": "Rate exceeded"}, {}),
        (400, {"error": {"code": "rate_limit_exceeded", "message": "m"}}, {}),
        (400, {"code": "Throttling.RateQuota", "message": "m"}, {}),
        (400, {"error": "TooManyRequests", "message": "m"}, {}),
        (403, {"error": {"status": "RESOURCE_EXHAUSTED", "message": "Quota exceeded"}}, {}),
        (460, {"message": "Too many concurrent requests"}, {}),
    ],
    ids=str,
)
def test_66_busy_in_any_words_is_retried(
    connect: Connect, status: int, body: object, headers: Mapping[str, str]
) -> None:
    with RewardServer() as server:
        client = connect(server)
        right = client.score(CHAT)
        busy = Fault.status(status, body=json.dumps(body).encode(), headers=headers)
        server.inject(busy, path="/pooling", times=2)
        assert client.score(CHAT) == right


def test_the_wait_that_a_gateway_names_is_kept(connect: Connect) -> None:
    with RewardServer() as server:
        client = connect(server)
        client.servers()
        server.inject(Fault.status(529, headers={"Retry-After": "0.4"}), path="/pooling")
        started = time.monotonic()
        client.score(CHAT)
        assert time.monotonic() - started >= 0.4


def test_66_busy_to_the_end_is_not_the_sample(connect: Connect) -> None:
    said = json.dumps({"message": "m", "type": "Overloaded", "code": 400}).encode()
    with RewardServer() as server:
        client = connect(server)
        client.servers()
        server.inject(Fault.status(400, body=said), path="/pooling", times=ALWAYS)
        with pytest.raises(RateLimitedError) as caught:
            client.score(CHAT)
        assert caught.value.fault == "server"


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "Bad text: the server is overloaded"}},
        {"error": "Bad text: the server is overloaded"},
        {"reason": "Bad text: rate limit", "message": "m"},
    ],
    ids=str,
)
def test_66_words_of_a_sample_are_no_busy_server(connect: Connect, body: object) -> None:
    said = json.dumps(body).encode()
    with RewardServer() as server:
        client = connect(server)
        client.servers()
        server.inject(Fault.status(400, body=said), path="/pooling", times=2)
        with pytest.raises(BadRequestError) as caught:
            client.score(CHAT)
        assert caught.value.attempts == ()


@pytest.mark.parametrize("head", ["sequence", "token", "steps", "export"])
def test_67_a_missing_count_is_not_a_cut_sample(connect: Connect, head: Any) -> None:
    with RewardServer(head=head) as server, RewardGateway(server.url, "no usage") as gateway:
        with_steps = {"head": STEPS} if head == "steps" else {}
        sample = STEPPED if head == "steps" else CHAT
        expected = connect(server, **with_steps).score(sample)
        reward = connect(gateway, **with_steps).score(sample)
    assert (reward.scalar, reward.steps) == (expected.scalar, expected.steps)


def test_67_a_count_of_zero_is_a_missing_count(connect: Connect) -> None:
    """A gateway in Go writes the fields of a struct that it does not fill as zeros."""
    usage = {"prompt_tokens": 0, "total_tokens": 0, "completion_tokens": 0}
    with RewardServer() as server:
        expected = connect(server).score(CHAT)
        alter_replies(server, "/pooling", lambda _, reply: reply.update(usage=usage))
        assert connect(server, model="sum-judge").score(CHAT).value == expected.value


def test_67_a_count_as_text_is_a_count(connect: Connect) -> None:
    """The JSON of protocol buffers writes 64-bit integers so."""

    def write(_: Any, reply: Any) -> None:
        reply["usage"] = {key: str(value) for key, value in reply["usage"].items()}

    with RewardServer() as server:
        expected = connect(server).score(CHAT)
        alter_replies(server, "/pooling", write)
        assert connect(server, model="sum-judge").score(CHAT).value == expected.value


def test_a_wrong_count_as_text_is_a_cut_sample(connect: Connect) -> None:
    usage = {"prompt_tokens": "9"}
    with RewardServer() as server:
        alter_replies(server, "/pooling", lambda _, reply: reply.update(usage=usage))
        with pytest.raises(ResponseMismatchError, match="scored 9:"):
            connect(server).score(CHAT)


def test_67_a_gateway_that_cuts_samples_and_hides_it(connect: Connect) -> None:
    """It cuts the beginning, drops the count, and counts nothing."""
    server = FakeVllm(pool=lambda ids: [sum(ids[-3:]) / 100 - 1], probe=list(range(20, 60)))
    server.after = lambda _, payload: payload.pop("usage", None)
    with pytest.raises(ResponseMismatchError, match="first or last token"):
        connect(server).score(CHAT)


@pytest.mark.parametrize("usage", [None, {"prompt_tokens": 0}])
def test_a_count_that_disappears_later(connect: Connect, usage: object) -> None:
    with RewardServer() as server:
        client = connect(server)
        client.servers()
        alter_replies(server, "/pooling", lambda _, reply: reply.update(usage=usage))
        with pytest.raises(RewardClientError, match="does not count"):
            client.score(CHAT)


@pytest.mark.parametrize(
    "route", ["/pooling", "/classify", "/v1/embeddings", "/v1/chat/completions", "/docs"]
)
def test_69_a_base_url_that_ends_with_a_route(connect: Connect, route: str) -> None:
    with RewardServer() as server:
        wrong = SimpleNamespace(url=server.url + route)
        with pytest.raises(RouteNotFoundError, match=f"give base_url='{server.url}'"):
            connect(wrong).score(CHAT)


@pytest.mark.parametrize(
    "url",
    ["unix:///tmp/vllm.sock", "http+unix://%2Ftmp%2Fvllm.sock", "http://unix:/tmp/vllm.sock:"],
)
def test_69_a_unix_socket(connect: Connect, url: str) -> None:
    with pytest.raises(InputError, match="uds="):
        connect(SimpleNamespace(url=url))


def test_zeros_of_a_quantized_head(connect: Connect) -> None:
    with pytest.raises(NotARewardError, match="quantiz"):
        connect(FakeVllm(pool=lambda ids: [0.0])).score(CHAT)
    with pytest.raises(NotARewardError, match="quantiz"):
        connect(FakeVllm(pool=lambda ids: [0.37])).score(CHAT)


def test_69_a_route_that_the_caller_named_fails_alone(connect: Connect) -> None:
    with RewardServer() as server:
        with pytest.raises(RouteNotFoundError, match="Leave route= out") as caught:
            connect(server, route="embeddings").score(CHAT)
        assert "vllm serve" not in str(caught.value)
        connect(server).score(CHAT)


def test_69_the_frames_of_a_failed_connection(connect: Connect) -> None:
    with pytest.raises(ServerUnreachableError) as caught:
        connect(SimpleNamespace(url="http://127.0.0.1:1")).servers()
    assert len(traceback.extract_tb(caught.value.__traceback__)) <= 12
    assert caught.value.__cause__ is None


def hide_refusals(server: RewardServer, status: int, said: str) -> None:
    """Each refusal of the server leaves with another status and nothing of its reason."""

    async def act(exchange: Any) -> None:
        response = await exchange.true_response()
        if 400 <= response.status < 500:
            response.status, response.body = status, said.encode()
            response.headers = [(b"content-length", str(len(response.body)).encode())]
        await exchange.respond(response)

    server.inject(Fault("hidden refusals", act), times=ALWAYS)


def test_every_kind_of_gateway_is_played() -> None:
    assert {row.played for row in GATEWAYS} <= GATEWAY_KINDS.keys()
    with pytest.raises(ValueError, match="unknown"):
        RewardGateway("http://localhost:1", "other")
