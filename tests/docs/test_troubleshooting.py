"""The page for troubleshooting names the errors that its symptoms really end in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest

import reward_client
from reward_client import RetryPolicy, RewardClient, errors
from reward_client.testing import Fault, RewardServer

from . import pages

PAGE = pages.DOCS / "how-to" / "troubleshooting.md"
SAMPLE = [
    {"role": "user", "content": "What is 45 + 43?"},
    {"role": "assistant", "content": "88"},
]
ERROR_NAME = re.compile(r"`(\w+Error)`")
BUILTINS = {"TypeError", "ValueError", "RuntimeError", "TimeoutError", "ValidationError"}
OF_OTHERS = {"NotFoundError", "TaskError"}


class Symptom(NamedTuple):
    """A server, a client and a sample that together end in an error."""

    error: type[Exception]
    server: Mapping[str, Any] = {}
    client: Mapping[str, Any] = {}
    fault: tuple[Fault, str] | None = None
    sample: Any = SAMPLE


SYMPTOMS = {
    "All rewards are 1.0": Symptom(errors.ActivationError, {"dialect": "0.8"}),
    "All rewards are equal, or almost 0": Symptom(
        errors.NotARewardError, {"values": lambda _: 3.0}
    ),
    "404 on /v1/embeddings": Symptom(errors.RouteNotFoundError, client={"route": "embeddings"}),
    "404 on /tokenize or /pooling": Symptom(
        errors.RouteNotFoundError, {"logprobs": "raw_logprobs"}
    ),
    "The model does not exist": Symptom(errors.ModelNotFoundError, client={"model": "other"}),
    "401: the key is missing or wrong": Symptom(
        errors.AuthenticationError, {"api_key": "secret-key"}
    ),
    "403 behind a proxy": Symptom(
        errors.AuthenticationError, fault=(Fault.html(403), "/v1/models")
    ),
    "A redirect": Symptom(errors.StatusError, fault=(Fault.status(307), "/v1/models")),
    "A response without JSON": Symptom(errors.ProtocolError, fault=(Fault.html(200), "/v1/models")),
    "The model is refused by name": Symptom(
        errors.RecipeError, {"root": "RLHFlow/ArmoRM-Llama3-8B-v0.1"}
    ),
    "Several values where one is expected": Symptom(errors.ShapeError, {"head": "labels"}),
    "A row for each step": Symptom(errors.ShapeError, {"head": "steps"}),
    "Hidden states instead of a reward": Symptom(errors.NotARewardError, {"head": "embed"}),
    "NaN or null": Symptom(errors.NonFiniteRewardError, fault=(Fault.nan(), "/pooling")),
    "The server scored other tokens": Symptom(
        errors.ResponseMismatchError, fault=(Fault.wrong_usage(), "/pooling")
    ),
    "PromptTooLongError": Symptom(errors.PromptTooLongError, {"max_model_len": 12}),
    "InputError: a bare string is ambiguous": Symptom(errors.InputError, sample="88"),
    "TemplateUnavailableError: SGLang makes a user's turn of the answer": Symptom(
        errors.TemplateUnavailableError, {"engine": "sglang", "dialect": "0.5.22"}
    ),
    "InputError: parts other than text": Symptom(
        errors.InputError,
        sample=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
    ),
    "429": Symptom(errors.RateLimitedError, fault=(Fault.status(429), "/v1/models")),
}


def entries() -> dict[str, str]:
    """Return the entries of the page by heading."""
    _, *others = re.split(r"^### (.+)\n", pages.text(PAGE), flags=re.MULTILINE)
    return dict(zip(others[::2], others[1::2], strict=True))


@pytest.mark.parametrize("heading", SYMPTOMS)
def test_symptom(heading: str) -> None:
    symptom = SYMPTOMS[heading]
    with RewardServer(**symptom.server) as server:
        if symptom.fault is not None:
            fault, path = symptom.fault
            server.inject(fault, path=path, times=9)
        retry = RetryPolicy(attempts=1)
        with (
            RewardClient(server.url, retry=retry, **symptom.client) as client,
            pytest.raises(symptom.error) as caught,
        ):
            client.score(symptom.sample)
    assert caught.type is symptom.error
    assert symptom.error.__name__ in heading + entries()[heading]


def test_every_entry_has_a_cause_and_a_cure() -> None:
    for heading, entry in entries().items():
        assert "**Cure.**" in entry or "**Cause and cure.**" in entry or "| Better |" in entry, (
            heading
        )


@pytest.mark.parametrize("page", pages.PAGES, ids=pages.name)
def test_errors_that_pages_name_exist(page: object) -> None:
    named = set(ERROR_NAME.findall(pages.text(page)))  # type: ignore[arg-type]
    assert named <= {*reward_client.__all__, *BUILTINS, *OF_OTHERS}
