"""A server that answers at once with the right shape, so that only the client's cost counts.

    python benchmarks/null_server.py [PORT] [DELAY_MS] [ENGINE]

It prints its URL, and imitates one reward model on vLLM 0.32 or, if ENGINE is "sglang", on SGLang
0.5.23. The value of a token list depends
on its first token, its last token and its length, so that swapped responses show. As vLLM does, it
names the request in a pooling response, if the request has an ID.
"""

from __future__ import annotations

import asyncio
import sys

import orjson

MODEL = "null"
MAX_MODEL_LEN = 4096
VOCABULARY = 128_000


def value(ids: list[int]) -> float:
    return (ids[0] * 31 + ids[-1] * 17 + len(ids)) % 1000 / 10 - 50


def tokens(text: str) -> list[int]:
    """Make one token of every four bytes."""
    data = text.encode()
    return [data[index] * 7 + index % 1000 for index in range(0, len(data), 4)] or [1]


def pooling(body: dict, name: str) -> bytes:
    lists = body["input"]
    data = ",".join(
        f'{{"index":{index},"object":"pooling","data":[{value(ids)}]}}'
        for index, ids in enumerate(lists)
    )
    count = sum(map(len, lists))
    return (
        f'{{"id":"pool-{name}","object":"list","created":1,"model":"{MODEL}","data":[{data}],'
        f'"usage":{{"prompt_tokens":{count},"total_tokens":{count},"completion_tokens":0}}}}'
    ).encode()


def tokenize(body: dict, name: str) -> bytes:
    text = body.get("prompt")
    if text is None:
        text = "".join(message["content"] for message in body["messages"])
    ids = tokens(text)
    return orjson.dumps({"tokens": ids, "count": len(ids), "max_model_len": MAX_MODEL_LEN})


def classify(body: dict, name: str) -> bytes:
    lists = body["input_ids"]
    names = body.get("rid") or [name] * len(lists)
    items = ",".join(
        f'{{"embedding":[{value(ids)}],"meta_info":{{"id":"{rid}","prompt_tokens":{len(ids)}}}}}'
        for ids, rid in zip(lists, names, strict=True)
    )
    return f"[{items}]".encode()


def detokenize(body: dict, name: str) -> bytes:
    return orjson.dumps({"text": "x" * sum(each < VOCABULARY for each in body["tokens"])})


CARD = {
    "id": MODEL,
    "object": "model",
    "root": MODEL,
    "parent": None,
    "max_model_len": MAX_MODEL_LEN,
}
GETS = {
    b"/v1/models": orjson.dumps({"object": "list", "data": [CARD]}),
    b"/version": b'{"version":"0.32.0"}',
    b"/health": b"{}",
    b"/openapi.json": orjson.dumps({"paths": {"/tokenize": {}, "/pooling": {}, "/v1/models": {}}}),
}
POSTS = {b"/pooling": pooling, b"/tokenize": tokenize}
SGLANG_GETS = {
    b"/v1/models": orjson.dumps({"object": "list", "data": [{**CARD, "owned_by": "sglang"}]}),
    b"/get_server_info": b'{"version":"0.5.23"}',
    b"/get_model_info": orjson.dumps(
        {
            "model_path": MODEL,
            "tokenizer_path": MODEL,
            "is_generation": False,
            "architectures": ["LlamaForSequenceClassification"],
        }
    ),
    b"/health": b"",
}
SGLANG_POSTS = {b"/classify": classify, b"/tokenize": tokenize, b"/detokenize": detokenize}


def _header(head: bytes, name: bytes) -> bytes:
    """Return the value of a header from a head in lower case; nothing if it is missing."""
    _, found, rest = head.partition(b"\r\n" + name + b":")
    return rest.split(b"\r\n", 1)[0].strip() if found else b""


class Http(asyncio.Protocol):
    """The part of HTTP/1.1 that clients with keep-alive need."""

    delay = 0.0
    gets = GETS
    posts = POSTS

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._buffer = bytearray()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._buffer[:end])
            lower = head.lower()
            length = int(_header(lower, b"content-length") or 0)
            if len(self._buffer) < end + 4 + length:
                return
            body = bytes(self._buffer[end + 4 : end + 4 + length])
            del self._buffer[: end + 4 + length]
            name = _header(lower, b"x-request-id").decode()
            self._answer(head.split(b" ", 2)[1], body, name or "1")

    def _answer(self, path: bytes, body: bytes, name: str) -> None:
        if path in self.gets:
            content, status = self.gets[path], b"200 OK"
        elif path in self.posts:
            content, status = self.posts[path](orjson.loads(body), name), b"200 OK"
        else:
            content, status = b'{"detail":"Not Found"}', b"404 Not Found"
        response = (
            b"HTTP/1.1 "
            + status
            + b"\r\ncontent-type: application/json\r\ncontent-length: "
            + str(len(content)).encode()
            + b"\r\n\r\n"
            + content
        )
        if self.delay:
            asyncio.get_running_loop().call_later(self.delay, self._transport.write, response)
        else:
            self._transport.write(response)


async def main(port: str = "0", delay_ms: str = "0", engine: str = "vllm") -> None:
    Http.delay = float(delay_ms) / 1000
    if engine == "sglang":
        Http.gets, Http.posts = SGLANG_GETS, SGLANG_POSTS
    server = await asyncio.get_running_loop().create_server(Http, "127.0.0.1", int(port))
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
