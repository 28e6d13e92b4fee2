"""Exported checkpoints and their manifests, on servers."""

from __future__ import annotations

import json
import math

import pytest

from reward_client import (
    ActivationError,
    NotARewardError,
    RecipeError,
    RouteNotFoundError,
    ScalarHead,
    StepHead,
)
from reward_client.recipes import catalogue
from reward_client.testing import RewardServer

from ..integration.pitfalls.conftest import Connect, connect
from ..support.fake_vllm import CHAT as FAKE_CHAT
from ..support.fake_vllm import CHAT_TOKENS, EmbeddingVllm, by_length, embedding_server
from ..support.manifests import STEPS, layer, manifest, of_sum_judge, recipe, reference, write

__all__ = ["connect"]

CHAT = [
    {"role": "user", "content": "What is 37 + 45?"},
    {"role": "assistant", "content": "The answer is 82."},
]
IDS = [10, 11, 12, 13]
TOLERANCE = 1e-4


def test_a_folder_called_like_a_model_that_is_refused(connect: Connect, tmp_path) -> None:
    with RewardServer(head="export", root="/models/INF-ORM-Llama3.1-70B") as server:
        with pytest.raises(RecipeError, match=r"INF-ORM|inf-orm") as caught:
            connect(server).score(CHAT)
        assert "reward-client export SOURCE DESTINATION" in str(caught.value)
        assert 'recipe=".../reward_client.json"' in str(caught.value)
        content = of_sum_judge(server).model_dump(mode="json", by_alias=True)
        client = connect(server, recipe=str(write(tmp_path, content)))
        expected = server.reference(client.tokenize(CHAT).token_ids)
        reward = client.score(CHAT)
        assert reward.value == pytest.approx(expected, abs=TOLERANCE)
        assert reward.provenance.recipe == "judge, exported"
        with pytest.raises(RecipeError) as named:
            connect(server, recipe="inf-orm").score(CHAT)
        assert "pass its manifest" not in str(named.value)


EXPORTABLE = (
    "beaver-cost",
    "beaver-reward",
    "cloud-rm",
    "eurus-rm",
    "grm-sftreg",
    "inf-orm",
    "starling-rm",
    "ultrarm",
)


def test_refusals_that_name_the_export() -> None:
    named = {
        name
        for name, known in catalogue().items()
        if known.refusal and "`reward-client export SOURCE DESTINATION`" in known.refusal
    }
    assert named == set(EXPORTABLE)
    others = [known.refusal for name, known in catalogue().items() if name not in EXPORTABLE]
    assert not [refusal for refusal in others if refusal and "xport" in refusal]


def test_a_manifest_without_a_head_wants_one(connect: Connect) -> None:
    with RewardServer(head="export-steps") as server:
        whole = of_sum_judge(server, STEPS)
        content = json.loads(whole.model_dump_json(by_alias=True))
        content["head"] = None
        headless = recipe(content)
        with pytest.raises(RecipeError, match=r"names no head.*head=StepHead\("):
            connect(server, recipe=headless).score(CHAT)
        head = StepHead(step_token=server.step_token, good_label=1, aggregate="min")
        client = connect(server, recipe=headless, head=head)
        assert client.servers()[0].activation_known_by == "reference"
        bad = StepHead(step_token=server.step_token, good_label=0, aggregate="min")
        with pytest.raises(NotARewardError, match=r"reference \d of the manifest"):
            connect(server, recipe=headless, head=bad).servers()
        other = StepHead(step_token="4", good_label=1, aggregate="min")
        with pytest.raises(RecipeError, match=r"has no step token|has 2 values"):
            connect(server, recipe=headless, head=other).servers()


def test_another_way_than_that_of_exported_heads_is_not_taken(connect: Connect) -> None:
    """A classifier behind the same address is another model, whatever it answers."""
    with RewardServer(head="sequence") as server:
        assert connect(server).score(CHAT).provenance.route == "pooling"
        with pytest.raises(RouteNotFoundError, match="Serve the exported folder"):
            connect(server, recipe=of_sum_judge(server)).score(CHAT)
    with RewardServer(head="steps") as server:
        manifest_of_steps = of_sum_judge(server, STEPS)
        with pytest.raises(RouteNotFoundError, match='"task": "token_embed"'):
            connect(server, recipe=manifest_of_steps).score(CHAT)


