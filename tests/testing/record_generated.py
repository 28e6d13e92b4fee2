"""Ask a real server again what `data/generated.json` has of it.

    vllm serve FOLDER --served-model-name sum-judge --dtype float32 --max-model-len 1024 \
        --enforce-eager --logprobs-mode MODE
    python tests/testing/record_generated.py URL MODE

FOLDER is `RewardServer.checkpoint` as a model that generates: of `LlamaForCausalLM`, with
`tie_word_embeddings`, and without `score.weight`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import httpx

DATA = Path(__file__).parent / "data" / "generated.json"
DIGITS = 4


def shortened(value):
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, list):
        return [shortened(item) for item in value]
    if isinstance(value, dict):
        return {key: shortened(item) for key, item in value.items()}
    return value


def expand(value):
    """`{"id": 5, "times": 3}` stands for [5, 5, 5]."""
    if isinstance(value, dict):
        return [value["id"]] * value["times"]
    return value


def body_of(request: dict) -> dict:
    return {key: expand(value) for key, value in request.items()}


def main() -> None:
    url, mode = sys.argv[1:]
    cases = json.loads(DATA.read_text("utf-8"))
    with httpx.Client(base_url=url, timeout=60) as client:
        for case in cases:
            if mode in case["replies"]:
                response = client.post(case["path"], json=body_of(case["json"]))
                case["replies"][mode] = [response.status_code, shortened(response.json())]
    rows = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    DATA.write_text(f"[\n{rows}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
