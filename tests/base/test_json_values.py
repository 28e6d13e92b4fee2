"""JSON that is measured before it is parsed."""

from __future__ import annotations

import time

import pytest

from reward_client import ProtocolError, RewardClient

from ..support.raw_server import CONVERSATION, RawServer, answer, http, sending

OVERFULL = {
    "empty lists": b'{"tokens": [' + b"[]," * 5_000_000 + b"[]]}",
    "empty objects": b"[" + b"{}," * 5_000_000 + b"{}]",
    "nesting": b"[" * 2_000_000 + b"]" * 2_000_000,
    "keys": b"{" + b",".join(b'"%x":1' % n for n in range(1_500_000)) + b"}",
    "texts": b"[" + b'"a",' * 1_500_000 + b"1]",
    "numbers": b"[" + b"1," * 10_000_000 + b"1]",
}


@pytest.mark.parametrize("body", OVERFULL.values(), ids=OVERFULL)
def test_36_an_overfull_response_is_not_parsed(body):
    with RawServer(answer) as server, RewardClient(server.url) as client:
        client.servers()
        server.plan("/tokenize", sending(http(body)))
        started = time.monotonic()
        with pytest.raises(ProtocolError, match="millions of values"):
            client.score(CONVERSATION)
        assert time.monotonic() - started < 5
