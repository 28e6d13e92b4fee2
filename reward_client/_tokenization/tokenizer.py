"""Token IDs of prompts, by the server or a local tokenizer, by the rules and limit of the model."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from operator import attrgetter
from os import PathLike
from typing import NamedTuple, TypeAlias

from reward_client._base.options import OnControlTokens, OnOverlong
from reward_client._base.results import ServerProfile, TokenizedSample
from reward_client._base.samples import Conversation, FormattedText, Prompt
from reward_client._base.token_ids import TokenIds
from reward_client._protocols.engine import Served
from reward_client._protocols.engines import ENGINES
from reward_client._protocols.http import Transport
from reward_client._protocols.tokenizing import (
    conversation_request,
    tokenize_prompt,
    tokenize_text,
)
from reward_client._tokenization.control_tokens import check_contents, suspects, without_end
from reward_client._tokenization.local_tokenizer import (
    LocalTokenizer,
    Proof,
    check_plain,
    is_plain,
)
from reward_client._tokenization.notices import Notices
from reward_client._tokenization.prompt_rules import PromptRules
from reward_client._tokenization.shown_parts import Form, omissions
from reward_client._tokenization.truncation import fit
from reward_client.errors import (
    BadRequestError,
    InputError,
    PromptTooLongError,
    RouteNotFoundError,
    TokenizerMismatchError,
)

_HIDDEN = (
    "Cannot tokenize the sample: a gateway hides /tokenize, or the version of the server has none. "
    "Let the gateway forward it, give the model's tokenizer as tokenizer=, or score token IDs."
)

_WAYS = 4
"""Replicas of so many kinds at most make token IDs in turn."""

_logger = logging.getLogger("reward_client")

TokenizerChoice: TypeAlias = str | PathLike[str] | LocalTokenizer
"""``"server"``, ``"local"``, ``"auto"``, or the source of a local tokenizer."""


class Tokenized(NamedTuple):
    """The token IDs of a prompt. `TokenizedSample` explains the other attributes.

    Attributes:
        text: The text to send instead, for a server that takes no token IDs; it becomes the IDs.
    """

    ids: TokenIds
    bos_count: int
    max_model_len: int | None
    truncated: bool = False
    text: str | None = None

    @classmethod
    def of(cls, rules: PromptRules, ids: TokenIds, prompt: Prompt) -> Tokenized:
        """Apply the rules of the model to the token IDs of a prompt.

        Raises:
            InputError: If the token IDs cannot follow the rules.
        """
        finished = rules.finished(ids, prompt)
        return cls(finished, rules.bos_count(finished), rules.max_model_len)

    @property
    def size(self) -> int:
        """The number of tokens."""
        return self.ids.size

    @property
    def key(self) -> str:
        """A key that is equal for equal token IDs."""
        return self.ids.digest

    @property
    def fits(self) -> bool:
        """True if the server takes this many tokens."""
        return self.max_model_len is None or self.ids.size <= self.max_model_len

    def too_long(self, length_option: str) -> PromptTooLongError:
        """Build the error for more tokens than `max_model_len`, which a server's option sets."""
        return PromptTooLongError(
            f"The sample has {self.size} tokens, but the server takes {self.max_model_len} "
            "(max_model_len). Shorten the conversation, or start the server with a larger "
            f"{length_option}."
        )

    def sample(self) -> TokenizedSample:
        """Return the public form."""
        return TokenizedSample(
            token_ids=tuple(self.ids),
            max_model_len=self.max_model_len,
            bos_count=self.bos_count,
            truncated=self.truncated,
        )


def local_tokenizer(choice: TokenizerChoice, root: str | None) -> LocalTokenizer | None:
    """Return the local tokenizer of a choice, which is not loaded yet; None for ``"server"``.

    Args:
        choice: The source of token IDs.
        root: The path or hub name that the server loaded the tokenizer from.
    """
    if isinstance(choice, LocalTokenizer):
        return choice
    if choice == "server":
        return None
    return LocalTokenizer((root or "") if choice in ("local", "auto") else choice)


@dataclass(slots=True)
class _Known:
    """Findings about a server, or about replicas with the same way to token IDs.

    Attributes:
        profile: The server.
        shown: The forms of parts that the template shows.
        is_control: For each text that may be a control token, if it is one.
        proof: The proof of the local tokenizer, if it has begun.
    """

    profile: ServerProfile
    shown: set[Form] = field(default_factory=set[Form])
    is_control: dict[str, bool] = field(default_factory=dict[str, bool])
    proof: Proof | None = None


