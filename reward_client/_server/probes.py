"""Eight token lists that tell what a server answers: its shape, and what squashes the values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice

from reward_client._base.json_values import as_count
from reward_client._base.token_ids import TokenIds
from reward_client._protocols.http import Transport
from reward_client._protocols.vllm.tokenize import detokenize_call, text_call, text_of, token_ids
from reward_client._tokenization.prompt_rules import StepToken
from reward_client.errors import InputError
from reward_client.heads import StepHead

# Tokenized once for each server, cut into pieces of different lengths and scored. Diverse on
# purpose.
_TEXT = (
    "What is 17 + 25? The answer is 42, because seven and five make twelve. Paris, Zürich and 東京 "
    "are cities; def f(x): return x ** 2 is code!!! I am sorry, I cannot help with that. ¿Por qué "
    "no? No no no no. Yes. https://example.org/a?b=c&d=%20 {'key': [1, 2.5, null]} THE END"
)
_COUNT = 8
_SHORTEST = 3
_STRIDE = 5
_MOST_STEPS = 3
_CHARACTERS = 24


@dataclass(frozen=True, slots=True)
class Probes:
    """What was tokenized to probe a server.

    Attributes:
        ids: Token lists of different lengths.
        bos: The token that starts a text, if the tokenizer adds one.
        max_model_len: The length limit that ``/tokenize`` names, if it does.
    """

    ids: tuple[tuple[int, ...], ...]
    bos: int | None
    max_model_len: int | None


async def tokenized_probes(transport: Transport, model: str, step: StepToken | None) -> Probes:
    """The probes, with one to three step tokens in each where steps are scored."""
    response = await transport.call(text_call(model, _TEXT, add_special_tokens=True))
    ids = token_ids(response)
    bare = token_ids(await transport.call(text_call(model, _TEXT, add_special_tokens=False)))
    return Probes(
        ids=tuple(_piece(bare, index, step) for index in range(_COUNT)),
        bos=ids[0] if ids[1 : 1 + len(bare)] == bare else None,
        max_model_len=as_count(response.fields().get("max_model_len")),
    )


def _piece(ids: Sequence[int], index: int, step: StepToken | None) -> tuple[int, ...]:
    start = index * _STRIDE
    piece = list(islice(cycle(ids), start, start + _SHORTEST + index))
    if step is not None:
        for place in range(1 + index % _MOST_STEPS):
            piece.insert(2 * place + 1, step.token_id)
    return tuple(piece)


async def text_probes(transport: Transport, model: str) -> tuple[list[str], list[TokenIds]]:
    """Texts, and the token IDs that the server makes of them by itself, special tokens included."""
    texts = [
        _TEXT[index * _CHARACTERS : (index + 1) * _CHARACTERS + _STRIDE * index]
        for index in range(_COUNT)
    ]
    calls = [text_call(model, text, add_special_tokens=True) for text in texts]
    return texts, [token_ids(await transport.call(call)) for call in calls]


async def step_token(transport: Transport, model: str, head: StepHead) -> StepToken:
    """The step token's ID and text.

    Raises:
        InputError: Its text is not one token.
        RewardClientError: As `Transport.call`.
    """
    given = head.step_token
    if isinstance(given, int):
        text = text_of(await transport.call(detokenize_call(model, [given])))
        if not text or "\ufffd" in text:
            raise InputError(
                f"step_token={given} is no text of this model ({text!r}): steps cannot be told "
                "apart by it. Is it the right ID?"
            )
        return StepToken(given, text)
    ids = token_ids(await transport.call(text_call(model, given, add_special_tokens=False)))
    if len(ids) != 1:
        raise InputError(
            f"step_token={given!r} is {len(ids)} tokens of this model ({[*ids[:8]]}) and must be "
            "one. Is it the right model? A token that text never becomes can be given by its ID."
        )
    return StepToken(ids[0], given)
