"""Repeat the requests of recordings on servers of another version, and record their answers.

    python -m tests.integration.recorded.record 0.32.0 CHECKPOINTS PYTHON

This serves each checkpoint in the folder CHECKPOINTS as `serve` in its recordings of 0.32.0 says,
by the vLLM beside PYTHON, writes `data/VERSION-KIND.json`, and prints what is answered differently.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import numpy as np

from ...vllm.servers import Stand
from .recording import DATA, ITEM_KEYS, Recording, names
from .scoring import TOLERANCE

Reply: TypeAlias = dict[str, Any]
"""One of `answers` or `refusals` in a recording: how a server was asked, and what it said."""

# What a recording keeps of a served model.
_CARD = ("id", "object", "created", "owned_by", "root", "parent", "max_model_len")
_DIGITS = 9  # which tell every float32 from the next
_LONGEST_TEXT = 400  # of an error that repeats its input


def record(older: Recording, server: httpx.Client) -> tuple[dict[str, Any], list[str]]:
    """Return the recording of a server, and what differs from the older recording, in words."""
    _check_tokens(older, server)
    data = older.data
    before: list[Reply] = [*data["answers"], *data["refusals"]]
    after = [_repeat(reply, older, server) for reply in before]
    [card] = _get(server, "/v1/models")["data"]
    newer = {
        "version": _get(server, "/version")["version"].partition("+")[0],
        "model": data["model"],
        "serve": data["serve"],
        "card": {key: card[key] for key in _CARD} | {"root": card["root"].rpartition("/")[2]},
        "paths": sorted(_get(server, "/openapi.json")["paths"]),
        "answers": [reply for reply in after if "status" not in reply],
        "refusals": [reply for reply in after if "status" in reply],
    }
    return newer, [*_paths(data, newer), *_replies(before, after)]


def _get(server: httpx.Client, path: str) -> Any:
    return server.get(path).raise_for_status().json()


def _check_tokens(older: Recording, server: httpx.Client) -> None:
    """The recordings of all versions share the token IDs of a conversation."""
    for name, reference in older.by_name.items():
        body = {"model": older.data["card"]["id"], "add_generation_prompt": False}
        reply = server.post("/tokenize", json={**body, "messages": reference["messages"]})
        assert reply.json()["tokens"] == reference["tokens"], f"{name}: {reply.text}"


def _repeat(reply: Reply, older: Recording, server: httpx.Client) -> Reply:
    """Ask for the same conversations in the same way."""
    names = [*reply.get("values", {}), *reply.get("doubled_bos", {})] or ["one_turn"]
    request = dict(reply.get("request", {}))
    encodings = reply.get("encodings", [request.pop("encoding_format", "float")])
    inputs = [older.by_name[name]["tokens"] for name in names]
    if reply["input"] == "text":
        inputs = [older.decode(ids) for ids in inputs]
    way = {"path": reply["path"], "input": reply["input"]}
    found: list[list[Any]] = []
    for encoding in encodings:
        asked = {**request, "encoding_format": encoding}
        body = {"model": older.data["card"]["id"], "input": inputs, **asked}
        response = server.post(way["path"], json=body)
        payload = response.json()
        if not response.is_success:
            unserved = payload == {"detail": "Not Found"}
            refused = way if unserved else {**way, "request": asked}
            return {**refused, "status": response.status_code, "json": _cut(payload)}
        found.append([item[ITEM_KEYS[way["path"]]] for item in payload["data"]])
    values = dict(zip(names, map(_rounded, found[encodings.index("float")]), strict=True))
    doubled = {name: values.pop(name) for name in reply.get("doubled_bos", {})}
    envelope = {key: value for key, value in payload.items() if key not in ("data", "usage")}
    answer = {**way, "request": request, "encodings": encodings, "envelope": envelope}
    return {**answer, **({"doubled_bos": doubled} if doubled else {}), "values": values}


def _cut(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _cut(each) for key, each in value.items()}
    return value[:_LONGEST_TEXT] if isinstance(value, str) else value


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return float(f"{value:.{_DIGITS}g}")


def _paths(older: Mapping[str, Any], newer: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"new path {path}" for path in newer["paths"] if path not in older["paths"])
    yield from (f"no path {path}" for path in older["paths"] if path not in newer["paths"])


def _replies(before: list[Reply], after: list[Reply]) -> Iterator[str]:
    for old, new in zip(before, after, strict=True):
        asked = f"{old['path']} of {old['input']} with {old.get('request', {})}"
        if _gist(old) != _gist(new):
            yield f"{asked}: {_gist(old)} became {_gist(new)}"
        elif (difference := _difference(_values(old), _values(new))) > TOLERANCE:
            yield f"{asked}: values differ by {difference:.1e}"


def _gist(reply: Reply) -> str:
    """A refusal in words of any order, as a server lists its tasks, or the form of an answer."""
    if "status" in reply:
        words = re.findall(r"\w+", str(reply["json"]))
        return f"{reply['status']} {' '.join(sorted(words))}"
    shapes = {np.shape(value) for value in _values(reply).values()}
    return f"{sorted(reply['envelope'])} {sorted(shapes)}"


def _values(reply: Reply) -> dict[str, Any]:
    return {**reply.get("values", {}), **reply.get("doubled_bos", {})}


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> float:
    """The largest one; relative to values above 1."""
    gaps = [np.subtract(old[name], new[name]) / np.maximum(1, np.abs(old[name])) for name in old]
    return max((float(np.abs(gap).max(initial=0)) for gap in gaps), default=0.0)


def main() -> None:
    version, checkpoints, python = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    with tempfile.TemporaryDirectory() as logs, Stand(python, Path(logs)) as stand:
        for name in names():
            older = Recording(name)
            _, _, checkpoint, *options = shlex.split(older.data["serve"])
            if older.version == version and (checkpoints / checkpoint).exists():
                options += [
                    "--dtype",
                    "float32",
                    "--served-model-name",
                    older.data["card"]["id"],
                ]
                server = stand.serve(checkpoints / checkpoint, *options).wait_until_healthy()
                with httpx.Client(base_url=server.url, timeout=60) as client:
                    write(older, *record(older, client))


def write(older: Recording, newer: Mapping[str, Any], differences: list[str]) -> None:
    path = DATA / f"{newer['version']}-{older.kind}.json"
    text = json.dumps(newer, separators=(",", ":"), ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    print(
        f"{path.name}: {len(differences)} differences from {older.name}", *differences, sep="\n  "
    )


if __name__ == "__main__":
    main()
