"""Copies of rows that their iterator may change when the next one is read."""

from __future__ import annotations

from copy import deepcopy

from reward_client._base.arrays import is_array
from reward_client._base.json_values import is_dict, is_list

_ATOMS = frozenset((str, int, float, bool, type(None)))


def copied(row: dict[str, object]) -> dict[str, object]:
    """Return a row with copies of its lists, dicts and arrays. Other objects stay the same.

    A list or dict that stands in several places, or in itself, does so in the copy.
    """
    return _dict(row, {})


def _dict(given: dict[str, object], copies: dict[int, object]) -> dict[str, object]:
    copy: dict[str, object] = {}
    copies[id(given)] = copy
    for name, value in given.items():
        copy[name] = value if type(value) in _ATOMS else _copied(value, copies)
    return copy


def _list(given: list[object], copies: dict[int, object]) -> list[object]:
    copy: list[object] = []
    copies[id(given)] = copy
    if _ATOMS.issuperset(map(type, given)):  # takes half of the time of the loop
        copy += given
    else:
        copy += (value if type(value) in _ATOMS else _copied(value, copies) for value in given)
    return copy


def _copied(value: object, copies: dict[int, object]) -> object:
    if id(value) in copies:
        return copies[id(value)]
    if is_list(value):
        return _list(value, copies)
    if is_dict(value):
        return _dict(value, copies)
    return deepcopy(value, copies) if is_array(value) else value
