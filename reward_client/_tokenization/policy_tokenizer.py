"""The tokenizer of a policy: the text of its token IDs, and what its template makes of messages."""

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
        trust_remote_code: Run Python code that comes with a folder or a name.

    Attributes:
        name: What it was loaded from.
        eos: The text of the token that ends a text; empty where there is none.
        special: The texts of all special tokens, and of others that the template parts turns by.

    Raises:
        InputError: The tokenizer cannot be loaded, or has no chat template.
        ImportError: transformers is not installed.
    """

    def __init__(self, given: object, *, trust_remote_code: bool) -> None:
        self._tokenizer = _loaded(given, trust_remote_code=trust_remote_code)
        self.name = str(self._tokenizer.name_or_path) or type(self._tokenizer).__name__
        self.eos: str = self._tokenizer.eos_token or ""
        self._vocabulary = frozenset(self._tokenizer.get_vocab().values())
        self._exact = True
        roles = ("user", "assistant") * 2
        example = self.rendered([{"role": role, "content": _PROBE} for role in roles])
        # Some files do not call the tokens special that stand between their turns.
        self._special = {
            token: str(added.content)
            for token, added in self._tokenizer.added_tokens_decoder.items()
            if added.special or str(added.content) in example
        }
        self.special = frozenset(self._special.values())
        self._special_text = re.compile(any_of(self.special))
        ids = self._ids(example)
        # Some put a space after each special token: then texts are compared as they are decoded.
        self._exact = self._decoded(ids) == example
        self._bos = [token for token in ids[:1] if token == self._tokenizer.bos_token_id]

    def rendered(self, messages: Sequence[Message], *, generation_prompt: bool = False) -> str:
        """The text of messages, as the tokenizer decodes it.

        Raises:
            InputError: The template refuses them.
        """
        (text,) = render(self._tokenizer, [messages], generation_prompt=generation_prompt)
        return text if self._exact else self._decoded(self._ids(text))

    def text(self, token_ids: Sequence[int]) -> str:
        """The text of a whole conversation, without padding, with a BOS as the template has it.

        Raises:
            InputError: They are not of this vocabulary, or are no UTF-8.
            TokenizerMismatchError: Other tokens spell a special token out.
        """
        ids = self._without_padding(token_ids)
        ids = ids[_leading(ids, self._tokenizer.pad_token_id, len(ids)) :]
        ids = ids[_leading(ids, self._tokenizer.bos_token_id, 2) :]
        ids = [*self._bos, *ids]
        return self._checked(self._decoded(ids), ids)

    def continuation(self, token_ids: Sequence[int]) -> str:
        """The text of token IDs that go on with a text, without the padding after them.

        Raises:
            InputError: They are not of this vocabulary, or are no UTF-8.
            TokenizerMismatchError: Other tokens spell a special token out.
        """
        ids = self._without_padding(token_ids)
        # Some tokenizers leave out the space before the first word of a text.
        before = self._ids(_PROBE)
        text = self._decoded([*before, *ids]).removeprefix(self._decoded(before))
        return self._checked(text, ids)

    def _without_padding(self, token_ids: Sequence[int]) -> list[int]:
        """Without padding at the end, which may be the EOS again and again: then one stays."""
        ids = list(token_ids)
        foreign = (place for place, token in enumerate(ids) if token not in self._vocabulary)
        place = next(foreign, None)
        if place is not None:
            raise InputError(
                f"The tokenizer of {self.name!r} has no token {ids[place]}, at position {place}: "
                "the token IDs are of another tokenizer."
            )
        eos = self._tokenizer.eos_token_id
        ending = {self._tokenizer.pad_token_id, eos}
        end = len(ids) - len([*takewhile(ending.__contains__, reversed(ids))])
        return ids[: end + 1] if ids[end : end + 1] == [eos] else ids[:end]

    def _checked(self, text: str, ids: Sequence[int]) -> str:
        if "\ufffd" in text:
            raise InputError(
                f"The token IDs are no UTF-8 at character {text.index(chr(0xFFFD))}: a character "
                "was cut in two, or U+FFFD stands there."
            )
        tokens = iter([self._special[token] for token in ids if token in self._special])
        for found in self._special_text.finditer(text):
            if found[0] != next(tokens, None):
                raise TokenizerMismatchError(
                    f"Up to character {found.end()}, other tokens spell {found[0]!r} out, which is "
                    f"a special token of {self.name!r}: as text, it would be taken for that."
                )
        return text

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False, verbose=False)
        return ids

    def _decoded(self, ids: Sequence[int]) -> str:
        # Some files ask for a clean-up, which takes spaces out of the text.
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


def _leading(ids: Sequence[int], token: int | None, most: int) -> int:
    """How many of the first ones are this token, `most` at most."""
    return len([*takewhile(lambda each: each == token, ids[:most])])


def any_of(texts: Collection[str]) -> str:
    """A pattern for any of some texts, the longest first."""
    return "|".join(map(re.escape, sorted(texts, key=len, reverse=True))) or "(?!)"
