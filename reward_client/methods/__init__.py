"""How a reward is defined, and had from servers."""

from reward_client.methods.choices import (
    CritiqueThenScore,
    Messages,
    Pooled,
    TokenLogit,
    YesNo,
)
from reward_client.methods.plans import Method
from reward_client.methods.verdicts import Verdict

__all__ = [
    "CritiqueThenScore",
    "Messages",
    "Method",
    "Pooled",
    "TokenLogit",
    "Verdict",
    "YesNo",
]
