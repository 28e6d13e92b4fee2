"""Every error that this package raises on purpose.

    RewardClientError
    ├── TransportError              nothing usable came back
    │   ├── ServerUnreachableError
    │   └── RewardTimeoutError          (also a TimeoutError)
    ├── StatusError                 the server answered with an error
    │   ├── BadRequestError
    │   ├── AuthenticationError
    │   ├── ModelNotFoundError
    │   ├── RouteNotFoundError
    │   ├── RateLimitedError
    │   ├── ServerError
    │   └── EngineDeadError
    ├── ProtocolError               the server answered, but not with a believable reward
    │   ├── ShapeError
    │   ├── ActivationError
    │   ├── NotARewardError
    │   ├── NonFiniteRewardError
    │   ├── GenerationError
    │   └── ResponseMismatchError
    ├── InputError                  the caller's sample or option is wrong (also a ValueError)
    │   ├── PromptTooLongError
    │   └── TokenizerMismatchError
    ├── RecipeError                 what is known of the model forbids this, or contradicts it
    ├── ExportError                 a checkpoint that cannot be exported, or a folder not written
    ├── FileError                   a file to score that cannot be read, or results not continued
    ├── ReplicaMismatchError        replicas that do not serve the same model
    └── BatchError                  ``score_many(on_error="raise")`` met a failure

Each message says what happened and what to do about it. All of them pickle and copy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reward_client._base.results import ScoreResult

__all__ = [
    "ActivationError",
    "AuthenticationError",
    "BadRequestError",
    "BatchError",
    "EngineDeadError",
    "ExportError",
    "FileError",
    "GenerationError",
    "InputError",
    "ModelNotFoundError",
    "NonFiniteRewardError",
    "NotARewardError",
    "PromptTooLongError",
    "ProtocolError",
    "RateLimitedError",
    "RecipeError",
    "ReplicaMismatchError",
    "ResponseMismatchError",
    "RewardClientError",
    "RewardTimeoutError",
    "RouteNotFoundError",
    "ServerError",
    "ServerUnreachableError",
    "ShapeError",
    "StatusError",
    "TokenizerMismatchError",
    "TransportError",
]


class RewardClientError(Exception):
    """The base of every error of this package.

    Attributes:
        endpoint: ``"POST http://host:8000/pooling"``, or None where no request was involved.
        request_id: The ``X-Request-Id`` of the last attempt, to find it in the server's log.
        attempts: What earlier attempts of the same call met, oldest first.
    """

    def __init__(
        self,
        message: str,
        *,
        endpoint: str | None = None,
        request_id: str | None = None,
        attempts: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.endpoint = endpoint
        self.request_id = request_id
        self.attempts = attempts

    def __str__(self) -> str:
        """The message, and where it happened."""
        message = super().__str__()
        if self.endpoint is None:
            return message
        where = [self.endpoint]
        if self.request_id is not None:
            where.append(f"request id {self.request_id}")
        if self.attempts:
            where.append(f"after {len(self.attempts) + 1} attempts: {'; '.join(self.attempts)}")
        return f"{message} [{', '.join(where)}]"


class TransportError(RewardClientError):
    """No usable HTTP reply: the connection failed, was cut, or spoke something else."""


class ServerUnreachableError(TransportError):
    """No connection to the server (refused, unknown host, TLS or proxy failure)."""


class RewardTimeoutError(TransportError, TimeoutError):
    """A deadline of `Timeouts` passed."""


class StatusError(RewardClientError):
    """The server answered with an error.

    Attributes:
        status: The HTTP status, or the code inside the body where that says otherwise
            (vLLM up to 0.17.1 answers some errors with HTTP 200).
        server_message: The server's own words, shortened.
        retry_after: Seconds the server asked to wait, where it did.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        server_message: str = "",
        retry_after: float | None = None,
        endpoint: str | None = None,
        request_id: str | None = None,
        attempts: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, endpoint=endpoint, request_id=request_id, attempts=attempts)
        self.status = status
        self.server_message = server_message
        self.retry_after = retry_after


class BadRequestError(StatusError):
    """The server refused this input; sending it again cannot help."""


class AuthenticationError(StatusError):
    """The API key is missing, wrong, or not allowed to do this (401, 403)."""


class ModelNotFoundError(StatusError):
    """The server does not serve the model asked for, or serves several and none was named."""


class RouteNotFoundError(StatusError):
    """The server has no such route, or does not serve the model's task on it."""


class RateLimitedError(StatusError):
    """Too many requests (429); ``retry_after`` holds what the server asked for."""


class ServerError(StatusError):
    """The server, or a proxy before it, failed (5xx), or kept asking to try again (408, 425)."""


class EngineDeadError(StatusError):
    """vLLM's engine has died; the server must be started again."""


class ProtocolError(RewardClientError):
    """A reply that cannot be believed."""


class ShapeError(ProtocolError):
    """The pooled output does not have the shape that the head needs."""


class ActivationError(ProtocolError):
    """The server applies an activation, or may apply one, and the raw value is not to be had."""


class NotARewardError(ProtocolError):
    """The server answers with something else than a reward, such as a hidden state."""


class NonFiniteRewardError(ProtocolError):
    """NaN, infinity or null where a reward should be."""


class GenerationError(ProtocolError):
    """What a model wrote is of no use: it was cut by its length limit, or holds no verdict.

    Attributes:
        text: What it wrote.
    """

    def __init__(
        self,
        message: str,
        *,
        text: str = "",
        endpoint: str | None = None,
        request_id: str | None = None,
        attempts: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, endpoint=endpoint, request_id=request_id, attempts=attempts)
        self.text = text


class ResponseMismatchError(ProtocolError):
    """The reply does not belong to the request: items, token counts or model differ."""


class InputError(RewardClientError, ValueError):
    """A sample or an option that cannot mean what it says."""


class PromptTooLongError(InputError):
    """The conversation has more tokens than the server's ``max_model_len``."""


class TokenizerMismatchError(InputError):
    """A tokenizer is not the one it is taken for.

    The local one gives other token IDs than the server's ``/tokenize``, or a policy's does not give
    back the text of its token IDs.
    """


class RecipeError(RewardClientError):
    """No recipe of this name, a broken one, or one that the model or the server contradicts."""


class ExportError(RewardClientError):
    """A checkpoint that cannot be exported as it is, or a destination that cannot be written."""


class FileError(RewardClientError):
    """A file that cannot be read or written, or results that must not be continued like this."""


class ReplicaMismatchError(RewardClientError):
    """Servers that should be replicas differ in model, version, token IDs or rewards."""


class BatchError(RewardClientError):
    """A sample failed under ``on_error="raise"``; ``__cause__`` is its error.

    Attributes:
        results: What was scored before the failure, as `ScoreResult`, sorted by index.
    """

    def __init__(self, message: str, *, results: tuple[ScoreResult, ...] = ()) -> None:
        super().__init__(message)
        self.results = results

    def __reduce__(self) -> tuple[object, ...]:
        """Carries ``__cause__`` too, which pickle would drop."""
        return type(self), self.args, {**self.__dict__, "__cause__": self.__cause__}
