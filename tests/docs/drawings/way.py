"""The way of one conversation, with the values of a real run."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import httpx

from reward_client import Reward, RewardClient
from reward_client.testing import RewardServer

from .svg import WIDTH, Drawing

_CONVERSATION = [
    {"role": "user", "content": "What is 45 + 43?"},
    {"role": "assistant", "content": "88"},
]
_CLIENT, _SERVER, _LANE, _SERVER_LANE = 12, 250, 214, 138


class _Run(NamedTuple):
    """The requests for one conversation, the contents of their responses, and the reward."""

    paths: list[str]
    tokens: list[int]
    pooled: list[float]
    reward: Reward


def _run() -> _Run:
    with RewardServer() as server, RewardClient(server.url) as client:
        client.servers()
        earlier = len(server.requests)
        reward = client.score(_CONVERSATION)
        requests = server.requests[earlier:]
        paths = [request.path for request in requests]
        first, second = (_answer(server.url + sent.path, sent.json) for sent in requests)
        return _Run(paths, first["tokens"], second["data"][0]["data"], reward)


def _answer(url: str, body: Any) -> Any:
    return httpx.post(url, json=body, trust_env=False).raise_for_status().json()


def way() -> str:
    """Draw the client's steps on the left, and the server's on the right."""
    run = _run()
    tokenize, score = run.paths
    ids = json.dumps(run.tokens[:4]).replace("]", ", …]")
    pooled = json.dumps([round(value, 3) for value in run.pooled])
    drawing = Drawing()
    drawing.box(1, 1, 236, 582, "client-ground client-line", radius=10)
    drawing.box(243, 1, WIDTH - 244, 582, "server-ground server-line", radius=10)
    drawing.text(_CLIENT, 22, "reward_client", "strong client")
    drawing.text(_SERVER, 22, "vLLM", "strong server")
    for y, heading, lines in (
        (36, "The conversation", [f"user: {_CONVERSATION[0]['content']}", "assistant: 88"]),
        (190, f"{len(run.tokens)} token IDs", [ids, "length and BOS are checked"]),
        (276, "A batch", ["with samples that are ready"]),
        (414, "The pooled output", [pooled, "count, order, finite: checked"]),
        (520, "The reward", [f"{run.reward.value:.3f}, and where it came from"]),
    ):
        drawing.box(_CLIENT, y, _LANE, 34 + 17 * len(lines), "card line")
        drawing.text(_CLIENT + 9, y + 20, heading, "strong ink")
        for place, line in enumerate(lines):
            kind = "mono soft" if line.startswith("[") else "small soft"
            drawing.text(_CLIENT + 9, y + 39 + 17 * place, line, kind)
    for y, path, back, lines in (
        (115, tokenize, "token IDs", ["chat template", "and tokenizer"]),
        (338, score, "numbers", ["the model, then", "its pooling layer"]),
    ):
        drawing.box(_SERVER, y, _SERVER_LANE, 58, "card line")
        for place, line in enumerate(lines):
            drawing.text(_SERVER + 9, y + 25 + 18 * place, line, "small ink")
        drawing.text(_CLIENT + 36, y + 13, f"POST {path}", "mono client")
        drawing.arrow(_CLIENT + 36, y + 20, _SERVER - 2, y + 20, "client-line")
        drawing.arrow(_SERVER, y + 40, _CLIENT + 36, y + 40, "server-line")
        drawing.text(_CLIENT + 40, y + 55, back, "small server")
    for y, to_y in ((104, 188), (258, 274), (327, 412), (482, 518)):
        drawing.arrow(_CLIENT + 18, y, _CLIENT + 18, to_y, "line")
    drawing.text(_CLIENT + 36, 505, "the head reads it", "small client")
    return drawing.svg(
        "way",
        584,
        "The way of one conversation",
        "The client sends the conversation to the server's /tokenize, which applies the chat "
        "template and the tokenizer. The client checks the token IDs and sends them, in a batch "
        f"with other samples, to the server's {score}, which runs the model and its pooling layer. "
        "The client checks the pooled output, and its head reads the reward out of it.",
    )
