"""What comes back: rewards, rankings, and where each number came from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, Field

from reward_client._base.activation import sigmoid, softmax
from reward_client.errors import InputError

if TYPE_CHECKING:
    from reward_client.errors import RewardClientError


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ServerProfile(_Result):
    """What is known of a server, and how it is therefore asked.

    Attributes:
        url: Its base URL, without ``/v1``.
        version: What ``/version`` says, or None where that is not to be had.
        version_known: Whether the version table covers it; if not, the route was found by probing.
        model: The model's name on the server.
        root: Where the server loaded it from, if it says so.
        max_model_len: The most tokens of one sample, if the server says so.
        route: ``"embeddings"``, ``"pooling"``, ``"classify"`` or ``"completions"``.
        sends: What the route is sent: ``"ids"``, or ``"text"`` that was proven to be tokenized to
            the same IDs (vLLM 0.10.0 to 0.11.0 for sequence classifiers).
        task: The pooling task that is sent, if any.
        switches: The keys sent to have the raw value.
        shape: ``"vector"`` (one row of values for a conversation), ``"per token"`` or
            ``"per step"``.
        width: How many values a row has.
        activation: What the server applies to the values it sends: ``"none"``, ``"sigmoid"``
            (then the client inverts it), or ``"softmax"`` (only where steps are scored, whose
            rewards are probabilities).
        activation_known_by: ``"request"`` (this version's switch is sent), ``"task"`` (an embedding
            task applies none), ``"probe"`` (eight values showed it), ``"reference"`` (a reference
            value of the recipe did) or ``"caller"`` (``server_activation=``).
        bos_token_id: The token that starts a text, if the tokenizer adds one.
        recipe: The name of the recipe that was followed, if any.
    """

    url: str
    version: str | None
    version_known: bool
    model: str
    root: str | None
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


class Provenance(_Result):
    """Where a reward came from; one object is shared by all rewards of a server profile.

    Attributes:
        model: The model's name on the server.
        server_version: vLLM's version.
        route: As in `ServerProfile`.
        method: ``"pooled"``, ``"messages"``, ``"logit of token …"``, ``"yes or no"``,
            ``"critique"`` or ``"verdict"``: what the client was told.
        method_digest: SHA-256 (hex) of all that the method was told, prompts above all; where
            its critic is and the key for it are left out.
        votes: How often a model wrote for each sample, if one did.
        temperature: With which temperature, if it wrote.
        seed: The seed of the first vote, if it wrote; each further one had the next number.
        author: The model that wrote, where its server loaded it from, and that server's version.
        activation: What the server applied, as in `ServerProfile`.
        activation_known_by: As in `ServerProfile`.
        head: The head in words: ``"scalar"``, or ``"scalar (last token, assumed)"`` where the
            server answers one value for each token and nobody said that the last one counts.
        recipe: The name of the recipe that was followed, if any.
        recipe_digest: SHA-256 (hex) of that recipe.
        tokenizer: Who was told to make the token IDs, as ``tokenizer=`` says it. A local tokenizer
            is proven equal to the server's on samples; token IDs are not tokenized.
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
    author: str | None = None
    activation: str
    activation_known_by: str
    head: str
    recipe: str | None = None
    recipe_digest: str | None = None
    tokenizer: str
    client_version: str


class Settings(Provenance):
    """What all rewards of a client depend on, besides their samples.

    Attributes:
        root: Where the server loaded the model from, if it says so.
        head_digest: SHA-256 (hex) of the head with all its parameters.
        bos: As the client was told.
        on_overlong: As the client was told.
        max_model_len: The most tokens of one sample, where longer ones are cut by it; else None.
        probe_scores: What the server gave for eight fixed prompts when it was found out: another
            checkpoint under the same name gives other scores.
    """

    root: str | None
    head_digest: str
    bos: bool | None
    on_overlong: str
    max_model_len: int | None
    probe_scores: tuple[float, ...]


class TokenizedSample(_Result):
    """The token IDs that are scored for a sample.

    Attributes:
        token_ids: As the tokenizer gave them, or the caller did, with what the model's recipe adds.
        max_model_len: The most tokens that the server takes, if it says so.
        bos_count: How many BOS tokens the IDs start with; 2 is a common mistake. 0 also where the
            tokenizer adds none to a text, so that there is nothing to count.
        truncated: Whether old turns were left out, as ``on_overlong="drop_turns"`` allows.
    """

    token_ids: tuple[int, ...]
    max_model_len: int | None
    bos_count: int
    truncated: bool = False


class StepReward(_Result):
    """The reward of one step of an answer.

    Attributes:
        value: The probability that the step is good, from 0 to 1.
        logits: The raw values of the step's row; None where the server applied an activation.
        start: Position of the step's first token among the scored ones; the first step starts
            where the prompt does.
        end: Position after its step token.
    """

    value: float
    logits: tuple[float, ...] | None
    start: int
    end: int


