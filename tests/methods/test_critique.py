"""`CritiqueThenScore`: a critique is written, and the reward is read after it."""

from __future__ import annotations

import base64
import json
import math
import pickle
import struct
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from reward_client import (
    AsyncRewardClient,
    BadRequestError,
    FileError,
    GenerationError,
    InputError,
    Limits,
    LinearHead,
    PromptTooLongError,
    Reward,
    RewardClient,
    RewardClientError,
    RouteNotFoundError,
    ServerError,
    ServerUnreachableError,
    StepHead,
    Usage,
)
from reward_client._base.options import RetryPolicy
from reward_client.files import score_file
from reward_client.methods import CritiqueThenScore, TokenLogit, YesNo

from ..support.either import OPENERS, EitherClient, Kind
from ..support.fake_vllm import YES, rendered, text_of, transport_to
from ..support.scribe import ROOM, Scribe

CHAT = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
LEAD_IN = (
    "The following is a break down on the correctness and usefulness of the assistant's response "
    "to my question: "
)
ONCE = RetryPolicy(attempts=1)


def critique(prompt: str, seed: int) -> str:
    return f" It is right{'!' * seed}"


def pooled(text: str) -> float:
    return len(text) - 150.25


class Two:
    """The server with the head and the one that writes, behind one transport."""

    def __init__(self, head: Scribe, critic: Scribe) -> None:
        self.head, self.critic = head, critic

    def transport(self) -> httpx.AsyncBaseTransport:
        return transport_to({"critic": self.critic, "": self.head})

    def client(
        self, kind: Kind, *, client: dict[str, Any] | None = None, **options: Any
    ) -> EitherClient:
        method = CritiqueThenScore(critic="http://critic", **options)
        return OPENERS[kind](
            "http://head", transport=self.transport(), method=method, **(client or {})
        )


def two(**options: Any) -> Two:
    return Two(Scribe(pools=pooled), Scribe(critique, **options))


@pytest.mark.parametrize("kind", OPENERS)
def test_the_head_reads_the_end_of_the_turn_that_was_continued(kind: Kind) -> None:
    servers = two()
    with closing(servers.client(kind)) as client:
        reward = client.score(CHAT)
    asked = rendered([*CHAT, {"role": "user", "content": LEAD_IN}]).removesuffix("</>")
    (written,) = [body for body in servers.critic.asked("/v1/completions") if "seed" in body]
    assert text_of(written["prompt"]) == asked
    assert (written["temperature"], written["seed"], written["max_tokens"]) == (0, 0, 2048)
    scored = f"{asked} It is right</>"
    assert reward.value == pytest.approx(pooled(scored), abs=1e-6)
    assert reward.token_count == len(scored)
    assert reward.critiques == (" It is right",)
    assert reward.usage == Usage(prompt_tokens=len(asked), generated_tokens=13)
    assert reward.provenance.method == "critique"
    assert reward.provenance.route == "pooling"
    assert reward.provenance.author == "scribe from root (vLLM 0.32.0)"


@pytest.mark.parametrize("kind", OPENERS)
def test_several_critiques_are_averaged(kind: Kind) -> None:
    servers = two()
    chats = [[CHAT[0], {"role": "assistant", "content": "4" * n}] for n in range(1, 9)]
    with closing(servers.client(kind, votes=4, temperature=0.7, seed=10)) as client:
        rewards = client.score_many(chats)
    for chat, reward in zip(chats, rewards, strict=True):
        texts = [critique("", seed) for seed in range(10, 14)]
        asked = rendered([*chat, {"role": "user", "content": LEAD_IN}]).removesuffix("</>")
        mean = sum(pooled(f"{asked}{text}</>") for text in texts) / 4
        assert reward.value == pytest.approx(mean, abs=1e-6)
        assert reward.critiques == tuple(texts)
        assert reward.usage is not None
        assert reward.usage.generated_tokens == sum(len(text) + 1 for text in texts)
    provenance = rewards[0].provenance
    assert (provenance.votes, provenance.temperature, provenance.seed) == (4, 0.7, 10)
    assert all(reward.provenance is provenance for reward in rewards)
    # The rewards of all critiques share requests.
    assert len(servers.head.asked("/pooling")) < 1 + 3 + len(chats)


def test_a_critique_as_an_answer_of_its_own() -> None:
    servers = two()
    with closing(servers.client("sync", lead_in="Criticise it.", continues=False)) as client:
        reward = client.score(CHAT)
    told = [*CHAT, {"role": "user", "content": "Criticise it."}]
    prompts = [body["prompt"] for body in servers.critic.asked("/v1/completions") if "seed" in body]
    assert [text_of(ids) for ids in prompts] == [rendered(told, opened=True)]
    scored = rendered([*told, {"role": "assistant", "content": " It is right"}])
    assert reward.value == pytest.approx(pooled(scored), abs=1e-6)


