"""Samples to token IDs without a server, by the tokenizer and the manifest of an export."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reward_client._base.samples import FormattedText, Sample, parse_sample
from reward_client._base.token_ids import TokenIds
from reward_client._tokenization import LocalTokenizer, PromptRules, StepToken
from reward_client._tokenization.local_tokenizer import is_plain
from reward_client.errors import ExportError, InputError
from reward_client.heads import StepHead
from reward_client.recipes import Recipe


class LocalTokens:
    """The token IDs that a client would send for a sample, given the manifest as its recipe.

    Raises:
        ExportError: The step token is none of this tokenizer's.
        InputError: The tokenizer cannot be loaded.
        ImportError: transformers is not installed.
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
            step=self._step(head.step_token) if isinstance(head, StepHead) else None,
        )

    def ids(self, sample: Sample) -> tuple[int, ...]:
        """The token IDs of a sample.

        Raises:
            InputError: The sample is none, or needs a server to prepare it; or there is no chat
                template, or it refuses the sample.
        """
        prompt = self._rules.with_steps(parse_sample(sample))
        if isinstance(prompt, TokenIds):
            return tuple(self._rules.finished(prompt, prompt))
        if not is_plain(prompt):
            raise InputError(
                "Tools, and content in parts, are prepared by a server before the chat template "
                "sees them: give this sample as token_ids."
            )
        ids = self._tokenizer.ids(prompt, generation_prompt=self._rules.generation_prompt)
        return tuple(self._rules.finished(ids, prompt))

    def step_places(self, ids: Sequence[int]) -> tuple[int, ...]:
        """Where the steps end."""
        return self._rules.step_places(ids)

    def _step(self, token: int | str) -> StepToken:
        if isinstance(token, int):
            return StepToken(token, self._tokenizer.text([token]))
        ids = self._tokenizer.ids(FormattedText(token), generation_prompt=False)
        if len(ids) != 1:
            raise ExportError(f"The step token {token!r} is {len(ids)} tokens of this tokenizer.")
        return StepToken(ids[0], token)
