"""The gateway's description of itself: OpenAPI, and a page that needs no network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import orjson

from reward_client import __version__
from reward_client._pages.page import render
from reward_client._pages.sections import Excerpt, Section, Table
from reward_client.gateway.contracts import CONTRACTS
from reward_client.gateway.contracts.contract import Contract

_TITLE = "reward-client gateway"

STATUSES: Mapping[str, str] = {
    "400": "The body does not fit the contract.",
    "401": "The key is missing or wrong.",
    "408": "The body came too slowly.",
    "413": "The body or the number of samples is too large.",
    "415": "The body is compressed.",
    "422": "A sample cannot be scored. Asked again, it fails again.",
    "500": "The gateway made a mistake, and logged where.",
    "503": "The reward servers do not answer, or give no reward; or too many samples are in "
    "flight, or the gateway stops. Ask again after Retry-After.",
}

_OWN_PATHS = {
    "/health": "The process lives.",
    "/ready": "The reward servers answer, and their rewards are proven; 503 otherwise.",
    "/metrics": "Counts and durations as text for Prometheus.",
}


def openapi_document(*, has_key: bool) -> dict[str, object]:
    """Return the OpenAPI document.

    Args:
        has_key: True if callers need a key.
    """
    document: dict[str, object] = {
        "openapi": "3.1.0",
        "info": {"title": _TITLE, "version": __version__},
        "paths": {
            **{contract.path: {"post": _operation(contract)} for contract in CONTRACTS},
            **{
                path: {"get": {"summary": what, "responses": {"200": {"description": what}}}}
                for path, what in _OWN_PATHS.items()
            },
        },
    }
    if has_key:
        schemes = {"bearer": {"type": "http", "scheme": "bearer"}}
        schemes["basic"] = {"type": "http", "scheme": "basic"}
        document["components"] = {"securitySchemes": schemes}
        document["security"] = [{"bearer": []}, {"basic": []}]
    return document


def _operation(contract: Contract) -> Mapping[str, object]:
    content = {"application/json": {"schema": contract.error}}
    refused = {
        status: {"description": what, "content": content} for status, what in STATUSES.items()
    }
    return {
        "operationId": contract.name,
        "summary": contract.summary,
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": contract.request, "example": contract.example}
            },
        },
        "responses": {
            "200": {
                "description": "The rewards.",
                "content": {"application/json": {"schema": contract.response}},
            },
            **refused,
        },
    }


def page() -> str:
    """Return the description as a page of HTML."""
    sections = [Section(contract.path, _described(contract)) for contract in CONTRACTS]
    own = Table("Further paths", ["Path", "Answer"], [*_OWN_PATHS.items()], texts=2)
    refused = Table("Answers without rewards", ["Status", "Meaning"], [*STATUSES.items()], texts=2)
    sections.append(Section("Status", [own, refused]))
    facts = ["Bodies are JSON, sent by POST.", "/openapi.json describes the same to programs."]
    return render(_TITLE, facts, sections, f"reward-client {__version__}")


def _described(contract: Contract) -> list[str | Table | Excerpt]:
    rows = _fields(contract.request)
    table = Table("Fields of the body", ["Field", "Meaning"], rows, texts=2)
    example = orjson.dumps(contract.example, option=orjson.OPT_INDENT_2).decode()
    return [contract.summary, table, Excerpt("Example", [("body", example)])]


def _fields(schema: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return the fields of a schema, or of its alternatives, with their meaning."""
    choices = cast("list[Mapping[str, object]]", schema.get("anyOf", [schema]))
    rows: dict[str, str] = {}
    for choice in choices:
        required = cast("list[str]", choice.get("required", []))
        properties = cast("Mapping[str, Mapping[str, object]]", choice.get("properties", {}))
        for name, field in properties.items():
            need = "" if name in required or len(choices) > 1 else " Optional."
            rows.setdefault(name, f"{field['description']}{need}")
    return [*rows.items()]
