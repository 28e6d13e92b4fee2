"""Choose exchanges with SGLang for `data/sglang.json` from recordings of real servers.

    python tests/testing/make_sglang.py RECORDINGS tests/testing/data/sglang.json

Servings without a recording stay as they are. RECORDINGS holds VERSION-KIND.json: `exchanges` (or a
bare list of them), each with `label`, `request` (`method`, `path`, `body`), `status`, `headers` and
`body`; status 0 where the server was gone. Its folder `models` holds the tokenizer of each KIND.

The servers had other tiny models than the one that is shipped, so here: their names become the
shipped one's, token IDs that it has not become smaller where the reply does not repeat them, long
lists become `{"ids": length}`, and the tokens of a conversation become the name of its rendering.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

from make_exchanges import LONGEST_LIST, VOCABULARY_SIZES, known_ids, shortened
from sglang_renderings import named

from reward_client.testing._model.chat_tokenizer import ChatTokenizer

# Recording: the options of the test server that serves the same kind of model.
KINDS = {
    "seqcls": {"head": "sequence"},
    "token-reward": {"head": "token"},
    "causal": {"head": "embed"},
    "qwen2-seqcls": {"head": "sequence", "score_bias": -0.08},
    "causal-generate": {"logprobs": "processed_logprobs"},
}
# What the test server lacks, and says so.
ELSEWHERE = {"/docs", "/metrics", "/v1/chat/completions", "/get_server_info", "/server_info"}
LACKING = {"score extraction token"}
# `/encode` and `/v1/tokenize` answer as `/classify` and `/tokenize`: a few of each are enough.
SAME = {"/encode": 6, "/v1/tokenize": 3, "/v1/detokenize": 1}
NAMES = re.compile(
    r"(?<!attention\": \")(?<![\w-])"
    r"(?:/models/)?(?:qwen2-seqcls|seqcls|token-reward|causal)(?![\w-])"
)
PATH, NAME = "reward-client/sum-judge", "sum-judge"
DROPPED = {"bcg", "cache", "cached_tokens", "cached_tokens_details"}
DIED = "died"
# The token " Yes" of those models is a special one in the shipped model's vocabulary.
YES = re.compile(r"\b374\b"), "254"


def of_ours(value):
    """The names of models, and the place of the package."""

    def name(found: re.Match) -> str:
        return PATH if found[0].startswith("/models/") else NAME

    text = json.dumps(value).replace('File \\"/site-packages', 'File \\"site-packages')
    return json.loads(NAMES.sub(name, text))


def without(value):
    """A reply without what the test server leaves out."""
    if isinstance(value, dict):
        return {key: without(item) for key, item in value.items() if key not in DROPPED}
    return [without(item) for item in value] if isinstance(value, list) else value


def one_value(value, key=None):
    """A reply with one number of each hidden state."""
    if isinstance(value, dict):
        return {k: one_value(item, k) for k, item in value.items()}
    if isinstance(value, list):
        long = len(value) > LONGEST_LIST // 2 and all(isinstance(item, float) for item in value)
        return value[:1] if long else [one_value(item, key) for item in value]
    if key == "embedding" and isinstance(value, str) and len(value) > LONGEST_LIST:
        return "base64"
    return value


def request_of(request: dict, reply: str) -> dict:
    """The request for the shipped model; its IDs stay where the reply repeats them."""
    body = request.get("body")
    made = {"method": request.get("method", "POST"), "path": request["path"]}
    if isinstance(body, str):
        sent = {"sent": "text/plain"} if request["label"] == "content type text" else {}
        return {**made, "body": body, **sent}
    if body is not None:
        made["json"] = {key: known_ids(value, reply, steps=False) for key, value in body.items()}
    return made


def exchange_of(recorded: dict, tokenizer: ChatTokenizer) -> dict:
    request = {**of_ours(recorded["request"]), "label": recorded.get("label", "")}
    request["path"] = recorded["request"]["path"].replace("/models/seqcls", f"/models/{NAME}")
    request["path"] = (
        NAMES.sub(NAME, request["path"]) if "/models/" in request["path"] else request["path"]
    )
    reply = recorded["body"]
    made = {"name": f"{request['path']} {request['label']}".strip()}
    if recorded["status"] == 0:
        return {**made, **request_of(request, ""), "status": DIED}
    if request["path"] == "/openapi.json":
        reply = {"paths": recorded["paths"]}
    reply = one_value(without(of_ours(reply)))
    if "tokenize" in request["path"] and isinstance(reply, dict) and "tokens" in reply:
        reply["tokens"] = named(tokenizer, recorded["request"]["body"], reply["tokens"])
    repeated = json.dumps(reply) if isinstance(reply, dict) and "message" in reply else ""
    made |= request_of(request, repeated)
    theirs, ours = VOCABULARY_SIZES
    text = json.dumps(shortened(reply)).replace(f"range is [0, {theirs})", f"range is [0, {ours})")
    kind = recorded.get("headers", {}).get("content-type", "application/json")
    if recorded.get("headers") and "content-type" not in recorded["headers"]:
        kind = None
    return {**made, "status": recorded["status"], "type": kind, "reply": json.loads(text)}


def relabelled(recorded: dict) -> dict:
    """An exchange with another label's ID."""
    pattern, other = YES
    return json.loads(pattern.sub(other, json.dumps(recorded)))


