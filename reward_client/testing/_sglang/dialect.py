"""The properties by which SGLang versions differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The HTTP API of one SGLang version, as clients see it.

    Attributes:
        version: The version that the server's information reports.
        places: The place in SGLang's code for each route, which errors of validation show.
        openapi: The paths and methods that `/openapi.json` lists.
        model_info: The routes with the facts about the model.
        server_info: The routes with the options of the server.
        tells_more: Responses tell more, as since 0.5: the architecture of the model, its parent,
            and the weights of a generation. `/` and `/ready` answer; before, `/get_load` did.
        tokenize: The use of messages by `/tokenize`: "absent" has no such route; "rewrites" turns
            a last assistant's turn into a user's and adds a generation prompt; "heeds" does so
            unless the request has `add_generation_prompt`.
        roles: The roles of messages, but for the user's.
        classifies: `/v1/classify` exists.
        encodes_base64: `/v1/embeddings` heeds `encoding_format`.
        parser_words: The words of the version's JSON parser, for those of this server's.
        requires_model: A body of a route under `/v1` has to name a model, of any name.
        reduces: A request for another number of dimensions is an error; False ignores it.
        no_input: The error about a native request without an input.
        refuses_equal_rids: Equal request IDs are an error.
        returns_hidden_states: A native route heeds `return_pooled_hidden_states`.
        empty_list_ends: An empty list among others ends the server. False answers it by the value
            of its neighbour.
        embedding_scores: `/v1/score` works on a server that embeds; False ends the server.
        scoring_keys: The keys of a response of `/v1/score` between the scores and the model.
        writes_lists: `/v1/score` writes a list of token IDs as text where the query is a text, in
            brackets and with commas; False refuses both together.
        no_labels: The error of `/v1/score` about missing labels.
        counts_scoring: A response of `/v1/score` counts tokens; False makes `usage` null.
        no_prompt: The error of `/v1/completions` about an empty prompt; None is an exception.
        generates_nothing: A generation of 0 tokens has none; False generates one.
        reports_last: Log-probabilities of the prompt cover its last token unless the request names
            a start; False covers none.
        no_reranking: The error of `/v1/rerank` on classifiers, with `{values}`; None for none.
        limits_total: A prompt and its completion may fill the context; False leaves one token.
        checks_label_ids: `token_ids_logprob` outside of the vocabulary is an error.
        meta_keys: The keys of `meta_info` between the number of tokens and the times.
        reports_sent: `meta_info` has the time at which the response was sent.
        reports_output_ids: `/generate` returns the IDs of the generated tokens.
        usage_keys: The keys of `usage` after the first three, with their values.
    """

    version: str
    places: Mapping[str, str]
    openapi: Mapping[str, tuple[str, ...]]
    model_info: tuple[str, ...]
    server_info: tuple[str, ...]
    tells_more: bool
    tokenize: Literal["absent", "rewrites", "heeds"]
    roles: tuple[str, ...]
    classifies: bool
    encodes_base64: bool
    parser_words: Mapping[str, str]
    requires_model: bool
    reduces: bool
    no_input: str
    refuses_equal_rids: bool
    returns_hidden_states: bool
    empty_list_ends: bool
    embedding_scores: bool
    scoring_keys: Mapping[str, object]
    writes_lists: bool
    no_labels: str
    counts_scoring: bool
    no_prompt: str | None
    generates_nothing: bool
    reports_last: bool
    no_reranking: str | None
    limits_total: bool
    checks_label_ids: bool
    meta_keys: Mapping[str, object]
    reports_sent: bool
    reports_output_ids: bool
    usage_keys: Mapping[str, object]
