"""Values that look like rewards: squashed, of other tokens, or of no reward head at all."""

from __future__ import annotations

import base64
import math
import struct
from typing import Any

import httpx
import pytest

from reward_client import (
    ActivationError,
    Conversation,
    NotARewardError,
    ObjectiveHead,
    RecipeError,
    ResponseMismatchError,
    RouteNotFoundError,
    ShapeError,
    StepHead,
)
from reward_client._replicas import monitor as watch
from reward_client.recipes import Recipe
from reward_client.testing import RewardServer

from ...support.fake_vllm import CHAT as FAKE_CHAT
from ...support.fake_vllm import (
    CHAT_TOKENS,
    EmbeddingVllm,
    FakeVllm,
    by_length,
    embedding_server,
)
from ...support.manifests import STEPS, layer, manifest, of_sum_judge, reference
from ...support.manifests import recipe as known
from .conftest import Connect
from .doctor import diagnose, finding
from .samples import CHAT, SCORING, TOLERANCE, WRONG, served

# A version whose every request gets what the server was started to send.
UNASKED = {"version": "0.9.2", "tasks": (None,)}


def squashed(ids: list[int]) -> list[float]:
    """What a server sends that applies a sigmoid to the raw reward."""
    return [sigmoid(by_length(ids)[0])]


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


@pytest.mark.parametrize(
    ("dialect", "head", "path", "switch"),
    [
        ("0.10", "sequence", "/classify", "activation"),
        ("0.12", "sequence", "/pooling", "use_activation"),
        ("0.12", "token", "/pooling", "use_activation"),
        ("0.16", "sequence", "/pooling", "use_activation"),
        ("0.16", "token", "/pooling", "use_activation"),
        ("0.20", "sequence", "/pooling", "use_activation"),
        ("0.25", "sequence", "/pooling", "use_activation"),
        ("0.32", "sequence", "/pooling", "use_activation"),
    ],
)
def test_2_no_sigmoid(connect: Connect, dialect: str, head: Any, path: str, switch: str) -> None:
    with RewardServer(dialect=dialect, head=head) as server:
        client = connect(server)
        for chat in (CHAT, WRONG):
            ids = client.tokenize(chat).token_ids
            reward = client.score(chat)
            assert reward.value == pytest.approx(server.reference(ids), abs=TOLERANCE)
            assert not 0 <= reward.value <= 1
            assert reward.provenance.activation_known_by == "request"
        assert {body[switch] for body in served(server, path)} == {False}


def test_2_a_sigmoid_that_no_request_turns_off(connect: Connect) -> None:
    """InternLM2 on 0.10.1 to 0.11.0: a value for each token, each through a sigmoid."""
    server = FakeVllm(
        version="0.10.2", tasks=(None,), pool=lambda ids: [[sigmoid(i - 30)] for i in ids]
    )
    with pytest.raises(ActivationError, match="cannot be asked for raw values"):
        connect(server).score(FAKE_CHAT)


def test_3_a_softmax_over_one_label(connect: Connect) -> None:
    with RewardServer(dialect="0.8") as server:
        client = connect(server)
        for call in (client.score, client.tokenize):
            with pytest.raises(ActivationError, match='"softmax": false'):
                call(CHAT)
        with pytest.raises(ActivationError):
            connect(server, server_activation="none").score(CHAT)


@pytest.mark.parametrize("head", ["sequence", "token"])
def test_4_only_one_activation_key_is_sent(connect: Connect, head: Any) -> None:
    with RewardServer(dialect="0.12", head=head) as server:
        client = connect(server)
        reward = client.score(CHAT)
        expected = server.reference(client.tokenize(CHAT).token_ids)
        assert reward.value == pytest.approx(expected, abs=TOLERANCE)
        for body in served(server, *SCORING):
            assert body.keys() & {"activation", "softmax", "normalize"} == set()
            assert body["use_activation"] is False


def test_5_a_value_outside_of_0_to_1_proves_that_they_are_raw(connect: Connect) -> None:
    with RewardServer(dialect="0.8", raw=True) as server:
        client = connect(server)
        reward = client.score(CHAT)
        assert reward.provenance.activation_known_by == "probe"
        expected = server.reference(client.tokenize(CHAT).token_ids)
        assert reward.value == pytest.approx(expected, abs=TOLERANCE)
        with pytest.raises(ActivationError, match="cannot be true"):
            connect(server, server_activation="sigmoid").score(CHAT)


