"""The forms in which hubs, caches, registries and mounts name a model. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

# Slashes of both kinds; a tag or version after a colon; a revision after an at sign; a fragment.
_SEPARATORS = re.compile(r"[/\\:@#]+")

# Components of a path that name no model: folders of caches and registries, revisions, and dates.
_NEUTRAL = re.compile(
    r"""(?:
        snapshots? | refs | blobs? | resolve | tree | revisions? | main | master | latest | stable
      | models? | weights | files | data | hf | hf[-_]model | default | v?\d+(?:\.\d+)*
      | [0-9a-f]{7,64} | \d{4}[-_]?\d{2}[-_]?\d{2}.*
    )""",
    re.VERBOSE | re.IGNORECASE,
)

# Ends of the names of copies in another precision, after `_normalized`.
_PRECISION = re.compile(
    r"""-(?:
        quantized | dynamic | static | block | sym | asym | marlin | autoround | auto-round | ct
      | awq | gptq | gguf | ggml | bnb | hqq | aqlm | exl[23] | mlx | onnx | torchao | modelopt
      | (?:nv|mx)?fp(?:4|6|8|16|32) | e[45]m[123] | bf16 | f16 | f32 | (?:b?float)(?:16|32)
      | u?int[2-8] | [2-8]-?bits? | w\d+a\d+(?:-g\d+)? | g\d+
      | i1 | i?q[2-8](?:-[0-9a-z]{1,3}){0,2}
    )$""",
    re.VERBOSE,
)


class ModelName(NamedTuple):
    """A form of a model's name.

    Attributes:
        key: Lower case, with one hyphen for each run of other characters.
        is_copy: True for a copy in another precision, whose rewards differ from published values.
    """

    key: str
    is_copy: bool


def model_key(name: str) -> str:
    """Return the key of a name: lower case, with one hyphen for each run of other characters."""
    return re.sub(r"[^0-9a-z]+", "-", name.casefold()).strip("-")


def names_in(location: str) -> tuple[ModelName, ...]:
    """Return the names that a location may give a model, the most literal one first.

    A location is a hub ID, a folder, a URL of a registry, or a served name. Hugging Face's cache
    writes ``models--ORG--NAME/snapshots/REVISION``, ModelScope's writes ``___`` for a dot, and
    registries append a version.
    """
    parts = [part for part in _SEPARATORS.split(location) if part]
    while parts and _NEUTRAL.fullmatch(parts[-1]):
        parts.pop()
    if not parts:
        return ()
    named = parts[-1].removeprefix("models--").replace("___", ".").removesuffix(".gguf")
    # A flattened ID has two hyphens or underscores between the organization and the name.
    flattened = re.split(r"--|__", named)[-1]
    keys = dict.fromkeys(model_key(each) for each in (named, flattened))
    literal = [ModelName(key, is_copy=False) for key in keys if key]
    copies = [ModelName(bare, is_copy=True) for key in keys if (bare := _bare(key)) != key]
    return (*literal, *copies)


def is_hub_id(location: str) -> bool:
    """Return True if a location has the form of a hub ID, ``ORG/NAME``."""
    return re.fullmatch(r"[\w.-]+/[\w.-]+", location) is not None


def _bare(key: str) -> str:
    """Return a key without the ends that name a precision."""
    while True:
        shorter = _PRECISION.sub("", key)
        if shorter == key:
            return key
        key = shorter
