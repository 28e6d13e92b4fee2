"""Checks of the server's tokenizer and chat template, with the requests that they need."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reward_client._base.results import TokenizedSample
from reward_client._base.samples import Conversation, Message, Prompt
from reward_client._base.token_ids import TokenIds
from reward_client._doctor import prompt_checks
from reward_client._doctor.error_findings import error_finding, without_hint
from reward_client._doctor.report import Finding, not_checked, ok, warning
from reward_client._protocols.http import Transport
from reward_client._protocols.tokenizing import detokenize, tokenize_prompt, tokenize_text
from reward_client._replicas.comparison import QUESTION, comparison_sample
from reward_client._server.identity import Identity
from reward_client._tokenization import LocalTokenizer, PromptRules, Tokenized
from reward_client._tokenization.local_tokenizer import Proof, is_plain
from reward_client.errors import (
    BadRequestError,
    InputError,
    RewardClientError,
    TokenizerMismatchError,
)

_SYSTEM = {"role": "system", "content": "You are a careful judge of answers."}
_SEVERAL_TURNS = (
    QUESTION,
    {"role": "assistant", "content": "That is 4."},
    {"role": "user", "content": "And twice as much?"},
)
# The turns before the answer, and the kind of conversations that a template refuses with them.
_TRIED: Sequence[tuple[Sequence[Message], str]] = (
    ((_SYSTEM, *_SEVERAL_TURNS), "system messages"),
    (_SEVERAL_TURNS, "conversations of several turns"),
)


@dataclass(frozen=True, slots=True)
class TokenChecks:
    """A tokenized sample with its checks.

    Attributes:
        sample: The sample.
        tokens: Its token IDs.
    """

    sample: Prompt
    tokens: TokenizedSample
    _transport: Transport
    _identity: Identity
    _rules: PromptRules
    _is_callers: bool
    _prompt: Prompt  # with step tokens
    _server_ids: TokenIds  # before the client adds a BOS
    _text: str
    _no_text: str  # the reason, if the text is unknown

    @classmethod
    async def begin(
        cls,
        transport: Transport,
        identity: Identity,
        rules: PromptRules,
        sample: Prompt,
        *,
        is_callers: bool,
    ) -> TokenChecks:
        """Tokenize a sample.

        Args:
            transport: The connection to the server.
            identity: The version and the model of the server.
            rules: The rules of the model's prompts.
            sample: The sample.
            is_callers: True if the caller gave it.

        Raises:
            RewardClientError: If the sample cannot be tokenized.
        """
        prompt = rules.with_steps(sample)
        server_ids = await tokenize_prompt(
            transport,
            identity.served,
            prompt,
            generation_prompt=rules.generation_prompt,
        )
        try:
            ids = rules.finished(server_ids, prompt)
        except InputError:
            ids = server_ids  # the check of the BOS, or the sample's reward, reports the reason
        text, no_text = "", ""
        try:
            text = await detokenize(transport, identity.served, ids)
        except RewardClientError as error:
            no_text = f"The server gave no text for the tokens: {without_hint(error)}"
        return cls(
            sample=sample,
            tokens=Tokenized(ids, rules.bos_count(ids), rules.max_model_len).sample(),
            _transport=transport,
            _identity=identity,
            _rules=rules,
            _is_callers=is_callers,
            _prompt=prompt,
            _server_ids=server_ids,
            _text=text,
            _no_text=no_text,
        )

    def tokenized(self) -> tuple[Finding, Finding]:
        """Report the tokens of the sample, and its BOS."""
        return (
            prompt_checks.tokens(len(self.tokens.token_ids), self._text),
            prompt_checks.bos(self._rules, self._server_ids, self._prompt),
        )

    async def generation_prompt(self) -> Finding:
        """Tokenize the sample without and with a generation prompt."""
        if not isinstance(self._prompt, Conversation):
            return not_checked("generation prompt", "The sample is not a conversation.")
        return prompt_checks.generation_prompt(
            await self._ids(self._prompt, generation_prompt=False),
            await self._ids(self._prompt, generation_prompt=True),
            required=self._rules.generation_prompt,
            text=self._text,
            turns=[str(message.get("content")) for message in self._prompt.messages[-2:]],
        )

    async def template(self) -> Finding:
        """Look for each message in the prompt of the caller's or a longer built-in conversation."""
        if self._no_text:
            return not_checked("template", self._no_text)
        if self._is_callers and isinstance(self._prompt, Conversation):
            lost = prompt_checks.lost_turns(self._prompt, self._text)
            return prompt_checks.template(lost, None)
        refused: str | None = None
        for turns, description in _TRIED:
            prompt = self._rules.with_steps(built_in(self._rules, turns))
            assert isinstance(prompt, Conversation)  # noqa: S101 - steps keep the type
            try:
                ids = await self._ids(prompt, generation_prompt=self._rules.generation_prompt)
            except BadRequestError:
                refused = description
                continue
            text = await detokenize(self._transport, self._identity.served, ids)
            return prompt_checks.template(prompt_checks.lost_turns(prompt, text), refused)
        return prompt_checks.template([], refused)

    async def text_path(self) -> Finding:
        """Tokenize the prompt's text without and with special tokens."""
        if self._no_text:
            return not_checked("text path", self._no_text)
        plain, special = [
            await tokenize_text(
                self._transport, self._identity.served, self._text, add_special_tokens=added
            )
            for added in (False, True)
        ]
        return prompt_checks.text_path(self.tokens.token_ids, plain, special)

    async def local_tokenizer(self) -> Finding:
        """Compare the tokenizer in the model's folder, if this machine has the folder."""
        root, prompt = self._identity.tokenizer_root, self._prompt
        if root is None or not await asyncio.to_thread(Path(root).is_dir):
            return not_checked("local tokenizer", "The model's folder is not on this machine.")
        if not is_plain(prompt):
            return not_checked("local tokenizer", "Only the server can tokenize such a sample.")
        local, opened = LocalTokenizer(root), self._rules.generation_prompt
        try:
            await asyncio.to_thread(local.load)
            local_ids = local.ids(prompt, generation_prompt=opened)
            Proof(local).compare(prompt, local_ids, self._server_ids, renders_answers=True)
        except TokenizerMismatchError as error:
            finding = error_finding("local tokenizer", error)
            return warning("local tokenizer", finding.detail, finding.cure or "")
        except (ImportError, InputError) as error:
            return not_checked("local tokenizer", str(error))
        return ok("local tokenizer", f"The tokenizer in {root} makes the same tokens.")

    async def _ids(self, prompt: Prompt, *, generation_prompt: bool) -> TokenIds:
        return await tokenize_prompt(
            self._transport,
            self._identity.served,
            prompt,
            generation_prompt=generation_prompt,
        )


def built_in(rules: PromptRules, turns: Sequence[Message] = (QUESTION,)) -> Conversation:
    """Return the built-in sample: these turns, and an answer."""
    return comparison_sample(turns, in_steps=rules.step is not None)
