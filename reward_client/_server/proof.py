"""Requests that prove a discovered server: its exported head, and its logits."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import orjson

from reward_client._base.activation import Activation
from reward_client._base.samples import Conversation
from reward_client._base.together import together
from reward_client._base.wording import list_numbers
from reward_client._protocols.engine import Renderer, Served
from reward_client._protocols.http import Transport
from reward_client._protocols.tokenizing import tokenize_text
from reward_client._server.manifest_checks import disagreement, reported
from reward_client._server.state import ServerState, is_same
from reward_client._server.template_look import questions
from reward_client._server.texts import PROBE_TEXT
from reward_client._server.warn_once import WarnOnce
from reward_client._tokenization.local_tokenizer import LocalTokenizer
from reward_client.errors import (
    ActivationError,
    BadRequestError,
    InputError,
    ModelNotFoundError,
    ProtocolError,
    RecipeError,
    ResponseMismatchError,
    RouteNotFoundError,
    ShapeError,
    TokenizerMismatchError,
)
from reward_client.recipes import Reference

_TURNS = [
    {"role": "user", "content": "What is 2 + 2?"},
    {"role": "assistant", "content": "Two and two are added. 2 + 2 = 4."},
]

_LOGPROB_ROUNDING = 1e-3
"""How far rounding may lift a log-probability above 0."""


async def prove_ends(transport: Transport, state: ServerState) -> None:
    """Show that each end of a sample counts, for a gateway that drops the count of tokens.

    Raises:
        ResponseMismatchError: If a change of the first or of the last token changes no value.
        RewardClientError: As `Transport.send` and `ScoringRequest.read`.
    """
    request, ids = state.request, state.probes[-1]
    lists = [ids, (_another(state, ids[0]), *ids[1:])]
    if state.layout.kind == "vector":  # otherwise the number of rows shows the end
        lists.append((*ids[:-1], _another(state, ids[-1])))
    response = await transport.send(request.build(state.model, lists))
    same, *changed = (output.values for output in request.read(response, lists))
    if same in changed:
        raise response.error(
            ResponseMismatchError,
            "Cannot trust this server: a sample with another first or last token gets the same "
            "value, and the response does not count the tokens. A gateway cuts samples, or repeats "
            "responses. Connect to the server itself.",
        )
    state.options.warn(
        "the gateway drops the count of tokens (usage): the client cannot see that one cuts samples"
    )


def _another(state: ServerState, token: int) -> int:
    """Return another token, which ends no step."""
    return next(ids[0] for ids in state.probes if ids[0] != token)


async def prove_rendering(transport: Transport, served: Served, warn: WarnOnce) -> None:
    """Show that the chat template makes the token IDs of conversations.

    A server that makes a user's turn of an answer gives the same for both. For one that is known to
    do so, the template on the client is compared by conversations that end with a question, if the
    server renders any.

    Raises:
        ProtocolError: If the server makes a user's turn of an answer.
        TokenizerMismatchError: If the template on the client is another one.
        RewardClientError: As `Transport.send`.
    """
    if served.renders == "unproven":
        await _refuse_rewritten(transport, served)
    elif served.renderer is not None:
        await _compare_templates(transport, served, served.renderer, warn)


async def _refuse_rewritten(transport: Transport, served: Served) -> None:
    """Refuse a server whose last turn is always the user's, although roles make a difference."""
    user, assistant = ({"role": role, "content": "42."} for role in ("user", "assistant"))
    question = {"role": "user", "content": "17 + 25?"}
    pairs = ([question, assistant], [question, user], [assistant, question], [user, question])
    requests = [
        served.engine.chat_request(
            served.model, served.version, Conversation(pair), generation_prompt=False
        )
        for pair in pairs
    ]
    try:
        responses = await together(map(transport.send, requests))
    except BadRequestError:
        return  # the template refuses such turns, or there is none: conversations are refused, too
    answered, asked, *others = map(served.engine.token_ids, responses)
    if answered == asked and others[0] != others[1]:
        raise responses[0].error(
            ProtocolError,
            "Cannot trust /tokenize: it makes a user's turn of the last answer, as older versions "
            f"of {served.engine.name} do, or because a gateway drops add_generation_prompt. Render "
            "the conversation by the model's template and score FormattedText, upgrade the server, "
            "or connect to the server itself.",
        )


async def _compare_templates(
    transport: Transport, served: Served, renderer: Renderer, warn: WarnOnce
) -> None:
    """Compare the template on the client with the server's, which renders questions rightly.

    What it refuses itself, it refuses later too.
    """
    texts: dict[str, str] = {}
    for name, each in questions().items():
        with suppress(InputError):
            texts[name] = renderer.rendered(each, generation_prompt=True)
    is_compared = False
    if served.renders == "questions":
        for name, text in texts.items():
            is_compared |= await _is_same_there(transport, served, renderer, name, text)
    if texts and not is_compared:
        warn_of_template(served, renderer, warn)


