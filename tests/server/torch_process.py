"""The reference: a process of the server environment that runs torch_side.py."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from reward_client import Conversation, FormattedText

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .conversations import Sample


@dataclass(frozen=True)
class Reference:
    """What a sample's token IDs and reward have to be."""

    ids: list[int]
    reward: float


class TorchProcess:
    """Makes checkpoints and scores with them, in plain float32."""

    def __init__(self, python: Path) -> None:
        self._process = subprocess.Popen(
            [python, Path(__file__).with_name("torch_side.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.kill()
        self._process.communicate()

    def make(self, folder: Path, kind: str, seed: int) -> None:
        self._ask("make", folder=str(folder), kind=kind, seed=seed)

    def score(self, folder: Path, samples: Iterable[Sample]) -> list[Reference]:
        rows = self._ask("score", folder=str(folder), samples=[_as_json(s) for s in samples])
        return [Reference(**row) for row in rows]

    def _ask(self, action: str, **arguments: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({action: arguments}) + "\n")
        self._process.stdin.flush()
        reply = self._process.stdout.readline()
        assert reply, f"torch_side.py ended with status {self._process.wait()}; see its stderr"
        return json.loads(reply)


def _as_json(sample: Sample) -> dict[str, object]:
    match sample:
        case FormattedText():
            return {"text": sample.text}
        case Conversation():
            return {
                "messages": sample.messages,
                "tools": sample.tools,
                "chat_template_kwargs": sample.chat_template_kwargs,
            }
        case [int(), *_]:
            return {"ids": sample}
        case _:
            return {"messages": sample}
