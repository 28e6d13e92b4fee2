"""The options of a client, checked once and shared by both clients. They pickle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from os import PathLike
from sys import float_info
from typing import TYPE_CHECKING, Literal, TypeAlias, TypedDict, cast, get_args

from reward_client._base.choices import check_choice
from reward_client._base.options import (
    Connection,
    Limits,
    OnControlTokens,
    OnOverlong,
    OnUnanswered,
    RetryPolicy,
    RouteChoice,
    ServerActivation,
    Timeouts,
)
from reward_client._base.wording import describe_type
from reward_client._client.base_url import (
    AUTHORIZATION,
    BaseUrl,
    environment_key,
    request_headers,
    server_urls,
)
from reward_client._tokenization import LocalTokenizer, TokenizerChoice
from reward_client.errors import InputError, RecipeError
from reward_client.heads import Head, StepHead
from reward_client.methods import (
    CritiqueThenScore,
    Messages,
    Method,
    Pooled,
    TokenLogit,
    Verdict,
    YesNo,
)
from reward_client.methods.specs import GeneratingMethod, check_head
from reward_client.recipes import Recipe, named_recipe

if TYPE_CHECKING:
    import httpx
    import openai


HeadChoice: TypeAlias = Head | Literal["auto"]
RecipeChoice: TypeAlias = Recipe | str | PathLike[str] | None

_TYPES: Mapping[str, tuple[tuple[type, ...], str]] = {
    "model": ((str, type(None)), "a str or None"),
    "limits": ((Limits,), "a Limits, such as Limits(max_concurrency=8)"),
    "connection": ((Connection,), "a Connection, such as Connection(proxy=…)"),
    "tokenizer": ((str, PathLike, LocalTokenizer), "a str, a path or a LocalTokenizer"),
}

_CHOICES: Mapping[str, tuple[object, ...]] = {
    "route": get_args(RouteChoice),
    "bos": (True, False, None),
    "on_overlong": get_args(OnOverlong),
    "on_control_tokens": get_args(OnControlTokens),
    "on_unanswered": get_args(OnUnanswered),
    "server_activation": (*get_args(ServerActivation), None),
}


class SharedOptions(TypedDict, total=False):
    """The options that do not depend on the connections; `RewardClient` documents each."""

    model: str | None
    method: Method | None
    head: HeadChoice
    route: RouteChoice
    tokenizer: TokenizerChoice
    recipe: RecipeChoice
    bos: bool | None
    on_overlong: OnOverlong
    on_control_tokens: OnControlTokens
    on_unanswered: OnUnanswered
    server_activation: ServerActivation | None
    retry: RetryPolicy | int
    limits: Limits
    timeout: Timeouts | float


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The options of `RewardClient`, and the values that follow from them.

    Raises:
        InputError: If an option has a wrong type or value.
        RecipeError: If the recipe does not exist or is invalid.
    """

    base_url: InitVar[BaseUrl | None]
    api_key: InitVar[str | None] = None
    headers: InitVar[Mapping[str, str] | None] = None
    model: str | None = None
    method: Method | None = None
    head: HeadChoice = "auto"
    route: RouteChoice = "auto"
    tokenizer: TokenizerChoice = "server"
    recipe: RecipeChoice = field(default="auto", compare=False)
    bos: bool | None = None
    on_overlong: OnOverlong = "raise"
    on_control_tokens: OnControlTokens = "raise"
    on_unanswered: OnUnanswered = "raise"
    server_activation: ServerActivation | None = None
    retry: RetryPolicy | int = field(default_factory=RetryPolicy, compare=False)
    limits: Limits = field(default_factory=Limits)
    timeout: Timeouts | float = field(default_factory=Timeouts, compare=False)
    connection: Connection = field(default_factory=Connection)
    transport: httpx.AsyncBaseTransport | None = field(default=None, repr=False)
    openai: openai.AsyncOpenAI | None = field(default=None, repr=False)
    urls: tuple[str, ...] = field(init=False)
    request_headers: Mapping[str, str] = field(init=False, repr=False)
    retry_policy: RetryPolicy = field(init=False)
    timeouts: Timeouts = field(init=False)
    known_recipe: Recipe | Literal["auto"] | None = field(init=False)
    critics: Config | None = field(init=False)

    def __post_init__(
        self,
        base_url: BaseUrl | None,
        api_key: str | None,
        headers: Mapping[str, str] | None,
    ) -> None:
        object.__setattr__(self, "urls", server_urls(base_url))
        sent = request_headers(api_key, headers)
        if AUTHORIZATION not in sent and self.openai is None:
            sent = request_headers(environment_key(), headers)
        object.__setattr__(self, "request_headers", sent)
        if not _is_transport(self.transport):
            raise InputError(
                "transport= must be an httpx.AsyncBaseTransport, such as "
                f"httpx.AsyncHTTPTransport(), or None, not {describe_type(self.transport)}."
            )
        if not isinstance(cast("object", self.method), (*get_args(Method), type(None))):
            raise InputError(
                "method= must be one of reward_client.methods with its arguments, such as YesNo(), "
                f"not {describe_type(self.method)}."
            )
        for name, (types, expected) in _TYPES.items():
            given = getattr(self, name)
            if not isinstance(given, types):
                raise InputError(f"{name}= must be {expected}, not {describe_type(given)}.")
        for name, choices in _CHOICES.items():
            check_choice(name, getattr(self, name), choices)
        check_head(self.head)
        object.__setattr__(self, "retry_policy", _retry_policy(self.retry))
        object.__setattr__(self, "timeouts", _timeouts(self.timeout))
        recipe = _recipe(self.recipe)
        object.__setattr__(self, "known_recipe", recipe)
        if isinstance(recipe, Recipe) and self.method is None:
            object.__setattr__(self, "method", verdict_of(recipe))
        if isinstance(self.method, Pooled):
            self._spell_out(self.method)
        self._check_method()
        object.__setattr__(self, "critics", self._critics())

    def _spell_out(self, method: Pooled) -> None:
        if (self.head, self.route) != ("auto", "auto"):
            raise InputError(
                "Cannot combine head= or route= with method=Pooled(…), which they are short for. "
                "Give one of them."
            )
        for name, value in (("head", method.head), ("route", method.route), ("method", None)):
            object.__setattr__(self, name, value)

    def _check_method(self) -> None:
        method = self.method
        if isinstance(method, Messages) and self.on_overlong != "raise":
            raise InputError(
                "Cannot drop turns under method=Messages(): only the server knows the tokens. "
                'Leave out on_overlong="drop_turns".'
            )
        if (
            isinstance(method, GeneratingMethod)
            and method.generates
            and self.on_overlong != "raise"
        ):
            raise InputError(
                "Cannot drop turns if a model generates text about the whole conversation. "
                'Leave out on_overlong="drop_turns".'
            )
        recipe = self.known_recipe
        if isinstance(method, Verdict) and isinstance(recipe, Recipe) and recipe.verdict is None:
            raise InputError(
                f"Cannot combine the recipe {recipe.name} with Verdict: the recipe is of a model "
                "with a head, and Verdict reads the text of a judge. Leave out one of them."
            )
        reads = method.reward if isinstance(method, CritiqueThenScore) else method
        if isinstance(reads, TokenLogit | YesNo | Verdict) and (self.head, self.route) != (
            "auto",
            "auto",
        ):
            raise InputError(
                f"Cannot combine {type(reads).__name__}(…) with head= or route=: the method "
                "chooses the values itself. Leave them out."
            )
        if isinstance(method, CritiqueThenScore) and isinstance(self.head, StepHead):
            raise InputError("Cannot score a critique by StepHead: a critique has no steps.")

    def _critics(self) -> Config | None:
        """Return the options for the critic's servers, if they are other servers."""
        method = self.method
        if not isinstance(method, CritiqueThenScore) or method.critic is None:
            return None
        if self.openai is not None:
            raise InputError(
                "Cannot reach a separate critic through from_openai(): the OpenAI client knows one "
                "server. Use RewardClient(…)."
            )
        critic = method.critic
        critics = Config(
            base_url=critic if isinstance(critic, str) else [*critic],
            model=method.critic_model,
            recipe=None,
            bos=self.bos,
            retry=self.retry,
            limits=self.limits,
            timeout=self.timeout,
            connection=self.connection,
            transport=self.transport,
        )
        # The key of the environment is for the servers of the client, not for the critic.
        headers = request_headers(method.critic_key, None)
        object.__setattr__(critics, "request_headers", headers)
        return critics

    @property
    def is_shareable(self) -> bool:
        """True if equal options mean equal connections: the caller brought none."""
        return self.transport is None and self.openai is None

    @property
    def own_roles(self) -> tuple[str, ...]:
        """The roles that the method gives to responses, by the chat template of its model."""
        return self.method.roles if isinstance(self.method, Verdict) else ()

    @property
    def compares(self) -> bool:
        """True if the method is a judge that only compares responses."""
        return isinstance(self.method, Verdict) and self.method.compares

    @property
    def tokenizer_name(self) -> str:
        """The source of token IDs, for `Provenance`."""
        if isinstance(self.method, Messages):
            return "server, with the messages"
        return "server" if isinstance(self.method, Verdict) else str(self.tokenizer)

    def __str__(self) -> str:
        """Return the arguments in the repr of a client."""
        where = self.urls[0] if len(self.urls) == 1 else list(self.urls)
        return f"({where!r}, model={self.model!r})"


