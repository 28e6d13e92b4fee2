"""Build the scorer of a method, and what discovery must look for."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from reward_client._base.options import Limits, OnControlTokens
from reward_client._replicas.pool import ReplicaPool
from reward_client._scoring.base import Scorer, arithmetic_mean
from reward_client._scoring.batcher import Batcher
from reward_client._scoring.generate_then_score import (
    GenerateThenScore,
    as_answer,
    as_question,
    logit_of_mean,
)
from reward_client._scoring.judge import JudgeScorer
from reward_client._scoring.messages import MessagesScorer
from reward_client._scoring.pooled import PooledScorer
from reward_client._scoring.text_generator import TextGenerator
from reward_client._server.state import OutputSpec
from reward_client._tokenization import Tokenizer
from reward_client.methods import Method
from reward_client.methods.specs import (
    CritiqueThenScore,
    Messages,
    TokenLogit,
    YesNo,
    method_digest,
)
from reward_client.methods.verdict import Verdict


def output_spec(method: Method | None) -> OutputSpec:
    """Return the output that a method reads from the servers with the reward."""
    if isinstance(method, Messages):
        return OutputSpec("messages")
    if isinstance(method, TokenLogit):
        return OutputSpec(
            tokens=(method.token,), classifier_from_token=method.classifier_from_token
        )
    if isinstance(method, YesNo):
        tokens = (method.yes, method.no)
        spec = OutputSpec(
            "yes or no",
            tokens,
            method.question,
            answers=True,
            classifier_from_token=method.classifier_from_token,
        )
        return _with_generation(spec, method)
    if isinstance(method, CritiqueThenScore):
        spec = replace(output_spec(method.reward), method="critique")
        return _with_generation(spec, method)
    if isinstance(method, Verdict):
        return _with_generation(OutputSpec("verdict", generates=True), method)
    return OutputSpec()


def _with_generation(spec: OutputSpec, method: YesNo | CritiqueThenScore | Verdict) -> OutputSpec:
    spec = replace(
        spec,
        method_digest=method_digest(method),
        votes=None,
        temperature=None,
        seed=None,
        top_p=None,
        top_k=None,
    )
    if not method.generates:
        return spec
    return replace(
        spec,
        votes=method.votes,
        temperature=method.effective_temperature,
        seed=method.seed,
        top_p=method.top_p,
        top_k=method.top_k,
    )


def scorer_of(
    method: Method | None,
    pool: ReplicaPool,
    critics: ReplicaPool | None,
    limits: Limits,
    tokenizer: Tokenizer,
    on_control_tokens: OnControlTokens,
) -> Scorer:
    """Build the scorer of a method.

    Args:
        method: The method.
        pool: The servers with the reward.
        critics: The servers that generate, if they are others.
        limits: The size of a batch, and the requests in flight.
        tokenizer: Makes token IDs for the servers.
        on_control_tokens: The treatment of contents that hold control tokens.
    """
    writes = partial(
        TextGenerator, max_texts=limits.max_concurrency, on_control_tokens=on_control_tokens
    )
    by_ids = PooledScorer(pool, Batcher(pool, limits), tokenizer)
    if isinstance(method, Messages):
        return MessagesScorer(limits, by_ids)
    if isinstance(method, YesNo) and method.reasoning is not None:
        generator = writes(pool, method, method.reasoning)
        return GenerateThenScore(generator, method.reasoning, as_answer, by_ids, logit_of_mean)
    if isinstance(method, CritiqueThenScore):
        lead_in = method.lead_in.rstrip()  # some templates keep a space at the end, some do not
        generator = writes(critics or pool, method, lead_in, continues=method.continues)
        extend = as_question if method.continues else as_answer
        mean = logit_of_mean if isinstance(method.reward, YesNo) else arithmetic_mean
        return GenerateThenScore(generator, lead_in, extend, by_ids, mean)
    if isinstance(method, Verdict):
        return JudgeScorer(writes(pool, method, None), method, limits.max_concurrency)
    return by_ids