def test_5_values_inside_of_0_to_1_may_be_squashed(connect: Connect) -> None:
    server = FakeVllm(**UNASKED, pool=squashed)
    with pytest.raises(ActivationError, match="server_activation="):
        connect(server).score(FAKE_CHAT)
    believed = connect(server, server_activation="none").score(FAKE_CHAT)
    assert believed.value == squashed(CHAT_TOKENS)[0]
    inverted = connect(server, server_activation="sigmoid").score(FAKE_CHAT)
    assert inverted.value == pytest.approx(by_length(CHAT_TOKENS)[0], abs=1e-9)  # all in float64
    provenance = inverted.provenance
    assert (provenance.activation, provenance.activation_known_by) == ("sigmoid", "caller")


# The last is the largest float32 below 1: rewards from 16.2 to 17.3 are sent as it.
@pytest.mark.parametrize("sent", [1.0, 0.0, 1 - 2**-24])
def test_5_a_saturated_sigmoid_is_not_inverted(connect: Connect, sent: float) -> None:
    server = FakeVllm(**UNASKED, pool=lambda ids: [sent] if ids == CHAT_TOKENS else squashed(ids))
    client = connect(server, server_activation="sigmoid")
    with pytest.raises(ActivationError, match="saturated"):
        client.score(FAKE_CHAT)


def recipe(expected: float, **fields: Any) -> Recipe:
    """What is known of the fake model: its raw reward for some tokens."""
    reference = {"token_ids": (10, 11, 12, 13, 14), "expected": expected, "tolerance": 0.01}
    return Recipe.model_validate(
        {
            "name": "mine",
            "head": {"type": "scalar"},
            "references": ({**reference, "source": "its card"},),
            **fields,
        }
    )


def test_5_a_reference_value_tells_what_the_server_applies(connect: Connect) -> None:
    raw = by_length([0] * 5)[0]
    server = FakeVllm(**UNASKED, pool=squashed)
    reward = connect(server, recipe=recipe(raw)).score(FAKE_CHAT)
    assert reward.value == pytest.approx(by_length(CHAT_TOKENS)[0], abs=1e-9)
    provenance = reward.provenance
    assert (provenance.activation, provenance.activation_known_by) == ("sigmoid", "reference")


@pytest.mark.parametrize("dialect", ["0.12", "0.16", "0.20", "0.25", "0.32", "0.33"])
def test_7_the_task_is_named(connect: Connect, dialect: str) -> None:
    """Without it 0.12 refuses, and 0.16 answers a row for each token."""
    with RewardServer(dialect=dialect) as server:
        client = connect(server)
        client.score(CHAT)
        assert {body.get("task") for body in served(server, "/pooling")} == {"classify"}
        (profile,) = client.servers()
        assert (profile.task, profile.shape, profile.width) == ("classify", "vector", 1)


def test_7_a_reply_of_another_shape(connect: Connect) -> None:
    """The last of these rows would pass for a reward."""
    server = FakeVllm(
        pool=lambda ids: [[0.5], [1.5], [2.5], [3.5]] if ids == CHAT_TOKENS else by_length(ids)
    )
    with pytest.raises(ShapeError, match="4 values in 4 rows came for 4 tokens"):
        connect(server).score(FAKE_CHAT)


@pytest.mark.parametrize("dialect", ["0.8", "0.10", "0.12", "0.16", "0.20", "0.25", "0.32", "0.33"])
def test_8_hidden_states_are_no_reward(connect: Connect, dialect: str) -> None:
    with RewardServer(dialect=dialect, head="embed") as server:
        client = connect(server)
        for call in (client.score, client.tokenize):
            with pytest.raises(NotARewardError, match="vllm serve MODEL --runner pooling"):
                call(CHAT)


def test_8_a_wide_vector(connect: Connect) -> None:
    server = FakeVllm(pool=lambda ids: [math.sin(len(ids) * place) for place in range(8192)])
    with pytest.raises(NotARewardError, match="8192 numbers"):
        connect(server).score(FAKE_CHAT)


def test_9_base64_where_float_breaks(connect: Connect) -> None:
    with RewardServer(dialect="0.8", head="token") as server:
        client = connect(server)
        for chat in (CHAT, WRONG):
            ids = client.tokenize(chat).token_ids
            expected = server.reference_values(ids).token_scores
            # The last of as many values as there are tokens, which the base64 does not tell.
            assert client.score(chat).value == pytest.approx(expected[-1], abs=TOLERANCE)
            assert expected[-1] != pytest.approx(expected[0], abs=0.1)
        (profile,) = client.servers()
        assert profile.shape == "per token"
        bodies = served(server, "/v1/embeddings")
        assert {body["encoding_format"] for body in bodies} == {"base64"}


