"""The request bodies that vLLM accepts, declared as it does, so that its refusals come out alike.

A body may have several forms. vLLM declares their union to pydantic; the errors of a body that
fits none are those of all forms, in order, and of the fields in theirs, which is that of the bases
from right to left. Unknown keys are ignored, as vLLM does since 0.6.5.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_core import ErrorDetails

# What vLLM's models are wrapped in; it shows in the error texts of a body with several forms.
_WRAPPER = "function-wrap[__log_extra_fields__()]"


class BodyError(Exception):
    """A body that has none of the accepted forms.

    Attributes:
        errors: pydantic's, with the locations that vLLM reports.
    """

    def __init__(self, errors: Sequence[ErrorDetails]) -> None:
        super().__init__(f"{len(errors)} validation errors")
        self.errors = list(errors)


class Message(BaseModel, extra="allow"):
    """One message; more keys are the chat template's business."""

    role: str
    content: str | list[dict[str, Any]] | None = None


class Form(BaseModel):
    """What every body has."""

    model: str | None = None


class ChatOptions(Form):
    """How a conversation becomes text."""

    add_generation_prompt: bool = False
    continue_final_message: bool = False
    add_special_tokens: bool = False
    chat_template: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None


class Chat(ChatOptions):
    """A conversation."""

    messages: list[Message]


class TokenizeText(Form):
    """`POST /tokenize` with a text."""

    prompt: str
    add_special_tokens: bool = True
    return_token_strs: bool | None = None


class TokenizeChat(Chat):
    """`POST /tokenize` with a conversation: an assistant turn is opened unless refused."""

    add_generation_prompt: bool = True
    return_token_strs: bool | None = None


class Detokenize(Form):
    """`POST /detokenize`."""

    tokens: list[int]


class DetokenizeChecked(Form):
    """`POST /detokenize` since 0.20.2, which looks at the sign."""

    tokens: list[Annotated[int, Field(ge=0)]]


AnyForm = TypeVar("AnyForm", bound=Form)


def read_form(body: object, accepted: Sequence[type[AnyForm]], *, last_wins: bool) -> AnyForm:
    """The body as the first, or the last, of the accepted forms that it has.

    Raises:
        BodyError: It has none of them.
    """
    fitting: list[AnyForm] = []
    errors: list[ErrorDetails] = []
    wrapper = (_WRAPPER,) if len(accepted) > 1 else ()
    for form in accepted:
        try:
            fitting.append(form.model_validate(body))
        except ValidationError as refusal:
            for error in refusal.errors(include_url=False):
                error["loc"] = ("body", *wrapper, *error["loc"])
                errors.append(error)
    if not fitting:
        raise BodyError(errors)
    return fitting[-1 if last_wins else 0]


def read_json(body: bytes) -> object:
    """The body's JSON.

    Raises:
        BodyError: It is none.
    """
    try:
        return json.loads(body)
    except ValueError as error:
        position = error.pos if isinstance(error, json.JSONDecodeError) else 0
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        detail: ErrorDetails = {
            "type": "json_invalid",
            "loc": ("body", position),
            "msg": "JSON decode error",
            "input": {},
            "ctx": {"error": reason},
        }
        raise BodyError([detail]) from error
