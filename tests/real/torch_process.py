"""The reference: a process of the server environment that runs torch_side.py."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from reward_client import Conversation, FormattedText

from .conversations import STEP_TOKEN, STEP_TOKEN_ID

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .conversations import Sample
    from .models import Made


@dataclass(frozen=True)
class Reference:
    """What a sample's token IDs are, and what the model answers at them, raw.

    An answer is one reward, a logit for each label or token, or a hidden state.
    """

    ids: list[int]
    last: list[float]
    steps: list[list[float]]

    @property
    def reward(self) -> float:
        (reward,) = self.last
        return reward


@dataclass(frozen=True)
class Text:
    """What a language model writes.

    Attributes:
        ids: The token IDs after which it does.
        written: Those that it writes.
        text: What they are, without special tokens.
        ended: Whether the last one ends the text; else it was cut.
        choices: For each of those that it writes, the texts of the 20 likeliest tokens, with their
            log-probabilities.
    """

    ids: list[int]
    written: list[int]
    text: str
    ended: bool
    choices: list[list[tuple[str, float]]]


@dataclass(frozen=True)
class Embedding:
    """What sentence-transformers answers for a sample.

    Attributes:
        last: For its token IDs.
        steps: The same modules at the step tokens.
        encoded: By `encode`, for the conversation's text; None of other samples.
    """

    last: list[float]
    steps: list[list[float]]
    encoded: list[float] | None


class TorchProcess:
    """Makes checkpoints and scores with them, in plain float32.

    Args:
        python: The interpreter of an environment with torch and transformers.
        environment: The variables that these need besides those of the tests.
    """

    def __init__(self, python: Path, environment: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [python, Path(__file__).with_name("torch_side.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "HF_HUB_OFFLINE": "1",
                "TRANSFORMERS_VERBOSITY": "error",
                **(environment or {}),
            },
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.kill()
        self._process.communicate()

    def make(self, folder: Path, made: Made) -> None:
        self._ask("make", folder=str(folder), **asdict(made))

    def score(
        self,
        folder: Path,
        samples: Iterable[Sample],
        tokens: Sequence[str] = (),
        *,
        opened: bool = False,
    ) -> list[Reference]:
        """The references; of a language model's logits those of `tokens`, if there are any.

        Where a turn is `opened`, they are those of the first token of an answer.
        """
        rows = self._ask(
            "score",
            folder=str(folder),
            samples=[_as_json(sample) for sample in samples],
            step_token=STEP_TOKEN_ID,
            tokens=tokens,
            opened=opened,
        )
        return [Reference(**row) for row in rows]

    def write(
        self, folder: Path, samples: Iterable[Sample], max_tokens: int, *, continues: bool = False
    ) -> list[Text]:
        """The likeliest text that answers each conversation, or goes on with its last turn."""
        rows = self._ask(
            "write",
            folder=str(folder),
            samples=[_as_json(sample) for sample in samples],
            max_tokens=max_tokens,
            continues=continues,
        )
        return [Text(**row) for row in rows]

    def embed(
        self, folder: Path, samples: Iterable[Sample], references: Iterable[Reference]
    ) -> list[Embedding]:
        """What sentence-transformers makes of an exported checkpoint, for the references' IDs."""
        rows = self._ask(
            "embed",
            folder=str(folder),
            samples=[_as_json(sample) for sample in samples],
            ids=[reference.ids for reference in references],
            step_token=STEP_TOKEN_ID,
        )
        return [Embedding(**row) for row in rows]

    def _ask(self, action: str, **arguments: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({action: arguments}) + "\n")
        self._process.stdin.flush()
        response = self._process.stdout.readline()
        assert response, f"torch_side.py ended with status {self._process.wait()}; see its stderr"
        return json.loads(response)


def _as_json(sample: Sample) -> dict[str, object]:
    match sample:
        case FormattedText():
            return {"text": sample.text}
        case Conversation():
            messages = list(sample.messages)
            if sample.steps is not None:
                text = "".join(step + STEP_TOKEN for step in sample.steps)
                messages.append({"role": "assistant", "content": text})
            return {
                "messages": messages,
                "tools": sample.tools,
                "chat_template_kwargs": sample.chat_template_kwargs,
            }
        case [int(), *_]:
            return {"ids": sample}
        case _:
            return {"messages": sample}
