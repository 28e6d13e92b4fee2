"""SGLang as an engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reward_client._base.samples import Conversation
from reward_client._base.token_ids import TokenIds
from reward_client._protocols.engine import Engine, MessageKey
from reward_client._protocols.http import Request, Response
from reward_client._protocols.sglang import generate, tokenize, versions
from reward_client._protocols.sglang.advice import ADVICE
from reward_client._protocols.sglang.scoring_request import ID_KEY
from reward_client._protocols.strategies import VersionRange
from reward_client._protocols.token_responses import token_ids
from reward_client._protocols.written import Generated, Sampling


class Sglang(Engine):
    """See `Engine`; https://docs.sglang.ai describes its HTTP API."""

    key = "sglang"
    name = "SGLang"
    ranges = versions.VERSION_RANGES
    unknown = versions.UNKNOWN_VERSION
    tokenize_path = tokenize.PATH
    advice = ADVICE
    # Renamed in 0.5.6.post2 (code); the old names still answer in 0.5.23 (live).
    version_paths = ("/get_server_info", "/server_info")
    info_path = "/get_model_info"
    id_key = ID_KEY
    length_option = "--context-length"
    logprobs_key = "return_logprob"
    spare_tokens = 1  # 1,024 tokens are too many for a context length of 1,024 (live on 0.5.23)

    spare_to_write = 6  # 1,017 tokens are the most for 1,024 (live on 0.4.9.post6 and 0.5.23)
    # Their heads get a bias that no checkpoint has, and keep its random start (live on 0.5.23; code
    # of 0.4.4.post4 to 0.5.23; issue 38768).
    shifted = frozenset({"Qwen2ForSequenceClassification", "Qwen3ForSequenceClassification"})
    dies_of_requests = True  # live on 0.4.9.post6 and 0.5.23

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
        return ()

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
        return generate.generation_request(model, ids, sampling)

    def read_generated(self, response: Response) -> Generated:
        """See `Engine`."""
        return generate.read_generated(response)


SGLANG = Sglang()
