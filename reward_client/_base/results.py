"""Rewards, server profiles and provenance."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NoReturn, Self

from pydantic import BaseModel, ConfigDict, Field

from reward_client._base.activation import sigmoid, softmax
from reward_client._base.json_values import as_mapping
from reward_client._base.number_like import NumberLike
from reward_client._base.showing import Short, html_table

if TYPE_CHECKING:
    from reward_client.errors import RewardClientError


class Result(BaseModel):
    """The base of all results: immutable, hashable, with a repr of one line."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __hash__(self) -> int:
        """Hash the fields. pydantic's own hash fails for a field that is a dict."""
        values = (getattr(self, name) for name in type(self).model_fields)
        return hash(tuple(_hashable(value) for value in values))

    def __repr_args__(self) -> Iterable[tuple[str | None, object]]:
        """Yield the fields for a repr of one line; `model_dump` returns all of their content."""
        for name, value in super().__repr_args__():
            yield name, Short(value)


def _hashable(value: object) -> object:
    mapping = as_mapping(value)
    return value if mapping is None else frozenset(mapping.items())


class ServerProfile(Result):
    """The discovered properties of a server, and the requests that follow from them.

    Attributes:
        url: The base URL, without ``/v1``.
        version: The version of the engine; None if the server hides it.
        version_known: True if the version table covers the version. Otherwise probes found the
            route.
        model: The model's name on the server.
        root: The folder or repository that the server loaded the model from; None if unknown.
        tokenizer_root: The same for the tokenizer. An adapter has that of its base model.
        max_model_len: The largest number of tokens for one sample; None if unknown.
        route: ``"embeddings"``, ``"pooling"``, ``"classify"`` or ``"completions"``; with SGLang
            also ``"encode"`` or ``"generate"``.
        sends: The content of a scoring request: ``"ids"``, or ``"text"``. The client verifies that
            the text becomes the same IDs (vLLM 0.10.0 to 0.11.0, sequence classifiers).
        task: The pooling task in a scoring request, if any.
        switches: The keys in a scoring request that select raw values.
        shape: ``"vector"`` (one row of values for a conversation), ``"per token"`` or
            ``"per step"``.
        width: The number of values in a row.
        activation: The activation that the server applies to the values it sends: ``"none"``,
            ``"sigmoid"`` (the client inverts it), or ``"softmax"`` (only for steps, whose rewards
            are probabilities).
        activation_known_by: The evidence for ``activation``: ``"request"`` (the request switches it
            off), ``"task"`` (an embedding task applies none), ``"probe"`` (the values of eight
            probes), ``"reference"`` (a reference value of the recipe) or ``"caller"``
            (``server_activation=``).
        bos_token_id: The BOS token, if the tokenizer adds one to texts.
        recipe: The name of the recipe, if any.
        engine: The kind of server: ``"vllm"`` or ``"sglang"``.
    """

    url: str
    version: str | None
    version_known: bool
    model: str
    root: str | None
    tokenizer_root: str | None
    max_model_len: int | None
    route: str
    sends: str
    task: str | None
    switches: dict[str, bool]
    shape: str
    width: int
    activation: str
    activation_known_by: str
    bos_token_id: int | None
    recipe: str | None
    engine: Literal["vllm", "sglang"] = "vllm"

    def __repr_args__(self) -> Iterable[tuple[str | None, object]]:
        """Yield what tells servers apart."""
        for name in ("url", "version", "model", "route", "shape", "activation", "recipe"):
            yield name, Short(getattr(self, name))

    def _repr_html_(self) -> str:
        return html_table((name, getattr(self, name)) for name in type(self).model_fields)


class Provenance(Result):
    """The origin of a reward. All rewards of one server share one object.

    Attributes:
        model: The model's name on the server.
        server_version: The version of the server's engine; None if unknown.
        route: As in `ServerProfile`.
        method: ``"pooled"``, ``"messages"``, ``"logit of token …"``, ``"yes or no"``,
            ``"critique"`` or ``"verdict"``.
        method_digest: The SHA-256 (hex) of the method's options, such as its prompts, without the
            URL and key of a critic. None for methods without prompts.
        votes: The number of texts that a model generated for each sample, if any.
        temperature: The sampling temperature of these texts.
        seed: The seed of the first text. Each further text has the next number.
        top_p: The share of the likeliest tokens to which sampling was limited, if it was.
        top_k: The number of likeliest tokens to which sampling was limited, if it was.
        author: The model that generated them, the place its server loaded it from, and that
            server's version.
        activation: As in `ServerProfile`.
        activation_known_by: As in `ServerProfile`.
        engine: As in `ServerProfile`.
        offset: ``"unknown"`` if the engine adds a constant to all rewards, which differs at each
            start of the server, and no known reward tells it. The order of samples and their
            margins are right, and rewards of two servers or starts cannot be compared. None
            otherwise.
        head: The head in words, such as ``"scalar"``. ``"scalar (last token, assumed)"`` if the
            server sends one value for each token and no option or recipe selects the last one.
        recipe: The name of the recipe, if any.
        recipe_digest: The SHA-256 (hex) of the recipe.
        tokenizer: The source of token IDs, as given by ``tokenizer=``. A local tokenizer is proven
            on samples to give the server's IDs. Samples of token IDs are not tokenized.
        client_version: The version of this package.
    """

    model: str
    server_version: str | None
    route: str
    method: str = "pooled"
    method_digest: str | None = None
    votes: int | None = None
    temperature: float | None = None
    seed: int | None = None
    top_p: float | None = None
    top_k: int | None = None
    author: str | None = None
    activation: str
    activation_known_by: str
    engine: Literal["vllm", "sglang"] = "vllm"
    offset: Literal["unknown"] | None = None
    head: str
    recipe: str | None = None
    recipe_digest: str | None = None
    tokenizer: str
    client_version: str


