"""What the client finds out about a server, and when it asks anew."""

from __future__ import annotations

import asyncio
import math
from random import Random
from typing import Any

import httpx
import pytest

from reward_client import (
    ActivationError,
    AsyncRewardClient,
    AuthenticationError,
    Conversation,
    InputError,
    LinearHead,
    ModelNotFoundError,
    ResponseMismatchError,
    RetryPolicy,
    Reward,
    RouteNotFoundError,
    ScalarHead,
    ServerProfile,
    ServerUnreachableError,
    ShapeError,
    StepHead,
)
from reward_client._protocols.http import Request, Response, Transport
from reward_client._replicas import monitor as watch
from reward_client._tokenization import PromptRules, Tokenizer

from ..support.fake_vllm import BOS, CHAT, CHAT_TOKENS, FakeVllm, card

RAW = len(CHAT_TOKENS) - 5.5
ONCE = RetryPolicy(attempts=1)


def score(server: FakeVllm, times: int = 1, **options: Any) -> list[Reward]:
    async def main() -> list[Reward]:
        transport = server.transport()
        async with AsyncRewardClient("http://fake", transport=transport, **options) as client:
            return [await client.score(CHAT) for _ in range(times)]

    return asyncio.run(main())


def profile(server: FakeVllm, **options: Any) -> ServerProfile:
    async def main() -> ServerProfile:
        transport = server.transport()
        async with AsyncRewardClient("http://fake", transport=transport, **options) as client:
            return (await client.servers())[0]

    return asyncio.run(main())


def test_found_once_and_kept() -> None:
    server = FakeVllm()
    rewards = score(server, times=3)
    assert [reward.value for reward in rewards] == [RAW] * 3
    assert len(server.asked("/v1/models")) == 1
    assert len(server.asked("/pooling")) == 1 + 3 + 3  # probes, their cross-check, samples
    assert rewards[0].bos_count == 1
    assert profile(server) == ServerProfile(
        url="http://fake",
        version="0.32.0",
        version_known=True,
        model="judge",
        root="root",
        tokenizer_root="root",
        max_model_len=1024,
        route="pooling",
        sends="ids",
        task="classify",
        switches={"use_activation": False},
        shape="vector",
        width=1,
        activation="none",
        activation_known_by="request",
        bos_token_id=BOS,
        recipe=None,
    )


def test_the_probes_are_eight_and_differ_in_length() -> None:
    server = FakeVllm()
    profile(server)
    body, *_ = server.asked("/pooling")
    assert len({len(ids) for ids in body["input"]}) == len(body["input"]) == 8


@pytest.mark.parametrize(
    ("cards", "model", "found"),
    [
        ([card("a")], None, "a"),
        ([card("a"), card("alias-of-a")], None, "a"),
        ([card("a"), card("lora", root="x", parent="a")], "a", "a"),
        ([card("a"), card("lora", root="x", parent="a")], "lora", "lora"),
        ([card("a", root=None)], None, "a"),
        ([card("a"), card("b", root="other")], "b", "b"),
    ],
)
def test_the_model(cards: list[Any], model: str | None, found: str) -> None:
    assert profile(FakeVllm(cards=cards), model=model).model == found


@pytest.mark.parametrize(
    ("cards", "model", "hint"),
    [
        ([card("a"), card("b", root="other")], None, "it lists: a, b"),
        ([card("a")], "c", "does not serve 'c'; it lists: a"),
        ([], None, "it lists: none"),
        (
            [card("a"), card("lora", root="x", parent="a"), card("other", root="y", parent="a")],
            None,
            "the server lists a and its adapters lora, other. Name one of them by model=.",
        ),
    ],
)
def test_no_such_model(cards: list[Any], model: str | None, hint: str) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        profile(FakeVllm(cards=cards), model=model)
    assert hint in str(caught.value)


def test_the_key_is_checked_first() -> None:
    server = FakeVllm(before=lambda request: httpx.Response(401, json={"error": "Unauthorized"}))
    with pytest.raises(AuthenticationError, match="Unauthorized"):
        profile(server)
    assert [path for path, _ in server.requests] == ["/v1/models"]


def test_hidden_version_and_routes() -> None:
    found = profile(FakeVllm(version=None, paths=None))
    assert (found.version, found.version_known) == (None, False)
    assert (found.route, found.activation_known_by) == ("pooling", "probe")