class Tokenizer:
    """Tokenizes prompts for one server, or for replicas.

    Args:
        choice: The source of token IDs.
        on_overlong: The treatment of conversations that are too long.
        on_control_tokens: The treatment of contents that hold control tokens.
    """

    def __init__(
        self,
        choice: TokenizerChoice,
        on_overlong: OnOverlong,
        on_control_tokens: OnControlTokens = "raise",
    ) -> None:
        self._choice = choice
        self._on_overlong: OnOverlong = on_overlong
        self._on_control_tokens: OnControlTokens = on_control_tokens
        self._known: deque[_Known] = deque(maxlen=_WAYS)
        self._loading = asyncio.Lock()
        self._rendering = asyncio.Lock()
        self._notices = Notices()

    def take_over(self, earlier: Tokenizer) -> None:
        """Continue the proofs of an event loop that has ended."""
        for known in earlier._known:
            proof = None
            if known.proof is not None:
                proof = Proof(known.proof.tokenizer)
                proof.take_over(known.proof)
            self._known.append(replace(known, proof=proof))

    async def tokenize_locally(
        self, profile: ServerProfile, rules: PromptRules, prompts: Sequence[Prompt]
    ) -> list[Tokenized | InputError | None]:
        """Return the token IDs that need no request; None for prompts that the server tokenizes.

        These are token IDs, and prompts of a form for which the local tokenizer is proven. An error
        stands in the place of a prompt that is wrong.

        Args:
            profile: The server, or the first of several equal ones.
            rules: The rules for its prompts.
            prompts: The prompts.
        """
        tokenized: list[Tokenized | InputError | None] = []
        plain: dict[int, Conversation | FormattedText] = {}
        for index, prompt in enumerate(prompts):
            made: Tokenized | InputError | None = None
            try:
                if isinstance(prompt, TokenIds):
                    made = Tokenized.of(rules, prompt, rules.with_question(prompt))
                elif self._choice != "server" and not self._suspects(profile, rules, prompt):
                    stepped = rules.with_question(rules.with_steps(prompt))
                    if is_plain(stepped):
                        plain[index] = stepped
            except InputError as error:
                made = error
            tokenized.append(made)
        if plain:
            for index, made in (await self._locally(profile, rules, plain)).items():
                tokenized[index] = made
        return tokenized

    async def tokenize(
        self, transport: Transport, profile: ServerProfile, rules: PromptRules, prompt: Prompt
    ) -> Tokenized:
        """Return the token IDs of a prompt by the server, however many there are.

        A local tokenizer is compared with the server.

        Args:
            transport: The connection to the server.
            profile: The server, or the first of several equal ones.
            rules: The rules for its prompts.
            prompt: The prompt.

        Raises:
            InputError: If the prompt cannot follow the rules, or needs something that this server
                would silently ignore.
            TokenizerMismatchError: If a local tokenizer gives other IDs than the server.
            ImportError: If a local tokenizer needs transformers, which is not installed.
            RewardClientError: As `Transport.send`.
        """
        prompt = await self.cleaned(transport, profile, rules, prompt)
        prompt = rules.with_steps(prompt)
        whole = await self._tokenized(transport, profile, rules, prompt)
        if whole.fits or self._on_overlong == "raise" or not isinstance(prompt, Conversation):
            return whole

        async def fitting(shorter: Conversation) -> Tokenized | None:
            (local,) = await self.tokenize_locally(profile, rules, [shorter])
            kept = local or await self._tokenized(transport, profile, rules, shorter)
            if isinstance(kept, InputError):
                raise kept
            return kept if kept.fits else None

        kept = await fit(prompt, fitting)
        return whole if kept is None else kept._replace(truncated=True)

    async def cleaned(
        self, transport: Transport, profile: ServerProfile, rules: PromptRules, prompt: Prompt
    ) -> Prompt:
        """Return a prompt without control tokens in contents, as `on_control_tokens` says.

        The server is asked once for each text whether it is a token.

        Raises:
            InputError: If a content holds a control token that is not to be stripped.
            RewardClientError: As `Transport.send`.
        """
        found = self._suspects(profile, rules, prompt)
        if not found or not isinstance(prompt, Conversation):
            return prompt
        is_control = self._know(profile).is_control
        for text in found:
            if text in rules.headers:
                is_control[text] = True
            elif text not in is_control:
                ids = await self._text_ids(transport, profile, rules, text)
                is_control[text] = len(ids) == 1
        control = [text for text in found if is_control[text]]
        if control and self._on_control_tokens == "strip":
            prompt = without_end(prompt, control)
            left = self._suspects(profile, rules, prompt)
            control = [text for text in left if text in control]
        check_contents(prompt, control)
        return prompt

    async def _text_ids(
        self, transport: Transport, profile: ServerProfile, rules: PromptRules, text: str
    ) -> Sequence[int]:
        """Return the token IDs of a part of a content, by whoever tokenizes the whole."""
        if rules.server_tokenizes:
            return await tokenize_text(transport, _served(profile), text, add_special_tokens=False)
        return await self._without_server(transport, profile, rules, FormattedText(text))

    def may_hold_control_tokens(
        self, profile: ServerProfile, rules: PromptRules, prompt: Prompt
    ) -> bool:
        """Return True if `cleaned` would look further."""
        return bool(self._suspects(profile, rules, prompt))

    def _suspects(self, profile: ServerProfile, rules: PromptRules, prompt: Prompt) -> list[str]:
        if self._on_control_tokens == "allow":
            return []
        is_control = self._know(profile).is_control
        step = rules.step.text if rules.step is not None else None
        return [
            text
            for text in suspects(prompt, rules.headers)
            if text != step and is_control.get(text, True)
        ]

    def _know(self, profile: ServerProfile) -> _Known:
        """Return what is known about a server; nothing about one that was not among the last."""
        for known in self._known:
            if known.profile is profile:
                return known
        self._known.appendleft(_Known(profile))
        return self._known[0]

    async def _tokenized(
        self, transport: Transport, profile: ServerProfile, rules: PromptRules, prompt: Prompt
    ) -> Tokenized:
        asked = rules.with_question(prompt)
        made = Tokenized.of(rules, await self._ids(transport, profile, rules, asked), asked)
        self._notices.note(rules, prompt, made.size)
        return made

    async def _locally(
        self,
        profile: ServerProfile,
        rules: PromptRules,
        prompts: Mapping[int, Conversation | FormattedText],
    ) -> dict[int, Tokenized | InputError]:
        proof = await self._proof_for(profile, rules)
        if proof.failure is not None:
            return {}
        proven = {
            index: prompt
            for index, prompt in prompts.items()
            if (
                proof.spot_checks.may_skip(prompt)
                if rules.server_tokenizes
                else self._is_shown(profile, prompt)
            )
        }
        if not proven:
            return {}
        # One group at a time: several at once would all finish late, and would hold Python's lock
        # while the event loop could already send the first ones.
        async with self._rendering:
            lists = await asyncio.to_thread(
                proof.tokenizer.ids_of_each,
                [*proven.values()],
                generation_prompt=rules.generation_prompt,
            )
        made: dict[int, Tokenized | InputError] = {}
        for (index, prompt), ids in zip(proven.items(), lists, strict=True):
            if ids is None:
                continue
            try:
                tokenized = Tokenized.of(rules, ids, prompt)
            except InputError as error:
                made[index] = error
                continue
            if tokenized.fits or self._on_overlong == "raise":
                self._notices.note(rules, prompt, tokenized.size)
                made[index] = tokenized
        return made

    async def _ids(
        self, transport: Transport, profile: ServerProfile, rules: PromptRules, prompt: Prompt
    ) -> TokenIds:
        if not rules.server_tokenizes:
            return await self._without_server(transport, profile, rules, prompt)
        if self._choice == "server" or not is_plain(prompt):
            return await self._server_ids(transport, profile, rules, prompt)
        proof = await self._proof_for(profile, rules)
        if proof.failure is None:
            async with proof.spot_checks.turn(prompt) as is_due:
                return await self._local_ids(
                    transport, profile, rules, prompt, proof, is_due=is_due
                )
        if self._choice == "auto":
            return await self._server_ids(transport, profile, rules, prompt)
        raise copy(proof.failure) from proof.failure

    async def _without_server(
        self, transport: Transport, profile: ServerProfile, rules: PromptRules, prompt: Prompt
    ) -> TokenIds:
        """Return the token IDs by the local tokenizer, which discovery compared with the server."""
        if isinstance(prompt, TokenIds):
            return prompt
        if self._choice == "server":
            raise RouteNotFoundError(
                f"{_HIDDEN} {rules.tokenize_refusal}".rstrip(),
                status=404,
                endpoint=f"POST {transport.url}{_served(profile).engine.tokenize_path}",
            )
        check_plain(prompt)
        proof = await self._proof_for(profile, rules)
        if proof.failure is not None:
            raise copy(proof.failure) from proof.failure

        async def ids_of(prompt: Prompt) -> TokenIds:
            if isinstance(prompt, TokenIds):
                return prompt
            return await asyncio.to_thread(
                proof.tokenizer.ids, prompt, generation_prompt=rules.generation_prompt
            )

        ids = await ids_of(prompt)
        await self._check_shown(profile, prompt, ids, ids_of)
        return ids

    async def _local_ids(
        self,
        transport: Transport,
        profile: ServerProfile,
        rules: PromptRules,
        prompt: Conversation | FormattedText,
        proof: Proof,
        *,
        is_due: bool,
    ) -> TokenIds:
        opened = rules.generation_prompt
        try:
            local = await asyncio.to_thread(proof.tokenizer.ids, prompt, generation_prompt=opened)
        except InputError:
            if self._choice != "auto":
                raise
            return await self._server_ids(transport, profile, rules, prompt)
        if not is_due:
            return local
        server = await self._server_ids(transport, profile, rules, prompt)
        is_news = proof.failure is None
        try:
            proof.compare(prompt, local, server, renders_answers=_served(profile).renders_answers)
        except TokenizerMismatchError as error:
            if self._choice != "auto" or proof.spot_checks.is_proven(prompt):
                raise
            if is_news:
                _logger.warning("the server tokenizes from now on: %s", type(error).__name__)
        return server

    async def _server_ids(
        self, transport: Transport, profile: ServerProfile, rules: PromptRules, prompt: Prompt
    ) -> TokenIds:
        """Return the token IDs by the server, whose template must show all parts of the prompt.

        A name that it leaves out is logged once.

        Raises:
            InputError: If the template leaves out a part.
            RewardClientError: As `tokenize`.
        """

        async def ids_of(prompt: Prompt) -> TokenIds:
            return await _server_ids(transport, profile, rules, prompt)

        ids = await ids_of(prompt)
        await self._check_shown(profile, prompt, ids, ids_of)
        return ids

    def _is_shown(self, profile: ServerProfile, prompt: Prompt) -> bool:
        """Return True if `_check_shown` would look no further."""
        if not isinstance(prompt, Conversation) or not prompt.chat_template_kwargs:
            return True
        return not any(omissions(prompt, self._know(profile).shown))

    async def _check_shown(
        self,
        profile: ServerProfile,
        prompt: Prompt,
        ids: TokenIds,
        ids_of: Callable[[Prompt], Awaitable[TokenIds]],
    ) -> None:
        """Check once for each form that the template shows the parts of a prompt.

        Raises:
            InputError: If the template leaves out a part.
            RewardClientError: As `ids_of`.
        """
        if not isinstance(prompt, Conversation):
            return
        shown = self._know(profile).shown
        for part, form, rests, is_content in omissions(prompt, shown):
            if await _is_left_out(rests, ids, ids_of):
                if is_content:
                    raise InputError(
                        f"Cannot score this conversation: the chat template of the model leaves "
                        f"out its {part}. Write it into content as the model writes it, or leave "
                        "it out."
                    )
                _logger.warning(
                    "the chat template of the model leaves out the %s: write it into content if "
                    "the model must see it",
                    part,
                )
            shown.add(form)

    async def _proof_for(self, profile: ServerProfile, rules: PromptRules) -> Proof:
        """Return the proof for this server; another server starts a new one."""
        async with self._loading:
            known = self._know(profile)
            if known.proof is None:
                known.proof = await self._begun_proof(profile, rules)
            return known.proof

    async def _begun_proof(self, profile: ServerProfile, rules: PromptRules) -> Proof:
        proof = Proof(self._local(profile))
        try:
            await asyncio.to_thread(proof.tokenizer.load)
        except (InputError, ImportError) as error:
            proof.failure = error
            # Of any other server, discovery has said it.
            if (
                self._choice == "auto"
                and rules.server_tokenizes
                and _served(profile).renders_answers
            ):
                _logger.warning("the server tokenizes: %s", error)
        return proof

    def _local(self, profile: ServerProfile) -> LocalTokenizer:
        return local_tokenizer(self._choice, profile.tokenizer_root) or LocalTokenizer("")


async def _is_left_out(
    rests: Sequence[Conversation],
    ids: TokenIds,
    ids_of: Callable[[Prompt], Awaitable[TokenIds]],
) -> bool:
    """Return True if no rest gives other token IDs."""
    for rest in rests:
        try:
            if await ids_of(rest) != ids:
                return False
        except (BadRequestError, InputError):  # a template that needs the part shows it
            return False
    return True


async def _server_ids(
    transport: Transport, profile: ServerProfile, rules: PromptRules, prompt: Prompt
) -> TokenIds:
    own = _served(profile)._replace(renderer=rules.renderer)
    opened, continues = rules.generation_prompt, rules.continues
    if rules.others and isinstance(prompt, Conversation):
        # Always in the same order, so that the error is the same as well.
        for served in sorted((own, *rules.others), key=attrgetter("way")):
            conversation_request(served, prompt, generation_prompt=opened, continues=continues)
    return await tokenize_prompt(
        transport,
        own,
        prompt,
        generation_prompt=opened,
        continues=continues,
    )


def _served(profile: ServerProfile) -> Served:
    return Served(ENGINES[profile.engine], profile.model, profile.version)