@pytest.mark.parametrize("kind", OPENERS)
def test_one_server_for_both(kind: Kind) -> None:
    scribe = Scribe(critique)
    for method, expected in (
        (CritiqueThenScore(reward=YesNo(), continues=False), lambda text: len(text) / 10 + 1.5),
        (CritiqueThenScore(reward=TokenLogit(YES)), lambda text: len(text) / 10),
    ):
        with closing(
            OPENERS[kind]("http://vllm", transport=scribe.transport(), method=method)
        ) as client:
            reward = client.score(CHAT)
        text = rendered([*CHAT, {"role": "user", "content": f"{LEAD_IN.strip()} It is right"}])
        if not method.continues:
            turns = [("user", LEAD_IN), ("assistant", " It is right")]
            turns.append(("user", "Is the answer correct (Yes/No)?"))
            added = [{"role": role, "content": content} for role, content in turns]
            text = rendered([*CHAT, *added], opened=True)
        assert reward.value == pytest.approx(expected(text), abs=1e-6)
        assert reward.critiques == (" It is right",)


def test_a_head_on_the_client() -> None:
    """Hidden states of width two, and the head's weights here."""

    def embedded(request: httpx.Request) -> httpx.Response | None:
        if request.url.path != "/v1/embeddings":
            return None
        body = json.loads(request.content)
        data = []
        for index, ids in enumerate(body["input"]):
            raw = struct.pack("<2f", float(len(ids)), -1.0)
            packed = (
                base64.b64encode(raw).decode()
                if body["encoding_format"] == "base64"
                else [float(len(ids)), -1.0]
            )
            data.append({"index": index, "embedding": packed})
        usage = {"prompt_tokens": sum(map(len, body["input"]))}
        return httpx.Response(200, json={"model": "scribe", "data": data, "usage": usage})

    servers = Two(Scribe(pools=pooled, before=embedded), Scribe(critique))
    head = LinearHead([[1.0, 3.0]], [0.5])
    with closing(servers.client("sync", client={"head": head})) as client:
        reward = client.score(CHAT)
    assert reward.token_count is not None
    assert reward.value == pytest.approx(reward.token_count - 3 + 0.5, abs=1e-4)


@pytest.mark.parametrize("kind", OPENERS)
def test_a_critique_that_is_cut(kind: Kind) -> None:
    servers = two()
    with (
        closing(servers.client(kind, max_tokens=5)) as client,
        pytest.raises(GenerationError, match="reached its length limit") as caught,
    ):
        client.score(CHAT)
    assert caught.value.text == " It i"
    assert pickle.loads(pickle.dumps(caught.value)).text == " It i"
    assert len(servers.head.asked("/pooling")) <= 1 + 3  # the probes, and their cross-check


@pytest.mark.parametrize("kind", OPENERS)
def test_an_empty_critique(kind: Kind) -> None:
    servers = Two(Scribe(pools=pooled), Scribe(lambda prompt, seed: "\n"))
    with closing(servers.client(kind)) as client, pytest.raises(GenerationError, match="nothing"):
        client.score(CHAT)


@pytest.mark.parametrize("kind", OPENERS)
def test_no_room_for_a_critique(kind: Kind) -> None:
    long = [CHAT[0], {"role": "assistant", "content": "4" * ROOM}]
    with closing(two().client(kind)) as client:
        with pytest.raises(PromptTooLongError):
            client.score(long)
        # What there is room for is written: the limit asked for is only the most.
        near = [CHAT[0], {"role": "assistant", "content": "4" * (ROOM - 250)}]
        assert client.score(near).critiques == (" It is right",)


@pytest.mark.parametrize("kind", OPENERS)
def test_a_critic_that_dies_between_the_two_calls(kind: Kind) -> None:
    """What was written before is scored; the others get the error of the critic."""
    written = 0

    def dying(request: httpx.Request) -> httpx.Response | None:
        nonlocal written
        if b'"seed"' not in request.content and written < 3:
            return None
        if written >= 3:
            raise httpx.ConnectError("refused")
        written += 1
        return None

    servers = two(before=dying)
    chats = [[CHAT[0], {"role": "assistant", "content": "4" * n}] for n in range(1, 9)]
    # One after the other: what is under way when a server is lost is not believed.
    options = {"retry": ONCE, "limits": Limits(max_concurrency=1)}
    with closing(servers.client(kind, client=options)) as client:
        outcomes = client.score_many(chats, on_error="return")
    rewards = [outcome for outcome in outcomes if isinstance(outcome, Reward)]
    errors = [outcome for outcome in outcomes if isinstance(outcome, RewardClientError)]
    assert (len(rewards), len(errors)) == (3, 5)
    assert all(isinstance(error, ServerUnreachableError) for error in errors)


