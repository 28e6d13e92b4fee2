"""The doctor, by either client."""

from __future__ import annotations

from typing import Any

from reward_client import Diagnosis, Finding, RewardClient

from ...support.either import BlockingAsyncClient, EitherClient


def diagnose(client: EitherClient, sample: Any = None) -> Diagnosis:
    if isinstance(client, BlockingAsyncClient):
        return client.run(client._client.diagnose(sample))
    assert isinstance(client, RewardClient)
    return client.diagnose(sample)


def finding(diagnosis: Diagnosis, check: str) -> Finding:
    return next(found for found in diagnosis.findings if found.check == check)
