"""The routes of one served model, with their handlers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from reward_client.testing._bodies import BodyError, read_json
from reward_client.testing._sglang import (
    errors,
    forms,
    generation,
    inputs,
    pairs,
    pooling,
    tokenizing,
)
from reward_client.testing._sglang.information import Information

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from reward_client.testing._sglang.served_model import ServedModel

    Handler = Callable[[Request], Awaitable[Response]]
    Answer = Callable[[object], Any]


class Endpoints:
    """The routes of one served model, with their handlers."""

    def __init__(self, served: ServedModel) -> None:
        self._served = served
        self._information = Information(served)

    def routes(self) -> list[Route]:
        """Return all routes that the dialect has."""
        tells, dialect = self._information, self._served.dialect
        get: dict[str, Handler] = {
            "/health": tells.empty,
            "/health_generate": tells.empty,
            "/ping": tells.empty,
            "/v1/models": tells.models,
            "/v1/models/{name:path}": tells.model,
            "/openapi.json": tells.openapi,
            **dict.fromkeys(dialect.model_info, tells.model_info),
            **dict.fromkeys(dialect.server_info, tells.server_info),
        }
        if dialect.tells_more:
            get |= {"/": tells.root, "/ready": tells.empty}
        native: dict[str, Answer] = {
            "/classify": self._embed,
            "/encode": self._embed,
            "/generate": self._generate,
        }
        openai: dict[str, Answer] = {
            "/v1/embeddings": self._embeddings,
            "/v1/completions": self._complete,
            "/v1/score": self._score,
            "/v1/rerank": self._rerank,
        }
        if not dialect.tells_more:
            get["/get_load"] = tells.load
        if dialect.classifies:
            openai["/v1/classify"] = self._classify
        if dialect.tokenize != "absent":
            for prefix in ("", "/v1"):
                openai[f"{prefix}/tokenize"] = self._tokenize
                openai[f"{prefix}/detokenize"] = self._detokenize
        return [
            *(Route(path, handler, methods=["GET"]) for path, handler in get.items()),
            *(
                Route(path, self._native(answer), methods=["POST", "PUT"])
                for path, answer in native.items()
            ),
            *(
                Route(path, self._openai(answer), methods=["POST"])
                for path, answer in openai.items()
            ),
        ]

    def _native(self, answer: Answer) -> Handler:
        """Return the handler of a native route."""

        async def handle(request: Request) -> Response:
            return await self._answered(request, answer, errors.native_response)

        return handle

    def _openai(self, answer: Answer) -> Handler:
        """Return the handler of a route in the manner of OpenAI."""

        async def handle(request: Request) -> Response:
            media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if media_type != "application/json":
                return errors.media_type_response()
            return await self._answered(request, answer, errors.openai_response)

        return handle

    async def _answered(
        self,
        request: Request,
        answer: Answer,
        refused: Callable[[errors.SglangError], Response],
    ) -> Response:
        """Answer a request with a JSON body, and turn exceptions into responses.

        An `UnhandledError` stays one: Starlette answers a bare 500 then, and uvicorn closes the
        connection, as in SGLang.
        """
        try:
            body = read_json(await request.body())
            return JSONResponse(await run_in_threadpool(answer, body))
        except BodyError as invalid:
            return errors.validation_response(invalid, self._served.dialect, request)
        except errors.SglangError as error:
            return refused(error)
        except errors.ServerDeathError:
            return await errors.die(request)

    def _embed(self, body: object) -> Any:
        served, form = self._served, forms.read_form(body, forms.NativeEmbedding)
        ids, are_many = inputs.native_inputs(served, form)
        rids = inputs.request_ids(served, form.rid, len(ids), are_many=are_many)
        pooled = self._pooled(ids, rids, form.dimensions)
        shows = form.return_pooled_hidden_states and served.dialect.returns_hidden_states
        items = [pooling.native_item(served, each, with_hidden_state=shows) for each in pooled]
        return items if are_many else items[0]

    def _embeddings(self, body: object) -> Any:
        served = self._served
        named = served.dialect.requires_model
        form = forms.read_form(body, forms.NamedEmbedding if named else forms.Embedding)
        encoding = form.encoding_format if served.dialect.encodes_base64 else "float"
        if encoding not in ("float", "base64"):
            raise errors.SglangError(
                f"encoding_format must be either 'float' or 'base64', got {encoding!r}"
            )
        pooled = self._of_openai(form.input, form.rid, form.dimensions)
        return pooling.embeddings(served, pooled, encoding)

    def _classify(self, body: object) -> Any:
        form = forms.read_form(body, forms.Classification)
        return pooling.classification(self._served, self._of_openai(form.input, form.rid, None))

    def _of_openai(
        self, given: Any, rid: str | list[str] | None, dimensions: int | None
    ) -> list[pooling.Pooled]:
        ids = inputs.openai_inputs(self._served, given)
        rids = inputs.request_ids(self._served, rid, len(ids), are_many=len(ids) > 1)
        return self._pooled(ids, rids, dimensions)

    def _pooled(
        self, ids: list[list[int]], rids: list[str], dimensions: int | None
    ) -> list[pooling.Pooled]:
        served = self._served
        inputs.check_lengths(served, ids)
        inputs.check_embeds(served)
        inputs.check_dimensions(served, dimensions)
        inputs.check_survivable(served, ids)
        return pooling.pool(served, ids, rids)

    def _generate(self, body: object) -> Any:
        return generation.generated(self._served, forms.read_form(body, forms.Generation))

    def _complete(self, body: object) -> Any:
        form: forms.Completion | forms.NamedCompletion
        if self._served.dialect.requires_model:
            form = forms.read_form(body, forms.NamedCompletion)
        else:
            form = forms.read_form(body, forms.Completion)
        return generation.completed(self._served, form)

    def _score(self, body: object) -> Any:
        form: forms.Scoring | forms.NamedScoring
        if self._served.dialect.requires_model:
            form = forms.read_form(body, forms.NamedScoring)
        else:
            form = forms.read_form(body, forms.Scoring)
        return pairs.scored(self._served, form)

    def _rerank(self, body: object) -> Any:
        return pairs.reranked(self._served, forms.read_form(body, forms.Reranking))

    def _tokenize(self, body: object) -> Any:
        served = self._served
        form = forms.read_form(body, forms.Tokenization, roles=served.dialect.roles)
        return tokenizing.tokenized(served, form)

    def _detokenize(self, body: object) -> Any:
        return tokenizing.detokenized(self._served, forms.read_form(body, forms.Detokenization))
