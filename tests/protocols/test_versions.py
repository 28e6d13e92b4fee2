"""The version table: which row holds for which version string, and what no row may say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, pairwise
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward_client._protocols.vllm.engine import VLLM
from reward_client._protocols.vllm.scoring_request import VllmRequest
from reward_client._protocols.vllm.versions import (
    NEWEST,
    UNKNOWN_VERSION,
    VERSION_RANGES,
    ModelKind,
    Strategy,
    VersionRange,
    template_keys,
    version_range_of,
)

EVERY = [*VERSION_RANGES, UNKNOWN_VERSION]
REWARDS: list[ModelKind] = ["sequence", "token", "steps"]

# Every version whose code was read, oldest first.
READ = [
    "0.6.3.post1",
    "0.6.4.post1",
    "0.6.5",
    "0.6.6.post1",
    "0.7.0",
    "0.7.3",
    "0.8.0",
    "0.8.5",
    "0.9.0.1",
    "0.9.1",
    "0.9.2",
    "0.10.0",
    "0.10.1.1",
    "0.10.2",
    "0.11.0",
    "0.11.1",
    "0.11.2",
    "0.12.0",
    "0.13.0",
    "0.14.1",
    "0.15.0",
    "0.15.1",
    "0.16.0",
    "0.17.1",
    "0.18.0",
    "0.18.1",
    "0.19.1",
    "0.20.2",
    "0.21.0",
    "0.22.1",
    "0.23.0",
    "0.24.0",
    "0.25.1",
    "0.26.0",
    "0.27.1",
    "0.28.0",
    "0.29.0",
    "0.30.0",
    "0.31.0",
    "0.32.0",
    "0.33.0",
]
LIVE = [
    *("0.8.5", "0.9.2", "0.10.1.1", "0.10.2", "0.11.2", "0.12.0", "0.15.1"),
    *("0.16.0", "0.20.2", "0.25.1", "0.32.0", "0.33.0"),
]


def between(first: str, last: str) -> list[str]:
    return READ[READ.index(first) : READ.index(last) + 1]


def ways(version_range: VersionRange) -> Iterator[tuple[ModelKind, Strategy]]:
    yield from version_range.strategies.items()
    yield from ((kind, way) for kind, named in version_range.if_named.items() for way in named)


def ids(version_range: VersionRange) -> str:
    return ".".join(map(str, version_range.since))


# Rows


def test_rows_are_in_order() -> None:
    for earlier, later in pairwise(VERSION_RANGES):
        assert earlier.since < later.since
    assert VERSION_RANGES[-1].since[:2] <= NEWEST


@pytest.mark.parametrize("version_range", EVERY, ids=ids)
def test_a_row_says_all_that_is_asked_of_it(version_range: VersionRange) -> None:
    assert version_range.errors in ("flat", "nested")
    assert version_range.source
    assert version_range.hint
    assert version_range.strategies.keys() <= set(get_args(ModelKind))
    assert version_range.if_named.keys() <= set(get_args(ModelKind))
    for _, way in ways(version_range):
        assert bool(way.wrong_if_served) == bool(way.wrong_because)


@pytest.mark.parametrize("version_range", VERSION_RANGES, ids=ids)
def test_what_a_row_is_from_lies_in_its_range(version_range: VersionRange) -> None:
    named = re.findall(r"\d+\.\d+\.\d+(?:\.\w+)?", version_range.source)
    assert named
    assert [version for version in named if version not in READ] == []
    assert [
        version
        for version in (*named, *version_range.live)
        if version_range_of(version) is not version_range
    ] == []
    assert all(version in version_range.source for version in version_range.live)


def test_every_version_that_was_read_or_run_is_in_a_row() -> None:
    for version in READ:
        assert version_range_of(version) is not UNKNOWN_VERSION
    assert sorted(
        chain.from_iterable(version_range.live for version_range in VERSION_RANGES)
    ) == sorted(LIVE)
    for version in LIVE:
        assert version in version_range_of(version).live


@pytest.mark.parametrize(
    ("version", "since"),
    [
        ("0.6.3", (0, 6, 3)),
        ("0.6.4.post1", (0, 6, 3)),
        ("0.6.5", (0, 6, 5)),
        ("0.6.6.post1", (0, 6, 6)),
        ("0.7.3", (0, 6, 6)),
        ("0.8.5", (0, 6, 6)),
        ("0.8.5.post1", (0, 6, 6)),
        ("0.9.0", (0, 9, 0)),
        ("0.9.0.1", (0, 9, 0)),
        ("0.9.1", (0, 9, 1)),
        ("0.9.2", (0, 9, 1)),
        ("0.10.0", (0, 10, 0)),
        ("0.10.1.1", (0, 10, 1)),
        ("0.10.2", (0, 10, 2)),
        ("0.11.0", (0, 10, 2)),
        ("0.11.1", (0, 11, 1)),
        ("0.14.1", (0, 11, 1)),
        ("0.15.0", (0, 15, 0)),
        ("0.15.1", (0, 15, 0)),
        ("0.16", (0, 16, 0)),
        ("0.18.1", (0, 16, 0)),
        ("0.19.0", (0, 19, 0)),
        ("0.23.0", (0, 19, 0)),
        ("0.24.0", (0, 24, 0)),
        ("0.25.1", (0, 24, 0)),
        ("0.26.0", (0, 26, 0)),
        ("0.32.0", (0, 26, 0)),
        ("0.32.0+cpu", (0, 26, 0)),
        ("0.32.1rc2", (0, 26, 0)),
        ("0.33.0rc1", (0, 33, 0)),
        ("0.33.7", (0, 33, 0)),
    ],
)
def test_known_versions(version: str, since: tuple[int, int, int]) -> None:
    assert version_range_of(version).since == since


@pytest.mark.parametrize(
    "version",
    [
        *(None, "", "abc", "v1", "0.1.dev1+g1234567", "0.11.2.dev3+gabc", "0.6.2", "0.5.5"),
        *("1.0.0", f"{NEWEST[0]}.{NEWEST[1] + 1}.0", f"{NEWEST[0]}.{NEWEST[1] + 1}.0rc1"),
    ],
)
def test_unknown_versions(version: str | None) -> None:
    assert version_range_of(version) is UNKNOWN_VERSION


@given(st.integers(0, 2), st.integers(0, 40), st.integers(0, 9))
def test_a_version_belongs_to_the_last_row_that_is_not_younger(
    major: int, minor: int, patch: int
) -> None:
    version_range = version_range_of(f"{major}.{minor}.{patch}")
    older = [row for row in VERSION_RANGES if row.since <= (major, minor, patch)]
    known = bool(older) and (major, minor) <= NEWEST
    assert version_range is (older[-1] if known else UNKNOWN_VERSION)


@given(st.text())
def test_any_text_is_a_version(text: str) -> None:
    assert version_range_of(text) in EVERY
    assert template_keys(text) <= {"tools", "chat_template_kwargs"}


# Switches: two of them turn the activation on in 0.11.1 to 0.13; a version refuses, or ignores in
# silence, those that it does not know.

# Route, switch, and the versions that know it.
SWITCHES = {
    ("classify", "activation"): between("0.10.1.1", "0.11.0"),
    ("classify", "use_activation"): between("0.15.0", "0.33.0"),
    ("pooling", "use_activation"): between("0.11.1", "0.33.0"),
    ("pooling", "normalize"): between("0.11.1", "0.14.1"),
    ("embeddings", "normalize"): between("0.10.1.1", "0.15.1"),
    ("embeddings", "use_activation"): between("0.16.0", "0.33.0"),
}


@pytest.mark.parametrize("version", [*READ, None])
def test_never_two_switches_and_only_known_ones(version: str | None) -> None:
    for _, way in ways(version_range_of(version)):
        assert len(way.request.switches) == (1 if way.request.raw_by == "request" else 0)
        for name, value in way.request.switches.items():
            assert value is False
            assert (version or READ[-1]) in SWITCHES[way.request.route, name]


@pytest.mark.parametrize("version", between("0.6.3.post1", "0.10.0"))
def test_versions_without_a_switch(version: str) -> None:
    assert all(way.request.raw_by is None for _, way in ways(version_range_of(version)))


@pytest.mark.parametrize("version", between("0.11.1", "0.33.0"))
def test_later_ones_are_always_asked_for_raw_rewards(version: str) -> None:
    version_range = version_range_of(version)
    for kind in REWARDS:
        assert version_range.strategies[kind].request.raw_by == "request"
        assert dict(version_range.strategies[kind].request.switches) == {"use_activation": False}
        assert version_range.strategies[kind].request.route == "pooling"
    assert version_range.strategies["sequence"].request.task == "classify"
    assert (
        version_range.strategies["token"].request.task
        == version_range.strategies["steps"].request.task
        == "token_classify"
    )


@pytest.mark.parametrize("version", between("0.10.1.1", "0.11.0"))
def test_sequence_classifiers_that_take_text_only(version: str) -> None:
    ask = version_range_of(version).strategies["sequence"].request
    assert (ask.route, ask.sends, ask.task) == ("classify", "text", None)
    assert dict(ask.switches) == {"activation": False}


def test_text_is_sent_where_nothing_else_is_taken() -> None:
    sent = {
        (version, kind)
        for version in READ
        for kind, way in ways(version_range_of(version))
        if way.request.sends == "text"
    }
    assert sent == {(version, "sequence") for version in between("0.10.0", "0.11.0")}


@pytest.mark.parametrize("version", READ)
def test_hidden_states_are_asked_for_as_they_are(version: str) -> None:
    way = version_range_of(version).strategies["hidden"]
    assert (way.request.route, way.default_activation) == ("embeddings", "normalized")
    by_normalize, by_activation = between("0.10.1.1", "0.15.1"), between("0.16.0", "0.33.0")
    expected = {version: {"normalize": False} for version in by_normalize}
    expected |= {version: {"use_activation": False} for version in by_activation}
    assert dict(way.request.switches) == expected.get(version, {})


@pytest.mark.parametrize("version", READ)
def test_exported_heads_are_served_since_0_10_2(version: str) -> None:
    version_range = version_range_of(version)
    assert ("exported" in version_range.strategies) == (version in between("0.10.2", "0.33.0"))
    if "exported" in version_range.strategies:
        way = version_range.strategies["exported"]
        by_embeddings = way.fallback or way
        ask = by_embeddings.request
        assert (ask.route, ask.task, ask.raw_by) == ("embeddings", None, "task")


@pytest.mark.parametrize("version", between("0.10.2", "0.33.0"))
def test_embeddings_takes_many_conversations_since_0_24(version: str) -> None:
    way = version_range_of(version).strategies["exported"]
    if version in between("0.10.2", "0.23.0"):
        assert (way.conversations, way.fallback) == (None, None)
        return
    assert (way.request.route, way.request.task, way.request.raw_by) == (
        "pooling",
        "embed",
        "request",
    )
    assert way.conversations == VllmRequest("embeddings", raw_by="task")
    assert way.fallback is not None
    assert way.fallback.conversations == way.conversations


@pytest.mark.parametrize("version", READ)
def test_exported_heads_of_steps_are_served_since_0_16(version: str) -> None:
    version_range = version_range_of(version)
    assert ("exported steps" in version_range.strategies) == (
        version in between("0.16.0", "0.33.0")
    )
    if "exported steps" in version_range.strategies:
        way = version_range.strategies["exported steps"]
        assert (way.request.route, way.request.task, way.request.raw_by) == (
            "pooling",
            "token_embed",
            "request",
        )
        assert dict(way.request.switches) == {"use_activation": False}


def test_only_exported_heads_may_be_loaded_in_part() -> None:
    for version_range in EVERY:
        for kind, way in version_range.strategies.items():
            for each in (way, *version_range.if_named.get(kind, ())):
                assert each.exported == kind.startswith("exported")


def test_the_first_version_with_a_way() -> None:
    assert VLLM.first_version_with("exported") == "0.10.2"
    assert VLLM.first_version_with("exported steps") == "0.16.0"
    assert VLLM.first_version_with("sequence") == "0.6.3"


def test_a_way_was_seen_on_versions_that_ran() -> None:
    running = {version for version_range in VERSION_RANGES for version in version_range.live}
    for version_range in VERSION_RANGES:
        for way in version_range.strategies.values():
            assert way.live is None or set(way.live) <= running


@pytest.mark.parametrize("version", READ)
def test_the_route_of_each_version(version: str) -> None:
    """Rewards of any kind come from embeddings up to 0.9.0, and from pooling since."""
    version_range = version_range_of(version)
    early = version in between("0.6.3.post1", "0.9.0.1")
    for kind in ("token", "steps"):
        if kind in version_range.strategies:
            assert version_range.strategies[kind].request.route == (
                "embeddings" if early else "pooling"
            )
            assert version_range.strategies[kind].request.encoding == (
                "base64" if early else "float"
            )
    if version == "0.6.5":
        assert version_range.strategies.keys() == {"hidden"}
        assert "upgrade" in version_range.hint
    elif version not in between("0.6.3.post1", "0.6.4.post1"):
        assert set(REWARDS) <= version_range.strategies.keys()
    named = {way.request.route for kind in REWARDS for way in version_range.if_named.get(kind, ())}
    if version in between("0.6.6.post1", "0.9.0.1"):
        assert named == {"pooling"}
    elif version in between("0.15.0", "0.33.0"):
        assert named == {"classify"}
    else:
        assert named == set()


def test_what_is_applied_unasked() -> None:
    for version in READ:
        version_range = version_range_of(version)
        if "steps" in version_range.strategies:
            assert version_range.strategies["steps"].default_activation == "softmax"
        if "sequence" in version_range.strategies and version not in between(
            "0.6.3.post1", "0.6.4.post1"
        ):
            softmax = version in between("0.6.6.post1", "0.8.5")  # over one label: always 1
            assert version_range.strategies["sequence"].default_activation == (
                "softmax" if softmax else "sigmoid"
            )
        if "token" in version_range.strategies:
            sigmoid = version in between("0.11.1", "0.15.1")
            assert version_range.strategies["token"].default_activation == (
                "sigmoid" if sigmoid else "none"
            )
        if version in between("0.10.1.1", "0.11.0") or version in between("0.16.0", "0.33.0"):
            assert "InternLM2" in version_range.strategies["token"].exceptions


def test_how_errors_are_written() -> None:
    flat = between("0.6.3.post1", "0.10.0")
    assert {version for version in READ if version_range_of(version).errors == "flat"} == set(flat)
    assert UNKNOWN_VERSION.errors == "nested"


def test_an_unknown_version_is_asked_like_the_newest() -> None:
    assert UNKNOWN_VERSION.strategies.keys() == VERSION_RANGES[-1].strategies.keys()
    assert UNKNOWN_VERSION.if_named == VERSION_RANGES[-1].if_named
    for kind in (*REWARDS, "hidden"):
        assert UNKNOWN_VERSION.strategies[kind] == VERSION_RANGES[-1].strategies[kind]
    # Nobody knows whether that task applies nothing there: the values must prove it.
    assert UNKNOWN_VERSION.strategies["exported"].request.raw_by is None
    assert UNKNOWN_VERSION.live == ()


def test_template_keys() -> None:
    assert template_keys("0.6.3") == frozenset()
    assert template_keys("0.8.5") == {"chat_template_kwargs"}
    assert template_keys("0.9.1") == {"chat_template_kwargs", "tools"}
    assert template_keys(None) == {"chat_template_kwargs", "tools"}