@pytest.mark.parametrize("version", [None, "0.34.0", "0.1.dev5+gabc", "1.0.0"])
def test_an_unknown_version_must_prove_that_its_values_are_raw(version: str | None) -> None:
    squashed = FakeVllm(version=version, pool=lambda ids: [1 / (1 + math.exp(len(ids)))])
    with pytest.raises(ActivationError, match="use_activation"):
        profile(squashed)
    (inverted,) = score(squashed, server_activation="sigmoid")
    assert inverted.value == pytest.approx(-len(CHAT_TOKENS), abs=1e-9)  # all in float64 here
    assert inverted.provenance.activation == "sigmoid"
    assert inverted.provenance.activation_known_by == "caller"


def test_a_forced_route_that_is_not_there() -> None:
    with pytest.raises(RouteNotFoundError, match=r"route= names.*at http://fake"):
        profile(FakeVllm(), route="embeddings")


def test_no_way_to_a_reward_in_0_6_5() -> None:
    with pytest.raises(RouteNotFoundError, match="upgrade"):
        profile(FakeVllm(version="0.6.5"))


def test_a_declared_head_is_not_assumed() -> None:
    per_token = FakeVllm(tasks=("token_classify",), pool=lambda ids: [[float(i)] for i in ids])
    (auto,) = score(per_token)
    (declared,) = score(per_token, head=ScalarHead())
    assert auto.value == declared.value == CHAT_TOKENS[-1]
    assert auto.provenance.head == "scalar (last token, assumed)"
    assert declared.provenance.head == "scalar (last token)"


def test_no_one_shape() -> None:
    with pytest.raises(ShapeError, match="neither one row for each sample"):
        profile(FakeVllm(pool=lambda ids: [1.0] * (len(ids) % 3 + 1)))


# When another server may have come up


