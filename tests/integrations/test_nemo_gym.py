"""The gateway as a resources server of NeMo Gym's own agent, which needs Python 3.12."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from reward_client import RetryPolicy, RewardClient
from reward_client.testing import Fault, RewardServer

from ..replicas.restarting import free_port
from ..support.running_gateway import RunningGateway

if TYPE_CHECKING:
    from fastapi import FastAPI

if find_spec("nemo_gym") is None:
    pytest.skip("nox -s integrations -- --all installs it", allow_module_level=True)
pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.timeout(300)]

QUESTION = {"role": "user", "content": "What is 45 + 43?"}
ANSWERS = ("88", "89", "90")
TOO_LONG = "8" * 4000


def model_server() -> FastAPI:
    """Return a policy in the form of OpenAI's Responses: it writes what the task says."""
    from fastapi import Body, FastAPI

    app = FastAPI()

    @app.post("/v1/responses")
    def respond(body: dict[str, Any] = Body()) -> dict[str, Any]:  # noqa: B008 - as FastAPI wants
        text = body["metadata"]["answer"]
        content = [{"type": "output_text", "text": text, "annotations": []}]
        message = {"id": "m", "type": "message", "role": "assistant", "status": "completed"}
        reasoning = {"id": "r", "type": "reasoning", "summary": []}
        return {
            "id": "resp",
            "created_at": 0,
            "model": "policy",
            "object": "response",
            "output": [reasoning, {**message, "content": content}],
            "parallel_tool_calls": False,
            "tool_choice": "auto",
            "tools": [],
        }

    return app


@contextmanager
def served(app: FastAPI, port: int) -> Iterator[None]:
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", ws="none"))
    thread = threading.Thread(target=asyncio.run, args=[server.serve()])
    thread.start()
    try:
        yield  # whoever asks waits until it listens
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def agent(gateway: RunningGateway) -> Iterator[str]:
    """Serve NeMo Gym's `SimpleAgent` before a policy and the gateway; yields its URL."""
    from nemo_gym import server_utils
    from nemo_gym.config_types import BaseServerConfig, ModelServerRef, ResourcesServerRef
    from omegaconf import OmegaConf
    from responses_api_agents.simple_agent.app import SimpleAgent, SimpleAgentConfig

    ports = {"policy": free_port(), "agent": free_port()}
    ports["rewards"] = int(gateway.url.rpartition(":")[2])
    address = {
        name: {"kind": {"name": {"host": "127.0.0.1", "port": port}}}
        for name, port in ports.items()
    }
    config = SimpleAgentConfig(
        name="agent",
        entrypoint="app.py",
        host="127.0.0.1",
        port=ports["agent"],
        resources_server=ResourcesServerRef(type="resources_servers", name="rewards"),
        model_server=ModelServerRef(type="responses_api_models", name="policy"),
    )
    client = server_utils.ServerClient(
        head_server_config=BaseServerConfig(host="127.0.0.1", port=1),
        global_config_dict=OmegaConf.create(address),
    )
    app = SimpleAgent(config=config, server_client=client).setup_webserver()
    app.router.lifespan_context = global_client
    with served(model_server(), ports["policy"]), served(app, ports["agent"]):
        yield f"http://127.0.0.1:{ports['agent']}"


@asynccontextmanager
async def global_client(_: object) -> AsyncIterator[None]:
    """Open NeMo Gym's client, which it keeps for its process, for one event loop."""
    from nemo_gym import server_utils

    given = server_utils.GlobalAIOHTTPAsyncClientConfig()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server_utils, "_GLOBAL_AIOHTTP_CLIENT", None)
        async with server_utils.set_global_aiohttp_client(given):
            yield


def run(url: str, answer: str) -> httpx.Response:
    """Send a task to an agent, which needs some time to start."""
    asked = {"input": [QUESTION], "metadata": {"answer": answer}}
    transport = httpx.HTTPTransport(retries=8)  # until it listens
    with httpx.Client(transport=transport, timeout=60) as client:
        return client.post(f"{url}/run", json={"responses_create_params": asked, "task": 7})


@pytest.fixture
def server() -> Iterator[RewardServer]:
    with RewardServer() as server:
        yield server


def direct(server: RewardServer) -> list[float]:
    chats = [[QUESTION, {"role": "assistant", "content": answer}] for answer in ANSWERS]
    with RewardClient(server.url) as client:
        return [float(reward) for reward in client.score_many(chats)]


def test_rollouts_get_the_direct_rewards(server: RewardServer) -> None:
    with RunningGateway(server.url) as gateway, agent(gateway) as url:
        found = [run(url, answer).json() for answer in ANSWERS]
        assert [each["reward"] for each in found] == direct(server)
        assert [each["task"] for each in found] == [7] * 3
        # A restart of the reward server costs time only.
        server.inject(Fault.status(503), times=3)
        assert run(url, ANSWERS[0]).json()["reward"] == direct(server)[0]


def test_a_rollout_that_fails_has_no_number(server: RewardServer) -> None:
    with RunningGateway(server.url) as gateway, agent(gateway) as url:
        assert run(url, TOO_LONG).status_code == 500
        assert run(url, ANSWERS[0]).json()["reward"] == direct(server)[0]


def test_so_does_one_of_a_server_that_is_away_for_good(server: RewardServer) -> None:
    patience = {"retry": RetryPolicy(budget=0.5, max_wait=0.1)}
    with RunningGateway(server.url, client=patience) as gateway, agent(gateway) as url:
        assert run(url, ANSWERS[0]).json()["reward"] == direct(server)[0]
        server.inject(Fault.status(503), times=10_000)
        assert run(url, ANSWERS[1]).status_code == 500
