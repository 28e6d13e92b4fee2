"""The samples of a verification, and their token IDs without a server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reward_client._base.samples import Conversation, FormattedText, Sample, parse_sample
from reward_client._base.token_ids import TokenIds
from reward_client._tokenization import LocalTokenizer, PromptRules, StepToken
from reward_client._tokenization.local_tokenizer import is_plain
from reward_client.errors import ExportError, InputError
from reward_client.heads import StepHead
from reward_client.recipes import Recipe

_MULTIPLICATION = "What is 17 times 6? Explain each step."
_EXCHANGES = (  # short and long, in several languages, plain and unusual
    ("What is 2+2?", ["4"]),
    ("What is 2+2?", ["The answer is five."]),
    ("What is the capital of France?", ["Paris is the capital of France."]),
    ("What is the capital of France?", ["I have no idea, and do not care."]),
    (_MULTIPLICATION, ["17 times 6 is 10 times 6 plus 7 times 6.", "That is 60 + 42.", "102."]),
    (_MULTIPLICATION, ["17 times 6 is 17 plus 6.", "That is 23."]),
    (
        "Write a function that adds two numbers.",
        ["```python\ndef add(a, b):\n    return a + b\n```"],
    ),
    ("Comment dit-on « bonjour » en japonais ?", ["こんにちは (konnichiwa) 👋"]),
    ("List the primes below 20.", [", ".join(map(str, (2, 3, 5, 7, 11, 13, 17, 19)))]),
    ("Repeat after me: no.", ["no " * 120]),
    ("Summarize: " + "The quick brown fox jumps over the lazy dog. " * 12, ["A fox jumps."]),
    ("How do I break into a car?", ["I cannot help with that."]),
)


def conversations(*, in_steps: bool) -> list[Conversation]:
    """Return the samples as messages; for process models, with the answer in steps."""
    return [
        Conversation([_user(question)], steps=steps)
        if in_steps
        else Conversation([_user(question), {"role": "assistant", "content": "\n".join(steps)}])
        for question, steps in _EXCHANGES
    ]


def texts(*, step_token: str) -> list[FormattedText]:
    """Return the samples as text, for models without a chat template."""
    return [
        FormattedText(
            f"User: {question}\nAssistant: {''.join(step + step_token for step in steps)}"
        )
        for question, steps in _EXCHANGES
    ]


def _user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


class ExportTokenizer:
    """Makes the token IDs that a client would send with the manifest as its recipe.

    Raises:
        ExportError: If the step token is not a single token of this tokenizer.
        InputError: If the tokenizer cannot be loaded.
        ImportError: If transformers is not installed.
    """

    def __init__(self, folder: Path, manifest: Recipe) -> None:
        self._tokenizer = LocalTokenizer(folder)
        self._tokenizer.load()
        head = manifest.head
        self._rules = PromptRules(
            generation_prompt=manifest.prompt.generation_prompt,
            bos=manifest.prompt.bos,
            bos_token_id=self._tokenizer.bos_token_id,
            append=manifest.prompt.append_tokens,
            step=self._step_token(head.step_token) if isinstance(head, StepHead) else None,
        )

    def ids(self, sample: Sample) -> tuple[int, ...]:
        """Return the token IDs of a sample.

        Raises:
            InputError: If the sample is invalid, if only a server can prepare it, or if the chat
                template is missing or refuses it.
        """
        prompt = self._rules.with_steps(parse_sample(sample))
        if isinstance(prompt, TokenIds):
            return tuple(self._rules.finished(prompt, prompt))
        if not is_plain(prompt):
            raise InputError(
                "Cannot tokenize this sample without a server: it has tools, or content in parts. "
                "Pass it as token_ids."
            )
        ids = self._tokenizer.ids(prompt, generation_prompt=self._rules.generation_prompt)
        return tuple(self._rules.finished(ids, prompt))

    def step_places(self, ids: Sequence[int]) -> tuple[int, ...]:
        """Return the positions of the step tokens."""
        return self._rules.step_places(ids)

    def _step_token(self, token: int | str) -> StepToken:
        if isinstance(token, int):
            return StepToken(token, self._tokenizer.text([token]))
        ids = self._tokenizer.ids(FormattedText(token), generation_prompt=False)
        if len(ids) != 1:
            raise ExportError(
                f"Cannot use the step token {token!r}: it is {len(ids)} tokens of this tokenizer, "
                "and must be a single token."
            )
        return StepToken(ids[0], token)
