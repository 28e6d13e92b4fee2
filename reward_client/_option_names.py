"""The options of the client, in the words of a command line."""

from __future__ import annotations

import re
from collections.abc import Container

_OPTIONS = (
    ("base_url", "url", "--url"),
    ("base_url", "urls", "URL"),
    ("model", "model", "--model"),
    ("api_key", "api_key", "--api-key"),
    ("headers", "headers", "--header"),
    ("recipe", "recipe", "--recipe"),
    ("tokenizer", "tokenizer", "--tokenizer"),
    ("policy_tokenizer", "policy_tokenizer", "--policy-tokenizer"),
    ("strip_reasoning", "strip_reasoning", "--strip-reasoning"),
    ("on_overlong", "on_overlong", "--on-overlong"),
    ("on_control_tokens", "on_control_tokens", "--on-control-tokens"),
    ("on_unanswered", "on_unanswered", "--on-unanswered"),
    ("head", "head", "--head"),
    ("by", "by", "--by"),
    ("threshold", "threshold", "--threshold"),
    ("title", "title", "--title"),
    ("method", "method", "--method"),
    ("form", "form", "--form"),
    ("columns", "columns", "--columns"),
)
"""Name for the client, name among the parsed options, and name on the command line."""

_PHRASES = (
    ("retry_failed=True", "retry_failed", "--retry-failed"),
    ("allow_failed=True", "allow_failed", "--allow-failed"),
    ("Connection(verify=…, cert=…)", "ca", "--ca"),
    ("call wait_until_ready() first (--wait in commands)", "wait", "add --wait SECONDS"),
)

_UNMISTAKABLE = ("base_url", "api_key")
"""Names that are no words, and stand without ``=`` too."""


def in_options(said: object, options: Container[str]) -> str:
    """Return the text of an error or a summary with the names of a command's options.

    Args:
        said: The error or summary, which names the options of a client.
        options: The names of the command's parsed options.
    """
    text = str(said)
    for phrase, parsed, shown in _PHRASES:
        if parsed in options:
            text = text.replace(phrase, shown)
    for name, parsed, shown in _OPTIONS:
        if name in text and parsed in options:
            text = re.sub(rf"\b{name}=None\b", f"{shown} none", text)
            text = re.sub(rf"\b{name}=(?=[\w'\".…])(?!\.(\s|$))", f"{shown} ", text)
            text = re.sub(rf"\b{name}=", shown, text)
            if name in _UNMISTAKABLE:
                text = re.sub(rf"\b{name}\b", shown, text)
    return text
