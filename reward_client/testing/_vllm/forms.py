"""Request bodies, declared as vLLM declares them, so that validation errors agree.

A body may have several forms, which vLLM declares as a union to pydantic. A body that matches no
form gets the errors of all forms, in the order of the union. Within a form, errors follow the
order of its fields: pydantic collects the bases from right to left. Like vLLM since 0.6.5, the
forms ignore unknown keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from reward_client.testing._bodies import BodyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_core import ErrorDetails

# The validator that wraps vLLM's models. Its name appears in the errors of a union of forms.
_WRAPPER = "function-wrap[__log_extra_fields__()]"


class Message(BaseModel, extra="allow"):
    """One message; the chat template receives its other keys too."""

    role: str
    content: str | list[dict[str, Any]] | None = None


class Form(BaseModel):
    """The base of all bodies."""

    model: str | None = None


class ChatOptions(Form):
    """The options of a chat template."""

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
    """`POST /tokenize` with a conversation; the generation prompt is on by default."""

    add_generation_prompt: bool = True
    return_token_strs: bool | None = None


class Detokenize(Form):
    """`POST /detokenize`."""

    tokens: list[int]


class DetokenizeChecked(Form):
    """`POST /detokenize` since 0.20.2, which refuses negative IDs."""

    tokens: list[Annotated[int, Field(ge=0)]]


AnyForm = TypeVar("AnyForm", bound=Form)


def read_form(body: object, accepted: Sequence[type[AnyForm]], *, last_wins: bool) -> AnyForm:
    """Parse a body by the first, or the last, of the accepted forms that it matches.

    Raises:
        BodyError: If it matches none of them.
    """
    matching: list[AnyForm] = []
    errors: list[ErrorDetails] = []
    wrapper = (_WRAPPER,) if len(accepted) > 1 else ()
    for form in accepted:
        try:
            matching.append(form.model_validate(body))
        except ValidationError as invalid:
            for error in invalid.errors(include_url=False):
                error["loc"] = ("body", *wrapper, *error["loc"])
                errors.append(error)
    if not matching:
        raise BodyError(errors)
    return matching[-1 if last_wins else 0]
