"""What a late attempt says about the server: another one may have come up while it slept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import SimpleNamespace

import pytest

from reward_client import Limits, RetryPolicy
from reward_client._protocols.http import RESTART_SECONDS, Request
from reward_client._transport import http_transport
from reward_client._transport.backends.base import RawResponse
from reward_client._transport.http_transport import HttpTransport

SLEPT = 60.0
"""The seconds between the failure of an attempt and the next one."""


class Scripted:
    """A backend that answers with the status of the moment."""

    proxy = None

    status = 200

    async def send(self, *_: object) -> RawResponse:
        return RawResponse(self.status, {}, b"{}", {})

    async def aclose(self) -> None:
        pass


def lost_at(monkeypatch: pytest.MonkeyPatch, answers: Iterable[tuple[float, int]]) -> float:
    """When the loss began that an attempt at `SLEPT` notes; the attempt before failed at 0.

    Args:
        monkeypatch: Replaces the clock.
        answers: The responses to other requests meanwhile: their times and statuses.
    """
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(http_transport, "time", SimpleNamespace(monotonic=lambda: clock.now))

    async def run() -> float:
        backend = Scripted()
        transport = HttpTransport(
            "http://far", backend, {}, RetryPolicy(), Limits(), has_stand_in=lambda: False
        )

        async def at(seconds: float, status: int, attempts: http_transport._Attempts) -> None:
            clock.now, backend.status = seconds, status
            await attempts.next()

        request = Request("GET", "/v1/models")
        sleeping = http_transport._Attempts(transport, request)
        await at(0, 503, sleeping)
        for seconds, status in answers:
            await at(seconds, status, http_transport._Attempts(transport, request))
        await at(SLEPT, 200, sleeping)
        return transport.lost_at

    return asyncio.run(run())


def every_second(first: float, last: float, status: int = 200) -> list[tuple[float, int]]:
    return [(float(second), status) for second in range(int(first), int(last) + 1)]


def test_35_answers_without_a_pause_are_of_one_server(monkeypatch):
    assert lost_at(monkeypatch, every_second(2, SLEPT)) == 0


@pytest.mark.parametrize(
    ("answers", "silent_from"),
    [
        pytest.param(every_second(2, 30), 30, id="until now"),
        pytest.param(every_second(2, 20) + every_second(40, SLEPT), 20, id="before"),
        pytest.param(
            every_second(2, 20) + every_second(21, SLEPT, 503), 20, id="errors of a gateway"
        ),
        pytest.param([(2.0, 200), (2 + RESTART_SECONDS + 0.1, 200)], 6.1, id="twice"),
    ],
)
def test_35_a_silence_may_hide_another_server(monkeypatch, answers, silent_from):
    assert lost_at(monkeypatch, answers) == pytest.approx(silent_from)