class Usage(_Result):
    """What a reward cost, where a model wrote for it.

    Attributes:
        prompt_tokens: How many tokens it read, all its texts together.
        generated_tokens: How many it wrote.
    """

    prompt_tokens: int
    generated_tokens: int


class Reward(_Result):
    """The reward of one conversation. It has no order of its own: compare ``value``.

    Attributes:
        steps: One entry for each step, where a process reward model scored them.
        objectives: Raw values by name, where the model has several labels.
        token_count: How many tokens were scored. Of what was scored by ``method=Messages()`` only
            the server knows the tokens: then this is None, and so are the next two.
        token_digest: SHA-256 (hex) of the token IDs as little-endian 32-bit integers.
        bos_count: As in `TokenizedSample`.
        truncated: As in `TokenizedSample`.
        provenance: Which server, model and route gave the number, and how.
        critiques: What a model wrote, each vote's text, where a method has it written.
        usage: What that cost.
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
        steps: tuple[StepReward, ...],
        objectives: dict[str, float],
        token_count: int | None,
        token_digest: str | None,
        bos_count: int | None,
        truncated: bool,
        provenance: Provenance,
    ) -> Self:
        """A reward of values that need no validation: in half the time, and of a single object.

        Millions of them may be kept, and Python's garbage collector looks at each object. One whose
        attributes are set one by one has no dict until somebody asks for it.
        """
        reward = cls.__new__(cls)
        given = object.__setattr__  # the class is frozen; a loop over the fields takes half again
        given(reward, "scalar", scalar)
        given(reward, "steps", steps)
        given(reward, "objectives", objectives)
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
        """What the model's head gives, raw. That is a logit and not a probability.

        Of a process reward model it is the aggregate of the steps' probabilities, of objectives
        their weighted sum.

        Raises:
            TypeError: There are only objectives, without weights that make one number of them.
        """
        if self.scalar is None:
            raise TypeError(
                "This reward has objectives and no single value: read reward.objectives, or give "
                "head=ObjectiveHead(names, weights)."
            )
        return self.scalar

    def sigmoid(self) -> float:
        """The sigmoid of the raw value, applied here and nowhere before.

        Raises:
            TypeError: There is no single value, or the steps' probabilities make it one already.
        """
        if self.steps:
            raise TypeError("The value of a reward in steps comes from probabilities already.")
        return sigmoid(self.value)

    def softmax(self) -> dict[str, float]:
        """The softmax over the raw objectives, by name, applied here and nowhere before.

        Raises:
            TypeError: There are no objectives.
        """
        if not self.objectives:
            raise TypeError("This reward has no objectives to take a softmax over.")
        return dict(zip(self.objectives, softmax([*self.objectives.values()]), strict=True))

    def __float__(self) -> float:
        """The raw reward."""
        return self.value

    def __repr_args__(self) -> Iterable[tuple[str | None, object]]:
        """The fields by the names they are given and written under."""
        for name, value in super().__repr_args__():
            yield ("value" if name == "scalar" else name), value


_ALL_FIELDS = set(Reward.model_fields)


class Comparison(_Result):
    """What a judge of two made of a pair of responses.

    Attributes:
        first: The position of the response that it was shown first.
        second: That of the other one.
        preference: From -1, the second is better, to 1, the first is; the mean of all votes.
        critiques: What it wrote, each vote's text.
        usage: What that cost.
    """

    first: int
    second: int
    preference: float
    critiques: tuple[str, ...]
    usage: Usage


class Ranking(_Result):
    """Responses to one prompt, best first.

    Attributes:
        best: The response with the highest reward; of equal ones the first given.
        best_index: Its position in the responses given.
        order: Positions from best to worst; equal rewards keep the order given.
        rewards: The rewards in the order given.
        comparisons: What they come from, where a judge compared the responses.
    """

    best: str
    best_index: int
    order: tuple[int, ...]
    rewards: tuple[Reward, ...]
    comparisons: tuple[Comparison, ...] = ()


@dataclass(frozen=True, slots=True)
class ScoreResult:
    """The outcome of one sample of a stream: either a reward or an error.

    Attributes:
        index: The sample's position in the input, from 0.
        reward: The reward, or None where it failed.
        error: Why it failed, or None.
    """

    index: int
    reward: Reward | None
    error: RewardClientError | None


def ranking(
    responses: Sequence[str],
    rewards: Sequence[Reward],
    comparisons: Sequence[Comparison] = (),
) -> Ranking:
    """Orders responses by their rewards, best first; equal ones keep their order.

    Raises:
        InputError: The rewards have no single value.
    """
    if any(reward.scalar is None for reward in rewards):
        raise InputError(
            "These rewards have objectives and no single value to rank by: give "
            "head=ObjectiveHead(names, weights)."
        )
    order = sorted(range(len(rewards)), key=lambda index: -rewards[index].value)
    return Ranking(
        best=responses[order[0]],
        best_index=order[0],
        order=tuple(order),
        rewards=tuple(rewards),
        comparisons=tuple(comparisons),
    )
