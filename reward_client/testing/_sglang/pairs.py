"""`/v1/rerank` and `/v1/score`: a query with each of several texts."""

from __future__ import annotations

import math
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from reward_client.testing._sglang import inputs, pooling
from reward_client.testing._sglang.errors import ServerDeathError, SglangError, not_implemented

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reward_client.testing._sglang import forms
    from reward_client.testing._sglang.served_model import ServedModel


def reranked(served: ServedModel, form: forms.Reranking) -> list[dict[str, Any]]:
    """Return the response of `/v1/rerank`: the first value of each pair, the highest first.

    Raises:
        SglangError: If a text is empty, or if the server generates.
    """
    _check_pairs(form)
    inputs.check_embeds(served)
    encode = served.judge.tokenizer.encode_pair
    ids = [encode(form.query, document) for document in form.documents]
    inputs.check_lengths(served, ids)
    rids = inputs.request_ids(served, None, len(ids), are_many=True)
    rows: list[dict[str, Any]] = []
    pooled = pooling.pool(served, ids, rids)
    refusal = served.dialect.no_reranking
    if refusal is not None:
        message = refusal.format(values=pooled[0].values.tolist())
        raise SglangError(message, status=500, error_type="InternalServerError")
    for index, each in enumerate(pooled):
        document = {"document": form.documents[index]} if form.return_documents else {}
        rows.append(
            {
                "score": float(each.values[0]),
                **document,
                "index": index,
                "meta_info": pooling.meta_info(served, each),
            }
        )
    rows.sort(key=itemgetter("score"), reverse=True)
    return rows[: form.top_n]


def _check_pairs(form: forms.Reranking) -> None:
    if not form.query:
        raise SglangError("Query cannot be empty")
    if not form.query.strip():
        raise SglangError("Query cannot be empty or whitespace only")
    if not form.documents:
        raise SglangError("Documents cannot be empty")
    if not all(form.documents):
        raise SglangError("Each document must be a non-empty string")
    if not all(document.strip() for document in form.documents):
        raise SglangError("Each document cannot be empty or whitespace only")


def scored(served: ServedModel, form: forms.Scoring | forms.NamedScoring) -> dict[str, Any]:
    """Return the response of `/v1/score`.

    Raises:
        SglangError: If the request is invalid.
        ServerDeathError: If the version ends by a request to a server that embeds.
    """
    labels = _labels(served, form)
    ids = _scoring_inputs(served, form)
    inputs.check_lengths(served, ids)
    if not (served.generates or served.dialect.embedding_scores):
        raise ServerDeathError
    inputs.check_generates(served, ids)
    if served.generates:
        scores = [
            _label_scores(served, prompt, labels[index], softmax=form.apply_softmax)
            for index, prompt in enumerate(ids)
        ]
    else:
        rows = [pooling.pooled_values(served, prompt) for prompt in ids]
        scores = [(pooling.softmax(row) if form.apply_softmax else row).tolist() for row in rows]
    return {
        "scores": scores,
        **served.dialect.scoring_keys,
        "model": form.model,
        "usage": (
            pooling.usage(served, sum(map(len, ids))) if served.dialect.counts_scoring else None
        ),
        "object": "scoring",
    }


def _labels(served: ServedModel, form: forms.AnyScoring) -> list[list[int]]:
    """Return the candidate tokens of each item; none where the server embeds."""
    labels = form.label_token_ids
    if labels is None and (served.generates or not served.dialect.embedding_scores):
        raise SglangError(served.dialect.no_labels)
    if form.items is None:
        raise SglangError("items must be provided")
    if form.score_extraction_token is not None:
        raise not_implemented("The test server has no score_extraction_token, though SGLang does.")
    if labels is None or (not served.generates and served.dialect.embedding_scores):
        return []
    count = 1 if isinstance(form.items, str) else len(form.items)
    if not labels:
        raise SglangError("label_token_ids must be a nonempty list")
    of_each = [tokens for tokens in labels if isinstance(tokens, list)]
    for_all = [token for token in labels if isinstance(token, int)]
    each = of_each or [for_all] * count
    size = served.judge.tokenizer.text_vocabulary_size
    for token in (token for tokens in each for token in tokens):
        if token >= size:
            raise SglangError(f"Token ID {token} is out of vocabulary (vocab size: {size})")
    return each


def _scoring_inputs(served: ServedModel, form: forms.AnyScoring) -> list[list[int]]:
    """Return the token IDs of the query with each item."""
    items = [form.items] if isinstance(form.items, str) else form.items or []
    lists = [item for item in items if not isinstance(item, str)]
    query = form.query if form.query is not None else [] if lists else ""
    if isinstance(query, str) and (not lists or served.dialect.writes_lists):
        joined = [f"{item}{query}" if form.item_first else f"{query}{item}" for item in items]
        return inputs.text_inputs(served, joined)[0]
    if isinstance(query, list) and len(lists) == len(items):
        return [item + query if form.item_first else query + item for item in lists]
    raise SglangError("Invalid combination of query/items types for score_request.")


def _label_scores(
    served: ServedModel, prompt: Sequence[int], labels: Sequence[int], *, softmax: bool
) -> list[float]:
    logits = served.judge.logits(prompt).astype(np.float64)
    logprobs = (logits - np.logaddexp.reduce(logits))[list(labels)]
    if softmax:
        probabilities: list[float] = pooling.softmax(logprobs).tolist()
        return probabilities
    return [math.exp(logprob) for logprob in logprobs]
