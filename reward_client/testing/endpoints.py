"""The handlers of one served model."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any, cast

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from reward_client.testing import completions, forms, generative_scoring, pooling, prompts
from reward_client.testing.generating_forms import GenerativeScoring
from reward_client.testing.pooled_forms import PooledForms
from reward_client.testing.refusals import (
    Refusal,
    media_type_refusal,
    refusal_body,
    refusal_response,
    unread_refusal,
    validation_refusal,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starlette.requests import Request

    from reward_client.testing.generating import LogprobsMode
    from reward_client.testing.llama import Array
    from reward_client.testing.serving import Serving

    Handler = Callable[[Request], Awaitable[Response]]


class Endpoints:
    """The handlers of one served model."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._dialect = serving.dialect
        self._created = int(time.time())

    def routes(self) -> list[Route]:
        """All routes of the dialect and the head."""
        get: dict[str, Handler] = {
            "/health": self._nothing,
            "/ping": self._nothing,
            "/load": self._load,
            "/v1/models": self._models,
            "/openapi.json": self._openapi,
        }
        if self._serving.version is not None:
            get["/version"] = self._version
        post: dict[str, Handler] = {
            "/ping": self._nothing,
            "/tokenize": self._guarded(self._tokenize),
            "/detokenize": self._guarded(self._detokenize),
        }
        for path in self._dialect.unserved:
            post[path] = self._guarded(self._unserved(path))
        if self._serving.logprobs is not None:
            generating = {
                "/v1/completions": self._completions(self._serving.logprobs),
                "/generative_scoring": self._scoring(self._serving.logprobs),
            }
            for path in self._dialect.generation.routes:
                post[path] = self._guarded(generating[path])
        else:
            for path in self._dialect.served[self._serving.head]:
                post[path] = self._guarded(self._pooled(path, self._dialect.forms[path]))
        return [
            *(Route(path, handler, methods=["GET"]) for path, handler in get.items()),
            *(Route(path, handler, methods=["POST"]) for path, handler in post.items()),
        ]

    def _guarded(self, handler: Callable[[Request, object], Awaitable[Response]]) -> Handler:
        """A handler that is given the JSON body, and whose refusals become replies."""

        async def guarded(request: Request) -> Response:
            media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if media_type != "application/json":
                return media_type_refusal(self._dialect)
            try:
                return await handler(request, forms.read_json(await request.body()))
            except forms.BodyError as error:
                refusal = validation_refusal(error, self._dialect, request.url.path)
                return refusal_response(refusal, self._dialect)
            except Refusal as refusal:
                return refusal_response(refusal, self._dialect)
            except prompts.BrokenReply:
                return PlainTextResponse("Internal Server Error", status_code=500)

        return guarded

    def _read(
        self, body: object, accepted: Sequence[type[forms.AnyForm]], path: str
    ) -> forms.AnyForm:
        """The body as one of the accepted forms, for the served model."""
        form = forms.read_form(body, accepted, last_wins=self._dialect.last_form_wins)
        served = self._serving.model_name
        if form.model is not None and form.model != served:
            names_aliases = path in self._dialect.names_aliases
            raise Refusal(
                f"The model `{form.model}` does not exist."
                + (f" Valid aliases: {served}." if names_aliases else ""),
                status=404,
                kind="NotFoundError",
                parameter="model" if path in self._dialect.names_model else None,
            )
        return form

    async def _tokenize(self, _request: Request, body: object) -> Response:
        accepted: list[type[forms.TokenizeText | forms.TokenizeChat]]
        accepted = [forms.TokenizeText, forms.TokenizeChat]
        form = self._read(body, accepted, "/tokenize")
        tokenizer = self._serving.judge.tokenizer
        if isinstance(form, forms.TokenizeText):
            tokens = tokenizer.encode(form.prompt, add_special_tokens=form.add_special_tokens)
        else:
            tokens = self._tokenize_chat(form)
        reply: dict[str, Any] = {
            "count": len(tokens),
            "max_model_len": self._serving.max_model_len,
            "tokens": tokens,
            **dict.fromkeys(self._dialect.tokenize_keys),
        }
        if form.return_token_strs and "token_strs" in reply:
            reply["token_strs"] = tokenizer.strings(tokens)
        return JSONResponse(reply)

    def _tokenize_chat(self, form: forms.TokenizeChat) -> list[int]:
        try:
            return prompts.chat_ids(
                self._serving, form.messages, form, opens_turn=form.add_generation_prompt
            )
        except prompts.TemplateRefusal as refusal:
            if not self._dialect.doubles_template_errors:
                raise
            raise Refusal(f"{refusal.message} {refusal.message}") from refusal

    async def _detokenize(self, _request: Request, body: object) -> Response:
        checks = self._dialect.detokenizes == "checks"
        accepted: list[type[forms.Detokenize | forms.DetokenizeChecked]]
        accepted = [forms.DetokenizeChecked if checks else forms.Detokenize]
        form = self._read(body, accepted, "/detokenize")
        if any(token < 0 for token in form.tokens):
            if self._dialect.detokenizes == "breaks":
                raise prompts.BrokenReply
            raise unread_refusal("out of range integral type conversion attempted", self._dialect)
        return JSONResponse({"prompt": self._serving.judge.tokenizer.decode(form.tokens)})

    def _pooled(
        self, path: str, accepted: PooledForms
    ) -> Callable[[Request, object], Awaitable[Response]]:
        """The handler of a pooled route."""
        serving = self._serving
        identifier = self._dialect.identifiers[serving.acts_as(path)]

        async def pooled(request: Request, body: object) -> Response:
            sent = _keys(body)
            prompts.check_keys(serving, sent, path)
            form = self._read(body, accepted, path)
            task = pooling.task(serving, form, path)
            ids = prompts.prompts(serving, form, path)
            rows = await run_in_threadpool(
                lambda: [pooling.values(serving, prompt, form, task) for prompt in ids]
            )
            data = [
                {"index": index, **_item(path, values, form.asked_encoding)}
                for index, values in enumerate(rows)
            ]
            return JSONResponse(
                {
                    "id": f"{identifier}-{self._request_id(request, sent)}",
                    "object": "list",
                    "created": int(time.time()),
                    "model": serving.model_name,
                    "data": data,
                    "usage": self._usage(sum(map(len, ids))),
                }
            )

        return pooled

    def _completions(self, mode: LogprobsMode) -> Callable[[Request, object], Awaitable[Response]]:
        """The handler of `/v1/completions`."""
        serving, path = self._serving, "/v1/completions"
        generation = self._dialect.generation

        async def completed(request: Request, body: object) -> Response:
            form = self._read(body, [generation.form], path)
            completions.check(serving, form)
            ids = prompts.completed(serving, form.prompt, path, form.max_tokens)
            made = await run_in_threadpool(
                lambda: [
                    completions.choice(serving, mode, form, index, each)
                    for index, each in enumerate(ids)
                ]
            )
            return JSONResponse(
                {
                    "id": f"cmpl-{self._request_id(request, _keys(body))}",
                    "object": "text_completion",
                    "created": int(time.time()),
                    "model": serving.model_name,
                    "choices": [choice for choice, _ in made],
                    **generation.reply,
                    "usage": self._usage(sum(map(len, ids)), sum(count for _, count in made)),
                }
            )

        return completed

    def _scoring(self, mode: LogprobsMode) -> Callable[[Request, object], Awaitable[Response]]:
        """The handler of `/generative_scoring`."""
        serving, path = self._serving, "/generative_scoring"

        async def scored(request: Request, body: object) -> Response:
            form = self._read(body, [GenerativeScoring], path)
            generative_scoring.check(serving, form)
            ids = generative_scoring.prompts(serving, form)
            for each in ids:
                prompts.check_ids(serving, each, path)
            scores = await run_in_threadpool(
                lambda: [generative_scoring.score(serving, mode, form, each) for each in ids]
            )
            data = [
                {"index": index, "object": "score", "score": score}
                for index, score in enumerate(scores)
            ]
            return JSONResponse(
                {
                    "id": f"generative-scoring-{self._request_id(request, _keys(body))}",
                    "object": "list",
                    "created": int(time.time()),
                    "model": serving.model_name,
                    "data": data,
                    "usage": self._usage(sum(map(len, ids)), len(ids)),
                }
            )

        return scored

    def _request_id(self, request: Request, sent: dict[str, Any]) -> str:
        """The caller's identifier, or a random one."""
        of_body = sent.get("request_id") if self._dialect.reads_request_id else None
        return request.headers.get("x-request-id") or of_body or self._random()

    def _random(self) -> str:
        return secrets.token_hex(self._dialect.identifier // 2)

    def _usage(self, tokens: int, generated: int = 0) -> dict[str, int | None]:
        return {
            "prompt_tokens": tokens,
            "total_tokens": tokens + generated,
            "completion_tokens": generated,
            **dict.fromkeys(self._dialect.usage_keys),
        }

    def _unserved(self, path: str) -> Callable[[Request, object], Awaitable[Response]]:
        """A mounted route without a handler behind it: 200 with an error in the body."""
        refusal = Refusal(self._dialect.unserved[path])
        accepted = self._dialect.forms.get(path)

        async def unserved(_request: Request, body: object) -> Response:
            # The body is read before anyone looks for a handler.
            if accepted is not None:
                forms.read_form(body, accepted, last_wins=self._dialect.last_form_wins)
            return JSONResponse(refusal_body(refusal, self._dialect))

        return unserved

    async def _nothing(self, _request: Request) -> Response:
        return Response()

    async def _load(self, _request: Request) -> Response:
        return JSONResponse({"server_load": 0})

    async def _version(self, _request: Request) -> Response:
        return JSONResponse({"version": self._serving.version})

    async def _models(self, _request: Request) -> Response:
        permission = {
            "id": f"modelperm-{self._random()}",
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
            "id": self._serving.model_name,
            "object": "model",
            "created": self._created,
            "owned_by": self._serving.owned_by,
            "root": self._serving.root,
            "parent": None,
            "max_model_len": self._serving.max_model_len,
            "permission": [permission],
        }
        return JSONResponse({"object": "list", "data": [card]})

    async def _openapi(self, _request: Request) -> Response:
        listed = self._dialect.openapi[self._serving.head]
        if self._serving.logprobs is not None:
            pooled = {"/pooling", "/classify", "/v1/embeddings"} - self._dialect.unserved.keys()
            listed = {path: how for path, how in listed.items() if path not in pooled}
            listed |= dict.fromkeys(self._dialect.generation.routes, ("post",))
        paths = {
            path: {method: {"summary": path} for method in methods}
            for path, methods in listed.items()
        }
        info = {"title": "vLLM's paths, as reward_client.testing lists them", "version": "0"}
        return JSONResponse({"openapi": "3.1.0", "info": info, "paths": paths})


def _keys(body: object) -> dict[str, Any]:
    """The body's keys; none, if it is no object."""
    return cast("dict[str, Any]", body) if isinstance(body, dict) else {}


def _item(path: str, values: Array, encoding_format: str) -> dict[str, Any]:
    """One entry of `data`, without its index."""
    if path == "/classify":
        label = f"LABEL_{int(values.argmax())}"
        return {"label": label, "probs": values.tolist(), "num_classes": len(values)}
    if path == "/v1/embeddings":
        if values.ndim > 1 and len(values) and encoding_format == "float":
            # vLLM cannot put rows where it declares a list of numbers; base64 flattens them.
            raise prompts.BrokenReply
        return {"object": "embedding", "embedding": pooling.encoded(values, encoding_format)}
    return {"object": "pooling", "data": pooling.encoded(values, encoding_format)}
