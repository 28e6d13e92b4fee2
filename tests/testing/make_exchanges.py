"""Choose exchanges for `data/exchanges.json` from recordings of real servers.

    python tests/testing/make_exchanges.py RECORDINGS tests/testing/data/exchanges.json

Exchanges of servers without a recording stay as they are. RECORDINGS holds VERSION/KIND.json and
VERSION/KIND.part2.json: `{"exchanges": [{"name", "request": {"method", "path", "json" or "body"},
"response": {"status", "headers", "json" or "text"}}]}`; `repeat_exchanges.py` makes those of a new
version. The servers had other tiny models than the one that is shipped, so here: their names become
the shipped one's, `<extra_0>` becomes its step token, token IDs that it has not become smaller
where the reply does not repeat them, and long lists become `{"ids": length}`.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

MODELS = re.compile(r"tiny-[a-z0-9-]+")
VOCABULARY_SIZES = 495, 384
STEP_TOKENS = ("<extra_0>", 5), ("~", 100)
LONGEST_LIST = 200
LONGEST_TEXT = 1_000
LONGEST_REPLY = 5_000
DIGITS = 1

# Recording: head, and whether the server was started without an activation.
KINDS = {
    "seqcls": ("sequence", False),
    "seqcls-raw": ("sequence", True),
    "token-reward": ("token", False),
    "seqcls5": ("labels", False),
    "prm": ("steps", False),
    "causal-embed": ("embed", False),
    "causal-embed-raw": ("embed", True),
    "export": ("export", False),
}
ENGINE_DEATH = "engine-death"
ROUTES = ("/pooling", "/v1/embeddings", "/classify")

ONCE = """
version models health load ping unknown_route_get unknown_route_post get_on_tokenize
tokenize.chat_continue_without_agp tokenize.chat_template_in_request tokenize.chat_messages_empty
tokenize.nothing tokenize.text_list tokenize.unknown_model tokenize.no_model tokenize.malformed_json
tokenize.text_plain_type detokenize.empty detokenize.negative detokenize.not_ints
detokenize.unknown_model other./v1/classify other./v1/pooling
"""
ALWAYS = "openapi_paths other./v1/completions other./v1/chat/completions"
# Of the one-label head; the other heads have the shorter list below.
POOLED = """
ids_single ids_single_ua_false ids_single_base64 ids_batch3 text text_list messages unknown_model
task_classify task_classify_ua_false task_token_classify task_token_classify_ua_false task_embed
task_token_embed task_encode task_score task_bogus task_None messages_empty messages_and_input
messages_agp_true_ua_false ua_true ua_null activation_false softmax_false
ua_false_and_activation_false normalize_true normalize_false normalize_null bogus_format truncate_10
truncate_10_left truncate_0 dimensions_4 unknown_field request_id x_request_id no_model
malformed_json text_plain_type get no_input too_long batch_one_too_long oov oov_vocab_size
batch_one_oov negative floats mixed null_input empty_list empty_nested empty_string batch_one_empty
batch_one_empty_text
"""
OF_OTHER_HEADS = """
ids_single ids_single_ua_false ids_single_base64 ids_batch3 text messages task_classify
task_token_classify task_embed task_token_embed ua_true softmax_false normalize_true normalize_false
normalize_null truncate_10 dimensions_4 no_input too_long batch_one_oov negative messages_batch
"""
OF_RAW = "ids_single ids_single_base64 ids_batch3 messages ua_true"


def too_long_text(request: dict) -> bool:
    """How long a text is depends on the tokenizer."""
    given = request.get("json", {}).get("input")
    texts = given if isinstance(given, list) else [given]
    return any(isinstance(text, str) and len(text) > LONGEST_TEXT for text in texts)


def elsewhere(name: str, response: str) -> bool:
    """Errors that come from forms the test server has not: each kind of message, chats as input."""
    kinds_of_messages = name.endswith("messages_batch") and "error" in response
    chats_as_input = name == "/v1/embeddings.no_input" and "7 validation errors" in response
    return kinds_of_messages or chats_as_input


def wanted(head: str, *, raw: bool) -> set[str]:
    names = set(ALWAYS.split())
    if head == "sequence" and not raw:
        names |= set(ONCE.split())
        of_routes = POOLED
    else:
        of_routes = OF_RAW if raw else OF_OTHER_HEADS
    return names | {f"{path}.{name}" for path in ROUTES for name in of_routes.split()}


def read(folder: Path, kind: str) -> list[dict]:
    parts = [folder / f"{kind}.json", folder / f"{kind}.part2.json"]
    return [e for part in parts if part.exists() for e in json.loads(part.read_text())["exchanges"]]


def recorded(folder: Path, kind: str) -> list[dict]:
    """The exchanges of a server, and those that killed it, which are recorded apart."""
    exchanges = read(folder, kind)
    deaths = read(folder, ENGINE_DEATH) if exchanges else []
    return exchanges + [exchange for exchange in deaths if exchange.get("kind") == kind]


def known_ids(value, response: str, *, steps: bool):
    """The IDs of an input as the shipped model can take them."""
    if isinstance(value, list) and value and all(isinstance(item, int) for item in value):
        if len(value) > LONGEST_LIST:
            return {"ids": len(value)}
        if str(value) in response:
            return value
        if steps:
            (_, theirs), (_, ours) = STEP_TOKENS
            value = [ours if i == theirs else i + 1 if i == ours else i for i in value]
        theirs, ours = VOCABULARY_SIZES
        return [ours if i == theirs else i - 120 if ours <= i < theirs else i for i in value]
    if isinstance(value, list):
        return [known_ids(item, response, steps=steps) for item in value]
    return value


def shortened(value):
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, list):
        return [shortened(item) for item in value]
    if isinstance(value, dict):
        return {key: shortened(item) for key, item in value.items()}
    return value


def of_ours(value, *, steps: bool):
    """The names of models, of requests and of the step token."""
    text = MODELS.sub("sum-judge", json.dumps(value)).replace("museum-req-1", "request-1")
    if steps:
        (theirs, _), (ours, _) = STEP_TOKENS
        text = text.replace(theirs, ours)
    return json.loads(text)


def exchange_of(recorded: dict, *, steps: bool) -> dict:
    request = of_ours(recorded["request"], steps=steps)
    response = of_ours(recorded["response"], steps=steps)
    reply = response.get("json", response.get("text"))
    if recorded["name"].endswith("oov_vocab_size") and "error" in str(reply):
        theirs, ours = map(str, VOCABULARY_SIZES)
        reply = json.loads(json.dumps(reply).replace(theirs, ours))
    made = {"name": recorded["name"], "method": request["method"], "path": request["path"]}
    if request.get("headers"):
        made["headers"] = request["headers"]
    if "json" in request:
        made["json"] = request["json"]
        if "input" in made["json"]:
            given = made["json"]["input"]
            made["json"]["input"] = known_ids(given, json.dumps(reply), steps=steps)
    if "body" in request:
        made["body"] = request["body"]
    made |= {
        "status": response["status"],
        "type": response["headers"].get("content-type"),
        "reply": shortened(reply),
    }
    return made


def chosen(folder: Path, kind: str, head: str, *, raw: bool) -> list[dict]:
    names = wanted(head, raw=raw)
    made: dict[str, dict] = {}
    for exchange in recorded(folder, kind):
        name, response = exchange["name"], exchange["response"]
        if name not in names or response is None or name in made:
            continue
        if too_long_text(exchange["request"]) or elsewhere(name, json.dumps(response)):
            continue
        # A server that an earlier request had killed answers nothing of interest.
        if "EngineCore" in json.dumps(response) and not name.endswith(".negative"):
            continue
        # One "Not Found" of each route is enough.
        missing = name.startswith(ROUTES) and response.get("json") == {"detail": "Not Found"}
        if missing and not name.endswith(".ids_single"):
            continue
        ours = exchange_of(exchange, steps=head == "steps")
        if len(json.dumps(ours["reply"])) <= LONGEST_REPLY:
            made[name] = ours
    return list(made.values())


def add(servings: list[dict], output: Path) -> None:
    """Write the exchanges of servings; those of other servings stay in the file."""
    every = json.loads(output.read_text("utf-8")) + servings
    last = {f"{each['version']} {each['serving']}": each for each in every}
    blocks = []
    for each in sorted(last.values(), key=lambda each: numbers(each["version"])):
        rows = ",\n".join(json.dumps(row, ensure_ascii=False) for row in each["exchanges"])
        start = f'"serving": {json.dumps(each["serving"])}, "version": "{each["version"]}"'
        blocks.append(f'{{{start}, "exchanges": [\n{rows}\n]}}')
    output.write_text("[\n" + ",\n".join(blocks) + "\n]\n", encoding="utf-8")


def numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def dialect_of(version: str) -> str:
    return ".".join(version.split(".")[:2])


def main() -> None:
    recordings, output = map(Path, sys.argv[1:])
    servings = []
    for folder in recordings.iterdir():
        for kind, (head, raw) in KINDS.items():
            if exchanges := chosen(folder, kind, head, raw=raw):
                serving = {"dialect": dialect_of(folder.name), "head": head, "raw": raw}
                servings.append(
                    {"serving": serving, "version": folder.name, "exchanges": exchanges}
                )
    add(servings, output)


if __name__ == "__main__":
    main()
