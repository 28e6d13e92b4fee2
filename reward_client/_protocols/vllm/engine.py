"""vLLM as an engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reward_client._base.samples import Conversation
from reward_client._base.token_ids import TokenIds
from reward_client._protocols.engine import Engine, MessageKey
from reward_client._protocols.http import Request, Response
from reward_client._protocols.strategies import VersionRange
from reward_client._protocols.token_responses import token_ids
from reward_client._protocols.vllm import completions, gateways, tokenize, versions
from reward_client._protocols.vllm.advice import ADVICE
from reward_client._protocols.written import Generated, Sampling


class Vllm(Engine):
    """See `Engine`; https://docs.vllm.ai describes its HTTP API."""

    key = "vllm"
    name = "vLLM"
    ranges = versions.VERSION_RANGES
    unknown = versions.UNKNOWN_VERSION
    tokenize_path = tokenize.PATH
    advice = ADVICE
    version_paths = ("/version",)
    info_path = None
    id_key = None
    length_option = "--max-model-len"
    logprobs_key = "logprobs"
    spare_tokens = 0
    spare_to_write = 1
    shifted = frozenset[str]()
    dies_of_requests = False  # an error from 0.4 on; see `checked` for negative ones

    def range_of(self, version: str | None) -> VersionRange:
        """See `Engine`."""
        return versions.version_range_of(version)

    def template_keys(self, version: str | None) -> frozenset[str]:
        """See `Engine`."""
        return versions.template_keys(version)

    def message_keys(self, version: str | None) -> Mapping[str, MessageKey]:
        """See `Engine`."""
        return versions.message_keys(version)

    def moved_paths(self, path: str) -> tuple[str, ...]:
        """See `Engine`."""
        return gateways.moved_paths(path)

    def text_request(self, model: str, text: str, *, add_special_tokens: bool) -> Request:
        """See `Engine`."""
        return tokenize.text_request(model, text, add_special_tokens=add_special_tokens)

    def chat_request(
        self,
        model: str,
        version: str | None,
        conversation: Conversation,
        *,
        generation_prompt: bool,
        continues: bool = False,
    ) -> Request:
        """See `Engine`."""
        return tokenize.chat_request(
            model, version, conversation, generation_prompt=generation_prompt, continues=continues
        )

    def detokenize_request(self, model: str, ids: Sequence[int]) -> Request:
        """See `Engine`."""
        return tokenize.detokenize_request(model, ids)

    def token_ids(self, response: Response) -> TokenIds:
        """See `Engine`."""
        return token_ids(response)

    def text_of(self, response: Response) -> str:
        """See `Engine`."""
        return tokenize.text_of(response)

    def generation_request(self, model: str, ids: TokenIds, sampling: Sampling) -> Request:
        """See `Engine`."""
        return completions.generation_request(model, ids, sampling)

    def read_generated(self, response: Response) -> Generated:
        """See `Engine`."""
        return completions.read_generated(response)


VLLM = Vllm()
