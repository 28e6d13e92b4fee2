"""What the server's tokenizer and chat template make of a sample: what is asked to find out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reward_client._base.results import TokenizedSample
from reward_client._base.samples import Conversation, Message, Prompt
from reward_client._base.token_ids import TokenIds
from reward_client._doctor import prompt_checks as prompts
from reward_client._doctor.error_findings import failure, what_happened
from reward_client._doctor.findings import not_checked, ok, warning
from reward_client._doctor.report import Finding
from reward_client._protocols.http import Transport
from reward_client._protocols.vllm.tokenize import (
    detokenize,
    tokenize_prompt,
    tokenize_text,
)
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
_QUESTION = {"role": "user", "content": "What is 2 + 2?"}
_ANSWER = ("Two and two are added.", "2 + 2 = 4.")
_SEVERAL_TURNS = (
    _QUESTION,
    {"role": "assistant", "content": "That is 4."},
    {"role": "user", "content": "And twice as much?"},
)
# What a chat template is tried on, and what it refuses if it refuses that.
_TRIED: Sequence[tuple[Sequence[Message], str]] = (
    ((_SYSTEM, *_SEVERAL_TURNS), "system messages"),
    (_SEVERAL_TURNS, "conversations of several turns"),
)


@dataclass(frozen=True, slots=True)
class ServerTokenizer:
    """The server's tokenizer, and what is known of the prompts that it makes.

    Attributes:
        max_model_len: The most tokens that the server takes, if it says so.
    """

    transport: Transport
    identity: Identity
    rules: PromptRules
    max_model_len: int | None

    async def ids(self, prompt: Prompt, *, opened: bool | None = None) -> TokenIds:
        """The token IDs of a prompt.

        Args:
            prompt: With its step tokens.
            opened: Whether another turn is opened; None for what the model needs.
        """
        return await tokenize_prompt(
            self.transport,
            self.identity.model,
            self.identity.version,
            prompt,
            generation_prompt=self.rules.generation_prompt if opened is None else opened,
        )

    async def text(self, ids: Sequence[int]) -> str:
        """The text of token IDs."""
        return await detokenize(self.transport, self.identity.model, ids)

    async def text_ids(self, text: str, *, add_special_tokens: bool) -> TokenIds:
        """The token IDs of a text."""
        return await tokenize_text(
            self.transport, self.identity.model, text, add_special_tokens=add_special_tokens
        )


@dataclass(frozen=True, slots=True)
class TokenChecks:
    """A sample that was tokenized, and what is then looked at.

    Attributes:
        sample: What is scored.
        tokens: Its token IDs.
    """

    sample: Prompt
    tokens: TokenizedSample
    _server: ServerTokenizer
    _is_given: bool
    _prompt: Prompt
    _made: TokenIds
    _text: str
    _textless: str

    @classmethod
    async def begin(cls, server: ServerTokenizer, given: Prompt | None) -> TokenChecks:
        """Tokenizes a sample.

        Args:
            server: Makes the token IDs.
            given: The caller's sample; None for one of the doctor's own.

        Raises:
            RewardClientError: It cannot be tokenized.
        """
        rules = server.rules
        sample = _own_conversation(rules, [_QUESTION]) if given is None else given
        prompt = rules.with_steps(sample)
        made = await server.ids(prompt)
        try:
            ids = rules.finished(made, prompt)
        except InputError:
            ids = made  # the check of the BOS, or the sample's reward, will say why
        text, textless = "", ""
        try:
            text = await server.text(ids)
        except RewardClientError as error:
            textless = f"The tokens are not to be had as text: {what_happened(error)}"
        return cls(
            sample=sample,
            tokens=Tokenized(ids, rules.bos_count(ids), server.max_model_len).sample(),
            _server=server,
            _is_given=given is not None,
            _prompt=prompt,
            _made=made,
            _text=text,
            _textless=textless,
        )

    def tokenized(self) -> tuple[Finding, Finding]:
        """What the sample became, and how it starts."""
        return (
            prompts.tokens(len(self.tokens.token_ids), self._text),
            prompts.bos(self._server.rules, self._made, self._prompt),
        )

    async def generation_prompt(self) -> Finding:
        """With and without it."""
        if not isinstance(self._prompt, Conversation):
            return not_checked("generation prompt", "The sample is no conversation.")
        return prompts.generation_prompt(
            await self._server.ids(self._prompt, opened=False),
            await self._server.ids(self._prompt, opened=True),
            demanded=self._server.rules.generation_prompt,
            text=self._text,
            turns=[str(message.get("content")) for message in self._prompt.messages[-2:]],
        )

    async def template(self) -> Finding:
        """The caller's conversation, or one with a system message and several turns."""
        if self._textless:
            return not_checked("template", self._textless)
        if self._is_given and isinstance(self._prompt, Conversation):
            return prompts.template(prompts.lost_turns(self._prompt, self._text), None)
        rules, refusal = self._server.rules, None
        for messages, refused in _TRIED:
            prompt = rules.with_steps(_own_conversation(rules, messages))
            assert isinstance(prompt, Conversation)  # noqa: S101 - steps keep the kind
            try:
                ids = await self._server.ids(prompt)
            except BadRequestError:
                refusal = refused
                continue
            lost = prompts.lost_turns(prompt, await self._server.text(ids))
            return prompts.template(lost, refusal)
        return prompts.template([], refusal)

    async def text_path(self) -> Finding:
        """The prompt's text, as it is and with special tokens."""
        if self._textless:
            return not_checked("text path", self._textless)
        plain, special = [
            await self._server.text_ids(self._text, add_special_tokens=added)
            for added in (False, True)
        ]
        return prompts.text_path(self.tokens.token_ids, plain, special)

    async def local_tokenizer(self) -> Finding:
        """The tokenizer of the model's folder, where that lies on this machine."""
        root, prompt = self._server.identity.root, self._prompt
        if root is None or not await asyncio.to_thread(Path(root).is_dir):
            return not_checked("local tokenizer", "The model's folder is not on this machine.")
        if not is_plain(prompt):
            return not_checked("local tokenizer", "The sample is of a kind that servers prepare.")
        local, opened = LocalTokenizer(root), self._server.rules.generation_prompt
        try:
            await asyncio.to_thread(local.load)
            Proof(local).compare(prompt, local.ids(prompt, generation_prompt=opened), self._made)
        except TokenizerMismatchError as error:
            found = failure("local tokenizer", error)
            return warning("local tokenizer", found.detail, found.cure or "")
        except (ImportError, InputError) as error:
            return not_checked("local tokenizer", str(error))
        return ok("local tokenizer", f"That of {root} makes the same tokens as the server.")


def _own_conversation(rules: PromptRules, messages: Sequence[Message]) -> Conversation:
    """The messages with the doctor's answer: in steps, where steps are scored."""
    if rules.step is not None:
        return Conversation(messages, steps=_ANSWER)
    return Conversation([*messages, {"role": "assistant", "content": " ".join(_ANSWER)}])
