"""The tokenizer with its chat template, without transformers."""

from __future__ import annotations

import json
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from jinja2 import TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class ChatTokenizer:
    """A tokenizer of texts and conversations that agrees with the folder's in transformers.

    Attributes:
        end_token_id: The ID of the token that ends a generation.
        text_vocabulary_size: The number of tokens without the special ones that were added.
    """

    def __init__(self, folder: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        self._template: str = settings["chat_template"]
        self._special = {
            name: settings[name]
            for name in ("bos_token", "eos_token", "pad_token")
            if settings.get(name)
        }
        (self.end_token_id,) = self.encode(settings["eos_token"], add_special_tokens=False)
        self.text_vocabulary_size: int = self._tokenizer.get_vocab_size(with_added_tokens=False)
        # Compiling the template takes 200 times as long as rendering it.
        self._compiled = lru_cache(maxsize=100)(_environment().from_string)

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Return the token IDs of a text; `add_special_tokens` prepends the BOS."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids
        return ids

    def encode_pair(self, first: str, second: str) -> list[int]:
        """Return the token IDs of a pair of texts, each with its special tokens."""
        ids: list[int] = self._tokenizer.encode(first, second).ids
        return ids

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        """Return the text of token IDs."""
        text: str = self._tokenizer.decode(list(token_ids), skip_special_tokens=skip_special_tokens)
        return text

    def strings(self, token_ids: Sequence[int]) -> list[str]:
        """Return the vocabulary entry of every ID; empty for an ID outside the vocabulary."""
        return [self._tokenizer.id_to_token(token_id) or "" for token_id in token_ids]

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
        tools: Sequence[Mapping[str, Any]] | None = None,
        template: str | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> str:
        """Render a conversation by the chat template.

        Raises:
            ValueError: If the template refuses the conversation.
        """
        plain = [{**message, "content": _text(message.get("content"))} for message in messages]
        try:
            rendered = self._compiled(template or self._template).render(
                messages=plain,
                tools=tools,
                add_generation_prompt=add_generation_prompt,
                **self._special,
                **(variables or {}),
            )
        except TemplateError as error:
            raise ValueError(str(error)) from error
        if not continue_final_message:
            return rendered
        return _up_to(rendered, plain[-1]["content"])


def _text(content: str | list[dict[str, Any]] | None) -> str:
    """Return the text of a message; as vLLM does, join the text parts of a list by line breaks."""
    if isinstance(content, list):
        return "\n".join(part["text"] for part in content if part.get("type") == "text")
    return content or ""


def _up_to(rendered: str, final: str) -> str:
    """Cut the text after the final message's content, so that the message stays open."""
    start = rendered.rindex(final.strip())
    if rendered[start : start + len(final.lstrip())] == final:
        return rendered[: start + len(final.lstrip())]
    return rendered[: start + len(final.strip())]


def _environment() -> ImmutableSandboxedEnvironment:
    """Create the Jinja environment in which transformers renders chat templates."""

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    def strftime_now(pattern: str) -> str:
        return datetime.now().astimezone().strftime(pattern)

    def tojson(value: Any, *, ensure_ascii: bool = False, indent: int | None = None) -> str:
        # jinja2's own filter escapes for HTML.
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters["tojson"] = tojson
    # jinja2 annotates the globals with the types of its initial ones.
    variables = cast("dict[str, Any]", environment.globals)
    variables.update(raise_exception=raise_exception, strftime_now=strftime_now)
    return environment
