"""Rewards from reward models served by vLLM and SGLang: the right number or a clear error.

from reward_client import RewardClient

with RewardClient("http://localhost:8000") as client:
    reward = client.score([{"role": "user", "content": "2+2?"},
                           {"role": "assistant", "content": "4"}])
    print(float(reward))
"""

import logging

from reward_client._base.options import Connection, Limits, RetryPolicy, Timeouts
from reward_client._base.ranking import Comparison, FailedComparison, Ranking, Strength
from reward_client._base.results import (
    Provenance,
    Reward,
    ScoreResult,
    ServerProfile,
    Settings,
    StepReward,
    TokenizedSample,
    Usage,
)
from reward_client._base.samples import Conversation, FormattedText, Message, Sample
from reward_client._base.values import values
from reward_client._client.async_client import AsyncRewardClient
from reward_client._client.streaming import AsyncRewardStream
from reward_client._client.sync_client import RewardClient, RewardStream
from reward_client._doctor.report import Diagnosis, Finding
from reward_client._printable import escape_record
from reward_client._telemetry.stats import ClientStats, Latency, ServerStats
from reward_client._tokenization import Retokenizer
from reward_client._version import __version__
from reward_client.errors import (
    ActivationError,
    AuthenticationError,
    BadRequestError,
    BatchError,
    EngineDeadError,
    EvaluationError,
    ExportError,
    FileError,
    GenerationError,
    InputError,
    ModelChangedError,
    ModelNotFoundError,
    NonFiniteRewardError,
    NotARewardError,
    PromptTooLongError,
    ProtocolError,
    RateLimitedError,
    RecipeError,
    ReplicaMismatchError,
    ResponseMismatchError,
    RewardClientError,
    RewardTimeoutError,
    RouteNotFoundError,
    ServerError,
    ServerUnreachableError,
    ShapeError,
    StatusError,
    TemplateUnavailableError,
    TokenizerMismatchError,
    TokenizerUnavailableError,
    TransportError,
)
from reward_client.heads import LinearHead, ObjectiveHead, ScalarHead, StepHead

__all__ = [
    "ActivationError",
    "AsyncRewardClient",
    "AsyncRewardStream",
    "AuthenticationError",
    "BadRequestError",
    "BatchError",
    "ClientStats",
    "Comparison",
    "Connection",
    "Conversation",
    "Diagnosis",
    "EngineDeadError",
    "EvaluationError",
    "ExportError",
    "FailedComparison",
    "FileError",
    "Finding",
    "FormattedText",
    "GenerationError",
    "InputError",
    "Latency",
    "Limits",
    "LinearHead",
    "Message",
    "ModelChangedError",
    "ModelNotFoundError",
    "NonFiniteRewardError",
    "NotARewardError",
    "ObjectiveHead",
    "PromptTooLongError",
    "ProtocolError",
    "Provenance",
    "Ranking",
    "RateLimitedError",
    "RecipeError",
    "ReplicaMismatchError",
    "ResponseMismatchError",
    "Retokenizer",
    "RetryPolicy",
    "Reward",
    "RewardClient",
    "RewardClientError",
    "RewardStream",
    "RewardTimeoutError",
    "RouteNotFoundError",
    "Sample",
    "ScalarHead",
    "ScoreResult",
    "ServerError",
    "ServerProfile",
    "ServerStats",
    "ServerUnreachableError",
    "Settings",
    "ShapeError",
    "StatusError",
    "StepHead",
    "StepReward",
    "Strength",
    "TemplateUnavailableError",
    "Timeouts",
    "TokenizedSample",
    "TokenizerMismatchError",
    "TokenizerUnavailableError",
    "TransportError",
    "Usage",
    "__version__",
    "values",
]


def _report_public_module() -> None:
    """Let reprs, pickles and the documentation show the module that callers import from."""
    for item in list(globals().values()):
        if isinstance(item, type) and item.__module__.startswith(f"{__name__}."):
            item.__module__ = __name__


_report_public_module()
logging.getLogger(__name__).addFilter(escape_record)
