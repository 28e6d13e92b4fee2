"""The routes of one served model, with their handlers."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from reward_client.testing._bodies import BodyError, json_fields, read_json
from reward_client.testing._vllm import completions, forms, generative_scoring, pooling, prompts
from reward_client.testing._vllm.completion_forms import GenerativeScoring
from reward_client.testing._vllm.errors import (
    UnhandledError,
    VllmError,
    error_body,
    error_response,
    media_type_response,
    unread_body_error,
    validation_error,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starlette.requests import Request

    from reward_client.testing._model.generate import LogprobsMode
    from reward_client.testing._model.llama import Array
    from reward_client.testing._vllm.served_model import ServedModel

    Handler = Callable[[Request], Awaitable[Response]]


class Endpoints:
    """The routes of one served model, with their handlers."""

    def __init__(self, served: ServedModel) -> None:
        self._served = served
        self._dialect = served.dialect
        self._created = int(time.time())

    def routes(self) -> list[Route]:
        """Return all routes that the dialect has for the head."""
        get: dict[str, Handler] = {
            "/health": self._empty,
            "/ping": self._empty,
            "/load": self._load,
            "/v1/models": self._models,
            "/openapi.json": self._openapi,
        }
        if self._served.version is not None:
            get["/version"] = self._version
        post: dict[str, Handler] = {
            "/ping": self._empty,
            "/tokenize": self._with_body(self._tokenize),
            "/detokenize": self._with_body(self._detokenize),
        }
        for path in self._dialect.unserved:
            post[path] = self._with_body(self._unserved(path))
        if self._served.logprobs is not None:
            generating = {
                "/v1/completions": self._completions(self._served.logprobs),
                "/generative_scoring": self._scoring(self._served.logprobs),
            }
            for path in self._dialect.generation.routes:
                post[path] = self._with_body(generating[path])
        else:
            for path in self._dialect.pooling_routes[self._served.head]:
                post[path] = self._with_body(self._pooling(path))
        return [
            *(Route(path, handler, methods=["GET"]) for path, handler in get.items()),
            *(Route(path, handler, methods=["POST"]) for path, handler in post.items()),
        ]

    def _with_body(self, handler: Callable[[Request, object], Awaitable[Response]]) -> Handler:
        """Wrap a handler of a JSON body, and turn its exceptions into responses."""

        async def handle(request: Request) -> Response:
            media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if media_type != "application/json":
                return media_type_response(self._dialect)
            try:
                return await handler(request, read_json(await request.body()))
            except BodyError as invalid:
                error = validation_error(invalid, self._dialect, request.url.path)
                return error_response(error, self._dialect)
            except VllmError as error:
                return error_response(error, self._dialect)
            except UnhandledError:
                return PlainTextResponse("Internal Server Error", status_code=500)

        return handle

    def _read(
        self, body: object, accepted: Sequence[type[forms.AnyForm]], path: str
    ) -> forms.AnyForm:
        """Parse the body by the accepted forms.

        Raises:
            VllmError: If the body names another model.
        """
        form = forms.read_form(body, accepted, last_wins=self._dialect.last_form_wins)
        name = self._served.name
        if form.model is not None and form.model != name:
            names_aliases = path in self._dialect.names_aliases
            raise VllmError(
                f"The model `{form.model}` does not exist."
                + (f" Valid aliases: {name}." if names_aliases else ""),
                status=404,
                error_type="NotFoundError",
                parameter="model" if path in self._dialect.names_model else None,
            )
        return form

    async def _tokenize(self, _request: Request, body: object) -> Response:
        accepted: list[type[forms.TokenizeText | forms.TokenizeChat]]
        accepted = [forms.TokenizeText, forms.TokenizeChat]
        form = self._read(body, accepted, "/tokenize")
        tokenizer = self._served.judge.tokenizer
        if isinstance(form, forms.TokenizeText):
            tokens = tokenizer.encode(form.prompt, add_special_tokens=form.add_special_tokens)
        else:
            tokens = self._tokenize_chat(form)
        response: dict[str, Any] = {
            "count": len(tokens),
            "max_model_len": self._served.max_model_len,
            "tokens": tokens,
            **dict.fromkeys(self._dialect.tokenize_keys),
        }
        if form.return_token_strs and "token_strs" in response:
            response["token_strs"] = tokenizer.strings(tokens)
        return JSONResponse(response)

    def _tokenize_chat(self, form: forms.TokenizeChat) -> list[int]:
        try:
            return prompts.chat_token_ids(
                self._served,
                form.messages,
                form,
                add_generation_prompt=form.add_generation_prompt,
            )
        except prompts.TemplateError as error:
            if not self._dialect.doubles_template_errors:
                raise
            raise VllmError(f"{error.message} {error.message}") from error

    async def _detokenize(self, _request: Request, body: object) -> Response:
        checks = self._dialect.detokenizes == "checks"
        accepted: list[type[forms.Detokenize | forms.DetokenizeChecked]]
        accepted = [forms.DetokenizeChecked if checks else forms.Detokenize]
        form = self._read(body, accepted, "/detokenize")
        if any(token < 0 for token in form.tokens):
            if self._dialect.detokenizes == "breaks":
                raise UnhandledError
            raise unread_body_error(
                "out of range integral type conversion attempted", self._dialect
            )
        return JSONResponse({"prompt": self._served.judge.tokenizer.decode(form.tokens)})

    def _pooling(self, path: str) -> Callable[[Request, object], Awaitable[Response]]:
        """Return the handler of a pooling route."""
        served, dialect = self._served, self._dialect
        accepted, rules = dialect.forms[path], served.effective_route(path)
        takes_rows = path != "/v1/embeddings"
        if not takes_rows and served.head == "export-steps" and dialect.token_embeddings:
            accepted, rules, takes_rows = dialect.token_embeddings, path, True
        identifier = dialect.identifiers[rules]

        async def pool(request: Request, body: object) -> Response:
            fields = json_fields(body)
            prompts.check_keys(served, fields, path)
            form = self._read(body, accepted, path)
            task = pooling.pooling_task(served, form, path)
            ids = prompts.pooling_prompts(served, form, path)
            rows = await run_in_threadpool(
                lambda: [pooling.pooled_values(served, prompt, form, task) for prompt in ids]
            )
            data = [
                {
                    "index": index,
                    **_item(path, values, form.requested_encoding, takes_rows=takes_rows),
                }
                for index, values in enumerate(rows)
            ]
            return JSONResponse(
                {
                    "id": f"{identifier}-{self._request_id(request, fields)}",
                    "object": "list",
                    "created": int(time.time()),
                    "model": served.name,
                    "data": data,
                    "usage": self._usage(sum(map(len, ids))),
                }
            )

        return pool

    def _completions(self, mode: LogprobsMode) -> Callable[[Request, object], Awaitable[Response]]:
        """Return the handler of `/v1/completions`."""
        served, path = self._served, "/v1/completions"
        generation = self._dialect.generation

        async def complete(request: Request, body: object) -> Response:
            form = self._read(body, [generation.form], path)
            completions.check(served, form)
            ids = prompts.completion_prompts(served, form.prompt, path, form.max_tokens)
            generated = await run_in_threadpool(
                lambda: [
                    completions.choice(served, mode, form, index, prompt)
                    for index, prompt in enumerate(ids)
                ]
            )
            return JSONResponse(
                {
                    "id": f"cmpl-{self._request_id(request, json_fields(body))}",
                    "object": "text_completion",
                    "created": int(time.time()),
                    "model": served.name,
                    "choices": [choice for choice, _ in generated],
                    **generation.response_keys,
                    "usage": self._usage(sum(map(len, ids)), sum(count for _, count in generated)),
                }
            )

        return complete

    def _scoring(self, mode: LogprobsMode) -> Callable[[Request, object], Awaitable[Response]]:
        """Return the handler of `/generative_scoring`."""
        served, path = self._served, "/generative_scoring"

        async def score(request: Request, body: object) -> Response:
            form = self._read(body, [GenerativeScoring], path)
            generative_scoring.check(served, form)
            ids = generative_scoring.scoring_prompts(served, form)
            for prompt in ids:
                prompts.check_token_ids(served, prompt, path)
            scores = await run_in_threadpool(
                lambda: [generative_scoring.score(served, mode, form, prompt) for prompt in ids]
            )
            data = [
                {"index": index, "object": "score", "score": value}
                for index, value in enumerate(scores)
            ]
            return JSONResponse(
                {
                    "id": f"generative-scoring-{self._request_id(request, json_fields(body))}",
                    "object": "list",
                    "created": int(time.time()),
                    "model": served.name,
                    "data": data,
                    "usage": self._usage(sum(map(len, ids)), len(ids)),
                }
            )

        return score

    def _request_id(self, request: Request, fields: dict[str, Any]) -> str:
        """Return the client's identifier, or else a random identifier."""
        of_body = fields.get("request_id") if self._dialect.reads_request_id else None
        return request.headers.get("x-request-id") or of_body or self._random_id()

    def _random_id(self) -> str:
        return secrets.token_hex(self._dialect.identifier_length // 2)

    def _usage(self, tokens: int, generated: int = 0) -> dict[str, int | None]:
        return {
            "prompt_tokens": tokens,
            "total_tokens": tokens + generated,
            "completion_tokens": generated,
            **dict.fromkeys(self._dialect.usage_keys),
        }

    def _unserved(self, path: str) -> Callable[[Request, object], Awaitable[Response]]:
        """Return the handler of a route that the head lacks: status 200, an error in the body."""
        error = VllmError(self._dialect.unserved[path])
        accepted = self._dialect.forms.get(path)

        async def unserved(_request: Request, body: object) -> Response:
            # vLLM validates the body before it looks the handler up.
            if accepted is not None:
                forms.read_form(body, accepted, last_wins=self._dialect.last_form_wins)
            return JSONResponse(error_body(error, self._dialect))

        return unserved

    async def _empty(self, _request: Request) -> Response:
        return Response()

    async def _load(self, _request: Request) -> Response:
        return JSONResponse({"server_load": 0})

    async def _version(self, _request: Request) -> Response:
        return JSONResponse({"version": self._served.version})

    async def _models(self, _request: Request) -> Response:
        permission = {
            "id": f"modelperm-{self._random_id()}",
            "object": "model_permission",
            "created": self._created,
            "allow_create_engine": False,
            "allow_sampling": True,
            "allow_logprobs": True,
            "allow_search_indices": False,
            "allow_view": True,
            "allow_fine_tuning": False,
            "organization": "*",
            "group": None,
            "is_blocking": False,
        }
        card = {
            "id": self._served.name,
            "object": "model",
            "created": self._created,
            "owned_by": self._served.owned_by,
            "root": self._served.root,
            "parent": None,
            "max_model_len": self._served.max_model_len,
            "permission": [permission],
        }
        return JSONResponse({"object": "list", "data": [card]})

    async def _openapi(self, _request: Request) -> Response:
        listed = self._dialect.openapi[self._served.head]
        if self._served.logprobs is not None:
            pooling_only = {"/pooling", "/classify", "/v1/embeddings"} - {*self._dialect.unserved}
            listed = {path: how for path, how in listed.items() if path not in pooling_only}
            listed |= dict.fromkeys(self._dialect.generation.routes, ("post",))
        paths = {
            path: {method: {"summary": path} for method in methods}
            for path, methods in listed.items()
        }
        info = {"title": "vLLM's paths, as reward_client.testing lists them", "version": "0"}
        return JSONResponse({"openapi": "3.1.0", "info": info, "paths": paths})


def _item(path: str, values: Array, encoding_format: str, *, takes_rows: bool) -> dict[str, Any]:
    """Return one entry of `data` without its index."""
    if path == "/classify":
        label = f"LABEL_{int(values.argmax())}"
        return {"label": label, "probs": values.tolist(), "num_classes": len(values)}
    if values.ndim > 1 and len(values) and encoding_format == "float" and not takes_rows:
        # vLLM declares a list of numbers there, so that rows fail; base64 flattens them.
        raise UnhandledError
    if path == "/v1/embeddings":
        return {"object": "embedding", "embedding": pooling.encoded(values, encoding_format)}
    return {"object": "pooling", "data": pooling.encoded(values, encoding_format)}
