"""Conversations for the test server's model, and what became of them on the wire."""

from __future__ import annotations

from typing import Any

from reward_client.testing import RewardServer

from ...support.fake_vllm import is_look

QUESTION = {"role": "user", "content": "What is 37 + 45?"}
CHAT = [QUESTION, {"role": "assistant", "content": "The answer is 82."}]
WRONG = [QUESTION, {"role": "assistant", "content": "The answer is 92."}]

# The server's model and the reference run the same float32 arithmetic in another order.
TOLERANCE = 1e-4

SCORING = ("/pooling", "/v1/embeddings", "/classify")


def served(server: RewardServer, *paths: str) -> list[Any]:
    """The bodies that these routes were sent."""
    return [request.json for request in server.requests if request.path in paths]


def chats(server: RewardServer) -> list[Any]:
    """The bodies of ``/tokenize`` with a caller's conversation."""
    return [
        body for body in served(server, "/tokenize") if "messages" in body and not is_look(body)
    ]
