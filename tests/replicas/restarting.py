"""Scores samples while the server is killed once and comes back, with the default policy.

    python -m tests.replicas.restarting [SAMPLES] [RUNS] [SECONDS_AWAY]

The server is the test server in a process of its own. Without SECONDS_AWAY, each run draws 3 to 60.
"""

from __future__ import annotations

import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass

from reward_client import Reward, RewardClient
from reward_client.testing import RewardServer

COMMAND = "import sys; from reward_client.cli import main; sys.exit(main())"
_COMPARED = 200
"""The rewards that are compared with those of the model in this process."""


@dataclass(frozen=True, slots=True)
class Restarted:
    """How a run went.

    Attributes:
        away: The seconds from the kill to the start of the next server.
        rewards: The samples with a reward.
        wrong: The compared rewards that differ from the model's own.
        failures: The number of failures by class and message.
        seconds: The seconds of the whole run.
    """

    away: float
    rewards: int
    wrong: int
    failures: Counter[str]
    seconds: float


def serve(port: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, "serve", "--port", str(port)], stdout=subprocess.DEVNULL
    )


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


def restart_and_compare(samples: int, away: float, *, kill_after: float = 1) -> Restarted:
    """Kills the server that many seconds into the run, and starts it again."""
    # All different: the client scores equal samples once.
    prompts = [[3 + n % 53, 3 + n // 53 % 53, 3 + n // 53**2 % 53] for n in range(samples)]
    port = free_port()
    servers = [serve(port)]

    def kill_and_start() -> None:
        time.sleep(kill_after)
        servers[0].kill()
        servers[0].wait()
        time.sleep(away)
        servers.append(serve(port))

    thread = threading.Thread(target=kill_and_start)
    try:
        with RewardClient(f"http://127.0.0.1:{port}") as client:
            client.wait_until_ready(timeout=60)
            started = time.monotonic()
            thread.start()
            outcomes = client.score_many(prompts, on_error="return")
            seconds = time.monotonic() - started
            thread.join()
    finally:
        for server in servers:
            server.kill()
            server.wait()
    rewards = {n: each for n, each in enumerate(outcomes) if isinstance(each, Reward)}
    failures = Counter(
        f"{type(each).__name__}: {each}"[:120] for each in outcomes if not isinstance(each, Reward)
    )
    model = RewardServer()
    compared = random.Random(1).sample(list(rewards), min(_COMPARED, len(rewards)))
    wrong = sum(abs(rewards[n].value - model.reference(prompts[n])) > 1e-3 for n in compared)
    assert seconds > kill_after, "the run ended before the kill: give more samples"
    return Restarted(away, len(rewards), wrong, failures, seconds)


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:]]
    count = numbers[0] if numbers else 20_000
    runs = numbers[1] if len(numbers) > 1 else 1
    for _ in range(runs):
        pause = numbers[2] if len(numbers) > 2 else random.uniform(3, 60)
        print(restart_and_compare(count, pause), flush=True)
