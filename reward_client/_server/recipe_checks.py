"""Compare what a recipe says with what the server shows, with the requests that this needs.

A contradiction is an error: another model is served. Where the server shows nothing, the recipe is
believed.
"""

from __future__ import annotations

from reward_client._base.samples import Conversation, Message, parse_sample
from reward_client._base.token_ids import TokenIds
from reward_client._base.wording import list_numbers
from reward_client._protocols.http import Transport
from reward_client._protocols.pooled_output import PooledOutput
from reward_client._protocols.tokenizing import tokenize_prompt
from reward_client._server.identity import Identity
from reward_client._server.manifest_checks import agrees, reported
from reward_client._server.probes import token_ids_of
from reward_client._server.state import DiscoveryOptions, ServerState
from reward_client._server.texts import Texts
from reward_client.errors import BadRequestError, NotARewardError, RecipeError
from reward_client.recipes import Recipe, Reference
from reward_client.recipes.formatting import expected_in_words

_MAX_CHARACTERS = 4000
"""A longer reference is not cheap."""

_CONTRADICTION = 4
"""More tolerances than another precision of the same weights moves a value."""

_EXACT = 1e-3
"""The largest tolerance of a reference that leaves no room for a constant in all rewards."""

_TURNS: tuple[Message, ...] = (
    {"role": "user", "content": "2+2?"},
    {"role": "assistant", "content": "4"},
)
_IGNORE = "Name the recipe of the served model, or ignore this one by recipe=None."


async def check_special_tokens(
    texts: Texts, identity: Identity, recipe: Recipe, options: DiscoveryOptions
) -> None:
    """Tokenize the texts that the recipe has IDs for.

    Raises:
        RecipeError: If the server's tokenizer has other IDs for them.
        RewardClientError: As `Transport.send`.
    """
    for text, token in recipe.special_tokens.items():
        ids = await texts.ids(text, add_special_tokens=False)
        if tuple(ids) != (token,):
            raise RecipeError(
                f"The recipe {options.name_of(recipe, identity)} does not fit this server: its "
                f"{text!r} is token {token}, and the server's tokenizer makes {[*ids[:8]]} of it. "
                f"Another model is served. {_IGNORE}"
            )


async def missing_system(
    transport: Transport, identity: Identity, recipe: Recipe, *, generation_prompt: bool
) -> str | None:
    """Return the system message of the recipe, unless the chat template writes it itself.

    Raises:
        RewardClientError: As `Transport.send`.
    """
    system = recipe.prompt.system
    if system is None:
        return None
    named, unnamed = [
        await tokenize_prompt(
            transport,
            identity.served,
            Conversation(turns),
            generation_prompt=generation_prompt,
        )
        for turns in (({"role": "system", "content": system}, *_TURNS), _TURNS)
    ]
    return None if named == unnamed else system


async def check_logit_tokens(texts: Texts, promised: ServerState, tokens: tuple[int, ...]) -> None:
    """Look for evidence that a pooling server's number is the logit of the caller's tokens.

    A classifier with one label looks the same, and no server says how its head was made.

    Raises:
        NotARewardError: If nothing but the number's shape speaks for it.
        RecipeError: If the recipe reads the logits of other tokens.
        RewardClientError: As `Transport.send`.
    """
    recipe, output = promised.recipe, promised.options.output
    if not output.tokens or promised.request.reads_tokens:
        return
    if recipe is not None and recipe.logit_tokens:
        known = await token_ids_of(texts, recipe.logit_tokens)
        if known == tokens:
            return
        raise RecipeError(
            f"The recipe {promised.recipe_name} reads the logits of tokens {[*known]}, and the "
            f"method those of {[*tokens]}. Give the tokens of the recipe, or recipe=None."
        )
    if output.classifier_from_token:
        return
    words = " and ".join(repr(token) for token in output.tokens)
    doubt = (
        f"Cannot tell whether the server's number is the logit of {words}: an ordinary classifier "
        "answers one number too."
    )
    engine = promised.engine
    if engine.first_version_with("exported") is None:
        advice = engine.advice.logit if len(tokens) == 1 else engine.advice.difference
        raise NotARewardError(f"{doubt} {advice}")
    raise NotARewardError(
        f"{doubt} Give the manifest of an export (`reward-client export MODEL "
        "FOLDER --head lm-head:TOKEN --verify`) as recipe=, or serve the language model itself "
        "(`vllm serve MODEL --logprobs-mode raw_logits`). If the server was started with "
        "classifier_from_token for these tokens, say so: classifier_from_token=True in the method."
    )


async def check_reference(transport: Transport, state: ServerState) -> bool:
    """Score the shortest published sample, and compare its reward.

    Returns:
        True if the reward was published exactly, and the server gives it.

    The values of an export prove it elsewhere, and those of another head or method prove nothing.

    Raises:
        RecipeError: If the reward is another model's.
        RewardClientError: As `reference_output`.
    """
    recipe, output = state.recipe, state.options.output
    if (
        recipe is None
        or recipe.export is not None
        or state.options.head is not None
        or output.method not in ("pooled", "messages")
        or state.request.sends != "ids"
    ):
        return False
    short = [each for each in recipe.references if _size(each) <= _MAX_CHARACTERS]
    if not short:
        return False
    reference = min(short, key=_size)
    try:
        scored = await reference_output(transport, state, reference)
    except BadRequestError as error:
        raise RecipeError(
            f"The recipe {state.recipe_name} does not fit this server, which refuses a published "
            f"sample. {_IGNORE}"
        ) from error
    if scored is None:
        return False
    ids, pooled = scored
    found = reported(reference, state.read(pooled, ids))
    if agrees(reference, found):
        return reference.tolerance <= _EXACT
    wider = reference.model_copy(update={"tolerance": _CONTRADICTION * reference.tolerance})
    published = f"{expected_in_words(reference)} ({reference.source})"
    if agrees(wider, found):
        state.options.warn(
            "the reward of a published sample is %s, and %s was published: the precision of the "
            "weights may differ",
            list_numbers(found),
            published,
        )
        return False
    raise RecipeError(
        f"The recipe {state.recipe_name} does not fit this server: it answers "
        f"{list_numbers(found)} for a published sample, and {published} was published. The "
        f"weights, their precision, the chat template or the tokenizer are others. {_IGNORE}"
    )


async def reference_output(
    transport: Transport, state: ServerState, reference: Reference
) -> tuple[TokenIds, PooledOutput] | None:
    """Return the token IDs of a reference and their output; None if it cannot be scored.

    It may be too long, or a gateway may hide ``/tokenize``.

    Raises:
        RewardClientError: As `Transport.send` and `ScoringRequest.read`.
    """
    identity, request, rules = state.identity, state.request, state.rules
    prompt = rules.with_steps(parse_sample(reference.sample))
    if not (rules.server_tokenizes or isinstance(prompt, TokenIds)):
        return None
    ids = await tokenize_prompt(
        transport,
        identity.served,
        prompt,
        generation_prompt=rules.generation_prompt,
    )
    ids = rules.finished(ids, prompt)
    if rules.max_model_len is not None and len(ids) > rules.max_model_len:
        return None
    response = await transport.send(request.build(identity.model, [ids]))
    (output,) = request.read(response, [ids])
    return ids, output


def _size(reference: Reference) -> int:
    """Return about how many characters a reference has."""
    if reference.token_ids is not None:
        return 4 * len(reference.token_ids)
    turns = (turn.content for turn in reference.messages or ())
    return len(reference.text or "") + sum(map(len, (*turns, *(reference.steps or ()))))
