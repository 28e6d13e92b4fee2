"""Methods define how a reward is obtained from a server."""

from typing import TypeAlias

from reward_client.methods.specs import CritiqueThenScore, Messages, Pooled, TokenLogit, YesNo
from reward_client.methods.verdict import Verdict

Method: TypeAlias = Pooled | Messages | TokenLogit | YesNo | CritiqueThenScore | Verdict
"""Any method. ``method=None`` stands for the pooled output of token IDs."""

__all__ = [
    "CritiqueThenScore",
    "Messages",
    "Method",
    "Pooled",
    "TokenLogit",
    "Verdict",
    "YesNo",
]
