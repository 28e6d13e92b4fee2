"""The images of a row, as parts of its messages.

Sources: the vision sets of TRL 1.16 (`images` beside messages with or without `{"type": "image"}`;
`prepare_multimodal_messages` puts them before the text of the first user turn) and LLaMA-Factory
0.9.5 (`<image>` in a text).
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from reward_client._base.arrays import to_builtin
from reward_client._base.json_values import as_mapping, as_sequence
from reward_client._base.samples import Message
from reward_client._base.wording import describe_type
from reward_client._rows import names
from reward_client._rows.fields import Fields
from reward_client.errors import InputError

_PLACE = "<image>"
_MAGIC = {
    b"\x89PNG": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"RIFF": "image/webp",
}
_URLS = ("http://", "https://", "data:image/")


@runtime_checkable
class _Picture(Protocol):
    """An image of Pillow, which `datasets` makes of an image column."""

    def save(self, file: io.BytesIO, format: str) -> None:  # noqa: A002 - Pillow's own name
        """Write the image."""
        ...


def with_images(fields: Fields, turns: Sequence[Message]) -> Sequence[Message]:
    """Put the row's images into the places of its messages that are meant for them.

    Raises:
        InputError: If there are more places than images, or fewer, or if an image is unreadable.
    """
    columns = fields.filled(names.IMAGES)
    if not columns:
        return turns
    if len(columns) > 1:
        raise InputError("Cannot tell the images of a row with images and image. Name one column.")
    value = fields.take(columns[0])
    listed = as_sequence(value)
    images = [_part(each) for each in ([value] if listed is None else listed)]
    places = sum(_places(turn) for turn in turns)
    if places not in (0, len(images)):
        raise InputError(
            f"Cannot place {len(images)} images: the messages have {places} places for one. Write "
            'a part {"type": "image"} for each image.'
        )
    if not places:
        return _before_first_text(turns, images)
    rest = iter(images)
    return [_filled(turn, rest) for turn in turns]


def _before_first_text(turns: Sequence[Message], images: Sequence[object]) -> list[Message]:
    first = next((index for index, turn in enumerate(turns) if turn.get("role") == "user"), None)
    if first is None:
        raise InputError("Cannot place the images of a row without a user turn.")
    content = turns[first].get("content")
    texts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    parts = [*images, *(as_sequence(to_builtin(texts)) or ())]
    return [*turns[:first], {**turns[first], "content": parts}, *turns[first + 1 :]]


def _places(turn: Message) -> int:
    content = to_builtin(turn.get("content"))
    if isinstance(content, str):
        return content.count(_PLACE)
    return sum(_is_place(part) for part in as_sequence(content) or ())


def _filled(turn: Message, images: Iterator[object]) -> Message:
    content = to_builtin(turn.get("content"))
    if isinstance(content, str) and _PLACE in content:
        before, *texts = content.split(_PLACE)
        parts: list[object] = [_text(before)] if before else []
        for text in texts:
            parts += [next(images), *([_text(text)] if text else [])]
        return {**turn, "content": parts}
    if isinstance(content, str):
        return turn
    filled = [next(images) if _is_place(part) else part for part in as_sequence(content) or ()]
    return {**turn, "content": filled}


def _is_place(part: object) -> bool:
    """Return True for a part that stands for an image and holds none."""
    given = as_mapping(part) or {}
    return given.get("type") == "image" and given.get("image") is None


def _text(text: str) -> dict[str, object]:
    return {"type": "text", "text": text}


def _part(image: object) -> dict[str, object]:
    return {"type": "image_url", "image_url": {"url": _url(image)}}


def _url(image: object) -> str:
    given = as_mapping(image)
    if given is not None:  # an image column that `datasets` does not decode
        image = given.get("bytes") or given.get("url") or given.get("path")
    if isinstance(image, str) and image.startswith(_URLS):
        return image
    if isinstance(image, bytes):
        return _data_url(image)
    if isinstance(image, _Picture):
        file = io.BytesIO()
        image.save(file, "PNG")
        return _data_url(file.getvalue())
    raise InputError(
        f"Cannot read an image: it is {describe_type(image)}. Write the bytes of its "
        "file, or its URL."
    )


def _data_url(content: bytes) -> str:
    kind = next((kind for magic, kind in _MAGIC.items() if content.startswith(magic)), None)
    if kind is None:
        raise InputError("Cannot read an image: its bytes are no PNG, JPEG, GIF or WebP.")
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
