"""Redaction of header values, which a server or proxy may repeat in errors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from html.entities import html5

_SHORTEST_SECRET = 6
"""Shorter header values are no secrets, and replacing them would garble messages."""

# Set by HTTP libraries, or by this package.
_HARMLESS = frozenset(
    {
        "accept",
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "host",
        "user-agent",
        "x-request-id",
    }
)


_DEPTH = 4
"""How often a text may be escaped within an escaped text, such as JSON in JSON in a URL."""
_NAMES: dict[str, list[str]] = {}
for _name, _char in html5.items():
    if _name.endswith(";"):
        _NAMES.setdefault(_char, []).append(_name)


def redact(text: str, sent: Mapping[str, str]) -> str:
    """Replace the values of the request's headers in a text.

    Each character may be plain, or escaped as JSON, Python, HTML, URLs and forms do, also one
    within the other.

    Args:
        text: A text that may repeat a header.
        sent: The headers of the request; names in any case.
    """
    secrets = frozenset(_secrets(sent))
    return _pattern(secrets).sub("***", text) if secrets else text


@lru_cache(maxsize=64)
def _pattern(secrets: frozenset[str]) -> re.Pattern[str]:
    longest_first = sorted(secrets, key=len, reverse=True)
    return re.compile("|".join(map(_broken, longest_first)))


def _broken(secret: str) -> str:
    """Return a pattern for a secret that lines may break, between any two characters.

    Not beside its own blanks: the search would take quadratic time.
    """
    words = [map(_any_form, word) for word in secret.split(" ")]
    return _any_form(" ").join(map(r"\s*".join, words))


@lru_cache(maxsize=256)
def _any_form(char: str) -> str:
    """Return a pattern for a character in any of its forms."""
    code = ord(char)
    percent = f"%(?:25){{0,{_DEPTH}}}"
    number = f"(?:#|{percent}23)"
    slash = rf"(?:\\|{percent}5c|&(?:#92|#x5c|bsol);)"
    ampersand = rf"(?:&|{percent}26|\\{{1,{2**_DEPTH}}}u0026)(?:amp(?:;|{percent}3b)){{0,{_DEPTH}}}"
    names = [
        f"{number}0*{code}",
        f"{number}x0*{code:x}",
        *(re.escape(name[:-1]) for name in _NAMES.get(char, ())),
    ]
    forms = [
        re.escape(char),
        f"u{code:04x}|x{code:02x}",
        "".join(f"{percent}{byte:02x}" for byte in char.encode()),
        rf"{ampersand}(?:{'|'.join(names)})(?:;|{percent}3b)",
        *([r"\+"] if char == " " else []),
    ]
    # Escapes are read in any case, and the character itself only in its own.
    exact, *escaped = forms
    return f"(?:(?i:{slash}){{0,{2**_DEPTH}}}(?:{exact}|(?i:{'|'.join(escaped)})))"


def _secrets(sent: Mapping[str, str]) -> Iterator[str]:
    for name, value in sent.items():
        if name.lower() in _HARMLESS or name.lower().startswith("x-stainless-"):
            continue
        secret = value
        if name.lower() in {"authorization", "proxy-authorization"}:
            secret = value.partition(" ")[2] or value  # without "Bearer"
        if len(secret) >= _SHORTEST_SECRET:
            yield secret
