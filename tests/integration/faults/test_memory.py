"""The script of peaks sends its replies to the sample, and not to the probes before it."""

from __future__ import annotations

from typing import Any

import pytest

from ...support.raw_server import RawServer, http, sending
from . import memory


def test_the_script_measures_the_reply_to_a_sample(capsys: pytest.CaptureFixture[Any]) -> None:
    with RawServer(memory.to_the_sample(sending(http(b"no json")))) as server:
        memory.ask("own, sync", server.url)

    assert capsys.readouterr().out.strip().endswith("ProtocolError, 1 attempts")