class Settings(Provenance):
    """Everything that the rewards of a client depend on, besides the samples.

    Attributes:
        root: As in `ServerProfile`.
        head_digest: The SHA-256 (hex) of the head with all its parameters.
        bos: The client's option.
        on_overlong: The client's option.
        on_control_tokens: The client's option.
        prompt_date: The day in ISO format if the chat template writes today's date, else None.
        template_digest: The SHA-256 (hex) of the server's token IDs of several fixed
            conversations, with and without a system message, tools, thoughts and an answer. It
            differs with the chat template. For a gateway that hides ``/tokenize``, of the texts
            that the local tokenizer writes. None if no conversation is rendered.
        max_model_len: The largest number of tokens for one sample under
            ``on_overlong="drop_turns"``; otherwise None, since it changes no reward.
        probe_scores: The server's values for eight fixed prompts at discovery. Another checkpoint
            under the same name gives other values.
        replicas: The settings with each further server that the client has proven to give the same
            rewards, if they differ: those of another version or engine.
    """

    root: str | None
    head_digest: str
    bos: bool | None
    on_overlong: str
    on_control_tokens: str
    prompt_date: str | None
    template_digest: str | None
    max_model_len: int | None
    probe_scores: tuple[float, ...]
    replicas: tuple[Settings, ...] = ()

    @property
    def fingerprint(self) -> str:
        """The SHA-256 (hex, 64 characters) of all settings, for the key of a cache.

        Equal fingerprints mean equal rewards for equal samples. The opposite does not hold: another
        GPU may round the probe scores differently.
        """
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class TokenizedSample(Result):
    """The token IDs of a sample, as `RewardClient.score` would send them.

    Attributes:
        token_ids: The IDs of the tokenizer or the caller, with the additions of the recipe.
        max_model_len: The largest number of tokens that the server takes; None if unknown.
        bos_count: The number of BOS tokens at the start; 2 is a common mistake. 0 if the tokenizer
            has no BOS token.
        truncated: True if ``on_overlong="drop_turns"`` dropped old turns.
    """

    token_ids: tuple[int, ...]
    max_model_len: int | None
    bos_count: int
    truncated: bool = False


class StepReward(NumberLike, Result):
    """The reward of one step of an answer. It behaves as its value, like a `Reward`.

    Attributes:
        value: The probability that the step is good, from 0 to 1.
        logits: The raw values of the step's row; None if the server applied an activation.
        start: The position of the step's first token. The first step starts at 0, with the prompt.
        end: The position after the step token.
    """

    value: float
    logits: tuple[float, ...] | None
    start: int
    end: int

    def __float__(self) -> float:
        """The probability."""
        return self.value


class Usage(Result):
    """The tokens that generated texts cost.

    Attributes:
        prompt_tokens: The number of tokens read, over all texts.
        generated_tokens: The number of tokens generated, over all texts.
    """

    prompt_tokens: int
    generated_tokens: int


