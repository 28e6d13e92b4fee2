"""The facts about a server: its model, its options and its paths."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

if TYPE_CHECKING:
    from starlette.requests import Request

    from reward_client.testing._model.heads import Head
    from reward_client.testing._sglang.served_model import ServedModel

_ARCHITECTURES: dict[Head, tuple[str, str]] = {
    "sequence": ("llama", "LlamaForSequenceClassification"),
    "labels": ("llama", "LlamaForSequenceClassification"),
    "token": ("qwen2", "Qwen2ForRewardModel"),
    "embed": ("llama", "LlamaForCausalLM"),
}
# SGLang gives the classifiers of Qwen2 and Qwen3 a bias.
_BIASED = "qwen2", "Qwen2ForSequenceClassification"
# The plan of the embeddings, as `/model_info` tells it: the same for all, and by the kind of model.
_PLAN: dict[str, object] = {
    "pooling": "model_defined",
    "tokenizer_special_tokens": "model_default",
    "supports_dimensions": False,
    "supports_token_embeddings": False,
    "supports_multimodal": False,
    "auto_enable_embedding": False,
    "safe_disable_kv_cache": False,
    "safe_disable_radix_cache": False,
    "safe_disable_chunked_prefill": False,
    "matryoshka_dimensions": [],
}
_CLASSIFIER = {
    "family": "sequence_classification",
    "task": "classify",
    "execution": "classification",
    "attention": "none",
    "normalize": False,
    "postprocessor": "model_defined",
    "requires_embedding_flag": False,
    "bcg_eligibility": "disabled",
    "enabled": True,
}
_EMBEDDER = {
    "family": "explicit_decoder_embedding",
    "task": "embed",
    "execution": "decoder_pooling",
    "attention": "causal",
    "normalize": True,
    "postprocessor": "model_defined",
    "requires_embedding_flag": True,
    "bcg_eligibility": "standard",
    "enabled": True,
}
_GENERATOR = {
    "family": "none",
    "task": "none",
    "execution": "none",
    "attention": "none",
    "normalize": False,
    "postprocessor": "none",
    "requires_embedding_flag": False,
    "bcg_eligibility": "disabled",
    "enabled": False,
}
_RANDOM_SEEDS = 1 << 30


class Information:
    """The handlers of the routes that tell of the server."""

    def __init__(self, served: ServedModel) -> None:
        self._served = served
        self._created = int(time.time())
        # SGLang draws one at each start; the bias that it adds to classifiers comes of it.
        self._random_seed = secrets.randbelow(_RANDOM_SEEDS)

    async def empty(self, _request: Request) -> Response:
        """Answer a probe."""
        return Response()

    async def root(self, _request: Request) -> Response:
        """Answer `/`."""
        return JSONResponse("SGLang is running")

    async def load(self, _request: Request) -> Response:
        """Answer `/get_load`."""
        return JSONResponse({"load": 0})

    async def models(self, _request: Request) -> Response:
        """Answer `/v1/models`."""
        return JSONResponse({"object": "list", "data": [self._card()]})

    async def model(self, request: Request) -> Response:
        """Answer `/v1/models/NAME`."""
        name = request.path_params["name"]
        if name == self._served.name:
            return JSONResponse(self._card())
        error = {
            "message": f"The model '{name}' does not exist",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
        return JSONResponse({"error": error}, status_code=404)

    def _card(self) -> dict[str, Any]:
        served = self._served
        return {
            "id": served.name,
            "object": "model",
            "created": self._created,
            "owned_by": served.owned_by,
            "root": served.name,
            **({"parent": None} if served.dialect.tells_more else {}),
            "max_model_len": served.max_model_len,
        }

    async def model_info(self, _request: Request) -> Response:
        """Answer `/model_info` and `/get_model_info`."""
        served = self._served
        if not served.dialect.tells_more:
            return JSONResponse(
                {
                    "model_path": served.path,
                    "tokenizer_path": served.path,
                    "is_generation": served.generates,
                    "preferred_sampling_params": None,
                }
            )
        kind, architecture = _ARCHITECTURES["embed" if served.generates else served.head]
        if served.score_bias:
            kind, architecture = _BIASED
        facts: dict[str, Any] = {
            "model_path": served.path,
            "served_model_name": served.name,
            "tokenizer_path": served.path,
            "is_generation": served.generates,
            "preferred_sampling_params": None,
            "weight_version": "default",
            "load_format": "auto",
            "reasoning_parser": None,
            "tool_call_parser": None,
            "disaggregation_mode": "null",
            "has_image_understanding": False,
            "has_audio_understanding": False,
            "model_type": kind,
            "architectures": [architecture],
        }
        plan = _CLASSIFIER if served.head in ("sequence", "labels") else _EMBEDDER
        facts["embedding"] = {**_PLAN, **(_GENERATOR if served.generates else plan)}
        return JSONResponse(facts)

    async def server_info(self, _request: Request) -> Response:
        """Answer `/server_info` and `/get_server_info` by a few of the many options."""
        served = self._served
        facts: dict[str, Any] = {
            "model_path": served.path,
            "tokenizer_path": served.path,
            "served_model_name": served.name,
            "is_embedding": not served.generates,
            "context_length": None,
            "dtype": "float32",
            "random_seed": self._random_seed,
        }
        if served.version is not None:
            facts["version"] = served.version
        return JSONResponse(facts)

    async def openapi(self, _request: Request) -> Response:
        """Answer `/openapi.json` by the paths alone."""
        paths = {
            path: {method: {"summary": path} for method in methods}
            for path, methods in self._served.dialect.openapi.items()
        }
        info = {"title": "SGLang's paths, as reward_client.testing lists them", "version": "0"}
        return JSONResponse({"openapi": "3.1.0", "info": info, "paths": paths})
