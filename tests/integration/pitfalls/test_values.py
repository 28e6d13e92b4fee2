"""Pitfalls of a caller's own values: rewards that are compared, samples that are made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from reward_client import InputError, Provenance, Reward, RewardClient
from reward_client._client.config import Config
from reward_client.methods import Verdict
from reward_client.testing import RewardServer
from tests.support.raw_server import CONVERSATION, RawServer, answer, expected

from .samples import CHAT, served

PROVENANCE = Provenance(
    model="m",
    server_version="0.32.0",
    route="pooling",
    activation="none",
    activation_known_by="request",
    head="scalar",
    tokenizer="server",
    client_version="0",
)


def reward(value: float, **provenance: str) -> Reward:
    return Reward.of_checked(scalar=value, provenance=PROVENANCE.model_copy(update=provenance))


@pytest.mark.parametrize(
    "other",
    [{"model": "n"}, {"method": "messages"}, {"method_digest": "d"}, {"head": "first of 2"}],
)
def test_51_rewards_of_unlike_scales_have_no_order(other: dict[str, str]) -> None:
    mine, others = reward(1.0), reward(2.0, **other)
    for compare in (
        lambda: mine < others,
        lambda: max(mine, others),
        lambda: sorted([others, mine]),
    ):
        with pytest.raises(TypeError, match="Cannot order rewards of different models or methods"):
            compare()
    assert max(mine, others, key=float) is others


def test_51_rewards_of_one_model_have_an_order() -> None:
    low, high = reward(1.0), reward(2.0, server_version="0.31.0", recipe="r")
    assert max(low, high) is high


def objects(values: list[Any]) -> Any:
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made


def test_52_a_column_of_arrays_is_a_column_of_samples() -> None:
    with RewardServer() as server, RewardClient(server.url) as client:
        expected = client.score(CHAT)
        assert client.score_many(objects([objects(CHAT)] * 2)) == [expected] * 2
        ids = np.array(client.tokenize(CHAT).token_ids)
        for sample in (ids, [*ids]):
            assert client.score_many(objects([sample] * 2)) == [expected] * 2


@pytest.mark.parametrize("kind", ["numpy", "pandas", "polars", "pyarrow"])
def test_52_a_column_of_responses(kind: str) -> None:
    library = pytest.importorskip(kind)
    column = {"numpy": "array", "pyarrow": "chunked_array"}.get(kind, "Series")
    texts = ["82", "83"]
    responses = getattr(library, column)([texts] if kind == "pyarrow" else texts)
    with RewardServer() as server, RewardClient(server.url) as client:
        ranking = client.rank(CHAT[0]["content"], responses)
        assert ranking == client.rank(CHAT[0]["content"], texts)
        assert type(ranking.best) is str


def test_52_arrays_of_truth_values_are_no_token_ids() -> None:
    """NumPy's True is the integer 1 to ``operator.index`` of older versions."""
    with RewardServer() as server, RewardClient(server.url) as client:
        for sample in (np.array([True, False]), [1, np.True_]):
            with pytest.raises(InputError, match="holds True"):
                client.score(sample)  # type: ignore[arg-type]


@pytest.mark.parametrize("role", ["human", "User", "usr", "instruction"])
def test_53_a_role_that_the_model_never_saw(role: str) -> None:
    """As in ShareGPT. A template that checks no roles writes this one into the prompt."""
    sample = [{**CHAT[0], "role": role}, CHAT[1]]
    with RewardServer() as server, RewardClient(server.url) as client:
        assert client.score(CHAT).value
        with pytest.raises(InputError, match='Write "role": "user"'):
            client.score(sample)
        with pytest.raises(InputError, match='Write "role": "user"'):
            client.rank(sample[:1], ["82"])
        assert role not in str(served(server, "/tokenize"))


@pytest.mark.parametrize("role", ["assisstant", "llm", "response", ""])
def test_53_a_template_that_checks_no_role(role: str) -> None:
    with RawServer(answer) as server:
        for unanswered in ("raise", "allow"):
            with RewardClient(server.url, on_unanswered=unanswered) as client:
                assert client.score(CONVERSATION).value == expected()
                with pytest.raises(InputError, match=f"has the role {role!r}"):
                    client.score([*CONVERSATION[:-1], {**CONVERSATION[-1], "role": role}])


def test_53_roles_of_a_method() -> None:
    """The chat template of a judge may know roles of its own."""
    config = Config(base_url="http://x", method=Verdict("(1)", roles=("response",)))
    assert config.own_roles == ("response",)
    assert Config(base_url="http://x", recipe="nemotron-genrm").own_roles == (
        "response_1",
        "response_2",
    )
