"""The options of SGLang's servers, as their own parsers have them."""

from __future__ import annotations

import json
from pathlib import Path

# Options by the versions that know them. `tests/sglang/test_flags.py` compares them with a parser.
_RECORDED = Path(__file__).with_name("data") / "sglang-flags.json"


def sglang_flags() -> dict[str, set[str]]:
    """Return the options of each recorded version."""
    flags: dict[str, set[str]] = {}
    for versions, options in json.loads(_RECORDED.read_text("utf-8")).items():
        for version in versions.split():
            flags.setdefault(version, set()).update(options)
    return flags