def refused(_: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused")


def refuse_once_in_the_middle(server: FakeVllm, then: Any) -> Any:
    """The first scoring after the discovery and tokenizing is refused; then something happens."""
    failing = iter([False] * 11 + [True])

    def before(request: httpx.Request) -> httpx.Response | None:
        if next(failing, False):
            then()
            return refused(request)
        return None

    return before


def test_after_a_refused_connection_it_is_found_out_anew() -> None:
    server = FakeVllm()
    server.before = refuse_once_in_the_middle(server, lambda: None)
    (reward,) = score(server, retry=RetryPolicy(max_wait=0.001))
    assert reward.value == RAW
    # It is the same server still, so that what the retry brought is believed.
    assert len(server.asked("/v1/models")) == 2
    assert len([body for body in server.asked("/tokenize") if "messages" in body]) == 1


@pytest.mark.parametrize("change", ["weights", "tokenizer", "name", "version"])
def test_a_score_from_another_server_than_the_tokens_is_rejected(change: str) -> None:
    server = FakeVllm()

    def replace() -> None:
        if change == "weights":
            server.pool = lambda ids: [len(ids) - 7.0]
        elif change == "tokenizer":
            server.chat_tokens, server.probe = [2, 3, 4, 5, 6], list(range(40, 90))
        elif change == "name":
            server.cards = [card("another")]
        else:
            server.version = "0.31.0"

    server.before = refuse_once_in_the_middle(server, replace)
    (reward,) = score(server, retry=RetryPolicy(max_wait=0.001))
    assert reward.value == server.pool(server.chat_tokens)[0]
    assert reward.provenance.model == server.cards[0]["id"]
    assert reward.provenance.server_version == server.version
    assert len([body for body in server.asked("/tokenize") if "messages" in body]) == 2


def test_refused_connections_now_and_then_fail_no_sample() -> None:
    server = FakeVllm()
    random = Random(1)

    def before(request: httpx.Request) -> httpx.Response | None:
        return refused(request) if random.random() < 0.02 else None

    server.before = before

    async def main() -> None:
        policy = RetryPolicy(max_wait=0.001)
        client = AsyncRewardClient("http://fake", transport=server.transport(), retry=policy)
        rewards = await client.score_many([CHAT] * 300)
        assert {reward.value for reward in rewards} == {RAW}
        assert len(server.asked("/tokenize")) < 2 * 300

    asyncio.run(main())


def test_the_next_call_after_an_outage_finds_out_anew() -> None:
    server = FakeVllm()

    async def main() -> float:
        client = AsyncRewardClient("http://fake", transport=server.transport(), retry=ONCE)
        await client.score(CHAT)
        server.before = refused
        with pytest.raises(ServerUnreachableError):
            await client.score(CHAT)
        server.before = lambda request: None
        server.tasks, server.pool = ("token_classify",), lambda ids: [[float(i)] for i in ids]
        return (await client.score(CHAT)).value

    assert asyncio.run(main()) == CHAT_TOKENS[-1]


def test_another_model_in_the_reply() -> None:
    server = FakeVllm()

    async def main() -> None:
        client = AsyncRewardClient("http://fake", transport=server.transport())
        await client.score(CHAT)
        server.response_model = "another"
        assert (await client.score(CHAT)).value == RAW
        assert len(server.asked("/v1/models")) == 2

    asyncio.run(main())


def test_another_kind_of_model_comes_up_unnoticed() -> None:
    server = FakeVllm()

    async def main() -> None:
        client = AsyncRewardClient("http://fake", transport=server.transport())
        await client.score(CHAT)
        server.tasks, server.pool = ("token_classify",), lambda ids: [[float(i)] for i in ids]
        assert (await client.score(CHAT)).value == CHAT_TOKENS[-1]
        server.tasks, server.pool = ("classify",), lambda ids: [-7.0 - len(ids)]
        server.cards = [card("renamed")]
        reward = await client.score(CHAT)
        assert (reward.value, reward.provenance.model) == (-11.0, "renamed")

    asyncio.run(main())


def test_after_a_silence_it_is_asked_who_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version with the same model name, whose values would be squashed in silence."""
    monkeypatch.setattr(watch, "RESTART_SECONDS", -1.0)
    server = FakeVllm()

    async def main() -> None:
        client = AsyncRewardClient("http://fake", transport=server.transport())
        await client.score(CHAT)
        await client.score(CHAT)
        assert len(server.asked("/openapi.json")) == 1
        server.version, server.paths = "0.9.2", None
        server.tasks, server.pool = (None,), lambda ids: [1 / len(ids)]
        with pytest.raises(ActivationError):
            await client.score(CHAT)

    asyncio.run(main())


def test_probes_are_repeated_after_a_silence_if_only_they_tell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same old server, started again without the flag that gives raw values."""
    monkeypatch.setattr(watch, "RESTART_SECONDS", -1.0)
    server = FakeVllm(version="0.9.2", paths=None, tasks=(None,))

    async def main() -> None:
        client = AsyncRewardClient("http://fake", transport=server.transport())
        assert (await client.score(CHAT)).value == RAW
        server.pool = lambda ids: [1.0]
        with pytest.raises(ActivationError, match="softmax"):
            await client.score(CHAT)

    asyncio.run(main())


def test_servers_that_change_all_the_time() -> None:
    server = FakeVllm()
    names = iter(f"model-{n}" for n in range(1000))

    def before(request: httpx.Request) -> None:
        server.response_model = next(names)

    server.before = before
    with pytest.raises(ResponseMismatchError, match="share this one"):
        score(server)


def test_a_wrong_shape_from_the_same_server_is_an_error() -> None:
    server = FakeVllm(pool=lambda ids: [1.5, 2.0] if ids == CHAT_TOKENS else [len(ids) - 5.5])
    with pytest.raises(ShapeError, match="2 values in no rows came"):
        score(server)
    assert len(server.asked("/v1/models")) == 2


def test_concurrent_calls_find_out_once() -> None:
    server = FakeVllm()

    async def main() -> None:
        async with AsyncRewardClient("http://fake", transport=server.transport()) as client:
            await asyncio.gather(*(client.score(CHAT) for _ in range(20)))

    asyncio.run(main())
    assert len(server.asked("/v1/models")) == 1


def test_a_dead_server_fails_fast() -> None:
    server = FakeVllm(before=refused)

    async def main() -> None:
        policy = RetryPolicy(attempts=3, max_wait=0.001)
        client = AsyncRewardClient("http://fake", transport=server.transport(), retry=policy)
        outcomes = await client.score_many([CHAT] * 500, on_error="return")
        assert all(isinstance(outcome, ServerUnreachableError) for outcome in outcomes)
        # The first call waits through its attempts; nobody does so again, and many share one.
        assert len(server.requests) < 3 + 500
        server.requests.clear()
        with pytest.raises(ServerUnreachableError):
            await client.score(CHAT)
        assert len(server.requests) == 1
        server.before = lambda request: None
        assert (await client.score(CHAT)).value == RAW

    asyncio.run(main())


def test_one_discovery_fails_for_all_who_wait_for_it() -> None:
    server = FakeVllm(pool=lambda ids: [1.0, 2.0])

    async def main() -> None:
        client = AsyncRewardClient("http://fake", transport=server.transport())
        outcomes = await asyncio.gather(
            *(client.score(CHAT) for _ in range(20)), return_exceptions=True
        )
        assert {type(outcome) for outcome in outcomes} == {ShapeError}
        assert len(set(map(id, outcomes))) == 20
        assert len(server.asked("/v1/models")) == 1

    asyncio.run(main())


@pytest.mark.parametrize(("version", "ignored"), [("0.8.5", True), ("0.9.1", False), (None, False)])
def test_old_servers_would_ignore_tools(version: str | None, ignored: bool) -> None:
    known = profile(FakeVllm()).model_copy(update={"version": version})
    conversation = Conversation(CHAT, tools=[{"type": "function"}])
    sent: list[Request] = []

    class Recorder(Transport):
        async def send(self, request: Request) -> Response:
            sent.append(request)
            shown = [*CHAT_TOKENS, *([9] if "tools" in dict(request.body or {}) else [])]
            content = {"count": len(shown), "tokens": shown}
            return Response(content, "POST http://fake/tokenize", "rc-1")

    rules = PromptRules(max_model_len=known.max_model_len)
    transport = Recorder()  # type: ignore[abstract]
    tokenized = Tokenizer("server", "raise").tokenize(transport, known, rules, conversation)
    if ignored:
        with pytest.raises(InputError, match="ignores tools"):
            asyncio.run(tokenized)
        assert sent == []
    else:
        asyncio.run(tokenized)
        assert sent[0].body is not None
        assert sent[0].body["tools"] == [{"type": "function"}]


@pytest.mark.parametrize("version", ["0.12.0", "0.20.2", "0.32.0"])
def test_a_switch_that_changes_nothing_proves_nothing(version: str) -> None:
    """As behind a gateway that drops keys which are not OpenAI's."""
    squashed = FakeVllm(
        version=version, pool=lambda ids: [1 / (1 + math.exp(len(ids)))], heeds_switch=False
    )
    with pytest.raises(ActivationError, match="makes no difference"):
        profile(squashed)
    (inverted,) = score(squashed, server_activation="sigmoid")
    assert inverted.value == pytest.approx(-len(CHAT_TOKENS), abs=1e-9)
    assert inverted.provenance.activation_known_by == "caller"


def test_an_effective_switch_proves_small_values_raw() -> None:
    assert profile(FakeVllm(pool=lambda ids: [1 / len(ids)])).activation_known_by == "request"


def test_a_step_token_without_a_text() -> None:
    server = FakeVllm(before=lambda request: _detokenized(request, "\ufffd"))
    head = StepHead(step_token=7, good_label=1, aggregate="min")
    with pytest.raises(InputError, match="has no text in this model"):
        profile(server, head=head)


def _detokenized(request: httpx.Request, text: str) -> httpx.Response | None:
    if request.url.path == "/detokenize":
        return httpx.Response(200, json={"prompt": text})
    return None


@pytest.mark.parametrize(
    ("head", "cure"),
    [
        (LinearHead([1.0] * 8), "--convert embed"),
        (StepHead(step_token=25, good_label=1, aggregate="min"), "token_classify"),
        (ScalarHead(), "vllm serve MODEL --runner pooling"),
    ],
)
def test_what_to_serve_for_a_head_that_nothing_here_is_for(head: Any, cure: str) -> None:
    server = FakeVllm(tasks=(), before=lambda request: _detokenized(request, "<step>"))
    with pytest.raises(RouteNotFoundError) as caught:
        profile(server, head=head)
    assert cure in str(caught.value)
