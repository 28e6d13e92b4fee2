"""Ask a real SGLang again what `data/sglang.json` has of 0.5.23, for another version.

    python -m sglang.launch_server --model-path FOLDER --served-model-name sum-judge --dtype float32
        [--is-embedding]
    python tests/testing/record_sglang.py URL VERSION 'SERVING'

FOLDER is `RewardServer.checkpoint`, and SERVING the JSON of a serving of 0.5.23 there, such as
'{"head": "sequence"}'. Where a request ends the server, start it again, and this script too: it
goes on after that request.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import httpx
from make_exchanges import shortened
from make_sglang import DIED, NAME, PATH, as_text, without
from replay import NO_REUSE, expand

PLACE = re.compile(r'File \\"[^"]*?(?=/sglang/srt)')
REQUEST = ("name", "method", "path", "json", "body", "sent")
DATA = Path(__file__).parent / "data" / "sglang.json"


def content_of(exchange: dict) -> str | None:
    if "body" in exchange:
        return exchange["body"]
    if "json" in exchange:
        return json.dumps({key: expand(value) for key, value in exchange["json"].items()})
    return None


def asked(client: httpx.Client, exchange: dict, path: str) -> dict:
    made = {key: exchange[key] for key in REQUEST if key in exchange}
    headers = {"content-type": exchange.get("sent", "application/json")}
    try:
        reply = client.request(
            exchange["method"], exchange["path"], content=content_of(exchange), headers=headers
        )
    except (httpx.RemoteProtocolError, httpx.ReadError):
        return {**made, "status": DIED}
    try:
        body = reply.json()
    except ValueError:
        body = reply.text
    if exchange["path"] == "/openapi.json":
        body = {"paths": {path: sorted(methods) for path, methods in body["paths"].items()}}
    text = json.dumps(shortened(without(body))).replace(path, PATH)
    body = json.loads(PLACE.sub('File \\\\"site-packages', text))
    made |= {"status": reply.status_code, "type": reply.headers.get("content-type")}
    return {**made, "reply": body}


def main() -> None:
    url, version, serving = sys.argv[1:]
    blocks = json.loads(DATA.read_text("utf-8"))
    options = {"engine": "sglang", "dialect": "0.5.23", **json.loads(serving)}
    (model,) = (
        block["exchanges"]
        for block in blocks
        if block["serving"] == options and "model" not in block
    )
    options = {**options, "dialect": ".".join(version.split(".")[:3])}
    own = [each for each in blocks if each["serving"] == options and "model" in each]
    block = own[0] if own else None
    if block is None:
        block = {"serving": options, "version": version, "model": NAME, "exchanges": []}
        blocks.append(block)
    done = block["exchanges"]
    with httpx.Client(base_url=url, timeout=120, limits=NO_REUSE) as client:
        path = client.get("/get_model_info").json()["model_path"]
        while len(done) < len(model):
            done.append(asked(client, model[len(done)], path))
            if done[-1]["status"] == DIED:
                print(f"{done[-1]['name']} ended the server; start both again.")
                break
    DATA.write_text(as_text(blocks), encoding="utf-8")


if __name__ == "__main__":
    main()