async def _is_same_there(
    transport: Transport, served: Served, renderer: Renderer, name: str, text: str
) -> bool:
    """Compare a conversation with that of the server; return False if its template refuses it.

    Raises:
        TokenizerMismatchError: If it differs.
        RewardClientError: As `Transport.send`.
    """
    request = served.engine.chat_request(
        served.model, served.version, questions()[name], generation_prompt=True
    )
    try:
        there = served.engine.token_ids(await transport.send(request))
    except BadRequestError:
        return False
    here = await tokenize_text(transport, served, text, add_special_tokens=False)
    if here == there:
        return True
    raise TokenizerMismatchError(
        f"The chat template of {renderer!r} is not the server's: a conversation ({name}) has "
        f"{len(here)} tokens here, and {len(there)} others there. Give the tokenizer of the served "
        "model."
    )


def warn_of_template(served: Served, renderer: Renderer, warn: WarnOnce) -> None:
    """Warn that no rendered conversation of the server shows its template."""
    warn(
        "nothing proves that the chat template of %r is the server's: %s renders no conversations "
        "here",
        renderer,
        served,
    )


async def prove_tokenizer(
    transport: Transport, state: ServerState, tokenizer: LocalTokenizer
) -> bool:
    """Compare a local tokenizer with the server's, by the value of one sample sent as both.

    It is a conversation, or a text where the server takes no conversations.

    Returns:
        True if they agree; False if the server takes neither, or needs more than a template.

    Raises:
        TokenizerMismatchError: If they differ.
        RewardClientError: As `Transport.send` and `ScoringRequest.read`.
    """
    request, rules = state.strategy.conversations or state.request, state.rules
    is_plain = rules.bos is None and not rules.append and rules.step is None
    if request.reads_tokens or (request.takes_messages and not is_plain):
        return False
    form = "messages" if request.takes_messages else "text"
    try:
        if request.takes_messages:
            opened = rules.generation_prompt
            ids = await asyncio.to_thread(
                tokenizer.ids, Conversation(_TURNS), generation_prompt=opened
            )
            written = [orjson.dumps(_TURNS)]
            sent = request.build_chat(state.model, written, generation_prompt=opened)
        else:
            ids = await asyncio.to_thread(tokenizer.text_ids, PROBE_TEXT, add_special_tokens=True)
            sent = request.build(state.model, [PROBE_TEXT])
        response = await transport.send(sent)
    except (InputError, BadRequestError, RouteNotFoundError, ModelNotFoundError):
        return False
    by_ids = await transport.send(state.request.build(state.model, [ids]))
    (here,) = state.request.read(by_ids, [ids])
    try:
        if request.takes_messages:
            (there,) = request.read_conversations(response, 1, range(len(ids), len(ids) + 1))
        else:
            (there,) = request.read_each(response, [ids])
    except ResponseMismatchError as error:
        raise _other_tokenizer(tokenizer, str(error)) from None
    if isinstance(there, ProtocolError):
        raise there
    mine, theirs = state.layout.rows(here)[-1], state.layout.rows(there)[-1]
    if not is_same(mine, theirs):
        values = list_numbers(mine[:3]), list_numbers(theirs[:3])
        raise _other_tokenizer(tokenizer, "{} by its token IDs, {} as {}.".format(*values, form))
    return True


def _other_tokenizer(tokenizer: LocalTokenizer, difference: str) -> TokenizerMismatchError:
    return TokenizerMismatchError(
        f"The tokenizer of {tokenizer.source!r} is not the server's: one sample differs. "
        f"{difference} Its files or its chat template differ from those of the server. Give the "
        "tokenizer of the served model."
    )


async def prove_head(
    transport: Transport, state: ServerState, references: Sequence[Reference]
) -> None:
    """Score the references of a manifest in one request, and compare the values.

    Raises:
        NotARewardError: If a value differs from the manifest.
        RecipeError: If the references belong to another head.
        RewardClientError: As `Transport.send` and `ScoringRequest.read`.
    """
    request, rules = state.request, state.rules
    lists = [reference.token_ids or () for reference in references]
    response = await transport.send(request.build(state.model, lists))
    outputs = request.read(response, lists)
    for number, (reference, ids, output) in enumerate(
        zip(references, lists, outputs, strict=True), start=1
    ):
        if rules.step is not None and not rules.step_places(ids):
            raise RecipeError(
                f"Reference {number} of the manifest has no step token {rules.step.token_id}: it "
                "belongs to another head, or to another tokenizer than the server's. Export the "
                "checkpoint again."
            )
        try:
            scores = state.read(output, ids)
        except ShapeError as problem:
            raise response.error(ShapeError, str(problem)) from None
        error = disagreement(reference, number, reported(reference, scores))
        if error is not None:
            raise response.error(type(error), str(error))


async def prove_logits(transport: Transport, state: ServerState) -> Activation:
    """Prove that a generating server answers logits: the likeliest token's is above 0 somewhere.

    A log-probability is never above 0. No server says which of the two it answers.

    Raises:
        ActivationError: If the numbers may be log-probabilities.
        RewardClientError: As `Transport.send`.
    """
    likeliest = replace(state.request, tokens=())
    response = await transport.send(likeliest.build(state.model, state.probes))
    numbers = [output.values[0] for output in likeliest.read(response, state.probes)]
    if max(numbers) > _LOGPROB_ROUNDING:
        return Activation("none", "probe")
    raise response.error(
        ActivationError,
        f"Cannot read logits: the likeliest tokens after {len(numbers)} probes have numbers up to "
        f"{max(numbers):.4g}, none above 0, so these are log-probabilities. Start the server with "
        f"{state.strategy.flag} ({state.engine.name} {state.engine.first_version_with('logit')} "
        "and later).",
    )
