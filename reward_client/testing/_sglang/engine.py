"""SGLang as an engine that the test server can imitate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reward_client.testing._engine import Engine
from reward_client.testing._model.sum_judge import load_sum_judge
from reward_client.testing._sglang.dialects import DIALECTS
from reward_client.testing._sglang.endpoints import Endpoints
from reward_client.testing._sglang.served_model import ServedModel

if TYPE_CHECKING:
    from starlette.routing import Route

    from reward_client.testing._engine import Options

_HEADS = ("sequence", "token", "labels", "embed")
# SGLang reports log-probabilities after the temperature, and nothing else.
_LOGPROBS = "processed_logprobs"


def _routes(options: Options) -> list[Route]:
    _check(options)
    dialect = DIALECTS[options.dialect]
    served = ServedModel(
        judge=load_sum_judge(),
        dialect=dialect,
        head=options.head,
        generates=options.logprobs is not None,
        score_bias=options.score_bias,
        name=options.model_name,
        path=options.root,
        max_model_len=options.max_model_len,
        values=options.values,
        version=dialect.version if options.version == "dialect" else options.version,
        owned_by=options.owned_by or "sglang",
        chat_template=options.chat_template,
    )
    return Endpoints(served).routes()


def _check(options: Options) -> None:
    """Refuse an option that SGLang lacks.

    Raises:
        ValueError: If there is one.
    """
    if options.raw:
        raise ValueError(
            "Cannot serve raw=True as SGLang: it applies no activation on its own routes. Leave "
            "raw= out."
        )
    if options.head not in _HEADS:
        raise ValueError(
            f"Cannot serve head={options.head!r} as SGLang: it has no such head. Name one of "
            f"{', '.join(_HEADS)}."
        )
    if options.logprobs not in (None, _LOGPROBS):
        raise ValueError(
            f"Cannot serve logprobs={options.logprobs!r} as SGLang: it reports log-probabilities "
            f'after the temperature. Name "{_LOGPROBS}".'
        )
    if options.score_bias and options.head not in ("sequence", "labels"):
        raise ValueError(
            f"Cannot serve score_bias={options.score_bias} with head={options.head!r}: SGLang adds "
            "a bias to classifiers only. Name the head sequence or labels."
        )


def _guards(path: str) -> bool:
    return not path.startswith(("/health", "/ready", "/metrics"))


SGLANG = Engine("SGLang", tuple(DIALECTS), "0.5.23", _routes, _guards)
