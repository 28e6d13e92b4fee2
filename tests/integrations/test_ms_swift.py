"""ms-swift's own registry and reward loop with our plugin: `nox -s integrations -- --all`."""

from __future__ import annotations

import math
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from reward_client import InputError, PromptTooLongError, RewardClient, RewardTimeoutError
from reward_client.integrations.ms_swift import RewardModel
from reward_client.testing import RewardServer

from ..replicas.restarting import free_port

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.timeout(300)]
needs_swift = pytest.mark.skipif(
    find_spec("swift") is None, reason="nox -s integrations -- --all installs it"
)

LONG = "1" * 3000


def chat(answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": answer}]


@pytest.fixture(autouse=True)
def _environment(server: RewardServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REWARD_CLIENT_BASE_URL", server.url)


def direct(url: str, *answers: str) -> list[float]:
    with RewardClient(url) as client:
        return [float(reward) for reward in client.score_many(map(chat, answers))]


def plugin() -> Path:
    command = [sys.executable, "-m", "reward_client.integrations.ms_swift"]
    return Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())


def test_a_batch_as_ms_swift_gives_it(server: RewardServer) -> None:
    answers = ["4", "5"]
    columns: dict[str, Any] = {"trainer_state": None, "self": [1, 2], "completions": answers}
    rewards = RewardModel(args=None)(answers, messages=[*map(chat, answers)], **columns)
    assert rewards == direct(server.url, "4", "5")


def test_81_a_failing_sample_stops_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PromptTooLongError) as raised:
        RewardModel()([LONG], messages=[chat(LONG)])
    assert "cannot leave out a sample" in raised.value.__notes__[-1]
    monkeypatch.setenv("REWARD_CLIENT_FAILED", "-7")
    assert RewardModel()([LONG], messages=[chat(LONG)]) == [-7]


def test_reasoning_in_the_answer(server: RewardServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REWARD_CLIENT_STRIP_REASONING", "think")
    answers = ["<think>2 and 2</think>\n4", "<think>2 and"]
    rewards = RewardModel()(answers[:1], messages=[chat(answers[0])])
    assert rewards == direct(server.url, "4")
    with pytest.raises(InputError, match="<think> does not end"):
        RewardModel()(answers, messages=[*map(chat, answers)])


def test_the_folder_of_the_plugin_hides_no_library() -> None:
    """ms-swift puts the folder first on `sys.path`."""
    assert plugin().is_file()
    names = [path.name for path in plugin().parent.iterdir() if path.name != "__pycache__"]
    assert names == ["reward_client_plugin.py"]


@needs_swift
def test_ms_swift_counts_none_as_zero() -> None:
    """Once it leaves such a sample out, `RewardModel` may return None."""
    import torch
    from swift.rl_core.advantage import compute_advantages

    given = torch.tensor([[1.0], [2.0], [math.nan]])
    advantages, rewards = compute_advantages(given, torch.ones(1), 3)
    assert rewards.tolist() == [1, 2, 0]
    assert advantages[2] < 0


@needs_swift
def test_ms_swifts_own_loop_gets_the_direct_rewards(
    server: RewardServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from swift.rewards import orms
    from swift.rl_core.data import GRPOSample
    from swift.rl_core.grpo_algorithm import compute_rewards_per_func
    from swift.utils import import_external_file

    monkeypatch.setattr(sys, "path", [*sys.path])
    import_external_file(str(plugin()))
    functions = [orms["reward_client"](args=None)]

    def rewards(*answers: str) -> list[float]:
        samples = [GRPOSample(messages=chat(answer)) for answer in answers]
        plugins: Any = [None]
        found = compute_rewards_per_func(samples, functions, plugins, torch.device("cpu"))
        return [row[0] for row in found.tolist()]

    assert rewards("4", "5") == pytest.approx(direct(server.url, "4", "5"), abs=1e-6)
    with pytest.raises(PromptTooLongError):
        rewards("4", LONG)
    monkeypatch.setenv("REWARD_CLIENT_BASE_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("REWARD_CLIENT_PATIENCE", "0.5")
    functions[0] = orms["reward_client"](args=None)
    with pytest.raises(RewardTimeoutError):
        rewards("4")
