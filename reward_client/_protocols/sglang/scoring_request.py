"""Requests for pooled output over the routes of SGLang, and their responses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import orjson

from reward_client._base.json_values import as_list, as_mapping
from reward_client._base.token_ids import TokenIds
from reward_client._base.wording import describe_type
from reward_client._protocols import encodings
from reward_client._protocols.http import Request, Response, item_id
from reward_client._protocols.pooled_output import PooledOutput
from reward_client._protocols.response_checks import checked_output, read_items
from reward_client._protocols.scoring_request import Encoding, RouteName, ScoringRequest
from reward_client._protocols.sglang import logprobs
from reward_client.errors import ProtocolError, ResponseMismatchError

ID_KEY = "rid"
_IDS = "input_ids"


class _Route(NamedTuple):
    path: str
    input_key: str = _IDS


# The natively named routes count the tokens of each sample, and `/v1/embeddings` those of all.
# `/v1/classify` is none of them: it answers 1.0 to every sample of a model with one label.
_ROUTES: Mapping[RouteName, _Route] = {
    "classify": _Route("/classify"),
    "encode": _Route("/encode"),
    "embeddings": _Route("/v1/embeddings", "input"),
    "generate": _Route(logprobs.PATH),
}


@dataclass(frozen=True, slots=True)
class SglangRequest(ScoringRequest):
    """A scoring request to SGLang."""

    @property
    def path(self) -> str:
        """See `ScoringRequest`."""
        return self.moved or _ROUTES[self.route].path

    @property
    def takes_messages(self) -> bool:
        """See `ScoringRequest`. They get a generation prompt, and texts another BOS token."""
        return False

    @property
    def encoding(self) -> Encoding:
        """See `ScoringRequest`."""
        return "float"

    def build(
        self,
        model: str,
        inputs: Sequence[Sequence[int] | str],
        encoding: Encoding | None = None,
    ) -> Request:
        """See `ScoringRequest`."""
        written = [
            orjson.Fragment(item.written) if isinstance(item, TokenIds) else item for item in inputs
        ]
        key = _ROUTES[self.route].input_key
        if key == _IDS and isinstance(inputs[0], str):
            key = "text"
        body: dict[str, object] = {"model": model, key: written}
        if self.route == "embeddings":
            body["encoding_format"] = encoding or self.encoding
        if self.route == "generate":
            body |= logprobs.options(self.tokens)
        # `/v1/embeddings` answers indices, and no `rid`.
        id_key = ID_KEY if self.named and self.route != "embeddings" else None
        return Request("POST", self.path, body, id_key=id_key, id_count=len(inputs), may_kill=True)

    def build_chat(
        self, model: str, conversations: Sequence[bytes], *, generation_prompt: bool
    ) -> Request:
        """See `ScoringRequest`."""
        raise NotImplementedError

    def read_each(
        self, response: Response, inputs: Sequence[Sequence[int]], encoding: Encoding | None = None
    ) -> list[PooledOutput | ProtocolError]:
        """See `ScoringRequest`."""
        if self.route == "embeddings":
            count = sum(map(len, inputs))
            counted = range(count, count + 1) if self.counted else None
            read = encodings.read_base64 if encoding == "base64" else encodings.read_lists
            return read_items(response, len(inputs), counted, "data", "embedding", read)
        items = _items(response, inputs)
        if self.route == "generate":
            outputs = [logprobs.number_of(self.tokens, item) for item in items]
        else:
            outputs = [encodings.read_lists(item.get("embedding")) for item in items]
        return [checked_output(response, index, output) for index, output in enumerate(outputs)]

    def read_conversations(
        self, response: Response, count: int, tokens: range
    ) -> list[PooledOutput | ProtocolError]:
        """See `ScoringRequest`."""
        raise NotImplementedError


def _items(response: Response, inputs: Sequence[Sequence[int]]) -> list[Mapping[str, object]]:
    """Return the item of each sample: a list keeps their order, and has no index.

    Raises:
        ResponseMismatchError: If items are missing or extra, or the server scored other tokens.
    """
    items = as_list(response.payload)
    if items is None or len(items) != len(inputs):
        found = describe_type(response.payload) if items is None else f"a list of {len(items)}"
        raise response.error(
            ResponseMismatchError,
            f"{len(inputs)} samples were sent, and the response is {found}. A gateway answers in "
            "the place of the server: read its log, or connect to the server itself.",
        )
    read = [as_mapping(item) or {} for item in items]
    for index, (item, ids) in enumerate(zip(read, inputs, strict=True)):
        info = as_mapping(item.get("meta_info")) or {}
        named = info.get("id")
        if (
            isinstance(named, str)
            and named.startswith(response.request_id)
            and named != item_id(response.request_id, index)
        ):
            raise response.error(
                ResponseMismatchError,
                f"The answer to {named} is in place {index}: somebody has exchanged the samples of "
                "the response. Connect to the server itself.",
            )
        counted = info.get("prompt_tokens")
        if type(counted) is not int or counted != len(ids):
            scored = counted if isinstance(counted, int | None) else describe_type(counted)
            raise response.error(
                ResponseMismatchError,
                f"{len(ids)} token IDs were sent in place {index}, but the server scored {scored}: "
                "it truncated them, added tokens, or answered another request.",
            )
    return read
