"""From a prompt to the token IDs that are scored."""

from reward_client.tokenizing.local import LocalTokenizer
from reward_client.tokenizing.retokenizing import Retokenizer
from reward_client.tokenizing.rules import PromptRules, StepToken
from reward_client.tokenizing.tokenizer import Needs, Tokenized, Tokenizer, TokenizerChoice

__all__ = [
    "LocalTokenizer",
    "Needs",
    "PromptRules",
    "Retokenizer",
    "StepToken",
    "Tokenized",
    "Tokenizer",
    "TokenizerChoice",
]
