"""A server that answers at once with the right shape, so that only the client's cost is seen.

    python benchmarks/instant_server.py [PORT] [DELAY_MS]

Prints its URL. It speaks as vLLM 0.32 about one reward model: the value of a token list is made of
its first and last token and its length, so that mixed-up replies show.
"""

from __future__ import annotations

import asyncio
import sys

import orjson

MODEL = "instant"
MAX_MODEL_LEN = 4096


def value(ids: list[int]) -> float:
    return (ids[0] * 31 + ids[-1] * 17 + len(ids)) % 1000 / 10 - 50


def tokens(text: str) -> list[int]:
    """A token for each four characters."""
    data = text.encode()
    return [data[place] * 7 + place % 1000 for place in range(0, len(data), 4)] or [1]


def pooling(body: dict) -> bytes:
    lists = body["input"]
    data = ",".join(
        f'{{"index":{index},"object":"pooling","data":[{value(ids)}]}}'
        for index, ids in enumerate(lists)
    )
    count = sum(map(len, lists))
    return (
        f'{{"id":"pool-1","object":"list","created":1,"model":"{MODEL}","data":[{data}],'
        f'"usage":{{"prompt_tokens":{count},"total_tokens":{count},"completion_tokens":0}}}}'
    ).encode()


def tokenize(body: dict) -> bytes:
    text = body.get("prompt")
    if text is None:
        text = "".join(message["content"] for message in body["messages"])
    ids = tokens(text)
    return orjson.dumps({"tokens": ids, "count": len(ids), "max_model_len": MAX_MODEL_LEN})


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


class Http(asyncio.Protocol):
    """As much of HTTP/1.1 as clients that keep their connections need."""

    delay = 0.0

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
            at = lower.find(b"content-length:")
            length = int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            body = bytes(self._buffer[end + 4 : end + 4 + length])
            del self._buffer[: end + 4 + length]
            self._answer(head.split(b" ", 2)[1], body)

    def _answer(self, path: bytes, body: bytes) -> None:
        if path in GETS:
            content, status = GETS[path], b"200 OK"
        elif path in POSTS:
            content, status = POSTS[path](orjson.loads(body)), b"200 OK"
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


async def main(port: int, delay: float) -> None:
    Http.delay = delay
    server = await asyncio.get_running_loop().create_server(Http, "127.0.0.1", port)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    arguments = [float(argument) for argument in sys.argv[1:]]
    asyncio.run(
        main(
            int(arguments[0]) if arguments else 0,
            arguments[1] / 1000 if len(arguments) > 1 else 0.0,
        )
    )
