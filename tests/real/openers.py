"""Clients that score whatever the server takes: also what a caller has to allow."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..support import either
from ..support.either import EitherClient, Kind

OPENERS: dict[Kind, Callable[..., EitherClient]] = {
    kind: partial(open_client, on_unanswered="allow", on_control_tokens="allow")
    for kind, open_client in either.OPENERS.items()
}
