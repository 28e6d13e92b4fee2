"""The errors that this package raises.

    RewardClientError
    ├── TransportError              no usable response arrived
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
    ├── ProtocolError               the server answered, but not with a trustworthy reward
    │   ├── ShapeError
    │   ├── ActivationError
    │   ├── NotARewardError
    │   ├── NonFiniteRewardError
    │   ├── GenerationError
    │   └── ResponseMismatchError
    ├── InputError                  a sample or an option is invalid (also a ValueError)
    │   ├── PromptTooLongError
    │   ├── TemplateUnavailableError
    │   ├── TokenizerMismatchError
    │   └── TokenizerUnavailableError
    ├── RecipeError                 a recipe is missing or broken, or contradicts the server
    ├── EvaluationError             the score of a benchmark cannot be computed from its rows
    ├── ExportError                 a checkpoint cannot be exported, or its export is wrong
    ├── FileError                   a file cannot be read or written, or a run cannot be resumed
    ├── ReplicaMismatchError        replicas do not serve the same model
    ├── ModelChangedError           another model answers than at the start of the call
    └── BatchError                  a sample of ``score_many(on_error="raise")`` failed

Every message says what happened and what to do next, without control characters of a server's text.
Every error can be pickled and copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from reward_client._printable import printable

if TYPE_CHECKING:
    from reward_client._base.results import ScoreResult

__all__ = [
    "ActivationError",
    "AuthenticationError",
    "BadRequestError",
    "BatchError",
    "EngineDeadError",
    "EvaluationError",
    "ExportError",
    "FileError",
    "GenerationError",
    "InputError",
    "ModelChangedError",
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
    "TemplateUnavailableError",
    "TokenizerMismatchError",
    "TokenizerUnavailableError",
    "TransportError",
]


class RewardClientError(Exception):
    """The base class of every error that this package raises.

    Attributes:
        endpoint: Method and URL of the request, such as ``"POST http://host:8000/pooling"``; None
            if the error is not about a request.
        request_id: The ``X-Request-Id`` of the last attempt, which the server's log shows too.
        attempts: The errors of earlier attempts of the same request, oldest first.
    """

    def __init__(
        self,
        message: str,
        *,
        endpoint: str | None = None,
        request_id: str | None = None,
        attempts: tuple[str, ...] = (),
    ) -> None:
        super().__init__(printable(message))
        self.endpoint = endpoint
        self.request_id = request_id
        self.attempts = tuple(map(printable, attempts))

    @property
    def fault(self) -> Literal["sample", "server"]:
        """The part that has to change.

        ``"sample"``: the sample is the cause, and other samples are scored. ``"server"``: the
        server, the network or the set-up is, and the same sample may get its reward later.
        """
        return next(FAULTS[kind] for kind in type(self).__mro__ if kind in FAULTS)

    def __str__(self) -> str:
        """Return the message, with the request in brackets if there was one."""
        message = super().__str__()
        if self.endpoint is None:
            return message
        context = [self.endpoint]
        if self.request_id is not None:
            context.append(f"request id {self.request_id}")
        if self.attempts:
            context.append(f"after {len(self.attempts) + 1} attempts: {'; '.join(self.attempts)}")
        return f"{message} [{', '.join(context)}]"


class TransportError(RewardClientError):
    """No usable HTTP response arrived: the connection failed, broke off, or did not speak HTTP."""


class ServerUnreachableError(TransportError):
    """No connection to the server: refused, unknown host, or a TLS or proxy failure."""


class RewardTimeoutError(TransportError, TimeoutError):
    """A time limit of `Timeouts` expired."""


class StatusError(RewardClientError):
    """The server answered with an error.

    Attributes:
        status: The HTTP status, or the code inside the body if the two differ (vLLM up to 0.17.1
            answers some errors with HTTP 200).
        server_message: The server's own message, shortened.
        retry_after: Seconds to wait, as the server requested; None if it named no time.
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
        self.server_message = printable(server_message)
        self.retry_after = retry_after


class BadRequestError(StatusError):
    """The server refused this input; a retry would fail again."""


class AuthenticationError(StatusError):
    """The API key is missing or wrong, or it lacks the permission (401, 403)."""


class ModelNotFoundError(StatusError):
    """The server does not serve the named model, or serves several models and none was named."""


class RouteNotFoundError(StatusError):
    """The server does not have this route, or does not offer the model's task on it."""


class RateLimitedError(StatusError):
    """The server or a gateway is busy (429, 529, or another status with such words).

    ``retry_after`` says how long to wait.
    """


class ServerError(StatusError):
    """The server or a proxy failed (5xx), or kept requesting a retry (408, 425)."""


class EngineDeadError(StatusError):
    """vLLM's engine has died; the server must be restarted."""


