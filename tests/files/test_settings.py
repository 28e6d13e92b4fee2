"""What rewards depend on, as both clients say it."""

from __future__ import annotations

import asyncio

import pytest

from reward_client import (
    AsyncRewardClient,
    LinearHead,
    ObjectiveHead,
    RewardClient,
    ScalarHead,
    Settings,
    StepHead,
    __version__,
)
from reward_client.heads import Head, head_digest
from reward_client.testing import RewardServer

from ..support.fake_vllm import FakeVllm
from .conftest import Connect, value_of


def test_both_clients_say_the_same(connect: Connect, fake: FakeVllm) -> None:
    async def asked() -> object:
        async with AsyncRewardClient("http://fake", transport=fake.transport()) as client:
            return await client.settings()

    settings = connect().settings()
    assert asyncio.run(asked()) == settings
    assert (settings.model, settings.root, settings.head) == ("judge", "root", "scalar")
    assert (settings.route, settings.server_version) == ("pooling", "0.32.0")
    assert settings.client_version == __version__
    assert len(settings.probe_scores) == 8


@pytest.mark.parametrize("on_overlong", ["raise", "drop_turns"])
def test_the_length_limit_counts_where_turns_are_dropped_for_it(
    connect: Connect, on_overlong: str
) -> None:
    limit = connect(on_overlong=on_overlong).settings().max_model_len
    assert limit == (1024 if on_overlong == "drop_turns" else None)


def test_every_parameter_of_a_head_counts() -> None:
    heads: list[Head] = [
        ScalarHead(),
        *(ObjectiveHead(2), ObjectiveHead(["a", "b"]), ObjectiveHead(2, {"label_0": 1})),
        *(ObjectiveHead(2, {"label_0": 2}), ObjectiveHead(2, {"label_1": 1})),
        *(LinearHead([1.0, 2.0]), LinearHead([1.0, 2.5]), LinearHead([1.0, 2.0], 1.0)),
        *(
            StepHead(step_token=token, good_label=label, aggregate=aggregate, separator=separator)
            for token in (5, "5")
            for label in (0, 1)
            for aggregate in ("min", "last")
            for separator in (None, "\n")
        ),
    ]
    assert len({head_digest(head) for head in heads}) == len(heads)
    one = ObjectiveHead(2, {"label_0": 1.0, "label_1": 2.0})
    other = ObjectiveHead(2, {"label_1": 2.0, "label_0": 1.0})
    assert head_digest(one) == head_digest(other)


TEMPLATE = (
    "{{bos_token}}{% for m in messages %}<|{{m.role}}|>Be brief. {{m.content}}<|end|>{% endfor %}"
)


def test_46_a_fingerprint_tells_two_models_behind_one_name_apart(
    connect: Connect, fake: FakeVllm
) -> None:
    first = connect().settings()
    assert len(first.fingerprint) == 64
    assert connect().settings().fingerprint == first.fingerprint
    other = connect(FakeVllm(pool=lambda ids: [value_of(ids)[0] + 1])).settings()
    assert (other.model, other.root) == (first.model, first.root)
    assert other.fingerprint != first.fingerprint
    assert connect(bos=False).settings().fingerprint != first.fingerprint


def test_46_a_fingerprint_tells_two_templates_apart() -> None:
    found = []
    for template in (None, TEMPLATE):
        with RewardServer(chat_template=template) as server, RewardClient(server.url) as client:
            found.append(client.settings())
    first, other = found
    assert other.probe_scores == first.probe_scores
    assert other.fingerprint != first.fingerprint


@pytest.mark.parametrize(
    "part",
    [
        "messages[0].role == 'system'",
        "messages[0].role == 'system' and not tools",
        "messages[0].role == 'system' and tools",
        "tools",
        "messages | selectattr('tool_calls') | list",
        "messages | selectattr('reasoning') | list",
        "messages | selectattr('role', 'equalto', 'tool') | list",
        "messages | selectattr('content', 'equalto', '') | list",
        "'</think>' in messages[1].content",
        "messages[-1].role == 'user'",
        "messages | length == 2",
        "enable_thinking is defined",
        "thinking",
    ],
)
def test_46_a_fingerprint_tells_templates_apart_that_treat_a_part_differently(part: str) -> None:
    plain = TEMPLATE.replace("Be brief. ", "")
    extra = plain.replace("{{bos_token}}", f"{{{{bos_token}}}}{{% if {part} %}}Extra.{{% endif %}}")
    found: list[str] = []
    for template in (plain, extra):
        with RewardServer(chat_template=template) as server, RewardClient(server.url) as client:
            found.append(client.settings().fingerprint)
    assert found[0] != found[1]


def test_46_a_fingerprint_tells_two_templates_with_a_date_apart() -> None:
    found: list[Settings] = []
    for words in ("Today: ", "Today is "):
        template = TEMPLATE.replace("Be brief. ", words + "{{ strftime_now('%d %b %Y') }} ")
        with RewardServer(chat_template=template) as server, RewardClient(server.url) as client:
            found.append(client.settings())
            assert client.settings() == found[-1]
    assert found[0].prompt_date == found[1].prompt_date
    assert found[0].fingerprint != found[1].fingerprint
