"""An engine that the test server can imitate, and the options of the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from starlette.routing import Route

    from reward_client.testing._model.generate import LogprobsMode
    from reward_client.testing._model.heads import Head


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of a server, checked on their own, as `create_app` takes them."""

    dialect: str
    head: Head
    logprobs: LogprobsMode | None
    raw: bool
    score_bias: float
    model_name: str
    max_model_len: int
    values: Callable[[list[int]], float] | None
    version: str | None
    owned_by: str | None
    root: str
    chat_template: str | None


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that the test server can imitate.

    Attributes:
        title: Its name, as its authors write it.
        dialects: The names of its versions.
        default_dialect: The version to imitate unless a test names one.
        routes: Returns the routes for the options. It raises a ValueError for an option that the
            engine lacks.
        guards: Returns True if an API key guards a path.
    """

    title: str
    dialects: Collection[str]
    default_dialect: str
    routes: Callable[[Options], list[Route]]
    guards: Callable[[str], bool]
