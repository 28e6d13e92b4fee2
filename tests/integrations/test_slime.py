"""slime's contract, as its `rm_hub` calls it (slime is not on PyPI; read at commit 0b420f1)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from reward_client import PromptTooLongError, RewardClient, RewardTimeoutError
from reward_client.integrations import slime as integration
from reward_client.integrations.slime import reward
from reward_client.testing import RewardServer

from ..replicas.restarting import free_port
from ..tokenization.test_retokenizer import CHAT, chat, rendered, tokenizer

PROMPT = rendered("chatml", CHAT[:1], add_generation_prompt=True)
END = "<|im_end|>"
LONG = "1" * 3000


@dataclass
class Sample:
    """The fields of slime's sample that matter here."""

    prompt: Any
    response: str
    remove_sample: bool = False
    label: str | None = None


@pytest.fixture(autouse=True)
def _environment(server: RewardServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("REWARD_CLIENT_BASE_URL", server.url)
    integration._options.cache_clear()
    yield
    integration._options.cache_clear()


@pytest.fixture
def args(tmp_path: Any) -> Any:
    tokenizer("chatml").save_pretrained(tmp_path / "policy")
    return SimpleNamespace(hf_checkpoint=str(tmp_path / "policy"), apply_chat_template=True)


def direct(url: str, *answers: str) -> list[float]:
    with RewardClient(url) as client:
        return [float(each) for each in client.score_many(chat("hello .", a) for a in answers)]


def test_single_samples(server: RewardServer, args: Any) -> None:
    async def both() -> list[float]:
        samples = [Sample(PROMPT, f"4{END}"), Sample(CHAT[:1], "5")]
        return await asyncio.gather(*(reward(args, sample) for sample in samples))

    assert asyncio.run(both()) == pytest.approx(direct(server.url, "4", "5"), abs=1e-6)


def test_a_prompt_without_a_template(server: RewardServer, args: Any) -> None:
    args.apply_chat_template = False
    (expected,) = direct(server.url, "4")
    assert asyncio.run(reward(args, Sample("hello .", "4"))) == pytest.approx(expected)


def test_a_group_leaves_out_a_failed_sample(server: RewardServer, args: Any) -> None:
    group = [Sample(PROMPT, text + END) for text in ("4", LONG, "5")]
    rewards = asyncio.run(reward(args, group))
    one, two = direct(server.url, "4", "5")
    assert rewards == pytest.approx([one, (one + two) / 2, two], abs=1e-6)
    assert [sample.remove_sample for sample in group] == [False, True, False]
    # The group's mean is that of the others, so that their advantages are right.
    assert sum(rewards) / 3 == pytest.approx((one + two) / 2)


def test_a_group_of_failures_trains_nothing(args: Any) -> None:
    group = [Sample(PROMPT, LONG + END) for _ in range(2)]
    assert asyncio.run(reward(args, group)) == [0, 0]
    assert all(sample.remove_sample for sample in group)


def test_a_single_failure_raises_unless_a_number_is_given(
    args: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PromptTooLongError) as raised:
        asyncio.run(reward(args, Sample(PROMPT, LONG)))
    assert "REWARD_CLIENT_FAILED" in raised.value.__notes__[0]
    integration._options.cache_clear()
    monkeypatch.setenv("REWARD_CLIENT_FAILED", "-7")
    assert asyncio.run(reward(args, Sample(PROMPT, LONG))) == -7
    group = [Sample(PROMPT, LONG), Sample(PROMPT, "4")]
    assert asyncio.run(reward(args, group))[0] == -7


def test_a_dead_server_raises(args: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REWARD_CLIENT_BASE_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("REWARD_CLIENT_PATIENCE", "0.5")
    for given in (Sample(PROMPT, "4"), [Sample(PROMPT, "4")] * 2):
        with pytest.raises(RewardTimeoutError):
            asyncio.run(reward(args, given))
