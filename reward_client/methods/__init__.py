"""How a reward is defined, and had from servers."""

from typing import TypeAlias

from reward_client.methods.specs import CritiqueThenScore, Messages, Pooled, TokenLogit, YesNo
from reward_client.methods.verdict import Verdict

Method: TypeAlias = Pooled | Messages | TokenLogit | YesNo | CritiqueThenScore | Verdict
"""How a reward is obtained; None for the pooled output of token IDs."""

__all__ = [
    "CritiqueThenScore",
    "Messages",
    "Method",
    "Pooled",
    "TokenLogit",
    "Verdict",
    "YesNo",
]
