"""The OpenAI client behind `from_openai`, whose package is an extra."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import openai


def openai_carrier(client: openai.OpenAI | openai.AsyncOpenAI) -> openai.AsyncOpenAI:
    """Return the asynchronous OpenAI client that carries the requests.

    Raises:
        InputError: If the object is no OpenAI client, or cannot be used asynchronously.
        ModuleNotFoundError: If openai is not installed.
    """
    try:
        from reward_client._transport.backends.openai import as_async
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "openai":
            raise
        raise ModuleNotFoundError(
            "Cannot use from_openai(): openai is not installed. Run: "
            "pip install 'reward-client[openai]'",
            name="openai",
        ) from error
    return as_async(client)
