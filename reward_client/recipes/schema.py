"""A recipe: the facts that a client needs to get correct rewards from a reward model."""

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

from reward_client._base.activation import ActivationName
from reward_client._base.samples import Conversation, FormattedText, Sample, parse_sample
from reward_client.heads import Aggregate, Head, ObjectiveHead, ScalarHead, StepHead

Text: TypeAlias = Annotated[str, Field(min_length=1)]
Digest: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Output: TypeAlias = Literal["vector", "per token", "per step"]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ScalarTable(_Table):
    """One number for a conversation."""

    type: Literal["scalar"]

    def build(self) -> Head:
        """Build the head."""
        return ScalarHead()


class StepsTable(_Table):
    """One number for each step; the fields have the meaning of `StepHead`."""

    type: Literal["steps"]
    step_token: Text | NonNegativeInt
    good_label: NonNegativeInt | None = None
    aggregate: Aggregate
    separator: Text | None = None

    def build(self) -> Head:
        """Build the head."""
        return StepHead(
            step_token=self.step_token,
            good_label=self.good_label,
            aggregate=self.aggregate,
            separator=self.separator,
        )


class ObjectivesTable(_Table):
    """Several numbers for a conversation; the fields have the meaning of `ObjectiveHead`."""

    type: Literal["objectives"]
    names: tuple[Text, ...] | PositiveInt
    weights: dict[str, float] | None = None

    def build(self) -> Head:
        """Build the head."""
        return ObjectiveHead(self.names, self.weights)


HeadTable: TypeAlias = Annotated[
    ScalarTable | StepsTable | ObjectivesTable, Field(discriminator="type")
]


class VerdictTable(_Table):
    """The prompt for a judge and its verdicts; the fields have the meaning of `Verdict`."""

    pattern: Text
    prompt: Text | None = None
    roles: tuple[Text, ...] = ()
    values: dict[str, float] | None = None
    system: Text | None = None

    @property
    def compares(self) -> bool:
        """True if the judge compares two answers."""
        return len(self.roles) > 1 or "{response_b}" in (self.prompt or "")


class PromptTable(_Table):
    """Rules for the token IDs of a prompt.

    Attributes:
        bos: True for exactly one BOS token at the start, False for none, None for as many as the
            chat template writes.
        generation_prompt: True if the prompt ends with the header of an assistant turn.
        append_tokens: Token IDs that the model needs at the end, and that no server appends.
        system: System message of the model card. The caller must include it in the messages.
        max_tokens: Length of the longest conversation in the model's training, in tokens.
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
    """An exact input with the published output of the model.

    The input is exactly one of ``messages``, ``text`` and ``token_ids``.

    Attributes:
        models: Models of the recipe that the values hold for; empty for all models.
        messages: Chat messages.
        steps: The assistant's answer to the messages, in steps, like those of a
            `reward_client.Conversation`.
        text: Text after the chat template.
        token_ids: Token IDs.
        expected: The raw reward. For a process reward model, the probability of each step; for
            objectives, the raw values in the order of their names.
        tolerance: Largest accepted difference on another engine, precision or GPU.
        source: Publication of the input and the values.
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
        """The input as a sample for a client."""
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
            raise ValueError("a reference needs exactly one of messages, text and token_ids")
        if self.steps is not None:
            if self.messages is None:
                raise ValueError("steps need messages")
            if isinstance(self.expected, tuple) and len(self.expected) != len(self.steps):
                raise ValueError(
                    f"{len(self.expected)} expected values do not fit {len(self.steps)} steps"
                )
        parse_sample(self.sample)
        return self


class LayerTable(_Table):
    """A dense layer of an exported head.

    Attributes:
        weight: Name of the source's weight tensor, or how the weight was computed.
        bias: The same for the bias; None for a layer without a bias.
        in_features: Number of inputs.
        out_features: Number of outputs.
        activation: Function that is applied to the outputs.
    """

    weight: Text
    bias: Text | None = None
    in_features: PositiveInt
    out_features: PositiveInt
    activation: Text


