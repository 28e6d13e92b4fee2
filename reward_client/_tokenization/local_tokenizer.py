"""A tokenizer on the client, and the proof that it gives the server's token IDs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from os import PathLike, fspath
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeGuard

from reward_client._base.choices import check_flags
from reward_client._base.samples import Conversation, FormattedText, Message, Prompt
from reward_client._base.sequences import common_prefix_length
from reward_client._base.token_ids import TokenIds, checked
from reward_client._tokenization.spot_checks import INTERVAL, SpotChecks
from reward_client.errors import (
    InputError,
    TemplateUnavailableError,
    TokenizerMismatchError,
    TokenizerUnavailableError,
)

_SHOWN_TOKENS = 6
_HUB_NAME = re.compile(r"\w[\w.-]*(/[\w.-]+)?")
# A macro of the template goes before the function of transformers. No pattern gives "-1", which is
# the text of a number in case the template counts. The other one keeps line breaks alike.
_NO_CLOCK = "{% macro strftime_now(pattern) %}-1{% endmacro %}"
_SOME_CLOCK = _NO_CLOCK.replace("now", "then")


class LocalTokenizer:
    """A model's tokenizer and chat template on the client, by transformers (extra ``local``).

    Args:
        source: A folder with the model's tokenizer files, or its name on the Hugging Face hub.
        trust_remote_code: True runs Python code that comes with the tokenizer. Otherwise such a
            tokenizer is an error.

    Raises:
        InputError: If an option is invalid.
    """

    def __init__(self, source: str | PathLike[str], *, trust_remote_code: bool = False) -> None:
        check_flags(trust_remote_code=trust_remote_code)
        self.source = fspath(source)
        self.trust_remote_code = trust_remote_code
        self._tokenizer: Any = None  # transformers is not typed

    def load(self) -> None:
        """Load the tokenizer, which takes seconds the first time.

        Raises:
            InputError: If loading fails.
            ImportError: If transformers is not installed.
        """
        if self._tokenizer is not None:
            return
        if not self.source:
            raise TokenizerUnavailableError(
                "Cannot find the tokenizer: the server hides the source of its model. Give the "
                "tokenizer's folder or name as tokenizer=."
            )
        self._tokenizer = load_tokenizer(
            self.source, trust_remote_code=self.trust_remote_code, needed_by="tokenizer="
        )

    def ids(self, prompt: Conversation | FormattedText, *, generation_prompt: bool) -> TokenIds:
        """Return the token IDs of a plain prompt, as ``/tokenize`` would.

        Raises:
            InputError: If the tokenizer has no chat template, the template refuses the
                conversation, the prompt has no tokens, or an option is invalid.
        """
        check_flags(generation_prompt=generation_prompt)
        (ids,) = self._encoded([self._text_of(prompt, generation_prompt=generation_prompt)])
        return ids

    def ids_of_each(
        self, prompts: Sequence[Conversation | FormattedText], *, generation_prompt: bool
    ) -> list[TokenIds | None]:
        """Return the token IDs of many prompts at once; None for those that `ids` would refuse."""
        check_flags(generation_prompt=generation_prompt)
        results: list[TokenIds | None] = [None] * len(prompts)
        texts = self._texts_of(prompts, generation_prompt=generation_prompt)
        with suppress(InputError):
            lists = self._encoded([*texts.values()])
            for index, ids in zip(texts, lists, strict=True):
                results[index] = ids
        return results

    def _texts_of(
        self, prompts: Sequence[Conversation | FormattedText], *, generation_prompt: bool
    ) -> dict[int, str]:
        """Return the texts that the template accepts, by the index of their prompt."""
        bare = [
            prompt.messages
            for prompt in prompts
            if isinstance(prompt, Conversation) and prompt.chat_template_kwargs is None
        ]
        if len(bare) == len(prompts):
            with suppress(InputError):  # one call takes a third less time
                rendered = render(self._tokenizer, bare, generation_prompt=generation_prompt)
                return dict(enumerate(rendered))
        texts: dict[int, str] = {}
        for index, prompt in enumerate(prompts):
            with suppress(InputError):
                texts[index] = self._text_of(prompt, generation_prompt=generation_prompt)
        return texts

    def _text_of(self, prompt: Conversation | FormattedText, *, generation_prompt: bool) -> str:
        if isinstance(prompt, FormattedText):
            return prompt.text
        arguments = prompt.chat_template_kwargs or {}
        (text,) = render(
            self._tokenizer, [prompt.messages], arguments, generation_prompt=generation_prompt
        )
        return text

    def rendered(self, conversation: Conversation, *, generation_prompt: bool) -> str:
        """Return the text of a conversation, as the chat template writes it.

        Raises:
            InputError: If the tokenizer has no chat template, the template refuses the
                conversation, or the conversation has tools or contents in parts.
        """
        check_flags(generation_prompt=generation_prompt)
        check_plain(conversation)
        return self._text_of(conversation, generation_prompt=generation_prompt)

    def shown(
        self, conversation: Conversation, *, generation_prompt: bool, knows_day: bool = True
    ) -> str:
        """Return the text that the chat template writes.

        Args:
            conversation: The conversation.
            generation_prompt: True opens another assistant turn at the end.
            knows_day: False gives the template the time of no day.

        Raises:
            InputError: If the tokenizer has no chat template, or the template refuses the
                conversation or the time.
        """
        check_flags(generation_prompt=generation_prompt, knows_day=knows_day)
        clock = _SOME_CLOCK if knows_day else _NO_CLOCK
        arguments = {
            **(conversation.chat_template_kwargs or {}),
            "chat_template": clock + _template_of(self._tokenizer),
        }
        (text,) = render(
            self._tokenizer, [conversation.messages], arguments, generation_prompt=generation_prompt
        )
        return text

    def text_ids(self, text: str, *, add_special_tokens: bool) -> TokenIds:
        """Return the token IDs of plain text, as ``/tokenize`` would.

        Raises:
            InputError: If an option is invalid.
        """
        check_flags(add_special_tokens=add_special_tokens)
        return TokenIds.of(self._tokenizer.encode(text, add_special_tokens=add_special_tokens))

    @property
    def bos_token_id(self) -> int | None:
        """The BOS token, if the tokenizer has one."""
        token: int | None = self._tokenizer.bos_token_id
        return token

    @property
    def vocabulary_size(self) -> int:
        """The number of token IDs, added ones included."""
        return len(self._tokenizer)

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of token IDs, special tokens included."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))

    def _encoded(self, texts: Sequence[str]) -> list[TokenIds]:
        # The same work as in transformers, without the offsets into the text: a third less CPU.
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        if backend is None:
            lists_of_ids = self._tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        else:
            encoded = backend.encode_batch_fast(list(texts), add_special_tokens=False)
            lists_of_ids = [encoding.ids for encoding in encoded]
        lists = [checked(ids) for ids in lists_of_ids]
        whole = [ids for ids in lists if ids]
        if len(whole) != len(lists):
            raise InputError(
                f"Cannot tokenize a prompt: the tokenizer of {self.source!r} gives no token IDs."
            )
        return whole

    def __repr__(self) -> str:
        return f"LocalTokenizer({self.source!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LocalTokenizer) or {type(self), type(other)} != {LocalTokenizer}:
            return self is other  # a subclass may hold anything
        return self.__getstate__() == other.__getstate__()

    def __hash__(self) -> int:
        return hash(self.source)

    def __getstate__(self) -> tuple[str, bool]:
        return self.source, self.trust_remote_code

    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.source, self.trust_remote_code = state
        self._tokenizer = None


def load_tokenizer(source: str, *, trust_remote_code: bool, needed_by: str) -> Any:
    """Load a tokenizer from a folder or by its name on the hub.

    Raises:
        InputError: If loading fails.
        ImportError: If transformers is not installed.
    """
    try:
        transformers = import_module("transformers")  # its types double the time of the checkers
    except ImportError as error:
        raise ImportError(
            f"{needed_by} needs transformers: pip install 'reward-client[local]'."
        ) from error
    try:
        load = transformers.AutoTokenizer.from_pretrained
        tokenizer: Any = load(source, trust_remote_code=trust_remote_code)
        # The first call switches off the truncation and padding of the files. In transformers 4,
        # doing so is an error while another thread encodes.
        tokenizer.encode("", add_special_tokens=False)
    except Exception as error:
        is_missing = _HUB_NAME.fullmatch(source) is None and not Path(source).exists()
        why = "there is no such folder here." if is_missing else error
        raise TokenizerUnavailableError(
            f"Cannot load the tokenizer of {source!r}: {why}"
        ) from error
    return tokenizer


def render(
    tokenizer: Any,
    conversations: Sequence[Sequence[Message]],
    arguments: Mapping[str, object] = MappingProxyType({}),
    *,
    generation_prompt: bool,
) -> list[str]:
    """Render conversations by a tokenizer's chat template.

    Raises:
        TemplateUnavailableError: If there is no template, or it is broken.
        InputError: If the template refuses a conversation.
    """
    try:
        texts: list[str] = tokenizer.apply_chat_template(
            [[dict(message) for message in messages] for messages in conversations],
            tokenize=False,
            add_generation_prompt=generation_prompt,
            continue_final_message=False,
            **arguments,
        )
    except Exception as error:
        _template_of(tokenizer)
        if type(error).__name__ == "TemplateSyntaxError":  # of jinja2, which transformers imports
            raise TemplateUnavailableError(
                "Cannot render the conversation: the chat template of "
                f"{tokenizer.name_or_path!r} has a syntax error: {error}. Correct it, or give "
                "FormattedText or token IDs."
            ) from error
        raise InputError(f"The chat template refuses the conversation: {error}") from error
    return texts


def _template_of(tokenizer: Any) -> str:
    try:
        template: str = tokenizer.get_chat_template()
    except Exception as error:
        raise TemplateUnavailableError(
            f"Cannot render the conversation: the tokenizer of {tokenizer.name_or_path!r} has no "
            "chat template. Give the tokenizer of a folder that has one, or give FormattedText or "
            "token IDs."
        ) from error
    return template


def check_plain(prompt: Prompt) -> None:
    """Refuse a prompt of which only a server makes token IDs.

    Raises:
        InputError: If a local tokenizer cannot render it as the server does.
    """
    if not is_plain(prompt):
        raise InputError(
            "Cannot render the conversation here: only a server renders tools, contents in parts, "
            "and further keys of messages. Render it by the model's template and give "
            "FormattedText, or serve the model with vLLM, and let gateways forward /tokenize. For "
            "SGLang only text may be in parts, from 0.5.23 on; images need method=Messages()."
        )


def is_plain(prompt: Prompt) -> TypeGuard[Conversation | FormattedText]:
    """Return whether a local tokenizer can render a prompt as the server does.

    vLLM rewrites content in parts, and the arguments of tool calls, before it renders the template.
    The server tokenizes such conversations.
    """
    if isinstance(prompt, Conversation):
        return prompt.tools is None and all(
            set(message) == {"role", "content"} and isinstance(message["content"], str)
            for message in prompt.messages
        )
    return isinstance(prompt, FormattedText)


class Proof:
    """The proof that a local tokenizer gives the server's token IDs, on spot checks.

    Attributes:
        tokenizer: The local tokenizer.
        failure: The error, if the tokenizer cannot be loaded or disagreed.
        spot_checks: The prompts that are compared.
    """

    def __init__(self, tokenizer: LocalTokenizer) -> None:
        self.tokenizer = tokenizer
        self.failure: InputError | ImportError | None = None
        self.spot_checks = SpotChecks()

    def take_over(self, earlier: Proof) -> None:
        """Continue the proof of an event loop that has ended."""
        self.failure = earlier.failure
        self.spot_checks.take_over(earlier.spot_checks)

    def compare(
        self,
        prompt: Conversation | FormattedText,
        local: Sequence[int],
        server: Sequence[int],
        *,
        renders_answers: bool,
    ) -> None:
        """Compare the token IDs of a prompt.

        Args:
            prompt: The prompt.
            local: Its token IDs by the local tokenizer.
            server: Its token IDs by the server.
            renders_answers: True if the server could do without a local tokenizer.

        Raises:
            TokenizerMismatchError: If they differ.
        """
        if list(local) == list(server):
            self.spot_checks.mark_agreed(prompt)
            return
        position = common_prefix_length(local, server)
        piece = slice(max(0, position - 1), position + _SHOWN_TOKENS)
        late = (
            f" Up to {INTERVAL} samples since the last comparison may have been scored with wrong "
            "token IDs."
        )
        failure = TokenizerMismatchError(
            f"The tokenizer of {self.tokenizer.source!r} gives other token IDs than the server's "
            f"/tokenize, first at position {position}: {self.tokenizer.text(local[piece])!r} here, "
            f"{self.tokenizer.text(server[piece])!r} there. Its files or its chat template differ "
            "from those of the server. Give the tokenizer of the served model"
            + (', or tokenizer="server".' if renders_answers else ".")
            + (late if self.spot_checks.is_proven(prompt) else "")
        )
        self.failure = failure
        raise failure