def _is_transport(transport: object) -> bool:
    """Return True for None and for a transport; httpx is loaded at the first call only."""
    sends = getattr(transport, "handle_async_request", None)
    return transport is None or (callable(sends) and not isinstance(transport, type))


def _retry_policy(retry: object) -> RetryPolicy:
    """Return the policy that ``retry=`` stands for: an integer counts the attempts."""
    if isinstance(retry, RetryPolicy):
        return retry
    if type(retry) is int and retry > 0:
        return RetryPolicy(attempts=retry)
    if type(retry) is int:
        raise InputError(
            f"retry={retry} is no number of attempts, the first one included. "
            "Write retry=1 to switch retries off."
        )
    raise InputError(
        "retry= must be a number of attempts, such as retry=3, or a RetryPolicy, such as "
        f"RetryPolicy(attempts=3, budget=60), not {describe_type(retry)}."
    )


def _timeouts(timeout: object) -> Timeouts:
    """Return the deadlines that ``timeout=`` stands for: a number is the total for one sample."""
    if isinstance(timeout, Timeouts):
        return timeout
    if isinstance(timeout, int | float) and not isinstance(timeout, bool):
        if 0 < timeout <= float_info.max:
            return Timeouts(total=timeout)
        raise InputError(
            f"timeout={timeout} is no number of seconds above 0. Leave timeout= out for no limit."
        )
    raise InputError(
        "timeout= must be seconds for one sample, such as timeout=30, or a Timeouts, such as "
        f"Timeouts(connect=5, read=60), not {describe_type(timeout)}."
    )


def verdict_of(recipe: Recipe) -> Verdict | None:
    """Return the method of a judge's recipe; None for other recipes.

    Raises:
        RecipeError: If the verdict of the recipe is invalid.
    """
    if recipe.verdict is None:
        return None
    try:
        return Verdict(**dict(recipe.verdict))
    except InputError as error:
        raise RecipeError(f"The verdict of the recipe {recipe.name}: {error}") from error


def _recipe(choice: RecipeChoice) -> Recipe | Literal["auto"] | None:
    """Return the recipe that ``recipe=`` names: a recipe, a model or the path of a file."""
    if choice is None or isinstance(choice, Recipe):
        return choice
    if choice == "auto":
        return "auto"
    return named_recipe(choice)