@pytest.mark.parametrize("kind", OPENERS)
def test_a_head_that_dies_after_the_critique(kind: Kind) -> None:
    calls = 0

    def failing(request: httpx.Request) -> httpx.Response | None:
        nonlocal calls
        calls += request.url.path == "/pooling"
        return httpx.Response(502) if calls > 1 + 3 else None

    servers = Two(Scribe(pools=pooled, before=failing), Scribe(critique))
    with (
        closing(servers.client(kind, client={"retry": ONCE})) as client,
        pytest.raises(ServerError),
    ):
        client.score(CHAT)
    assert len([b for b in servers.critic.asked("/v1/completions") if "seed" in b]) == 1


def test_a_critic_that_writes_nothing_at_all() -> None:
    servers = Two(Scribe(pools=pooled), Scribe(pools=pooled))
    with (
        closing(servers.client("sync")) as client,
        pytest.raises(RouteNotFoundError, match="does not write: serve the language model"),
    ):
        client.score(CHAT)


def test_each_server_gets_its_own_key(monkeypatch: pytest.MonkeyPatch) -> None:
    def keys_of(server: Scribe) -> set[str | None]:
        keys: set[str | None] = set()
        server.before = lambda request: keys.add(request.headers.get("authorization"))
        return keys

    monkeypatch.setenv("REWARD_CLIENT_API_KEY", "sk-of-the-head")
    servers = two()
    to_critic = keys_of(servers.critic)
    with closing(servers.client("sync")) as client:
        client.score(CHAT)
        assert "sk-" not in repr(client)
    assert to_critic == {None}
    servers = two()
    to_critic, to_head = keys_of(servers.critic), keys_of(servers.head)
    with closing(servers.client("sync", critic_key="sk-of-the-critic")) as client:
        client.score(CHAT)
    assert to_critic == {"Bearer sk-of-the-critic"}
    assert to_head == {"Bearer sk-of-the-head"}
    assert "sk-of" not in repr(CritiqueThenScore(critic="http://critic", critic_key="sk-of-x"))


