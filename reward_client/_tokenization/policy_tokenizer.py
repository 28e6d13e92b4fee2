"""The tokenizer of a policy: the text of token IDs, and the rendering of messages."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from itertools import takewhile
from os import PathLike, fspath
from typing import Any, cast

from reward_client._base.samples import Message
from reward_client._base.wording import describe_type
from reward_client._tokenization.local_tokenizer import load_tokenizer, render
from reward_client.errors import InputError, TokenizerMismatchError

_PROBE = "A b."


class PolicyTokenizer:
    """A policy's tokenizer, by transformers.

    Args:
        given: A folder, a name on the Hugging Face hub, or a tokenizer of transformers.
        trust_remote_code: True runs Python code that comes with a folder or a name.

    Attributes:
        name: The source of the tokenizer.
        eos: The text of the EOS token; empty if there is none.
        special: The texts of all special tokens, and of other tokens that separate turns.

    Raises:
        InputError: If the tokenizer cannot be loaded, or has no chat template.
        ImportError: If transformers is not installed.
    """

    def __init__(self, given: object, *, trust_remote_code: bool) -> None:
        self._tokenizer = _loaded(given, trust_remote_code=trust_remote_code)
        self.name = str(self._tokenizer.name_or_path) or type(self._tokenizer).__name__
        self.eos: str = self._tokenizer.eos_token or ""
        self._pad: str = self._tokenizer.pad_token or ""
        self._vocabulary = frozenset(self._tokenizer.get_vocab().values())
        self._exact = True
        roles = ("user", "assistant") * 2
        example = self.rendered([{"role": role, "content": _PROBE} for role in roles])
        # In some files, the tokens between turns are not marked as special.
        self._special = {
            token: str(added.content)
            for token, added in self._tokenizer.added_tokens_decoder.items()
            if added.special or str(added.content) in example
        }
        self.special = frozenset(self._special.values())
        self._special_text = re.compile(any_of(self.special))
        ids = self._ids(example)
        # Some tokenizers put a space after each special token. Then decoded texts are compared.
        self._exact = self._decoded(ids) == example
        self._bos = [token for token in ids[:1] if token == self._tokenizer.bos_token_id]

    def rendered(self, messages: Sequence[Message], *, generation_prompt: bool = False) -> str:
        """Render messages, as the tokenizer decodes them.

        Raises:
            InputError: If the template refuses the messages.
        """
        (text,) = render(self._tokenizer, [messages], generation_prompt=generation_prompt)
        return text if self._exact else self._decoded(self._ids(text))

    def text(self, token_ids: Sequence[int]) -> str:
        """Return the text of a whole conversation, without padding, with the template's BOS.

        Raises:
            InputError: If a token ID is not in the vocabulary, or the text is no UTF-8.
            TokenizerMismatchError: If ordinary tokens spell out a special token.
        """
        ids = self._without_padding(token_ids)
        ids = ids[_leading(ids, self._tokenizer.pad_token_id, len(ids)) :]
        ids = ids[_leading(ids, self._tokenizer.bos_token_id, 2) :]
        ids = [*self._bos, *ids]
        return self._checked(self._decoded(ids), ids)

    def continuation(self, token_ids: Sequence[int]) -> str:
        """Return the text of token IDs that continue a text, without the padding after them.

        Raises:
            InputError: As `text`.
            TokenizerMismatchError: As `text`.
        """
        ids = self._without_padding(token_ids)
        # Some tokenizers drop the space before the first word of a text.
        before = self._ids(_PROBE)
        text = self._decoded([*before, *ids]).removeprefix(self._decoded(before))
        return self._checked(text, ids)

    def whole_texts(self, text: str) -> list[str]:
        """Return the ways to read the text of a whole conversation, the likeliest one last.

        They have no padding, and the template's BOS. A framework may give the text as the template
        wrote it, or as the tokenizer decodes it; these differ for some tokenizers.

        Raises:
            InputError: If the text is no UTF-8.
        """
        text = _without_leading(text, self._pad, len(text))
        bos = self._tokenizer.bos_token or ""
        text = self._decoded(self._bos) + self.end_of_text(_without_leading(text, bos, 2))
        return [text] if self._exact else [self._decoded(self._ids(text)), text]

    def end_of_text(self, text: str) -> str:
        """Return a text without the padding after it. If that is the EOS, one EOS stays.

        Raises:
            InputError: If the text is no UTF-8.
        """
        _check_characters(text, "The text is")
        padding = any_of({self._pad, self.eos} - {""})
        found = re.search(f"(?:{padding})+$", text)
        if found is None:
            return text
        return text[: found.start()] + self.eos * (bool(self.eos) and found[0].startswith(self.eos))

    def _without_padding(self, token_ids: Sequence[int]) -> list[int]:
        """Drop the padding at the end. If the padding token is the EOS, one EOS stays."""
        ids = list(token_ids)
        foreign = (index for index, token in enumerate(ids) if token not in self._vocabulary)
        index = next(foreign, None)
        if index is not None:
            raise InputError(
                f"The tokenizer of {self.name!r} has no token {ids[index]}, at position {index}: "
                "the token IDs come from another tokenizer."
            )
        eos = self._tokenizer.eos_token_id
        ending = {self._tokenizer.pad_token_id, eos}
        end = len(ids) - len([*takewhile(ending.__contains__, reversed(ids))])
        return ids[: end + 1] if ids[end : end + 1] == [eos] else ids[:end]

    def _checked(self, text: str, ids: Sequence[int]) -> str:
        _check_characters(text, "The token IDs are")
        tokens = iter([self._special[token] for token in ids if token in self._special])
        for found in self._special_text.finditer(text):
            if found[0] != next(tokens, None):
                raise TokenizerMismatchError(
                    f"Ordinary tokens spell out {found[0]!r} up to character {found.end()}. As "
                    f"text they would become the special token of {self.name!r}."
                )
        return text

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False, verbose=False)
        return ids

    def _decoded(self, ids: Sequence[int]) -> str:
        # The clean-up that some files request removes spaces from the text.
        text: str = self._tokenizer.decode(
            list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text


def _loaded(given: object, *, trust_remote_code: bool) -> Any:
    if isinstance(given, str | PathLike):
        source = fspath(cast("str | PathLike[str]", given))
        return load_tokenizer(source, trust_remote_code=trust_remote_code, needed_by="Retokenizer")
    if not (hasattr(given, "apply_chat_template") and hasattr(given, "get_vocab")):
        raise InputError(
            "Retokenizer takes a folder, a name on the hub or a tokenizer of transformers, "
            f"not {describe_type(given)}."
        )
    return given


def _check_characters(text: str, what: str) -> None:
    """Refuse the character in the place of bytes that are none."""
    if "\ufffd" in text:
        raise InputError(
            f"{what} no UTF-8 at character {text.index(chr(0xFFFD))}: a character "
            "was cut, or it is U+FFFD."
        )


def _without_leading(text: str, token: str, maximum: int) -> str:
    """Return a text without the token at its start, which may be there several times."""
    while token and maximum > 0 and text.startswith(token):
        text, maximum = text.removeprefix(token), maximum - 1
    return text


def _leading(ids: Sequence[int], token: int | None, maximum: int) -> int:
    """Return how many times this token stands at the start, up to a maximum."""
    return len([*takewhile(lambda other: other == token, ids[:maximum])])


def any_of(texts: Collection[str]) -> str:
    """Return a pattern that matches any of the texts, the longest first."""
    return "|".join(map(re.escape, sorted(texts, key=len, reverse=True))) or "(?!)"