class ProtocolError(RewardClientError):
    """A response that cannot be trusted."""


class ShapeError(ProtocolError):
    """The pooled output does not have the shape that the head reads."""


class ActivationError(ProtocolError):
    """The server applies an activation, or may apply one, and the raw value cannot be recovered."""


class NotARewardError(ProtocolError):
    """The server returned something other than a reward, such as a hidden state."""


class NonFiniteRewardError(ProtocolError):
    """The server returned NaN, infinity or null instead of a reward."""


class GenerationError(ProtocolError):
    """A generated text is unusable: it reached the length limit, or contains no verdict.

    Attributes:
        text: The generated text.
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
    """The response does not match the request: items, token counts or model differ."""


class InputError(RewardClientError, ValueError):
    """A sample or an option is invalid."""


class PromptTooLongError(InputError):
    """The sample has more tokens than the server's ``max_model_len``."""


class TokenizerMismatchError(InputError):
    """A tokenizer is not the one that the model or the policy uses.

    Either the local tokenizer and the server's ``/tokenize`` return different token IDs, or the
    policy's tokenizer does not restore the text of its token IDs.
    """


class TokenizerUnavailableError(InputError):
    """The local tokenizer cannot be loaded. The whole call ends with it."""


class TemplateUnavailableError(InputError):
    """Nobody renders the conversation by the model's chat template.

    Either the server renders none, or renders them wrongly, and the client has no tokenizer; or the
    local tokenizer has no chat template. Token IDs and `FormattedText` are scored nevertheless.
    """


class RecipeError(RewardClientError):
    """A recipe does not exist, is broken, or contradicts the model or the server."""


class EvaluationError(RewardClientError):
    """The score of a benchmark cannot be computed: rows failed, are missing, or do not fit."""


class ExportError(RewardClientError):
    """A checkpoint cannot be exported, its export is wrong, or a folder cannot be written."""


class FileError(RewardClientError):
    """A file cannot be read or written, or a run of ``score_file`` cannot be resumed or go on."""


class ReplicaMismatchError(RewardClientError):
    """Replicas differ in model, version, token IDs or rewards."""


class ModelChangedError(RewardClientError):
    """Another model answers than at the start of the call, or several behind one address.

    A sample that gets another reward when it is scored again also shows rows in other places.

    Attributes:
        doubtful: The numbers of the samples whose rewards came since the last proof, in the order
            of the rewards. The rewards before them are proven.
    """

    def __init__(
        self,
        message: str,
        *,
        doubtful: tuple[int, ...] = (),
        endpoint: str | None = None,
        request_id: str | None = None,
        attempts: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, endpoint=endpoint, request_id=request_id, attempts=attempts)
        self.doubtful = doubtful


class BatchError(RewardClientError):
    """A sample failed under ``on_error="raise"``; ``__cause__`` is the sample's error.

    Attributes:
        results: A `ScoreResult` for each sample that was scored before, sorted by index.
    """

    def __init__(self, message: str, *, results: tuple[ScoreResult, ...] = ()) -> None:
        super().__init__(message)
        self.results = results

    @property
    def fault(self) -> Literal["sample", "server"]:
        """The fault of the sample's error."""
        cause = self.__cause__
        return cause.fault if isinstance(cause, RewardClientError) else super().fault

    def __reduce__(self) -> tuple[object, ...]:
        """Keep ``__cause__``, which pickle would drop."""
        return type(self), self.args, {**self.__dict__, "__cause__": self.__cause__}


FAULTS: Mapping[type, Literal["sample", "server"]] = MappingProxyType(
    {
        RewardClientError: "server",
        TransportError: "server",
        ServerUnreachableError: "server",
        RewardTimeoutError: "server",
        StatusError: "server",
        BadRequestError: "sample",
        AuthenticationError: "server",
        ModelNotFoundError: "server",
        RouteNotFoundError: "server",
        RateLimitedError: "server",
        ServerError: "server",
        EngineDeadError: "server",
        ProtocolError: "server",
        ShapeError: "server",
        ActivationError: "server",
        NotARewardError: "server",
        NonFiniteRewardError: "server",
        # Another text about another sample may be short enough, and hold a verdict.
        GenerationError: "sample",
        ResponseMismatchError: "server",
        InputError: "sample",
        PromptTooLongError: "sample",
        # The wrong tokenizer is wrong for every sample.
        TemplateUnavailableError: "server",
        TokenizerMismatchError: "server",
        TokenizerUnavailableError: "server",
        RecipeError: "server",
        EvaluationError: "sample",
        ExportError: "server",
        FileError: "server",
        ReplicaMismatchError: "server",
        ModelChangedError: "server",
        BatchError: "server",
    }
)
"""The fault of each kind of error; an error of an unknown subclass has that of its parent."""
