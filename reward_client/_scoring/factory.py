"""What a method comes to: what its servers are asked for, and who makes rewards of that."""

from __future__ import annotations

from dataclasses import replace

from reward_client._base.options import Limits
from reward_client._replicas.pool import ReplicaPool
from reward_client._scoring.base import Scorer
from reward_client._scoring.batcher import Batcher
from reward_client._scoring.generate_then_score import (
    WrittenScorer,
    arithmetic_mean,
    as_answer,
    as_question,
    logit_of_mean,
)
from reward_client._scoring.judge import JudgedScorer
from reward_client._scoring.messages import MessagesScorer
from reward_client._scoring.pooled import PooledScorer
from reward_client._scoring.text_generator import Writer
from reward_client._server.requests import scored
from reward_client._server.state import GenerationInfo, OutputSpec
from reward_client._tokenization import Tokenizer
from reward_client.errors import InputError, RecipeError
from reward_client.methods import Method
from reward_client.methods.specs import (
    CritiqueThenScore,
    Messages,
    TokenLogit,
    YesNo,
    digest_of,
)
from reward_client.methods.verdict import Verdict
from reward_client.recipes import Recipe


def verdict_of(recipe: Recipe) -> Verdict | None:
    """The method of a recipe's judge, if it is of one.

    Raises:
        RecipeError: It cannot be meant so.
    """
    if recipe.verdict is None:
        return None
    try:
        return Verdict(**dict(recipe.verdict))
    except InputError as error:
        raise RecipeError(f"The verdict of the recipe {recipe.name}: {error}") from error


def reading_of(method: Method | None) -> OutputSpec:
    """What the servers with the reward are asked for."""
    if isinstance(method, Messages):
        return OutputSpec("messages")
    if isinstance(method, TokenLogit):
        return OutputSpec(tokens=(method.token,))
    if isinstance(method, YesNo):
        tokens = (method.yes, method.no)
        return OutputSpec(
            "yes or no", tokens, method.question, answers=True, origin=_origin(method)
        )
    if isinstance(method, CritiqueThenScore):
        after = reading_of(method.reward)
        return replace(after, method="critique", origin=_origin(method))
    if isinstance(method, Verdict):
        return OutputSpec("verdict", writes=True, origin=_origin(method))
    return OutputSpec()


def _origin(method: YesNo | CritiqueThenScore | Verdict) -> GenerationInfo:
    digest = digest_of(method)
    if method.writes:
        return GenerationInfo(digest, method.votes, method.sent_temperature, method.seed)
    return GenerationInfo(digest)


def scorer_of(
    method: Method | None,
    pool: ReplicaPool,
    critics: ReplicaPool | None,
    limits: Limits,
    tokenizer: Tokenizer,
) -> Scorer:
    """Who makes rewards.

    Args:
        method: The method.
        pool: The servers.
        critics: Those that write, if they are others.
        limits: How much goes into a request.
        tokenizer: Makes token IDs for the servers.
    """
    most = limits.max_concurrency
    by_ids = PooledScorer(pool, Batcher(pool, limits, scored), tokenizer)
    if isinstance(method, Messages):
        return MessagesScorer(pool, limits, by_ids)
    if isinstance(method, YesNo) and method.reasoning is not None:
        writer = Writer(pool, method, method.reasoning, most=most)
        return WrittenScorer(writer, method.reasoning, as_answer, by_ids, logit_of_mean)
    if isinstance(method, CritiqueThenScore):
        lead_in = method.lead_in.rstrip()  # some templates keep a space at the end, some do not
        who = critics or pool
        writer = Writer(who, method, lead_in, continues=method.continues, most=most)
        extend = as_question if method.continues else as_answer
        mean = logit_of_mean if isinstance(method.reward, YesNo) else arithmetic_mean
        return WrittenScorer(writer, lead_in, extend, by_ids, mean)
    if isinstance(method, Verdict):
        return JudgedScorer(Writer(pool, method, None, most=most), method)
    return by_ids