def test_9_rows_of_steps_in_base64(connect: Connect) -> None:
    with RewardServer(dialect="0.8", head="steps") as server:
        head = StepHead(step_token=server.step_token, good_label=1, aggregate="min")
        client = connect(server, head=head)
        answer = {"role": "assistant", "content": f"37 + 45 = 82.{server.step_token} 82.~"}
        reward = client.score([CHAT[0], answer])
        steps = server.reference_values(client.tokenize([CHAT[0], answer]).token_ids).steps
        expected = [sigmoid(good - bad) for bad, good in steps]
        assert [step.value for step in reward.steps] == pytest.approx(expected, abs=TOLERANCE)
        assert len(expected) == 2


def test_9_rows_where_base64_is_refused(connect: Connect) -> None:
    """0.33 with `--pooler-config '{"task": "token_embed"}'`: the advice, not a bad request."""
    with RewardServer(dialect="0.33", head="export-steps") as server:
        with pytest.raises(RouteNotFoundError, match="--runner pooling"):
            connect(server).score(CHAT)
        assert served(server, "/v1/embeddings")


def test_17_a_sigmoid_applied_twice(connect: Connect) -> None:
    """vLLM turns its own sigmoid off, and another one is left in the model's code."""
    twice = EmbeddingVllm(pool=lambda ids: [sigmoid(squashed(ids)[0])])
    found = finding(diagnose(connect(twice)), "activation")
    assert found.verdict == "failed"
    assert "sigmoid of a sigmoid" in found.detail
    once = finding(diagnose(connect(EmbeddingVllm(pool=squashed))), "activation")
    assert once.verdict == "warning"
    assert "as after a sigmoid" in once.detail
    assert finding(diagnose(connect(EmbeddingVllm())), "activation").verdict == "ok"


def test_17_a_recipe_that_knows_better(connect: Connect) -> None:
    raw = by_length([0] * 5)[0]
    twice = EmbeddingVllm(pool=lambda ids: [sigmoid(squashed(ids)[0])])
    with pytest.raises(RecipeError, match="for a published sample"):
        connect(twice, recipe=recipe(raw)).score(FAKE_CHAT)
    found = finding(diagnose(connect(twice, recipe=recipe(raw))), "recipe")
    assert found.verdict == "failed"
    assert finding(
        diagnose(connect(EmbeddingVllm(), recipe=recipe(raw))), "reference value"
    ).verdict == ("ok")
    old = FakeVllm(**UNASKED, pool=twice.pool)
    with pytest.raises(ActivationError, match="cannot be asked for raw values"):
        connect(old, recipe=recipe(raw)).score(FAKE_CHAT)


def test_17_the_doctor_compares_every_published_value(connect: Connect) -> None:
    known = recipe(by_length([0] * 5)[0])
    (first,) = known.references
    assert isinstance(first.expected, float)
    other = first.model_copy(update={"expected": first.expected + 2 * first.tolerance})
    for references, verdicts in (
        ((other,), ["failed"]),
        ((first, other), ["ok", "failed"]),
        ((first,), ["ok"]),
    ):
        changed = known.model_copy(update={"references": references})
        findings = diagnose(connect(EmbeddingVllm(), recipe=changed)).findings
        found = [each.verdict for each in findings if each.check == "reference value"]
        assert found == verdicts


def test_27_a_normalized_reward_is_1_or_minus_1(connect: Connect) -> None:
    server = embedding_server(pool=lambda ids: [1.0 if len(ids) % 2 else -1.0])
    with pytest.raises(NotARewardError, match="without a Normalize module"):
        connect(server).score(FAKE_CHAT)


def test_27_hidden_states_where_the_head_was_not_loaded(connect: Connect) -> None:
    server = embedding_server(pool=lambda ids: [math.sin(len(ids) * place) for place in range(128)])
    with pytest.raises(NotARewardError, match="128 numbers"):
        connect(server).score(FAKE_CHAT)


def test_27_the_doctor_says_that_the_head_is_not_proven(connect: Connect) -> None:
    steps = StepHead(step_token=RewardServer.step_token, good_label=1, aggregate="min")
    for head, options in (("export", {}), ("export-steps", {"head": steps})):
        with RewardServer(head=head) as server:  # type: ignore[arg-type]
            found = finding(diagnose(connect(server, **options)), "activation")
            assert found.verdict == "warning"
            assert "nothing proves that the server loaded all of them" in found.detail
            assert "reward_client.json" in (found.cure or "")


LOG = "ST projector loading failed"


