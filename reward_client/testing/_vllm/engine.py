"""vLLM as an engine that the test server can imitate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reward_client.testing._engine import Engine
from reward_client.testing._model.sum_judge import load_sum_judge
from reward_client.testing._vllm.dialects import DIALECTS
from reward_client.testing._vllm.endpoints import Endpoints
from reward_client.testing._vllm.served_model import ServedModel

if TYPE_CHECKING:
    from starlette.routing import Route

    from reward_client.testing._engine import Options


def _routes(options: Options) -> list[Route]:
    _check(options)
    dialect = DIALECTS[options.dialect]
    served = ServedModel(
        judge=load_sum_judge(),
        dialect=dialect,
        head=options.head,
        logprobs=options.logprobs,
        raw=options.raw,
        name=options.model_name,
        max_model_len=options.max_model_len,
        values=options.values,
        version=dialect.version if options.version == "dialect" else options.version,
        owned_by=options.owned_by or "vllm",
        root=options.root,
        chat_template=options.chat_template,
    )
    return Endpoints(served).routes()


def _check(options: Options) -> None:
    """Refuse an option that vLLM, or the version, lacks.

    Raises:
        ValueError: If there is one.
    """
    dialect = options.dialect
    if options.score_bias:
        raise ValueError(
            f"Cannot serve score_bias={options.score_bias} as vLLM: only SGLang adds a bias. Name "
            'engine="sglang".'
        )
    if options.logprobs not in (None, "processed_logprobs") and dialect == "0.8":
        raise ValueError(
            f"Cannot serve logprobs={options.logprobs!r} as vLLM 0.8: --logprobs-mode came with "
            '0.10.0. Name a later dialect, or "processed_logprobs".'
        )
    if options.head == "export" and dialect == "0.8":
        raise ValueError(
            "Cannot serve head='export' as vLLM 0.8: Dense modules came with 0.10.2. Name a later "
            "dialect."
        )
    if options.head == "export-steps" and dialect in ("0.8", "0.10", "0.12"):
        raise ValueError(
            f"Cannot serve head='export-steps' as vLLM {dialect}: Dense modules for each token "
            "came with 0.16. Name a later dialect."
        )


def _guards(path: str) -> bool:
    return path.startswith("/v1")


VLLM = Engine("vLLM", tuple(DIALECTS), "0.32", _routes, _guards)
