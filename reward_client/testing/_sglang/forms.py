"""Request bodies, declared as SGLang declares them, so that validation errors agree.

The names of the models of messages and of multimodal inputs appear in these errors.
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from reward_client.testing._bodies import BodyError


class NativeEmbedding(BaseModel):
    """`POST /classify` and `/encode`."""

    rid: str | list[str] | None = None
    text: list[list[str]] | list[str] | str | None = None
    input_ids: list[list[int]] | list[int] | None = None
    dimensions: int | None = None
    return_pooled_hidden_states: bool = False


class MultimodalEmbeddingInput(BaseModel):
    """A text with an image or a video."""

    text: str | None = None
    image: str | None = None
    video: str | None = None


class Embedding(BaseModel):
    """`POST /v1/embeddings`."""

    input: list[int] | list[list[int]] | str | list[str] | list[MultimodalEmbeddingInput]
    encoding_format: str = "float"
    dimensions: int | None = None
    rid: list[str] | str | None = None


class NamedEmbedding(Embedding):
    """`POST /v1/embeddings` of versions that require a model."""

    model: str


class Classification(BaseModel):
    """`POST /v1/classify`."""

    input: str | list[str] | list[int]
    rid: list[str] | str | None = None


class AnyScoring(BaseModel):
    """`POST /v1/score` without the model."""

    query: str | list[int] | None = None
    items: str | list[str] | list[list[int]] | None = None
    label_token_ids: list[int] | list[list[int]] | None = None
    apply_softmax: bool = False
    item_first: bool = False
    score_extraction_token: str | None = None


class Scoring(AnyScoring):
    """`POST /v1/score`."""

    model: str = "default"


class NamedScoring(AnyScoring):
    """`POST /v1/score` of versions that require a model."""

    model: str


class Reranking(BaseModel):
    """`POST /v1/rerank`."""

    query: str
    documents: list[str]
    top_n: int | None = None
    return_documents: bool = True


class Generation(BaseModel):
    """`POST /generate`."""

    rid: str | list[str] | None = None
    text: list[str] | str | None = None
    input_ids: list[list[int]] | list[int] | None = None
    sampling_params: list[dict[str, Any]] | dict[str, Any] | None = None
    return_logprob: list[bool] | bool | None = None
    logprob_start_len: list[int] | int | None = None
    top_logprobs_num: list[int] | int | None = None
    token_ids_logprob: list[list[int]] | list[int] | None = None
    stream: bool = False


class AnyCompletion(BaseModel, extra="allow"):
    """`POST /v1/completions` without the model.

    Extra keys stay, so that unsupported ones can be refused.
    """

    prompt: list[int] | list[list[int]] | str | list[str]
    logprobs: int | None = None
    max_tokens: int = 16
    seed: int | None = None
    stop: str | list[str] | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    min_tokens: int = 0
    stop_token_ids: list[int] | None = None
    ignore_eos: bool = False
    skip_special_tokens: bool = True
    rid: list[str] | str | None = None

    @field_validator("max_tokens")
    @classmethod
    def _positive(cls, tokens: int) -> int:
        if tokens <= 0:
            raise ValueError("max_tokens must be positive")
        return tokens


class Completion(AnyCompletion):
    """`POST /v1/completions`."""

    model: str = "default"


class NamedCompletion(AnyCompletion):
    """`POST /v1/completions` of versions that require a model."""

    model: str


class ChatCompletionMessageGenericParam(BaseModel, extra="allow"):
    """A message of any role but the user's; the chat template receives its other keys too."""

    role: str
    content: str | list[dict[str, Any]] | None = None

    @field_validator("role", mode="before")
    @classmethod
    def _known_role(cls, role: object, info: ValidationInfo[tuple[str, ...]]) -> object:
        roles = info.context
        if isinstance(role, str) and role.lower() not in roles:
            known = ", ".join(map(repr, roles))
            raise ValueError(f"'role' must be one of {known} (case-insensitive).")
        return role

    @model_validator(mode="after")
    def validate_thinking_parts_role(self) -> ChatCompletionMessageGenericParam:
        """Accept the message; errors show the name of this check."""
        return self


class ChatCompletionMessageUserParam(BaseModel, extra="allow"):
    """A message of the user."""

    role: Literal["user"]
    content: str | list[dict[str, Any]]

    @model_validator(mode="after")
    def validate_thinking_parts_role(self) -> ChatCompletionMessageUserParam:
        """Accept the message; errors show the name of this check."""
        return self


Message = ChatCompletionMessageGenericParam | ChatCompletionMessageUserParam


class Tokenization(BaseModel, extra="allow"):
    """`POST /tokenize`."""

    prompt: str | list[str] | None = None
    messages: list[Message] | None = None
    tools: list[dict[str, Any]] | None = None
    continue_final_message: bool = False
    chat_template_kwargs: dict[str, Any] | None = None
    add_special_tokens: bool = Field(default=True)
    add_generation_prompt: bool | None = None

    @model_validator(mode="after")
    def _one_input(self) -> Tokenization:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("Exactly one of 'prompt' or 'messages' must be provided.")
        return self


class Detokenization(BaseModel):
    """`POST /detokenize`."""

    tokens: list[int] | list[list[int]]
    skip_special_tokens: bool = True


AnyForm = TypeVar("AnyForm", bound=BaseModel)


def read_form(body: object, form: type[AnyForm], *, roles: tuple[str, ...] = ()) -> AnyForm:
    """Parse a body; `roles` names the roles of messages, but for the user's.

    Raises:
        BodyError: If it does not match the form.
    """
    try:
        # As FastAPI does.
        return form.model_validate(body, from_attributes=True, context=roles)
    except ValidationError as invalid:
        errors = invalid.errors(include_url=False)
        for error in errors:
            error["loc"] = ("body", *error["loc"])
        raise BodyError(errors) from invalid