def test_27_a_part_of_the_head_gives_a_plausible_number(connect: Connect) -> None:
    with RewardServer(head="export") as server:
        whole = of_sum_judge(server)
        client = connect(server, recipe=whole)
        reward = client.score(CHAT)
        expected = server.reference(client.tokenize(CHAT).token_ids)
        assert reward.value == pytest.approx(expected, abs=TOLERANCE)
        assert reward.provenance.activation_known_by == "reference"
        asked = [body["input"] for body in served(server, "/pooling")]
        assert [list(each.token_ids or ()) for each in whole.references] in asked
    with RewardServer(head="export", values=lambda ids: 3.0 - len(ids) / 7) as half:
        client = connect(half, recipe=whole)
        for call in (client.score, client.tokenize):
            with pytest.raises(NotARewardError, match="reference 1 of the manifest") as caught:
                call(CHAT)
            assert LOG in str(caught.value)
        assert connect(half).score(CHAT).provenance.activation_known_by == "request"


def test_27_a_step_of_several_differs(connect: Connect) -> None:
    with RewardServer(head="export-steps") as server:
        whole = of_sum_judge(server, STEPS)
        sample = Conversation([CHAT[0]], steps=["37 + 45 = 82.", "The answer is 82."])
        client = connect(server, recipe=whole)
        steps = server.reference_values(client.tokenize(sample).token_ids).steps
        expected = [sigmoid(good - bad) for bad, good in steps]
        scored = client.score(sample).steps
        assert [step.value for step in scored] == pytest.approx(expected, abs=TOLERANCE)
        first, *others = whole.references
        assert isinstance(first.expected, tuple)
        wrong = first.model_copy(update={"expected": (first.expected[0], first.expected[1] + 0.02)})
        other = whole.model_copy(update={"references": (*others, wrong)})
        with pytest.raises(NotARewardError, match="reference 2 of the manifest"):
            connect(server, recipe=other).score(sample)
        fewer = first.model_copy(update={"expected": first.expected[:1]})
        with pytest.raises(RecipeError, match="has 1 values, and the head reads 2"):
            connect(server, recipe=whole.model_copy(update={"references": (fewer,)})).score(sample)


def three(ids: list[int]) -> list[float]:
    return [len(ids) - 5.5, len(ids) / 3, -float(len(ids))]


@pytest.mark.parametrize("place", range(3))
def test_27_one_objective_of_several_differs(connect: Connect, place: int) -> None:
    ids = [10, 11, 12, 13]
    expected = three(ids)
    head = {"type": "objectives", "names": ["a", "b", "c"]}
    layers = [layer(128, 3)]
    true = known(manifest(reference(ids, expected), head=head, layers=layers))
    reward = connect(embedding_server(pool=three), recipe=true).score(FAKE_CHAT)
    assert list(reward.objectives.values()) == pytest.approx(three(CHAT_TOKENS))
    expected[place] += 0.011
    other = known(manifest(reference(ids, expected), head=head, layers=layers))
    with pytest.raises(NotARewardError, match="reference 1 of the manifest"):
        connect(embedding_server(pool=three), recipe=other).score(FAKE_CHAT)


def test_27_another_checkpoint_comes_up_behind_the_same_name(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "RESTART_SECONDS", -1.0)  # the server is always silent for so long
    server = embedding_server()
    ids = [10, 11, 12, 13]
    client = connect(server, recipe=known(manifest(reference(ids, by_length(ids)[0]))))
    assert client.score(FAKE_CHAT).value == by_length(CHAT_TOKENS)[0]
    server.pool = lambda ids: [len(ids) / 2 - 5.5]
    with pytest.raises(NotARewardError, match="it serves another checkpoint"):
        client.score(FAKE_CHAT)
    server.pool = by_length
    assert client.score(FAKE_CHAT).value == by_length(CHAT_TOKENS)[0]


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("dialect", ["0.10", "0.16", "0.32"])
def test_27_hidden_states_where_a_manifest_says_otherwise(
    connect: Connect, dialect: str, raw: bool
) -> None:
    with RewardServer(dialect=dialect, head="embed", raw=raw) as server:
        client = connect(server, recipe=of_sum_judge(server))
        for call in (client.score, client.tokenize):
            with pytest.raises(NotARewardError, match=r"128 numbers \(hidden states\)") as caught:
                call(CHAT)
            assert LOG in str(caught.value)


