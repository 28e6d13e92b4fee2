"""How a reward is defined, and had from a server: so far by pooled output."""

from __future__ import annotations

from collections.abc import Sequence

from reward_client.calls import Caller
from reward_client.errors import (
    BadRequestError,
    InputError,
    ModelNotFoundError,
    ProtocolError,
    ResponseMismatchError,
    RouteNotFoundError,
    ShapeError,
)
from reward_client.rewards import Reward, TokenizedSample
from reward_client.routes import PooledOutput
from reward_client.samples import Prompt
from reward_client.server.serving import Serving
from reward_client.server.watch import ServerWatch
from reward_client.tokenizing import Tokenizer, check_length, digest
from reward_client.tokenizing.server import detokenize_call, text_call, text_of, token_ids

__all__ = ["Pooled", "pooled_output"]

_MAX_SERVERS = 5
"""How many servers may take each other's place under one sample before that is a failure."""

# What a request made for one server may get from another that has come up in its place.
_MAY_BE_ANOTHER_SERVER = (RouteNotFoundError, ModelNotFoundError, ShapeError)
_WRONG_ADDRESSEE = (*_MAY_BE_ANOTHER_SERVER, BadRequestError, ProtocolError)


class Pooled:
    """The reward is what the head makes of the server's pooled output."""

    def __init__(self, caller: Caller, watch: ServerWatch, tokenizer: Tokenizer) -> None:
        self._caller = caller
        self._watch = watch
        self._tokenizer = tokenizer

    async def tokenize(self, prompt: Prompt) -> TokenizedSample:
        """The token IDs that a prompt would be scored as."""
        serving = await self._watch.serving()
        return await self._tokenizer.tokenize(serving.profile, serving.rules, prompt)

    async def score(self, prompt: Prompt) -> Reward:
        """The reward of one prompt.

        A number counts only if the same server was there from tokenizing to the reply: where
        something says that another may have come up, that is found out, and the sample is done
        again if it is so.

        Raises:
            RewardClientError: Of any kind but `BatchError`.
        """
        doubted = False
        for _ in range(_MAX_SERVERS):
            serving = await self._watch.serving()
            try:
                reward = await self._score(serving, prompt)
            except _WRONG_ADDRESSEE as error:
                if isinstance(error, _MAY_BE_ANOTHER_SERVER) and not doubted:
                    doubted = True
                    self._caller.lost()
                elif await self._watch.still_serves(serving):
                    raise
                continue
            if reward is not None and await self._watch.still_serves(serving):
                self._watch.heard()
                return reward
        raise ResponseMismatchError(
            f"The server at {self._caller.url} was another one each of {_MAX_SERVERS} times: "
            "several servers that differ seem to share this address."
        )

    async def _score(self, serving: Serving, prompt: Prompt) -> Reward | None:
        """The reward, or None where another model's came."""
        tokenized = await self._tokenizer.tokenize(serving.profile, serving.rules, prompt)
        check_length(tokenized)
        ids = tokenized.token_ids
        output = await pooled_output(self._caller, serving, ids)
        if output is None:
            return None
        scores = serving.head.read(serving.rows(output, ids), serving.activation)
        return Reward(
            value=scores.value,
            steps=scores.steps,
            objectives=dict(scores.objectives),
            token_count=len(ids),
            token_digest=digest(ids),
            bos_count=tokenized.bos_count,
            truncated=tokenized.truncated,
            provenance=serving.provenance,
        )


async def pooled_output(
    caller: Caller, serving: Serving, ids: Sequence[int]
) -> PooledOutput | None:
    """What the server sends for one token list, checked against what it was found to send.

    Returns:
        None where the reply is of another model.

    Raises:
        InputError: The route takes text, and these IDs are not what a text becomes.
        ShapeError: The output has another shape.
        RewardClientError: As `Caller.call` and `Ask.read`.
    """
    model = serving.profile.model
    if serving.ask.sends == "text":
        call = serving.ask.call(model, [await _text(caller, serving, ids)])
    else:
        call = serving.ask.call(model, [ids])
    reply = await caller.call(call)
    if reply.model != serving.reply_model:
        caller.lost()
        return None
    (output,) = serving.ask.read(reply, [ids])
    step = serving.rules.step
    steps = ids.count(step.token_id) if step is not None else 0
    problem = serving.layout.problem(output, len(ids), steps)
    if problem is not None:
        raise reply.error(ShapeError, problem)
    return output


async def _text(caller: Caller, serving: Serving, ids: Sequence[int]) -> str:
    """The text that the server turns into these very IDs, by adding special tokens itself."""
    model, bos = serving.profile.model, serving.profile.bos_token_id
    bare = ids[1:] if ids[0] == bos else ids
    text = text_of(await caller.call(detokenize_call(model, bare)))
    again = token_ids(await caller.call(text_call(model, text, add_special_tokens=True)))
    if again != list(ids):
        raise InputError(
            f"vLLM {serving.profile.version} scores this kind of model from text only, and these "
            f"{len(ids)} token IDs are not what its tokenizer makes of their text (it makes "
            f"{len(again)}). Upgrade the server to 0.11.1 or later."
        )
    return text
