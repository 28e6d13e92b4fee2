"""Send the requests of recordings to servers of another version, and record their responses.

    python -m tests.testing.repeat_exchanges RECORDINGS/0.32.0 CHECKPOINTS PYTHON RECORDINGS/0.33.0

This serves each checkpoint in the folder CHECKPOINTS as `serve_args` in its recordings says, by the
vLLM beside PYTHON, and prints what is answered differently. `make_exchanges.py` says what
RECORDINGS is.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from ..vllm.servers import Stand

# The values of two float32 computations, relative to values above 1.
TOLERANCE = 1e-4
RANDOM = {"created", "id", "root", "system_fingerprint"}
PASSING = ("metrics", "stream")


def repeat(exchange: dict[str, Any], server: httpx.Client) -> dict[str, Any]:
    """The same request, with the response of this server."""
    request = exchange["request"]
    body = request.get("body") or (json.dumps(request["json"]) if "json" in request else None)
    headers = {"content-type": "application/json"} if body is not None else {}
    headers |= {name.lower(): value for name, value in request.get("headers", {}).items()}
    reply = server.request(request["method"], request["path"], content=body, headers=headers)
    response: dict[str, Any] = {"status": reply.status_code, "headers": dict(reply.headers)}
    try:
        response["json"] = reply.json()
    except ValueError:
        response["text"] = reply.text
    if request["path"] == "/openapi.json":
        paths = response["json"]["paths"]
        response["json"] = {"paths": {path: sorted(methods) for path, methods in paths.items()}}
    return {**exchange, "response": response}


def differences(old: Any, new: Any, place: str = "") -> Iterator[str]:
    """Where two responses differ, but for what differs between two equal requests."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**old, **new}:
            if key not in old or key not in new:
                yield f"{place}.{key} only in the {'new' if key in new else 'old'}"
            elif key not in RANDOM:
                yield from differences(old[key], new[key], f"{place}.{key}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from differences(before, after, f"{place}[{index}]")
    elif isinstance(old, float) and isinstance(new, float):
        if abs(new - old) > TOLERANCE * max(1, abs(old)):
            yield f"{place}: {old} became {new}"
    elif isinstance(old, str) and isinstance(new, str):
        # A server lists its tasks in another order at each start; base64 differs by rounding.
        before, after = (sorted(re.findall(r"\w+", text)) for text in (old, new))
        if before != after and not place.endswith((".data", ".embedding")):
            yield f"{place}: {old[:200]!r} became {new[:200]!r}"
    elif old != new:
        yield f"{place}: {str(old)[:200]} became {str(new)[:200]}"


def main() -> None:
    older, checkpoints, python, newer = map(Path, sys.argv[1:])
    newer.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as logs, Stand(python, Path(logs)) as stand:
        for file in sorted(older.glob("*.json")):
            recording = json.loads(file.read_text("utf-8"))
            _, checkpoint, *options = recording["serve_args"]
            if "--runner" not in options:
                options += ["--runner", "generate"]
            server = stand.serve(checkpoints / checkpoint, *options).wait_until_healthy()
            with httpx.Client(base_url=server.url, timeout=60) as client:
                after = [repeat(exchange, client) for exchange in recording["exchanges"]]
            show(file.stem, recording["exchanges"], after)
            text = json.dumps({**recording, "exchanges": after})
            (newer / file.name).write_text(text, encoding="utf-8")


def show(name: str, before: list[dict[str, Any]], after: list[dict[str, Any]]) -> None:
    for old, new in zip(before, after, strict=True):
        if not old["name"].endswith(PASSING):
            for difference in differences(old["response"].get("json"), new["response"].get("json")):
                print(f"{name} {old['name']}{difference}")


if __name__ == "__main__":
    main()
