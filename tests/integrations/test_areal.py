"""AReaL's own wrapper and workflow with our functions."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest

from reward_client import InputError, PromptTooLongError, RewardClient, ServerUnreachableError
from reward_client.integrations import areal as integration
from reward_client.integrations.areal import reward_fn
from reward_client.testing import RewardServer

from ..replicas.restarting import free_port
from ..tokenization.test_retokenizer import CHAT, rendered, tokenizer
from .conftest import port_of

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.timeout(300)]
needs_areal = pytest.mark.skipif(
    find_spec("areal") is None, reason="nox -s integrations installs it"
)
needs_torch = pytest.mark.skipif(
    find_spec("areal") is None or find_spec("torch") is None,
    reason="nox -s integrations -- --all installs it",
)

PROMPT = rendered("chatml", CHAT[:1], add_generation_prompt=True)
END = "<|im_end|>"
LONG = "1" * 3000


@pytest.fixture(autouse=True)
def _environment(server: RewardServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("REWARD_CLIENT_BASE_URL", server.url)
    for kept in (integration._options, integration._short_options):
        kept.cache_clear()
    yield
    for kept in (integration._options, integration._short_options):
        kept.cache_clear()


@pytest.fixture
def expected(server: RewardServer) -> float:
    with RewardClient(server.url) as client:
        return float(client.score(CHAT))


def test_a_row_with_messages(expected: float) -> None:
    found = reward_fn(PROMPT, f"4{END}", [1], [2], messages=CHAT[:1], answer="4")
    assert found == pytest.approx(expected)


def test_a_row_without_messages(
    expected: float, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="Set REWARD_CLIENT_POLICY_TOKENIZER"):
        reward_fn(PROMPT, f"4{END}", [1], [2])
    tokenizer("chatml").save_pretrained(tmp_path / "policy")
    monkeypatch.setenv("REWARD_CLIENT_POLICY_TOKENIZER", str(tmp_path / "policy"))
    integration._short_options.cache_clear()
    assert reward_fn(PROMPT, f"4{END}", [1], [2]) == pytest.approx(expected)


def test_a_failure_raises_unless_a_number_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PromptTooLongError):
        reward_fn(PROMPT, LONG, [1], [2], messages=CHAT[:1])
    monkeypatch.setenv("REWARD_CLIENT_FAILED", "-7")
    integration._short_options.cache_clear()
    assert reward_fn(PROMPT, LONG, [1], [2], messages=CHAT[:1]) == -7


@pytest.mark.parametrize("name", ["PATIENCE", "TIMEOUT"])
def test_waiting_longer_than_areal_does_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"REWARD_CLIENT_{name}", "60")
    with pytest.raises(InputError, match=f"REWARD_CLIENT_{name}=60 is too long"):
        reward_fn(PROMPT, "4", [1], [2], messages=CHAT[:1])


def test_81_no_error_is_a_time_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REWARD_CLIENT_BASE_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("REWARD_CLIENT_PATIENCE", "0.5")
    with pytest.raises(ServerUnreachableError) as raised:
        reward_fn(PROMPT, "4", [1], [2], messages=CHAT[:1])
    assert not isinstance(raised.value, TimeoutError)


@needs_areal
def test_areals_wrapper_gets_the_direct_reward(expected: float) -> None:
    from .frameworks import areal_module

    wrapper = areal_module("areal.api.reward_api").AsyncRewardWrapper(reward_fn, max_workers=2)

    async def many() -> list[float]:
        calls = (wrapper(PROMPT, f"4{END}", [1], [2], messages=CHAT[:1]) for _ in range(40))
        return await asyncio.gather(*calls)

    assert asyncio.run(many()) == pytest.approx([expected] * 40)
    with pytest.raises(PromptTooLongError):  # which rejects the episode
        asyncio.run(wrapper(PROMPT, LONG, [1], [2], messages=CHAT[:1]))


@needs_areal
def test_a_dead_server_is_no_zero_of_areals_wrapper(monkeypatch: pytest.MonkeyPatch) -> None:
    from .frameworks import areal_module

    monkeypatch.setenv("REWARD_CLIENT_BASE_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("REWARD_CLIENT_PATIENCE", "0.5")
    # Of another number of workers than above, whose processes have the environment of then.
    wrapper = areal_module("areal.api.reward_api").AsyncRewardWrapper(reward_fn, max_workers=1)
    with pytest.raises(ServerUnreachableError, match="No server was ready"):
        asyncio.run(wrapper(PROMPT, "4", [1], [2], messages=CHAT[:1]))


class Engine:
    """In the place of AReaL's inference engine: writes one text."""

    def __init__(self, text: str) -> None:
        self.ids = tokenizer("chatml").encode(text, add_special_tokens=False)

    async def agenerate(self, request: Any) -> Any:
        from .frameworks import areal_module

        return areal_module("areal.api.io_struct").ModelResponse(
            input_tokens=request.input_ids,
            output_tokens=self.ids,
            output_logprobs=[0.0] * len(self.ids),
            output_versions=[0] * len(self.ids),
            stop_reason="stop",
        )


@pytest.fixture
def episode() -> Any:
    """Runs an episode of AReaL's workflow with ours in its place, and returns the reward."""
    from .frameworks import areal_module

    base = areal_module("areal.workflow.rlvr").RLVRWorkflow
    from reward_client.integrations.areal import RewardWorkflow

    assert issubclass(RewardWorkflow, base)
    settings = areal_module("areal.api.cli_args").GenerationHyperparameters(max_new_tokens=8)
    made = RewardWorkflow(gconfig=settings, tokenizer=tokenizer("chatml"))

    def run(text: str) -> float:
        result = asyncio.run(made.arun_episode(Engine(text), {"messages": CHAT[:1]}))
        return float(result["rewards"])

    return run


@needs_torch
def test_an_episode_of_the_workflow(episode: Any, expected: float) -> None:
    assert episode(f"4{END}") == pytest.approx(expected, abs=1e-6)
    with pytest.raises(PromptTooLongError):  # which rejects the episode
        episode(LONG)


@needs_torch
def test_the_workflow_waits_for_a_restart(
    server: RewardServer, episode: Any, expected: float
) -> None:
    port = port_of(server)
    assert episode("4") == pytest.approx(expected, abs=1e-6)
    server.__exit__(None, None, None)
    again = RewardServer(port=port)
    timer = threading.Timer(1, again.__enter__)
    timer.start()
    try:
        assert episode("4") == pytest.approx(expected, abs=1e-6)
    finally:
        timer.join()
        again.__exit__(None, None, None)
        server.__enter__()


def test_no_other_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Workflow'"):
        _ = integration.Workflow
