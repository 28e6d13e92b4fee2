"""How a reward is defined, and had from a server: so far by pooled output."""

from __future__ import annotations

from dataclasses import dataclass, field

from reward_client.calls import Caller
from reward_client.errors import (
    BadRequestError,
    ModelNotFoundError,
    ProtocolError,
    ResponseMismatchError,
    RouteNotFoundError,
    ShapeError,
)
from reward_client.heads import ScalarHead
from reward_client.rewards import Reward, TokenizedSample
from reward_client.routes import PooledOutput
from reward_client.samples import Prompt
from reward_client.server.profile import Serving
from reward_client.server.watch import ServerWatch
from reward_client.tokenizing import check_length, digest, tokenize

__all__ = ["Pooled"]

_MAX_SERVERS = 5
"""How many servers may take each other's place under one sample before that is a failure."""

# What a request made for one server may get from another that has come up in its place.
_MAY_BE_ANOTHER_SERVER = (RouteNotFoundError, ModelNotFoundError, ShapeError)
_WRONG_ADDRESSEE = (*_MAY_BE_ANOTHER_SERVER, BadRequestError, ProtocolError)


@dataclass(frozen=True, slots=True)
class Pooled:
    """The reward is what the head makes of the server's pooled output.

    Attributes:
        head: Reads the reward out of the pooled output.
    """

    head: ScalarHead = field(default_factory=ScalarHead)

    async def score(self, caller: Caller, watch: ServerWatch, prompt: Prompt) -> Reward:
        """The reward of one prompt.

        A number counts only if the same server was there from tokenizing to the reply: where
        something says that another may have come up, that is found out, and the sample is done
        again if it is so.

        Raises:
            RewardClientError: Of any kind but `BatchError`.
        """
        doubted = False
        for _ in range(_MAX_SERVERS):
            serving = await watch.serving()
            try:
                reward = await self._score(caller, serving, prompt)
            except _WRONG_ADDRESSEE as error:
                if isinstance(error, _MAY_BE_ANOTHER_SERVER) and not doubted:
                    doubted = True
                    caller.lost()
                elif await watch.still_serves(serving):
                    raise
                continue
            if await watch.still_serves(serving):
                watch.heard()
                return reward
        raise ResponseMismatchError(
            f"The server at {caller.url} was another one each of {_MAX_SERVERS} times: several "
            "servers that differ seem to share this address."
        )

    async def _score(self, caller: Caller, serving: Serving, prompt: Prompt) -> Reward:
        tokenized = await tokenize(caller, serving.profile, prompt)
        check_length(tokenized)
        output = await _pooled_output(caller, serving, tokenized)
        return Reward(
            value=serving.activation.raw(self.head.value(output)),
            token_count=len(tokenized.token_ids),
            token_digest=digest(tokenized.token_ids),
            bos_count=tokenized.bos_count,
            provenance=serving.provenance,
        )


async def _pooled_output(
    caller: Caller, serving: Serving, tokenized: TokenizedSample
) -> PooledOutput:
    inputs = [tokenized.token_ids]
    reply = await caller.call(serving.ask.call(serving.profile.model, inputs))
    if reply.fields().get("model") != serving.reply_model:
        caller.lost()
    (output,) = serving.ask.read(reply, inputs)
    problem = serving.layout.problem(output, len(tokenized.token_ids))
    if problem is not None:
        raise reply.error(ShapeError, problem)
    return output