def test_27_hidden_states_of_each_token(connect: Connect) -> None:
    """Such narrow ones would pass for labels, of which one is good."""
    server = EmbeddingVllm(
        tasks=("token_embed",),
        pool=lambda ids: [[math.sin(token * place) for place in range(1, 33)] for token in ids],
    )
    steps = {**STEPS, "step_token": 25}
    recipe = known(manifest(head=steps, layers=[layer(32, 2)]))
    with pytest.raises(NotARewardError, match=r"32 numbers \(hidden states\)") as caught:
        connect(server, recipe=recipe).score(FAKE_CHAT)
    assert LOG in str(caught.value)
    with RewardServer(dialect="0.16", head="embed") as wide:
        head = StepHead(step_token=wide.step_token, good_label=1, aggregate="min")
        with pytest.raises(NotARewardError, match="128 numbers"):
            connect(wide, head=head).score(CHAT)


@pytest.mark.parametrize("version", ["0.6.3", "0.8.5", "0.9.2", "0.10.1.1"])
def test_27_versions_that_apply_no_dense_modules(connect: Connect, version: str) -> None:
    server = embedding_server(version=version)
    client = connect(server, recipe=known(manifest(reference([10, 11], 1.0))))
    with pytest.raises(NotARewardError, match=r"applies no Dense modules.*0\.10\.2 or later"):
        client.score(FAKE_CHAT)
    steps = known(manifest(head={**STEPS, "step_token": 25}, layers=[layer(128, 2)]))
    for each in (version, "0.10.2", "0.15.1"):
        with pytest.raises(NotARewardError, match=r"to each token.*0\.16\.0 or later"):
            connect(embedding_server(version=each), recipe=steps).score(FAKE_CHAT)


def big_endian(request: httpx.Request, payload: Any) -> None:
    """As a gateway that writes the numbers anew, the wrong way round."""
    if b'"encoding_format":"base64"' in request.content:
        for item in payload["data"]:
            raw = base64.b64decode(item["embedding"])
            item["embedding"] = base64.b64encode(raw[::-1]).decode()


def mixed_up(request: httpx.Request, payload: Any) -> None:
    """Each sample of a request gets the next one's value."""
    if request.url.path == "/v1/embeddings":
        first, *others = [item["embedding"] for item in payload["data"]]
        for item, value in zip(payload["data"], [*others, first], strict=True):
            item["embedding"] = value


@pytest.mark.parametrize("version", ["0.10.2", "0.32.0", None])
@pytest.mark.parametrize("change", [big_endian, mixed_up])
def test_27_a_gateway_that_changes_values(
    connect: Connect, change: Any, version: str | None
) -> None:
    # So far apart that the values of neighbours differ, and wrong ones are floats all the same.
    wrong = embedding_server(version=version, after=change, pool=lambda ids: [-3.25 * len(ids)])
    with pytest.raises(ResponseMismatchError, match="alone, as float"):
        connect(wrong).score(FAKE_CHAT)


def test_27_no_manifest(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    with RewardServer(head="export") as server, caplog.at_level("WARNING", logger="reward_client"):
        connect(server).score(CHAT)
    (warned,) = [each for each in caplog.records if each.levelname == "WARNING"]
    assert "nothing proves" in warned.getMessage()
    assert "reward_client.json" in warned.getMessage()


def test_27_a_manifest_that_was_not_verified(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    ids = [10, 11, 12, 13]
    proven = known(manifest(reference(ids, by_length(ids)[0])))
    connect(embedding_server(), recipe=proven).score(FAKE_CHAT)
    assert "nothing proves" not in caplog.text
    # The second is longer than what the server takes.
    for references in ((), (reference(ids * 300, 1.0),)):
        caplog.clear()
        client = connect(embedding_server(), recipe=known(manifest(*references)))
        reward = client.score(FAKE_CHAT)
        assert reward.provenance.activation_known_by == "task"
        warned = [each for each in caplog.records if each.levelname == "WARNING"]
        assert [
            "reward-client export SOURCE DESTINATION --verify" in each.getMessage()
            for each in warned
        ] == [True]


def test_33_a_head_that_was_not_loaded(connect: Connect) -> None:
    """classifier_from_token on 0.11.1 to 0.14.1."""
    nothing = struct.unpack("<f", struct.pack("<I", 700))[0]
    one = FakeVllm(version="0.12.0", pool=lambda ids: [nothing * len(ids)])
    with pytest.raises(NotARewardError, match="not loaded"):
        connect(one).score(FAKE_CHAT)
    three = FakeVllm(version="0.12.0", pool=lambda ids: [1 / len(ids)] * 3)
    with pytest.raises(NotARewardError, match="not loaded"):
        connect(three, head=ObjectiveHead(3)).score(FAKE_CHAT)
