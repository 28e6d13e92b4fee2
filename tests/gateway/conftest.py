"""A gateway in front of the built-in reward server."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from reward_client import Conversation, InputError, Message, RewardClient
from reward_client.testing import RewardServer

from ..support.running_gateway import RunningGateway

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@pytest.fixture(scope="module")
def server() -> Iterator[RewardServer]:
    with RewardServer() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(server: RewardServer) -> Iterator[RunningGateway]:
    with RunningGateway(server.url) as gateway:
        yield gateway


class SumPolicy:
    """A policy whose chat template is that of the built-in model."""

    def conversation(self, text: str) -> Conversation:
        turns = re.findall(r"<\|(user|assistant)\|>(.*?)<\|end\|>", text, re.DOTALL)
        if not turns:
            raise InputError("Cannot read the text: it has no turns.")
        return Conversation([{"role": role, "content": content} for role, content in turns])

    def continued(self, prompt: Sequence[Message], response: str) -> Conversation:
        answer = {"role": "assistant", "content": response.removesuffix("<|end|>")}
        return Conversation([*prompt, answer])


@pytest.fixture(scope="module")
def reading_gateway(server: RewardServer) -> Iterator[RunningGateway]:
    with RunningGateway(server.url, policy=SumPolicy()) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def direct(server: RewardServer) -> Iterator[RewardClient]:
    with RewardClient(server.url) as client:
        yield client
