"""The ways in which SGLang makes token IDs of a request to `/tokenize`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reward_client.testing._model.chat_tokenizer import ChatTokenizer


def renderings(
    tokenizer: ChatTokenizer, request: dict[str, Any]
) -> Iterator[tuple[str, list[int]]]:
    """Each way to make token IDs of a request, with its name."""
    prompts = request.get("prompt")
    for text in [prompts] if isinstance(prompts, str) else prompts or []:
        for special in (False, True):
            ids = tokenizer.encode(text, add_special_tokens=special)
            yield f"{'special ' if special else ''}{text}", ids
    messages = request.get("messages")
    if not messages:
        return
    rewritten = [*messages[:-1], {**messages[-1], "role": "user"}]
    for name, conversation, opens in (
        ("as given", messages, False),
        ("as given, opened", messages, True),
        ("rewritten", rewritten, False),
        ("rewritten, opened", rewritten, True),
    ):
        text = tokenizer.render(conversation, add_generation_prompt=opens)
        for special in (False, True):
            ids = tokenizer.encode(text, add_special_tokens=special)
            yield f"{name}{', special' if special else ''}", ids
    text = tokenizer.render(messages[:-1], add_generation_prompt=True)
    answer = messages[-1]["content"]
    ids = [tokenizer.encode(part, add_special_tokens=False) for part in (text, answer)]
    yield "continued", [*ids[0], *ids[1]]


def named(tokenizer: ChatTokenizer, request: dict[str, Any], tokens: list[Any]) -> list[Any]:
    """The names of the renderings that make these tokens; several where there is no BOS."""
    if tokens and isinstance(tokens[0], list):
        return [named(tokenizer, request, each) for each in tokens]
    return [name for name, ids in renderings(tokenizer, request) if ids == tokens]
