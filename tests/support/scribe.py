"""A vLLM below the client whose texts and numbers a test decides by the text of the prompt."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

YES, NO = 200_001, 200_002
_WORDS = {"Yes": YES, "No": NO}
ROOM = 4096


def rendered(messages: list[dict[str, Any]], *, opened: bool = False) -> str:
    """The chat template."""
    text = "".join(f"<{each['role']}>{_content(each['content'])}</>" for each in messages)
    return text + "<assistant>" * opened


def _content(content: Any) -> str:
    """An image becomes as many tokens as its address has characters."""
    if isinstance(content, str):
        return content.strip()
    return "".join(part.get("text") or part["image_url"]["url"] for part in content)


def ids_of(text: str) -> list[int]:
    """A token for each character."""
    return [ord(character) for character in text]


def text_of(ids: list[int]) -> str:
    return "".join(map(chr, ids))


def no_text(prompt: str, seed: int) -> str:
    raise AssertionError(f"Nothing was to be written after {prompt!r}.")


@dataclass
class Scribe:
    """What a server says of the text of a prompt.

    Attributes:
        writes: What it writes, by prompt and seed; as long as `max_tokens`, it is cut.
        pools: What its head makes of a prompt; None on a server that generates.
        logits: The logit of each of the two words after a prompt.
        tells: ``"named"`` tells the numbers of the tokens that are named (0.26 and later);
            ``"likeliest"`` those of the likeliest 20, which hold neither word, and of the one that
            is written; ``"allowed"`` those of the allowed tokens.
        ending: Why its texts end.
        sure: The number of the likeliest token.
        root: Where it says that its model is from.
        before: Answers first, where it does.
        requests: What it was asked.
    """

    writes: Callable[[str, int], str] = no_text
    pools: Callable[[str], float] | None = None
    logits: Callable[[str], tuple[float, float]] = lambda text: (len(text) / 10, -1.5)
    tells: str = "named"
    version: str = "0.32.0"
    root: str = "root"
    ending: str = "stop"
    sure: float = 3.0
    before: Callable[[httpx.Request], httpx.Response | None] = lambda request: None
    requests: list[tuple[str, Any, httpx.Headers]] = field(default_factory=list)

    def transport(self) -> httpx.AsyncBaseTransport:
        return httpx.MockTransport(self.answer)

    def asked(self, path: str) -> list[Any]:
        return [body for asked, body, _ in self.requests if asked == path]

    def answer(self, request: httpx.Request) -> httpx.Response:
        path, body = request.url.path, json.loads(request.content or b"null")
        self.requests.append((path, body, request.headers))
        early = self.before(request)
        if early is not None:
            return early
        if path == "/version":
            return httpx.Response(200, json={"version": self.version})
        if path == "/v1/models":
            card = {"id": "scribe", "root": self.root, "parent": None, "max_model_len": ROOM}
            return httpx.Response(200, json={"object": "list", "data": [card]})
        if path == "/tokenize":
            return httpx.Response(200, json=self._tokenized(body))
        if path == "/v1/completions" and self.pools is None:
            return self._completed(body)
        if path == "/pooling" and self.pools is not None and body.get("task") == "classify":
            inputs = body.get("input") or [ids_of(rendered(body["messages"]))]
            values = [[self.pools(text_of(ids))] for ids in inputs]
            return httpx.Response(200, json=self._response("data", values, inputs))
        return httpx.Response(404, json={"detail": "Not Found"})

    def _tokenized(self, body: dict[str, Any]) -> dict[str, Any]:
        if "messages" in body:
            text = rendered(body["messages"], opened=body["add_generation_prompt"])
            if body["continue_final_message"]:
                text = text.removesuffix("</>")
            ids = ids_of(text)
        elif body["prompt"] in _WORDS:
            ids = [_WORDS[body["prompt"]]]
        else:
            ids = ids_of(body["prompt"])
        return {"count": len(ids), "max_model_len": ROOM, "tokens": ids}

    def _completed(self, body: dict[str, Any]) -> httpx.Response:
        if "logprobs" in body:
            values = [self._numbers(text_of(ids), body) for ids in body["prompt"]]
            response = self._response("choices", values, body["prompt"], "logprobs")
            return httpx.Response(200, json=response)
        ids = body["prompt"]
        text = self.writes(text_of(ids), body["seed"])
        is_cut = len(text) >= body["max_tokens"]
        text = text[: body["max_tokens"]]
        choice = {"index": 0, "text": text, "finish_reason": "length" if is_cut else self.ending}
        usage = {"prompt_tokens": len(ids), "completion_tokens": len(text) + (not is_cut)}
        payload = {"model": "scribe", "choices": [choice], "usage": usage}
        return httpx.Response(200, json=payload)

    def _numbers(self, text: str, body: dict[str, Any]) -> dict[str, Any]:
        logits = dict(zip((YES, NO), self.logits(text), strict=True))
        allowed = body.get("allowed_token_ids", [])
        named = body.get("logprob_token_ids", []) if self.tells == "named" else []
        told = {f"token_id:{token}": self.sure for token in range(20)}
        written = max(allowed, key=logits.__getitem__, default=0)
        if allowed:
            told[f"token_id:{written}"] = logits[written]
        if self.tells == "allowed":
            told = {f"token_id:{token}": logits[token] for token in allowed}
        told |= {f"token_id:{token}": logits[token] for token in named}
        name = f"token_id:{written}"
        number = told.setdefault(name, self.sure)
        return {"tokens": [name], "token_logprobs": [number], "top_logprobs": [told]}

    def _response(
        self, key: str, values: list[Any], inputs: list[list[int]], item: str = "data"
    ) -> dict[str, Any]:
        items = [{"index": index, item: value} for index, value in enumerate(values)]
        return {"model": "scribe", key: items, "usage": {"prompt_tokens": sum(map(len, inputs))}}
