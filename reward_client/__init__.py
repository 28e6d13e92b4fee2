"""Rewards from reward models served by vLLM: the right number or a clear error.

from reward_client import RewardClient

with RewardClient("http://localhost:8000") as client:
    reward = client.score([{"role": "user", "content": "2+2?"},
                           {"role": "assistant", "content": "4"}])
    print(float(reward))
"""

from reward_client._version import __version__
from reward_client.async_client import AsyncRewardClient
from reward_client.bulk import AsyncRewardStream
from reward_client.client import RewardClient, RewardStream
from reward_client.diagnosis import Diagnosis, Finding
from reward_client.errors import (
    ActivationError,
    AuthenticationError,
    BadRequestError,
    BatchError,
    EngineDeadError,
    ExportError,
    FileError,
    GenerationError,
    InputError,
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
    TokenizerMismatchError,
    TransportError,
)
from reward_client.heads import LinearHead, ObjectiveHead, ScalarHead, StepHead
from reward_client.options import Connection, Limits, RetryPolicy, Timeouts
from reward_client.rewards import (
    Comparison,
    Provenance,
    Ranking,
    Reward,
    ScoreResult,
    ServerProfile,
    Settings,
    StepReward,
    TokenizedSample,
    Usage,
)
from reward_client.samples import Conversation, FormattedText, Message, Sample
from reward_client.tokenizing import Retokenizer

__all__ = [
    "ActivationError",
    "AsyncRewardClient",
    "AsyncRewardStream",
    "AuthenticationError",
    "BadRequestError",
    "BatchError",
    "Comparison",
    "Connection",
    "Conversation",
    "Diagnosis",
    "EngineDeadError",
    "ExportError",
    "FileError",
    "Finding",
    "FormattedText",
    "GenerationError",
    "InputError",
    "Limits",
    "LinearHead",
    "Message",
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
    "ServerUnreachableError",
    "Settings",
    "ShapeError",
    "StatusError",
    "StepHead",
    "StepReward",
    "Timeouts",
    "TokenizedSample",
    "TokenizerMismatchError",
    "TransportError",
    "Usage",
    "__version__",
]