def test_the_options_pickle() -> None:
    method = CritiqueThenScore(critic="http://critic", critic_key="sk-x", votes=2)
    client = RewardClient("http://head", method=method)
    again = pickle.loads(pickle.dumps(client))
    assert again.__getstate__().method == method
    assert again.__getstate__().critics.urls == ("http://critic",)
    again.close()
    client.close()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"critic": "http://critic", "lead_in": ""},
        {"critic": "http://critic", "lead_in": None},
        {"reward": "yes"},
        {"reward": YesNo()},
        {"reward": YesNo(reasoning="Think.")},
        {"critic": "http://critic", "votes": 3, "temperature": 0.0},
        {"critic": "http://critic", "temperature": math.inf},
    ],
)
def test_options_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        CritiqueThenScore(**options)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        (CritiqueThenScore(critic="critic"), {}),
        (CritiqueThenScore(critic=[]), {}),
        (CritiqueThenScore(reward=TokenLogit(0)), {"route": "pooling"}),
        (
            CritiqueThenScore(critic="http://critic"),
            {"head": StepHead(step_token="x", good_label=1, aggregate="min")},
        ),
    ],
)
def test_clients_that_cannot_be(method: CritiqueThenScore, options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        AsyncRewardClient("http://head", method=method, **options)


def test_a_space_at_the_end_of_the_lead_in_makes_no_difference() -> None:
    """Some templates keep it and some do not; what is scored is what was written after."""
    servers = two()
    with closing(servers.client("sync", lead_in="Well:  \n")) as client:
        client.score(CHAT)
    (written,) = [body for body in servers.critic.asked("/v1/completions") if "seed" in body]
    sent = [body["messages"][-1]["content"] for body in servers.head.asked("/tokenize")[-1:]]
    assert text_of(written["prompt"]).endswith("<user>Well:")
    assert sent == ["Well: It is right"]
    told = [body["messages"][-1]["content"] for body in servers.critic.asked("/tokenize")[-1:]]
    assert told == ["Well:"]


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("whose", ["critic", "head"])
def test_another_model_between_the_votes(kind: Kind, whose: str) -> None:
    """All of a reward is of one model: it is had again when another has come up meanwhile."""
    changed = False

    def replaced(request: httpx.Request) -> httpx.Response | None:
        nonlocal changed
        name = "/v1/completions" if whose == "critic" else "/pooling"
        scribe = servers.critic if whose == "critic" else servers.head
        busy = [body for body in scribe.asked(name) if whose == "head" or "seed" in body]
        if not changed and len(busy) > (2 if whose == "critic" else 1):
            changed = True
            scribe.version = "0.31.0"
            scribe.pools = (lambda text: len(text) + 1000.5) if whose == "head" else None
            scribe.writes = lambda prompt, seed: " Changed" + "!" * seed
            raise httpx.ConnectError("refused")
        return None

    servers = two()
    scribe = servers.critic if whose == "critic" else servers.head
    scribe.before = replaced
    limits = Limits(max_batch_items=1)
    with closing(servers.client(kind, votes=4, client={"limits": limits})) as client:
        reward = client.score(CHAT)
    assert changed
    if whose == "critic":
        assert all(text.startswith(" Changed") for text in reward.critiques)
        assert reward.provenance.author == "scribe from root (vLLM 0.31.0)"
    else:
        assert reward.value > 1000
        assert reward.provenance.server_version == "0.31.0"


@pytest.mark.parametrize("kind", OPENERS)
def test_nothing_is_written_where_there_is_no_head(kind: Kind) -> None:
    servers = Two(Scribe(), Scribe(critique))
    with closing(servers.client(kind)) as client, pytest.raises(RewardClientError):
        client.score(CHAT)
    assert not servers.critic.asked("/v1/completions")[1:]  # that of the probes


def test_turns_are_not_dropped_for_what_is_written() -> None:
    with pytest.raises(InputError, match="on_overlong"):
        two().client("sync", client={"on_overlong": "drop_turns"})


@pytest.mark.parametrize("kind", OPENERS)
def test_generated_texts_are_scored_before_many_more_follow(kind: Kind) -> None:
    servers = two()
    chats = [[CHAT[0], {"role": "assistant", "content": "4" * n}] for n in range(1, 101)]
    at_first: list[int] = []

    def seen(request: httpx.Request) -> httpx.Response | None:
        if request.url.path == "/pooling":
            at_first.append(len(servers.critic.asked("/v1/completions")))
        return None

    servers.head.before = seen
    limits = Limits(max_concurrency=8)
    with closing(servers.client(kind, votes=2, client={"limits": limits})) as client:
        assert len(client.score_many(chats)) == 100
    assert at_first[1] <= 2 * 8 + 1


@pytest.mark.parametrize("kind", OPENERS)
def test_a_vote_that_fails_stops_the_others(kind: Kind) -> None:
    def refused(request: httpx.Request) -> httpx.Response | None:
        if b'"seed":3' not in request.content:
            return None
        error = {"message": "no", "type": "BadRequestError", "code": 400}
        return httpx.Response(400, json={"error": error})

    servers = two(before=refused)
    with closing(servers.client(kind, votes=6)) as client, pytest.raises(BadRequestError):
        client.score(CHAT)


def test_a_file_of_rewards(tmp_path: Path) -> None:
    servers = two()
    source, results = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps({"messages": CHAT}) + "\n" for _ in range(5)))
    method = CritiqueThenScore(critic="http://critic")
    with RewardClient("http://head", transport=servers.transport(), method=method) as client:
        summary = score_file(client, source, results)
    assert summary.rows == 5
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    assert [row["reward"] for row in rows] == [rows[0]["reward"]] * 5


def test_settings_show_another_critic_of_the_same_name() -> None:
    """Rewards after its critiques do not go into the file of the other's."""
    seen = []
    for root in ("critic-v1", "critic-v2"):
        servers = two(root=root)
        with closing(servers.client("sync")) as client:
            reward = client.score(CHAT)
        assert reward.provenance.author == f"scribe from {root} (vLLM 0.32.0)"
        with servers.client("sync") as again:
            seen.append(again._run(again._session.settings()).author)
    assert seen == ["scribe from critic-v1 (vLLM 0.32.0)", "scribe from critic-v2 (vLLM 0.32.0)"]


def test_critics_of_two_patch_versions_write_for_one_file(tmp_path: Path) -> None:
    """Either order of them resumes it, and so does one alone; a critic of a third does not."""
    head = Scribe(pools=pooled)
    critics = {f"v{n}": Scribe(critique, version=f"0.32.{n}") for n in range(3)}
    transport = transport_to({**critics, "": head})
    source, results = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    chats = [[CHAT[0], {"role": "assistant", "content": "4" * n}] for n in range(1, 30)]
    source.write_text("".join(json.dumps({"messages": chat}) + "\n" for chat in chats))

    def run(*names: str) -> None:
        method = CritiqueThenScore(critic=[f"http://{name}" for name in names])
        with RewardClient("http://head", transport=transport, method=method) as client:
            summary = score_file(client, source, results)
        assert (summary.rows, dict(summary.failures)) == (len(chats), {})
        results.write_bytes(b"".join(results.read_bytes().splitlines(keepends=True)[:5]))

    for names in (["v0", "v1"], ["v1", "v0"], ["v0"], ["v1"]):
        run(*names)
    assert all(critic.asked("/v1/completions") for critic in (critics["v0"], critics["v1"]))
    with pytest.raises(FileError, match=r"author was '.*0\.32\.0\)' and is '.*0\.32\.2\)' now"):
        run("v2")
