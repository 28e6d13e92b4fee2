"""A recipe: what must be known of a reward model to get the right number out of it. Pure data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from reward_client._base.samples import Conversation, FormattedText, Sample, parse_sample
from reward_client.heads import Aggregate, Head, ObjectiveHead, ScalarHead, StepHead

Text: TypeAlias = Annotated[str, Field(min_length=1)]
Digest: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Output: TypeAlias = Literal["vector", "per token", "per step"]
Activation: TypeAlias = Literal["none", "sigmoid", "softmax"]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ScalarTable(_Table):
    """One number for a conversation."""

    type: Literal["scalar"]

    def build(self) -> Head:
        """The head."""
        return ScalarHead()


class StepsTable(_Table):
    """One number for each step; the fields are those of `StepHead`."""

    type: Literal["steps"]
    step_token: Text | NonNegativeInt
    good_label: NonNegativeInt | None = None
    aggregate: Aggregate
    separator: Text | None = None

    def build(self) -> Head:
        """The head."""
        return StepHead(
            step_token=self.step_token,
            good_label=self.good_label,
            aggregate=self.aggregate,
            separator=self.separator,
        )


class ObjectivesTable(_Table):
    """Several numbers for a conversation; the fields are those of `ObjectiveHead`."""

    type: Literal["objectives"]
    names: tuple[Text, ...] | PositiveInt
    weights: dict[str, float] | None = None

    def build(self) -> Head:
        """The head."""
        return ObjectiveHead(self.names, self.weights)


HeadTable: TypeAlias = Annotated[
    ScalarTable | StepsTable | ObjectivesTable, Field(discriminator="type")
]


class VerdictTable(_Table):
    """How a judge is asked, and what it writes is read; the fields are those of `Verdict`."""

    pattern: Text
    prompt: Text | None = None
    roles: tuple[Text, ...] = ()
    values: dict[str, float] | None = None
    system: Text | None = None

    @property
    def compares(self) -> bool:
        """Whether it is of two answers."""
        return len(self.roles) > 1 or "{response_b}" in (self.prompt or "")


class PromptTable(_Table):
    """How token IDs are made for the model.

    Attributes:
        bos: True demands exactly one BOS at the start, whether the chat template writes it or not,
            False demands none, None leaves it as the template writes it.
        generation_prompt: Whether the header of an assistant's turn ends the prompt.
        append_tokens: IDs that the model needs at the end and that no server appends.
        system: The system message that the model's card uses; the caller sends it.
        max_tokens: The longest conversation that the model was trained on.
    """

    bos: bool | None = None
    generation_prompt: bool = False
    append_tokens: tuple[NonNegativeInt, ...] = ()
    system: Text | None = None
    max_tokens: PositiveInt | None = None


class Turn(_Table):
    """A chat message of a reference."""

    role: Literal["system", "user", "assistant"]
    content: str


class Reference(_Table):
    """An exact input, and what the model says of it.

    The input is one of ``messages`` (with ``steps``: the assistant's answer in steps, as in
    ``Conversation``), ``text`` (through the chat template already) and ``token_ids``.

    Attributes:
        models: Which of the recipe's models the value holds for; empty stands for all of them.
        messages: Chat messages.
        steps: The assistant's answer to them, in steps.
        text: Formatted text.
        token_ids: Token IDs.
        expected: The raw reward; for a process model the probability of each step, for objectives
            the raw value of each, in the order of their names.
        tolerance: How far another engine, precision or GPU may be from it.
        source: Where the input and the value are published.
    """

    models: tuple[Text, ...] = ()
    messages: Annotated[tuple[Turn, ...], Field(min_length=1)] | None = None
    steps: Annotated[tuple[Text, ...], Field(min_length=1)] | None = None
    text: Text | None = None
    token_ids: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)] | None = None
    expected: float | Annotated[tuple[float, ...], Field(min_length=1)]
    tolerance: PositiveFloat
    source: Text

    @property
    def sample(self) -> Sample:
        """The input, as a client takes it."""
        if self.text is not None:
            return FormattedText(self.text)
        if self.token_ids is not None:
            return self.token_ids
        messages = [turn.model_dump() for turn in self.messages or ()]
        return Conversation(messages, steps=self.steps)

    @model_validator(mode="after")
    def _is_one_input(self) -> Self:
        inputs = [self.messages, self.text, self.token_ids]
        if sum(given is not None for given in inputs) != 1:
            raise ValueError("a reference has one of messages, text and token_ids")
        if self.steps is not None:
            if self.messages is None:
                raise ValueError("steps need messages, which they answer")
            if isinstance(self.expected, tuple) and len(self.expected) != len(self.steps):
                raise ValueError(f"{len(self.expected)} expected values, {len(self.steps)} steps")
        parse_sample(self.sample)
        return self


class LayerTable(_Table):
    """A dense layer of an exported head.

    Attributes:
        weight: The tensor of the source that its weight is, or what was made of some.
        bias: The same of its bias, None where there is none.
        in_features: How many numbers go in.
        out_features: How many come out.
        activation: What is applied to them.
    """

    weight: Text
    bias: Text | None = None
    in_features: PositiveInt
    out_features: PositiveInt
    activation: Text


class ExportTable(_Table):
    """How a checkpoint was exported: this makes a recipe the manifest of that checkpoint.

    Attributes:
        client_version: The version of reward_client that exported it.
        source: The checkpoint that the head was read from.
        architecture: As in the source's ``config.json``.
        digests: SHA-256 of the source's files, in hex.
        layers: The head, from the hidden state to the reward.
        sign: -1 where the head was negated, since the source's number is a cost.
        scale: What the source's number was multiplied by.
    """

    client_version: Text
    source: Text
    architecture: Text
    digests: dict[str, Digest]
    layers: Annotated[tuple[LayerTable, ...], Field(min_length=1)]
    sign: Literal[1, -1]
    scale: PositiveFloat

    @model_validator(mode="after")
    def _is_one_head(self) -> Self:
        for one, other in pairwise(self.layers):
            if one.out_features != other.in_features:
                raise ValueError(
                    f"{one.weight} gives {one.out_features} numbers, and {other.weight} takes "
                    f"{other.in_features}"
                )
        return self


class Recipe(_Table):
    """What is known of a family of reward models.

    Attributes:
        name: The family's name: in the catalogue, the file's.
        models: The Hugging Face IDs that it holds for.
        architectures: As in their ``config.json``.
        output: What vLLM answers for a conversation: one ``"vector"``, a row ``"per token"``, or
            a row ``"per step"``.
        head_table: The head as it is written in the file; ``head`` is the object.
        logit_tokens: The token whose logit the reward is, of a language model, or two of which it
            is the difference: their IDs or texts.
        verdict: How a judge is asked, and what it writes is read.
        prompt: How token IDs are made.
        activation: What a server of today applies unless it is asked for raw values.
        special_tokens: Texts that must be one token, and its ID.
        serve: Commands by vLLM version, ``"today"`` among them; ``{model}`` stands for the ID.
        references: Exact inputs with published values.
        refusal: Why no stock vLLM serves these models rightly, and what to do instead. A recipe
            has either this, or a head, or a verdict.
        export: How the checkpoint was exported, for the manifest of one. The head of a manifest may
            be unknown: then the caller names it.
        caveats: What differs between versions of vLLM.
        notes: What else a user should know.
        unconfirmed: What is assumed, without a source that confirms it.
        sources: Where the facts are from.
    """

    name: Text
    models: tuple[Text, ...] = ()
    architectures: tuple[Text, ...] = ()
    output: Output | None = None
    head_table: HeadTable | None = Field(default=None, alias="head")
    logit_tokens: Annotated[tuple[NonNegativeInt | Text, ...], Field(max_length=2)] = ()
    verdict: VerdictTable | None = None
    prompt: PromptTable = PromptTable()
    activation: Activation | None = None
    special_tokens: dict[str, NonNegativeInt] = {}
    serve: dict[str, Text] = {}
    references: tuple[Reference, ...] = ()
    refusal: Text | None = None
    export: ExportTable | None = None
    caveats: tuple[Text, ...] = ()
    notes: tuple[Text, ...] = ()
    unconfirmed: tuple[Text, ...] = ()
    sources: tuple[Text, ...] = ()

    @property
    def head(self) -> Head | None:
        """The head that reads the model's output, or None for a model that is refused."""
        return self.head_table.build() if self.head_table is not None else None

    @property
    def digest(self) -> str:
        """SHA-256 of the content, in hex; the order of keys in the file does not change it."""
        content = self.model_dump(mode="json", by_alias=True)
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def commands(self) -> Mapping[str, str]:
        """How to serve the (first) model, by vLLM version; of a manifest, the folder it lies in."""
        folder = "{model}" if self.export is None else "DESTINATION"
        model = self.models[0] if self.models else folder
        return {version: line.replace("{model}", model) for version, line in self.serve.items()}

    def for_model(self, *models: str) -> Recipe:
        """What of this recipe holds for each of these models of its own."""
        references = tuple(
            reference
            for reference in self.references
            if not reference.models or set(models) <= set(reference.models)
        )
        return self.model_copy(update={"models": models, "references": references})

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        ways = (self.head_table, self.verdict, self.refusal)
        if self.export is None and sum(way is not None for way in ways) != 1:
            raise ValueError("a recipe has either a head, or a verdict, or a refusal")
        if self.export is not None and self.refusal is not None:
            raise ValueError("an exported model is not refused")
        head = self.head  # its own checks
        self._check_width(head)
        for number, reference in enumerate(self.references):
            problem = _problem(reference, head, manifest=self.export is not None)
            if problem:
                raise ValueError(f"references.{number}: {problem}")
            strangers = set(reference.models) - set(self.models)
            if strangers:
                raise ValueError(f"references.{number}: {sorted(strangers)} are not in models")
        return self

    def _check_width(self, head: Head | None) -> None:
        """The last layer must give what the head reads."""
        if self.export is None or head is None:
            return
        width = self.export.layers[-1].out_features
        if isinstance(head, ObjectiveHead):
            right = width == len(head.names)
        elif isinstance(head, StepHead) and head.good_label is not None:
            right = 1 < width > head.good_label
        else:
            right = width == 1
        if not right:
            raise ValueError(f"the last layer gives {width} numbers, which the head does not read")


def _problem(reference: Reference, head: Head | None, *, manifest: bool) -> str | None:
    """Why the expected values of a reference cannot be those of the head."""
    expected = reference.expected
    count = len(expected) if isinstance(expected, tuple) else None
    if isinstance(head, ObjectiveHead):
        if count is not None and count != len(head.names):
            return f"{count} values of {len(head.names)} objectives"
        if count is None and head.weights is None:
            return "one value of objectives without weights"
    elif isinstance(head, StepHead):
        ids, token = reference.token_ids, head.step_token
        if count is not None and ids is not None and isinstance(token, int):
            steps = ids.count(token)
            if steps != count:
                return f"{count} values of {steps} step tokens"
    elif count is not None and (head is not None or not manifest):
        return "several values need a head of steps or objectives"
    return None
