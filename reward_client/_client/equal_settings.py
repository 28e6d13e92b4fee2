"""Compare settings. Those of replicas count as one, whichever of them answers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from reward_client._base.results import Provenance, Settings
from reward_client._server.state import is_same, score_tolerance


def settings_of_replicas(each: Iterable[Settings]) -> Settings:
    """Return the settings of servers that are proven equal, whatever their order."""
    first, *others = sorted(each, key=Settings.model_dump_json)
    return with_replicas(first, others)


def with_replicas(settings: Settings, others: Iterable[Settings]) -> Settings:
    """Return the settings with further replicas; the same object if all are known."""
    known = [*each_server(settings)]
    for other in others:
        if all(_difference(one, other) for one in known):
            known.append(other)
    replicas = tuple(known[1:])
    if len(replicas) == len(settings.replicas):
        return settings
    return settings.model_copy(update={"replicas": replicas})


def each_server(settings: Settings) -> Iterator[Settings]:
    """Iterate over the settings with each server alone."""
    yield settings.model_copy(update={"replicas": ()}) if settings.replicas else settings
    yield from settings.replicas


def difference(then: Settings, now: Settings, besides: Collection[str] = ()) -> str | None:
    """Describe the first setting that changed and affects rewards; None if none did.

    Settings with one server in common are the same: all others were proven to equal it.

    Args:
        then: The settings of before.
        now: The settings of today.
        besides: The names of the settings that may change.
    """
    first: str | None = None
    for one in each_server(then):
        for other in each_server(now):
            changed = _difference(one, other, besides)
            if changed is None:
                return None
            first = first or changed
    return first


def origin_difference(settings: Settings, provenance: Provenance) -> str | None:
    """Describe what tells the origin of a reward from all servers of the settings, if any does."""
    first: str | None = None
    for one in each_server(settings):
        changed = _difference(one, one.model_copy(update=dict(provenance)))
        if changed is None:
            return None
        first = first or changed
    return first


def _difference(then: Settings, now: Settings, besides: Collection[str] = ()) -> str | None:
    for name in type(now).model_fields:
        before, after = getattr(then, name), getattr(now, name)
        if name == "replicas" or name in besides:
            continue
        if name == "probe_scores":
            if not is_same(before, after, score_tolerance(now)):
                return "the model's rewards have changed (another checkpoint under the same name?)"
        elif before != after:
            return f"{name} was {before!r} and is {after!r} now"
    return None