class ExportTable(_Table):
    """Facts about an export. A recipe with this table is the manifest of an exported checkpoint.

    Attributes:
        client_version: Version of reward_client that exported the checkpoint.
        source: The checkpoint that the head was read from.
        architecture: Architecture in the source's ``config.json``.
        digests: SHA-256 (hex) of the source's files.
        layers: Layers of the head, from the hidden state to the reward.
        sign: -1 if the head was negated because the source returns a cost.
        scale: Factor that the source's values were multiplied by.
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
        for layer, following in pairwise(self.layers):
            if layer.out_features != following.in_features:
                raise ValueError(
                    f"{layer.weight} has {layer.out_features} outputs, but {following.weight} has "
                    f"{following.in_features} inputs"
                )
        return self


class EngineTable(_Table):
    """How an engine other than vLLM serves the models: a command, or the reason why it does not.

    Attributes:
        since: First version of the engine by which this client gets the models' rewards.
        command: Command as in ``Recipe.serve``; ``{max_tokens}`` stands for that of the prompt.
        refusal: Reason why the engine gives no correct rewards of these models, and an alternative.
        caveats: Further facts about the models on this engine.
    """

    since: Text | None = None
    command: Text | None = None
    refusal: Text | None = None
    caveats: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _is_one_answer(self) -> Self:
        if (self.command is None) == (self.refusal is None):
            raise ValueError("an engine needs exactly one of a command and a refusal")
        if (self.command is None) != (self.since is None):
            raise ValueError("since belongs to a command")
        return self


class Recipe(_Table):
    """Facts about a family of reward models.

    A recipe has exactly one of a head, a verdict and a refusal. Only the manifest of an export may
    have none; the caller then passes the head.

    Attributes:
        name: Name of the family. In the catalogue, it is the name of the file.
        models: Hugging Face IDs of the models in this family.
        architectures: Architectures in the models' ``config.json``.
        output: Output of vLLM for a conversation: one ``"vector"``, a row ``"per token"``, or a row
            ``"per step"``.
        head_table: The head as the file describes it; ``head`` is the object.
        logit_tokens: For a language model, IDs or texts of one or two tokens. The reward is the
            logit of the token, or the difference of both logits.
        verdict: The prompt for a judge and its verdicts.
        prompt: Rules for the token IDs of a prompt.
        activation: Activation of a current server, unless the request asks for raw values.
        special_tokens: IDs of texts that must be a single token.
        serve: Commands by vLLM version, including ``"today"``; ``{model}`` stands for the model ID.
            The options for several GPUs and for the length come from other fields.
        engines: Other engines by name, such as ``"SGLang"``.
        gpus: Number of GPUs with 80 GB for each model that is too large for one of them.
        references: Exact inputs with published values.
        refusal: Reason why no stock vLLM gives correct rewards of these models, and an alternative.
        export: Facts about the export, in the manifest of an exported checkpoint.
        caveats: Differences between versions of vLLM.
        notes: Further facts for users.
        unconfirmed: Assumptions that no source confirms.
        sources: Sources of the facts.
    """

    name: Text
    models: tuple[Text, ...] = ()
    architectures: tuple[Text, ...] = ()
    output: Output | None = None
    head_table: HeadTable | None = Field(default=None, alias="head")
    logit_tokens: Annotated[tuple[NonNegativeInt | Text, ...], Field(max_length=2)] = ()
    verdict: VerdictTable | None = None
    prompt: PromptTable = PromptTable()
    activation: ActivationName | None = None
    special_tokens: dict[str, NonNegativeInt] = {}
    serve: dict[str, Text] = {}
    engines: dict[Text, EngineTable] = {}
    gpus: dict[str, PositiveInt] = {}
    references: tuple[Reference, ...] = ()
    refusal: Text | None = None
    export: ExportTable | None = None
    caveats: tuple[Text, ...] = ()
    notes: tuple[Text, ...] = ()
    unconfirmed: tuple[Text, ...] = ()
    sources: tuple[Text, ...] = ()

    @property
    def head(self) -> Head | None:
        """The head that reads the model's output; None for a recipe without a head."""
        return self.head_table.build() if self.head_table is not None else None

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the content; the order of keys in the file does not matter."""
        content = self.model_dump(mode="json", by_alias=True)
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def commands(self) -> Mapping[str, str]:
        """Commands for the first model, or for the folder of a manifest.

        The keys are versions of vLLM, and names of other engines.
        """
        folder = "{model}" if self.export is None else "DESTINATION"
        model = self.models[0] if self.models else folder
        length = self.prompt.max_tokens
        vllm_length = f" --max-model-len {length}" if length is not None else ""
        # All engines call this option by the same name.
        gpus = f" --tensor-parallel-size {self.gpus[model]}" if model in self.gpus else ""
        lines = {version: line + gpus + vllm_length for version, line in self.serve.items()}
        lines |= {
            name: engine.command.replace("{max_tokens}", str(length)) + gpus
            for name, engine in self.engines.items()
            if engine.command is not None
        }
        return {key: line.replace("{model}", model) for key, line in lines.items()}

    def refused_by(self, engine: str) -> str | None:
        """Return the reason why an engine gives no correct rewards; None if it does.

        Args:
            engine: The engine's name, such as ``"vLLM"`` or ``"SGLang"``.
        """
        known = self.engines.get(engine)
        return self.refusal if known is None else known.refusal

    def for_model(self, *models: str) -> Recipe:
        """Return this recipe for some of its models, with only the references that hold for all."""
        references = tuple(
            reference
            for reference in self.references
            if not reference.models or set(models) <= set(reference.models)
        )
        return self.model_copy(update={"models": models, "references": references})

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        contents = (self.head_table, self.verdict, self.refusal)
        if self.export is None and sum(item is not None for item in contents) != 1:
            raise ValueError("a recipe needs exactly one of a head, a verdict and a refusal")
        if self.export is not None and self.refusal is not None:
            raise ValueError("the manifest of an export cannot have a refusal")
        head = self.head  # building the head validates its parameters
        self._check_width(head)
        for index, reference in enumerate(self.references):
            problem = _problem(reference, head, manifest=self.export is not None)
            if problem:
                raise ValueError(f"references.{index}: {problem}")
            unknown = set(reference.models) - set(self.models)
            if unknown:
                raise ValueError(f"references.{index}: {sorted(unknown)} are not in models")
        if unknown := self.gpus.keys() - set(self.models):
            raise ValueError(f"gpus: {sorted(unknown)} are not in models")
        for name, engine in self.engines.items():
            if "{max_tokens}" in (engine.command or "") and self.prompt.max_tokens is None:
                raise ValueError(f"engines.{name}: its command needs prompt.max_tokens")
        return self

    def _check_width(self, head: Head | None) -> None:
        """Check that the head reads the outputs of the last layer."""
        if self.export is None or head is None:
            return
        width = self.export.layers[-1].out_features
        if isinstance(head, ObjectiveHead):
            fits = width == len(head.names)
        elif isinstance(head, StepHead) and head.good_label is not None:
            fits = 1 < width > head.good_label
        else:
            fits = width == 1
        if not fits:
            raise ValueError(f"the last layer has {width} outputs, which the head does not read")


def _problem(reference: Reference, head: Head | None, *, manifest: bool) -> str | None:
    """Describe why the expected values of a reference do not fit the head; None if they do."""
    expected = reference.expected
    count = len(expected) if isinstance(expected, tuple) else None
    if isinstance(head, ObjectiveHead):
        if count is not None and count != len(head.names):
            return f"{count} values do not fit {len(head.names)} objectives"
        if count is None and head.weights is None:
            return "objectives without weights need a value for each objective"
    elif isinstance(head, StepHead):
        ids, token = reference.token_ids, head.step_token
        if count is not None and ids is not None and isinstance(token, int):
            steps = ids.count(token)
            if steps != count:
                return f"{count} values do not fit {steps} step tokens"
    elif count is not None and (head is not None or not manifest):
        return "several values need a head with steps or objectives"
    return None
