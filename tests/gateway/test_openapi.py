"""The gateway's description of itself is valid, and true of its answers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from openapi_spec_validator import validate

from reward_client.gateway.contracts import CONTRACTS
from reward_client.gateway.contracts.contract import Contract
from reward_client.gateway.openapi import openapi_document

if TYPE_CHECKING:
    from ..support.running_gateway import RunningGateway


@pytest.mark.parametrize("has_key", [False, True])
def test_the_document_is_valid(has_key: bool) -> None:
    validate(openapi_document(has_key=has_key))


def test_the_document_is_served(gateway: RunningGateway) -> None:
    assert gateway.http.get("/openapi.json").json() == openapi_document(has_key=False)


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.name)
def test_examples_follow_their_schema(contract: Contract) -> None:
    jsonschema.validate(contract.example, contract.request)


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.name)
def test_answers_follow_their_schema(reading_gateway: RunningGateway, contract: Contract) -> None:
    answer = reading_gateway.post(contract.path, for_this_model(contract.example))
    assert answer.status_code == 200, answer.text
    jsonschema.validate(answer.json(), contract.response)


def test_the_page_needs_no_network(gateway: RunningGateway) -> None:
    answer = gateway.http.get("/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert not re.search(r"<script|src=|https?://(?!HOST|127|www\.w3\.org)", answer.text)
    assert all(contract.path in answer.text for contract in CONTRACTS)


def for_this_model(example: Any) -> Any:
    """Return an example with the marks of the built-in model's template."""
    if isinstance(example, str):
        marked = re.sub(r"<(user|assistant|end)>", r"<|\1|>", example)
        return f"<|bos|>{marked}" if marked.startswith("<|user|>") else marked
    if isinstance(example, list):
        return [for_this_model(each) for each in example]
    if isinstance(example, dict):
        return {key: for_this_model(value) for key, value in example.items()}
    return example