def wanted() -> Callable[[dict], bool]:
    """Whether to keep an exchange; of routes that are the same only the first few."""
    kept: dict[str, int] = {}

    def is_wanted(exchange: dict) -> bool:
        path = exchange["request"]["path"]
        if path in ELSEWHERE or exchange.get("label") in LACKING:
            return False
        text = json.dumps(exchange["body"])
        # Recordings cut long texts.
        if "characters>" in text and path != "/openapi.json":
            return False
        kept[path] = kept.get(path, 0) + 1
        return kept[path] <= SAME.get(path, sys.maxsize)

    return is_wanted


def serving_of(file: Path, models: Path) -> dict:
    version, _, kind = file.stem.partition("-")
    version, kind = version.removesuffix("b"), kind.split(".full")[0]
    recording = json.loads(file.read_text("utf-8"))
    every = recording if isinstance(recording, list) else recording["exchanges"]
    kind = "seqcls" if kind == "tokenize" else kind
    tokenizer = ChatTokenizer(models / kind.removesuffix("-generate"))
    paths = next((each["paths"] for each in every if "paths" in each), None)
    is_wanted = wanted()
    exchanges = [
        exchange_of({**relabelled(each), "paths": paths}, tokenizer)
        for each in every
        if "request" in each and is_wanted(each)
    ]
    dialect = ".".join(version.split(".")[:3])
    return {
        "serving": {"engine": "sglang", "dialect": dialect, **KINDS[kind]},
        "version": version,
        "exchanges": exchanges,
    }


def as_text(servings: list[dict]) -> str:
    blocks = []
    for serving in servings:
        rows = ",\n".join(json.dumps(row, ensure_ascii=False) for row in serving["exchanges"])
        facts = {key: value for key, value in serving.items() if key != "exchanges"}
        start = json.dumps(facts)[1:-1]
        blocks.append(f'{{{start}, "exchanges": [\n{rows}\n]}}')
    return "[\n" + ",\n".join(blocks) + "\n]\n"


def main() -> None:
    recordings, output = map(Path, sys.argv[1:])
    files = [
        file
        for file in sorted(recordings.glob("*-*.json"))
        if not file.stem.endswith(".killers") and not file.stem.startswith("0.5.23b")
    ]
    made = [serving_of(file, recordings / "models") for file in files]
    kept = [
        block
        for block in json.loads(output.read_text("utf-8"))
        if "model" in block or all(block["serving"] != each["serving"] for each in made)
    ]
    output.write_text(as_text([*kept, *made]), encoding="utf-8")


if __name__ == "__main__":
    main()
