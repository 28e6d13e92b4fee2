"""Choose exchanges of generating servers for `data/completions.json` from recordings.

    python tests/testing/make_completions.py RECORDINGS tests/testing/data/completions.json

RECORDINGS holds VERSION/causal-generate.json and VERSION/causal-generate-MODE.json, as
`make_exchanges.py` says; what is done to them is also the same.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from make_exchanges import VOCABULARY_SIZES, add, dialect_of, known_ids, of_ours, shortened

COMPLETIONS = """
ids_logprobs1 ids_logprobs0 ids_nologprobs ids_logprobs5_token_ids lti_as_token_ids
lti_without_logprobs lti_logprobs0 lti_oov lti_many allowed0 allowed_yesno allowed_empty allowed_oov
return_token_ids logprobs21 max0 batch3 text too_long max_len_exact oov empty batch_one_too_long
batch_one_oov negative unknown_model
"""
SCORING = "default no_softmax"
NAMES = {f"/v1/completions.{name}" for name in COMPLETIONS.split()} | {
    f"/generative_scoring.{name}" for name in SCORING.split()
}
# 0.8 has no such setting, and is as this one; later versions have the other one by default.
MODES = {"0.8": "processed_logprobs"}
DEFAULT = "raw_logprobs"


def exchange_of(recorded: dict) -> dict:
    request, response = of_ours(recorded["request"], steps=False), recorded["response"]
    reply = of_ours(response.get("json", response.get("text")), steps=False)
    body = request["json"]
    if "prompt" in body:
        repeated = "" if response["status"] == 200 else json.dumps(reply)
        body["prompt"] = known_ids(body["prompt"], repeated, steps=False)
    if body.get("return_token_ids"):
        for choice in reply["choices"]:
            if "prompt_token_ids" in choice:
                choice["prompt_token_ids"] = body["prompt"]
    for key in ("query", "items"):
        if key in body:
            body[key] = known_ids(body[key], "", steps=False)
    theirs, ours = VOCABULARY_SIZES
    size = "Vocabulary size: "
    reply = json.loads(json.dumps(shortened(reply)).replace(f"{size}{theirs}", f"{size}{ours}"))
    return {
        "name": recorded["name"],
        "path": request["path"],
        "json": body,
        "status": response["status"],
        "type": response["headers"].get("content-type"),
        "reply": reply,
    }


def chosen(file: Path) -> list[dict]:
    return [
        exchange_of(exchange)
        for exchange in json.loads(file.read_text())["exchanges"]
        if exchange["name"] in NAMES
        # What 0.20.2 scores with kills it on a CPU.
        and not ("scoring" in exchange["name"] and exchange["response"]["status"] == 500)
    ]


def main() -> None:
    recordings, output = map(Path, sys.argv[1:])
    servings = []
    for file in sorted(recordings.glob("*/causal-generate*.json")):
        version = file.parent.name
        dialect = dialect_of(version)
        mode = file.stem.removeprefix("causal-generate").removeprefix("-")
        serving = {"dialect": dialect, "logprobs": mode or MODES.get(dialect, DEFAULT)}
        servings.append({"serving": serving, "version": version, "exchanges": chosen(file)})
    add(servings, output)


if __name__ == "__main__":
    main()
