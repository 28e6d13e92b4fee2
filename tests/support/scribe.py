"""The stand-in in memory for servers that generate: a `TextVllm` that also writes."""

from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import Any

from .fake_vllm import NESTED_404, NO, YES, Answer, TextVllm, card, ids_of, text_of

ROOM = 4096
END = 3


def no_text(prompt: str, seed: int) -> str:
    raise AssertionError(f"Nothing was to be written after {prompt!r}.")


class Scribe(TextVllm):
    """A server whose texts and numbers follow from the text of the prompt.

    Args:
        writes: From a prompt and a seed to the text; `max_tokens` cuts it.
        pools: From a prompt to the pooled value; None makes it a server that generates.
        logits: The logit of each of the two words after a prompt.
        tells: ``"named"`` tells the numbers of the tokens that are named (0.26 and later);
            ``"likeliest"`` those of the likeliest 20, which hold neither word, and of the one that
            is written; ``"allowed"`` those of the allowed tokens.
        ending: The reason why its texts end.
        sure: The number of the likeliest token.
        chances: From a prompt and the last character of its text to the probabilities of the tokens
            in the place of that character. All other tokens are certain.
    """

    def __init__(
        self,
        writes: Callable[[str, int], str] = no_text,
        *,
        pools: Callable[[str], float] | None = None,
        logits: Callable[[str], tuple[float, float]] = lambda text: (len(text) / 10, -1.5),
        tells: str = "named",
        root: str = "root",
        ending: str = "stop",
        sure: float = 3.0,
        chances: Callable[[str, str], dict[str, float]] = lambda prompt, last: {last: 1.0},
        **options: Any,
    ) -> None:
        cards = [card("scribe", root=root, limit=ROOM)]
        super().__init__(cards=cards, paths=None, bos=False, pool=self._pooled, **options)
        self.writes, self.pools, self.logits = writes, pools, logits
        self.tells, self.ending, self.sure, self.chances = tells, ending, sure, chances

    def true_answer(self, path: str, body: Any) -> Answer:
        if self.pools is None and path == "/pooling":
            return NESTED_404
        if self.pools is None and path == "/v1/completions":
            return 200, self._written(body) if "seed" in body else self._numbered(body)
        return super().true_answer(path, body)

    def _pooled(self, ids: list[int]) -> list[float]:
        assert self.pools is not None
        return [self.pools(text_of(ids))]

    def _written(self, body: Any) -> dict[str, Any]:
        ids = body["prompt"]
        text = self.writes(text_of(ids), body["seed"])
        is_cut = len(text) >= body["max_tokens"]
        text = text[: body["max_tokens"]]
        choice = {"index": 0, "text": text, "finish_reason": "length" if is_cut else self.ending}
        if "logprobs" in body:
            choice["logprobs"] = self._told(text_of(ids), text)
        usage = {"prompt_tokens": len(ids), "completion_tokens": len(text) + (not is_cut)}
        return {"model": "scribe", "choices": [choice], "usage": usage}

    def _told(self, prompt: str, text: str) -> dict[str, Any]:
        tops = [{character: 1.0} for character in text[:-1]] + [self.chances(prompt, text[-1])]
        logprobs = [
            {f"token_id:{ids_of(token)[0]}": log(chance) for token, chance in top.items()}
            for top in tops
        ]
        logprobs.append({f"token_id:{END}": 0.0})
        tokens = [*(f"token_id:{token}" for token in ids_of(text)), f"token_id:{END}"]
        return {
            "tokens": tokens,
            "token_logprobs": [
                top.get(token, -9.0) for token, top in zip(tokens, logprobs, strict=True)
            ],
            "top_logprobs": logprobs,
        }

    def _numbered(self, body: Any) -> dict[str, Any]:
        values = [self._numbers(text_of(ids), body) for ids in body["prompt"]]
        return self.envelope("choices", "logprobs", values, body["prompt"])

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
