"""OpenRLHF's own executor with our reward function: `nox -s integrations -- --all` installs it."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import pytest

from reward_client import RewardClient, RewardTimeoutError, TokenizerMismatchError
from reward_client.integrations import openrlhf as integration
from reward_client.testing import RewardServer

from ..replicas.restarting import free_port
from ..tokenization.test_retokenizer import CHAT, rendered, tokenizer

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.timeout(300)]
if find_spec("torch") is None or find_spec("openrlhf") is None:
    pytest.skip("nox -s integrations installs OpenRLHF", allow_module_level=True)

PROMPT = rendered("chatml", CHAT[:1], add_generation_prompt=True)
QUERY = f"{PROMPT}4<|im_end|>"
LONG = f"{PROMPT}{'1' * 3000}<|im_end|>"


@pytest.fixture(autouse=True)
def _environment(
    server: RewardServer, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    folder = str(tmp_path / "policy")
    tokenizer("chatml").save_pretrained(folder)
    monkeypatch.setenv("REWARD_CLIENT_BASE_URL", server.url)
    monkeypatch.setenv("REWARD_CLIENT_POLICY_TOKENIZER", folder)
    integration._options.cache_clear()
    yield
    integration._options.cache_clear()


@pytest.fixture
def expected(server: RewardServer) -> float:
    with RewardClient(server.url) as client:
        return float(client.score(CHAT))


def path() -> str:
    command = [sys.executable, "-m", "reward_client.integrations.openrlhf"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def executed(text: str) -> Any:
    """Return what OpenRLHF's executor makes of a generated text."""
    from .frameworks import Engine, openrlhf_executor

    own = tokenizer("chatml")
    executor = openrlhf_executor()(path())
    sampling = SimpleNamespace(max_tokens=5000, logprobs=None)
    return asyncio.run(executor.execute(PROMPT, "", sampling, 10_000, own, Engine(own, text)))


def test_the_executor_gets_the_direct_reward(expected: float) -> None:
    import torch

    output = executed("4<|im_end|>")
    assert float(output["reward"]) == pytest.approx(expected, abs=1e-6)
    assert output["scores"] is output["reward"]
    # As OpenRLHF makes an experience of it.
    assert torch.tensor([output["reward"]]).shape == (1,)
    assert output["extra_logs"]["reward_failed"].flatten()[0].item() == 0


def test_a_failure_is_no_number_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    output = executed("1" * 3000)
    assert output["reward"] is None  # OpenRLHF stops where it reads the rewards
    assert "has 3016 tokens" in caplog.text or "PromptTooLongError" in caplog.text
    assert any(
        record.levelno == logging.ERROR and "OpenRLHF will stop" in record.message
        for record in caplog.records
    )


def test_a_number_for_failures(monkeypatch: pytest.MonkeyPatch, expected: float) -> None:
    monkeypatch.setenv("REWARD_CLIENT_FAILED", "-7")
    answer = integration.reward_func([QUERY, LONG], [PROMPT] * 2, ["", ""])
    assert answer["rewards"].tolist() == pytest.approx([expected, -7], abs=1e-6)
    assert answer["extra_logs"]["reward_failed"].tolist() == [0, 1]


def test_a_dead_server(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("REWARD_CLIENT_BASE_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("REWARD_CLIENT_PATIENCE", "0.5")
    with pytest.raises(RewardTimeoutError):
        integration.reward_func([QUERY], [PROMPT], [""])
    assert "OpenRLHF will stop" in caplog.text


def test_the_tokenizer_of_another_policy() -> None:
    other = rendered("headers", CHAT[:1], add_generation_prompt=True)
    with pytest.raises(TokenizerMismatchError):
        integration.reward_func([f"{other}4"], [other], [""])