def test_a_manifest_of_another_head_than_the_callers(connect: Connect) -> None:
    with RewardServer(head="export") as server:
        client = connect(server, recipe=of_sum_judge(server), head=ScalarHead())
        assert client.servers()[0].activation_known_by == "reference"


def squashed(ids: list[int]) -> list[float]:
    return [1 / (1 + math.exp(-by_length(ids)[0]))]


@pytest.mark.parametrize("version", [None, "0.99.0", "0.33.1.dev3"])
def test_on_versions_that_nobody_knows(connect: Connect, version: str | None) -> None:
    """A head may end with a sigmoid of its own: only the references tell that one from another."""
    server = embedding_server(version=version, pool=squashed)
    with pytest.raises(ActivationError, match=r"lie in \[0, 1\]"):
        connect(server).score(FAKE_CHAT)
    known = recipe(manifest(reference(IDS, squashed(IDS)[0])))
    reward = connect(server, recipe=known).score(FAKE_CHAT)
    assert reward.value == pytest.approx(squashed(CHAT_TOKENS)[0], abs=1e-6)  # float32
    assert reward.provenance.activation_known_by == "reference"
    raw = recipe(manifest(reference(IDS, by_length(IDS)[0])))
    with pytest.raises(NotARewardError, match="reference 1"):
        connect(server, recipe=raw).score(FAKE_CHAT)


def test_the_references_are_one_request(connect: Connect) -> None:
    lists = [list(range(10, 12 + size)) for size in range(40)]
    references = [reference(ids, by_length(ids)[0]) for ids in lists]
    server = embedding_server()
    connect(server, recipe=recipe(manifest(*references))).score(FAKE_CHAT)
    batcher = [body["input"] for body in server.asked("/v1/embeddings")]
    # The probes, in another order, in an odd number, one of them alone, the references, the sample.
    assert [len(batch) for batch in batcher] == [8, 32, 15, 1, 40, 1]
    assert batcher[4] == lists
    assert batcher[3][0] in batcher[0]
    formats = [body["encoding_format"] for body in server.asked("/v1/embeddings")]
    assert formats == ["base64", "base64", "base64", "float", "base64", "base64"]


class Base64Only(EmbeddingVllm):
    """Behind a gateway that does not heed `encoding_format`."""

    def pooled(self, path, body):
        return super().pooled(path, {**body, "encoding_format": "base64"})


def test_a_gateway_that_always_answers_base64(connect: Connect) -> None:
    server = Base64Only(paths=["/v1/embeddings"])
    assert connect(server).score(FAKE_CHAT).value == by_length(CHAT_TOKENS)[0]


def test_rounding_of_an_engine_is_no_other_value(connect: Connect) -> None:
    """bfloat16 moves a reward by that much when it is computed among others."""

    def rounded(request, payload):
        if b'"encoding_format":"float"' in request.content:
            for item in payload["data"]:
                item["embedding"] = [value + 0.1 for value in item["embedding"]]

    server = EmbeddingVllm(paths=["/v1/embeddings"], after=rounded)
    assert connect(server).score(FAKE_CHAT).value == by_length(CHAT_TOKENS)[0]


def test_a_reference_that_is_too_long_for_the_server_is_left_out(connect: Connect) -> None:
    long = reference(IDS * 300, 0.0)
    right = recipe(manifest(long, reference(IDS, by_length(IDS)[0])))
    client = connect(embedding_server(), recipe=right)
    assert client.score(FAKE_CHAT).provenance.activation_known_by == "reference"
    wrong = recipe(manifest(long, reference(IDS, by_length(IDS)[0] + 0.02)))
    with pytest.raises(NotARewardError):
        connect(embedding_server(), recipe=wrong).score(FAKE_CHAT)


def test_labels_of_a_part_of_the_head(connect: Connect) -> None:
    """The first of two layers alone answers as many numbers as a classifier has labels."""
    layers = [layer(128, 16, "relu"), layer(16, 1)]
    server = embedding_server(pool=lambda ids: [math.sin(len(ids) * place) for place in range(16)])
    with pytest.raises(NotARewardError, match="rows of 16 numbers, and the manifest") as caught:
        connect(server, recipe=recipe(manifest(layers=layers))).score(FAKE_CHAT)
    assert "hidden states)" not in str(caught.value)
    assert "Failed to load" in str(caught.value)