class Reward(NumberLike, Result):
    """The reward of one conversation.

    It behaves as its value in formats, arithmetic, ``round``, ``sum``, ``max``, ``sorted`` and
    NumPy arrays, and raises TypeError there if it has no single value. Rewards of one model and
    method have an order. ``==`` compares all fields, and ``bool(reward)`` is always True.

    Attributes:
        steps: The rewards of the steps, from a process reward model; otherwise empty.
        objectives: The raw values by name, from a model with several labels; otherwise empty.
        token_count: The number of scored tokens. None under ``method=Messages()``, together with
            ``token_digest`` and ``bos_count``: only the server knows the tokens.
        token_digest: The SHA-256 (hex) of the token IDs as little-endian 32-bit integers.
        bos_count: As in `TokenizedSample`.
        truncated: As in `TokenizedSample`.
        provenance: The server, model, route and method behind the reward.
        critiques: The generated texts, one for each vote, of methods that generate some.
        usage: The tokens that these texts cost.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    scalar: float | None = Field(alias="value")
    steps: tuple[StepReward, ...] = ()
    objectives: dict[str, float] = Field(default_factory=dict[str, float])
    token_count: int | None
    token_digest: str | None
    bos_count: int | None
    truncated: bool = False
    provenance: Provenance
    critiques: tuple[str, ...] = ()
    usage: Usage | None = None

    @classmethod
    def of_checked(
        cls,
        *,
        scalar: float | None,
        provenance: Provenance,
        steps: tuple[StepReward, ...] = (),
        objectives: Mapping[str, float] | None = None,
        token_count: int | None = None,
        token_digest: str | None = None,
        bos_count: int | None = None,
        truncated: bool = False,
    ) -> Self:
        """Build a reward from valid values, without pydantic's checks.

        This takes half the time and makes a single object: attributes that are set one by one need
        no dict. A caller may keep millions of rewards, and Python's garbage collector visits each
        object.
        """
        reward = object.__new__(cls)
        given = object.__setattr__  # the class is frozen; a loop takes half as long again
        given(reward, "scalar", scalar)
        given(reward, "steps", steps)
        given(reward, "objectives", dict(objectives) if objectives else {})
        given(reward, "token_count", token_count)
        given(reward, "token_digest", token_digest)
        given(reward, "bos_count", bos_count)
        given(reward, "truncated", truncated)
        given(reward, "provenance", provenance)
        given(reward, "critiques", ())
        given(reward, "usage", None)
        given(reward, "__pydantic_fields_set__", _ALL_FIELDS)
        given(reward, "__pydantic_extra__", None)
        given(reward, "__pydantic_private__", None)
        return reward

    @property
    def value(self) -> float:
        """The raw output of the model's head, which is a logit and no probability.

        For a process reward model, the aggregate of the steps' probabilities. For several
        objectives, their weighted sum.

        Raises:
            TypeError: If there are several objectives and no weights.
        """
        if self.scalar is None:
            raise TypeError(
                "This reward has several objectives and no single value. Read reward.objectives, "
                "or give head=ObjectiveHead(names, weights)."
            )
        return self.scalar

    def sigmoid(self) -> float:
        """Return the sigmoid of the raw value, 1 / (1 + exp(-value)).

        Raises:
            TypeError: If there is no single value, or the value comes from the steps'
                probabilities.
        """
        if self.steps:
            raise TypeError(
                "Cannot take a sigmoid: the value of a reward in steps comes from probabilities."
            )
        return sigmoid(self.value)

    def softmax(self) -> dict[str, float]:
        """Return the softmax over the raw objectives, by name.

        Raises:
            TypeError: If there are no objectives.
        """
        if not self.objectives:
            raise TypeError("Cannot take a softmax: this reward has no objectives.")
        return dict(zip(self.objectives, softmax([*self.objectives.values()]), strict=True))

    def row(self) -> dict[str, object]:
        """Return a flat dict for tables and JSON: ``pd.DataFrame([r.row() for r in rewards])``.

        It holds the value, the objectives as ``"objectives.NAME"``, the values of the steps, the
        facts about the tokens, and the parts of the provenance that tell models apart.
        """
        row: dict[str, object] = {"value": self.scalar}
        row |= {f"objectives.{name}": value for name, value in self.objectives.items()}
        if self.steps:
            row["steps"] = [step.value for step in self.steps]
        for name in ("token_count", "token_digest", "bos_count", "truncated"):
            row[name] = getattr(self, name)
        for name in (*_SCALE, "recipe", "server_version"):
            row[name] = getattr(self.provenance, name)
        return row

    def __float__(self) -> float:
        """The raw reward."""
        return self.value

    def _check_order(self, other: NumberLike) -> None:
        if not isinstance(other, Reward) or self.provenance is other.provenance:
            return
        mine, others = self.provenance, other.provenance
        for name in _SCALE:
            one, two = getattr(mine, name), getattr(others, name)
            if one != two:
                raise TypeError(
                    f"Cannot order rewards of different models or methods: their {name} is {one!r} "
                    f"and {two!r}. Compare float(reward) if their values have the same scale."
                )

    def __iter__(self) -> NoReturn:
        """Refuse: a table made of rewards would show pairs of names and values."""
        raise TypeError(
            "Cannot iterate over a reward. Write reward.row() for a row of a table, "
            "reward.model_dump() for a dict, or float(reward)."
        )

    def __repr_args__(self) -> Iterable[tuple[str | None, object]]:
        """Yield the result and its model; `provenance` has the rest."""
        if self.scalar is not None or not self.objectives:
            yield "value", self.scalar
        if self.objectives:
            yield "objectives", Short(self.objectives)
        if self.steps:
            yield "steps", Short(tuple(step.value for step in self.steps))
        yield "token_count", self.token_count
        if self.truncated:
            yield "truncated", True
        yield "model", Short(self.provenance.model)

    def _repr_html_(self) -> str:
        return html_table(self.row().items())


# Rewards that differ in one of these have different scales.
_SCALE = ("model", "method", "method_digest", "head")
_ALL_FIELDS = set(Reward.model_fields)


@dataclass(frozen=True, slots=True)
class ScoreResult:
    """The outcome of one sample in a stream: a reward or an error.

    Attributes:
        index: The index of the sample in the input, from 0.
        reward: The reward; None if the sample failed.
        error: The error; None if the sample succeeded.
    """

    index: int
    reward: Reward | None
    error: RewardClientError | None
