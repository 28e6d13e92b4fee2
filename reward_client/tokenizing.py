"""Tokenizers on the client."""

from reward_client._tokenization import LocalTokenizer, Retokenizer

__all__ = ["LocalTokenizer", "Retokenizer"]

LocalTokenizer.__module__ = __name__
