"""Token IDs of prompts: by the server, by a local tokenizer, and from a policy's rollout."""

from reward_client._tokenization.local_tokenizer import LocalTokenizer
from reward_client._tokenization.prompt_rules import PromptRules, StepToken
from reward_client._tokenization.retokenizer import Retokenizer
from reward_client._tokenization.tokenizer import Tokenized, Tokenizer, TokenizerChoice

__all__ = [
    "LocalTokenizer",
    "PromptRules",
    "Retokenizer",
    "StepToken",
    "Tokenized",
    "Tokenizer",
    "TokenizerChoice",
]
