"""The texts of a row for people: short, and what the sides of a pair share only once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile

import orjson

from reward_client._base.json_values import as_mapping, as_sequence
from reward_client._base.samples import Conversation, FormattedText, Sample
from reward_client._rows.forms import read_row
from reward_client._rows.results import RESULTS
from reward_client.errors import InputError

_MAX_CHARACTERS = 1200
_END_CHARACTERS = 300
"""Of a text that is too long, so much of its end is shown."""
_MAX_TURNS = 6
_MAX_COLUMNS = 6
_OWN = {*RESULTS, "row", "digest"}

Turn = tuple[str, str]


def excerpts(columns: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return labels and texts of a row: its prompt, and its answers by their names.

    Args:
        columns: The columns of a scored row.
    """
    given = {name: value for name, value in columns.items() if name not in _OWN}
    form = columns.get("form")
    try:
        row = read_row(given, form if isinstance(form, str) else None)
    except InputError:  # a run with columns=, or a form of a later version
        return [
            (name[:_END_CHARACTERS], cut(_text(value)))
            for name, value in [*given.items()][:_MAX_COLUMNS]
        ]
    samples = [_turns(sample) for sample in row.samples]
    shared = _shared(samples)
    labelled = [("", samples[0][:shared])] if shared else []
    names = [name or "answer" for name in row.layout.sample_names()]
    labelled += [(name, turns[shared:]) for name, turns in zip(names, samples, strict=True)]
    return [text for label, turns in labelled for text in _labelled(label, turns)]


def cut(text: str) -> str:
    """Return a text without its middle if it is long."""
    if len(text) <= _MAX_CHARACTERS:
        return text
    start, end = text[: _MAX_CHARACTERS - _END_CHARACTERS], text[-_END_CHARACTERS:]
    return f"{start} […{len(text) - _MAX_CHARACTERS:,} characters…] {end}"


def _labelled(label: str, turns: Sequence[Turn]) -> list[tuple[str, str]]:
    """Return the last turns, each with its role, after the label of the sample."""
    dropped = len(turns) - _MAX_TURNS
    first = [(label, f"[…{dropped:,} earlier turns…]")] if dropped > 0 else []
    return first + [
        (": ".join(filter(None, (label, role))), cut(text)) for role, text in turns[-_MAX_TURNS:]
    ]


def _shared(samples: Sequence[Sequence[Turn]]) -> int:
    """Return the number of turns at the start that all samples share; each keeps one."""
    pairs = takewhile(lambda turns: len({*turns}) == 1, zip(*samples, strict=False))
    return min(len([*pairs]), *(len(turns) - 1 for turns in samples))


def _turns(sample: Sample) -> list[Turn]:
    if isinstance(sample, Conversation):
        turns = [
            (str(message.get("role", "")), _content(message.get("content")))
            for message in sample.messages
        ]
        steps = "\n\n".join(sample.steps or ())
        return [*turns, ("assistant", steps)] if steps else turns
    if isinstance(sample, FormattedText):
        return [("text", sample.text)]
    ids = as_sequence(sample) or ()
    return [("token IDs", " ".join(map(str, ids[:_MAX_CHARACTERS])))]


def _content(content: object) -> str:
    parts = None if isinstance(content, str) else as_sequence(content)
    return _text(content) if parts is None else "\n".join(map(_part, parts))


def _part(part: object) -> str:
    mapping = as_mapping(part) or {}
    text = mapping.get("text")
    return text if isinstance(text, str) else f"[{mapping.get('type', 'part')}]"


def _text(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
