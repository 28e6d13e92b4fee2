"""The bodies of the pooled routes, in every version.

A body has content (an input, a conversation) and options. What it asks for is read by the `asked_`
properties: the options of a version read the keys that this version knows, as it does.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, create_model

from reward_client.testing.forms import Chat, ChatOptions, Form, Message


class Pooled(Form):
    """What a pooled body asks for, None where it says nothing."""

    @property
    def asked_encoding(self) -> str:
        """How the values are written."""
        return "float"

    @property
    def asked_length(self) -> int | None:
        """How many tokens are kept; -1 is as many as the model takes."""
        return None

    @property
    def asked_side(self) -> Literal["left", "right"] | None:
        """Which end is cut off."""
        return None

    @property
    def asked_task(self) -> str | None:
        """What is computed."""
        return None

    @property
    def asked_activation(self) -> bool | None:
        """Whether the values are squashed, or normalised."""
        return None

    @property
    def asked_parameters(self) -> tuple[str, ...]:
        """The parameters that are given, where vLLM looks whether the task has them."""
        return ()


PooledForms = tuple[type[Pooled], ...]


class Input(Form):
    """Text or token IDs, one or several."""

    input: list[int] | list[list[int]] | str | list[str]
    add_special_tokens: bool = True


class Text(Form):
    """Text, one or several: `/classify` up to 0.14."""

    input: list[str] | str
    add_special_tokens: bool = True


class BareText(Form):
    """Text, one or several, special tokens always added: `/classify` up to 0.11.0."""

    input: list[str] | str


class ChatBatch(ChatOptions):
    """Conversations: `/v1/embeddings` since 0.24."""

    messages: Annotated[list[Annotated[list[Message], Field(min_length=1)]], Field(min_length=1)]


class Data(Form):
    """Data for a plugin, which this server has none of."""

    data: Any


class _Truncated(Pooled):
    """Truncation since 0.9.1."""

    truncate_prompt_tokens: Annotated[int, Field(ge=-1)] | None = None

    @property
    def asked_length(self) -> int | None:
        return self.truncate_prompt_tokens


class _Sided(_Truncated):
    """Truncation since 0.18."""

    truncation_side: Literal["left", "right"] | None = None

    @property
    def asked_side(self) -> Literal["left", "right"] | None:
        return self.truncation_side


# vLLM has "bytes" and "bytes_only", too; this server owns up to not having them.
class _TwoEncodings(Pooled):
    """Up to 0.11.0."""

    encoding_format: Literal["float", "base64"] = "float"

    @property
    def asked_encoding(self) -> str:
        return self.encoding_format


class _ThreeEncodings(Pooled):
    """Up to 0.12."""

    encoding_format: Literal["float", "base64", "bytes"] = "float"

    @property
    def asked_encoding(self) -> str:
        return self.encoding_format


class _FourEncodings(Pooled):
    """Since 0.13."""

    encoding_format: Literal["float", "base64", "bytes", "bytes_only"] = "float"

    @property
    def asked_encoding(self) -> str:
        return self.encoding_format


class _Normalize(Pooled):
    """`normalize`, up to 0.16."""

    normalize: bool | None = None

    @property
    def asked_activation(self) -> bool | None:
        return self.normalize


class _NormalizeOfTask(_Normalize):
    """`/pooling` of 0.10, none of whose tasks has the switch."""

    @property
    def asked_parameters(self) -> tuple[str, ...]:
        return () if self.normalize is None else ("normalize",)


class _ActivationKey(Pooled):
    """`activation`, as `/classify` has it up to 0.11.0."""

    activation: bool | None = None

    @property
    def asked_activation(self) -> bool | None:
        return self.activation


class _UseActivation(Pooled):
    """`use_activation`, since 0.11.1."""

    use_activation: bool | None = None

    @property
    def asked_activation(self) -> bool | None:
        return self.use_activation


class _AnyKeyTurnsOn(_UseActivation):
    """0.11.1 to 0.13: a key of the past turns the activation on, whatever its value is."""

    softmax: bool | None = None
    activation: bool | None = None

    @property
    def asked_activation(self) -> bool | None:
        if self.softmax is not None or self.activation is not None:
            return True
        return self.use_activation


class _ParametersOfTask(_AnyKeyTurnsOn):
    """`/pooling` of 0.12, which refuses the switch of another task."""

    normalize: bool | None = None

    @property
    def asked_activation(self) -> bool | None:
        return super().asked_activation if self.normalize is None else self.normalize

    @property
    def asked_parameters(self) -> tuple[str, ...]:
        given = {"normalize": self.normalize, "use_activation": super().asked_activation}
        return tuple(name for name, value in given.items() if value is not None)


class _NormalizeIsActivation(_UseActivation):
    """0.16: `normalize` is another name of `use_activation`, and wins."""

    normalize: bool | None = None

    @property
    def asked_activation(self) -> bool | None:
        return self.use_activation if self.normalize is None else self.normalize


class _Task12(Pooled):
    """`task`, 0.11.1 to 0.18."""

    task: (
        Literal["embed", "classify", "score", "token_embed", "token_classify", "plugin"] | None
    ) = None

    @property
    def asked_task(self) -> str | None:
        return self.task


class _Task20(Pooled):
    """`task`, since 0.19."""

    task: (
        Literal[
            "embed", "classify", "token_embed", "token_classify", "plugin", "embed&token_classify"
        ]
        | None
    ) = None

    @property
    def asked_task(self) -> str | None:
        return self.task


class _Options8(_TwoEncodings):
    """All routes of 0.8."""

    truncate_prompt_tokens: Annotated[int, Field(ge=1)] | None = None

    @property
    def asked_length(self) -> int | None:
        return self.truncate_prompt_tokens


class _Pooling10(_TwoEncodings, _Truncated, _NormalizeOfTask):
    """`/pooling` of 0.10."""


class _Embedding10(_TwoEncodings, _Truncated, _Normalize):
    """`/v1/embeddings` of 0.10."""


class _Classify10(_Truncated, _ActivationKey):
    """`/classify` of 0.10."""


class _Pooling12(_ThreeEncodings, _Truncated, _ParametersOfTask):
    """`/pooling` of 0.12."""


class _Embedding12(_ThreeEncodings, _Truncated, _Normalize):
    """`/v1/embeddings` of 0.12."""


class _Classify12(_Truncated, _AnyKeyTurnsOn):
    """`/classify` of 0.12."""


class _Options16(_FourEncodings, _Truncated, _NormalizeIsActivation):
    """`/pooling` and `/v1/embeddings` of 0.16."""


class _Classify16(_Truncated, _UseActivation):
    """`/classify` of 0.16."""


class _Options20(_FourEncodings, _Sided, _UseActivation):
    """`/pooling` and `/v1/embeddings` since 0.20."""


class _Classify20(_Sided, _UseActivation):
    """`/classify` since 0.20."""


def _bodies(*bases: type[Form], of: tuple[type[Form], ...]) -> PooledForms:
    """One body for each content, which takes the place of `Form` among the bases.

    Pydantic reports the fields of the last base first.
    """

    def body(content: type[Form]) -> type[Pooled]:
        made: type[Any] = create_model(
            content.__name__, __base__=tuple(content if base is Form else base for base in bases)
        )
        return made

    return tuple(body(content) for content in of)


EMBEDDINGS_0_8 = _bodies(_Options8, Form, of=(Input, Chat))
EMBEDDINGS_0_10 = _bodies(_Embedding10, Form, of=(Input, Chat))
EMBEDDINGS_0_12 = _bodies(_Embedding12, Form, of=(Input, Chat))
EMBEDDINGS_0_16 = _bodies(Form, _Options16, of=(Input, Chat))
EMBEDDINGS_0_20 = _bodies(Form, _Options20, of=(Input, Chat))
EMBEDDINGS_0_25 = _bodies(Form, _Options20, of=(Input, Chat, ChatBatch))

POOLING_0_10 = (
    *_bodies(_Pooling10, Form, of=(Input, Chat)),
    *_bodies(Form, Pooled, of=(Data,)),
)
POOLING_0_12 = _bodies(_Task12, _Pooling12, Form, of=(Input, Chat, Data))
POOLING_0_16 = _bodies(_Task12, Form, _Options16, of=(Input, Chat, Data))
POOLING_0_20 = _bodies(_Task20, Form, _Options20, of=(Input, Chat, Data))

CLASSIFY_0_10 = _bodies(_Classify10, Form, of=(BareText,))
CLASSIFY_0_12 = _bodies(_Classify12, Form, of=(Text, Chat))
CLASSIFY_0_16 = _bodies(Form, _Classify16, of=(Input, Chat))
CLASSIFY_0_20 = _bodies(Form, _Classify20, of=(Input, Chat))
