"""The request bodies of the pooling routes in every version.

A body combines content (an input, a conversation) with options. The properties `requested_…` give
the meaning of the options: each version's classes read the keys that this version knows.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, create_model

from reward_client.testing._vllm.forms import Chat, ChatOptions, Form, Message


class PoolingForm(Form):
    """The base of all bodies; a property is None where the body leaves the choice to vLLM."""

    @property
    def requested_encoding(self) -> str:
        """The encoding of the values."""
        return "float"

    @property
    def requested_length(self) -> int | None:
        """The number of tokens that truncation keeps; -1 for the model's maximum."""
        return None

    @property
    def requested_side(self) -> Literal["left", "right"] | None:
        """The end that truncation cuts off."""
        return None

    @property
    def requested_task(self) -> str | None:
        """The pooling task."""
        return None

    @property
    def requested_activation(self) -> bool | None:
        """The switch of the activation, which is the normalization for embeddings."""
        return None

    @property
    def requested_parameters(self) -> tuple[str, ...]:
        """The given parameters that vLLM checks against the task."""
        return ()


PoolingForms = tuple[type[PoolingForm], ...]


class Input(Form):
    """Texts or token IDs, one or more."""

    input: list[int] | list[list[int]] | str | list[str]
    add_special_tokens: bool = True


class Text(Form):
    """One text or more: `/classify` up to 0.14."""

    input: list[str] | str
    add_special_tokens: bool = True


class BareText(Form):
    """One text or more, always with special tokens: `/classify` up to 0.11.0."""

    input: list[str] | str


class ChatBatch(ChatOptions):
    """Several conversations: `/v1/embeddings` since 0.24."""

    messages: Annotated[list[Annotated[list[Message], Field(min_length=1)]], Field(min_length=1)]


class Data(Form):
    """Data for an IO processor plugin; this server has no plugin."""

    data: Any


class _Truncated(PoolingForm):
    """Truncation since 0.9.1."""

    truncate_prompt_tokens: Annotated[int, Field(ge=-1)] | None = None

    @property
    def requested_length(self) -> int | None:
        return self.truncate_prompt_tokens


class _Sided(_Truncated):
    """Truncation since 0.18."""

    truncation_side: Literal["left", "right"] | None = None

    @property
    def requested_side(self) -> Literal["left", "right"] | None:
        return self.truncation_side


# This server answers "bytes" and "bytes_only" with 501, though vLLM supports them.
class _TwoEncodings(PoolingForm):
    """Up to 0.11.0."""

    encoding_format: Literal["float", "base64"] = "float"

    @property
    def requested_encoding(self) -> str:
        return self.encoding_format


class _ThreeEncodings(PoolingForm):
    """Up to 0.12."""

    encoding_format: Literal["float", "base64", "bytes"] = "float"

    @property
    def requested_encoding(self) -> str:
        return self.encoding_format


class _FourEncodings(PoolingForm):
    """Since 0.13."""

    encoding_format: Literal["float", "base64", "bytes", "bytes_only"] = "float"

    @property
    def requested_encoding(self) -> str:
        return self.encoding_format


class _Normalize(PoolingForm):
    """`normalize`, up to 0.16."""

    normalize: bool | None = None

    @property
    def requested_activation(self) -> bool | None:
        return self.normalize


class _NormalizeOfTask(_Normalize):
    """`/pooling` of 0.10: no task accepts `normalize`."""

    @property
    def requested_parameters(self) -> tuple[str, ...]:
        return () if self.normalize is None else ("normalize",)


class _ActivationKey(PoolingForm):
    """`activation` of `/classify`, up to 0.11.0."""

    activation: bool | None = None

    @property
    def requested_activation(self) -> bool | None:
        return self.activation


class _UseActivation(PoolingForm):
    """`use_activation`, since 0.11.1."""

    use_activation: bool | None = None

    @property
    def requested_activation(self) -> bool | None:
        return self.use_activation


class _AnyKeyActivates(_UseActivation):
    """0.11.1 to 0.13: an older key turns the activation on, whatever its value."""

    softmax: bool | None = None
    activation: bool | None = None

    @property
    def requested_activation(self) -> bool | None:
        if self.softmax is not None or self.activation is not None:
            return True
        return self.use_activation


class _ParametersOfTask(_AnyKeyActivates):
    """`/pooling` of 0.12, which refuses the switch of a different task."""

    normalize: bool | None = None

    @property
    def requested_activation(self) -> bool | None:
        return super().requested_activation if self.normalize is None else self.normalize

    @property
    def requested_parameters(self) -> tuple[str, ...]:
        given = {"normalize": self.normalize, "use_activation": super().requested_activation}
        return tuple(name for name, value in given.items() if value is not None)


class _NormalizeIsAlias(_UseActivation):
    """0.16: `normalize` is an alias of `use_activation`, and takes precedence."""

    normalize: bool | None = None

    @property
    def requested_activation(self) -> bool | None:
        return self.use_activation if self.normalize is None else self.normalize


class _Task12(PoolingForm):
    """`task`, 0.11.1 to 0.18."""

    task: (
        Literal["embed", "classify", "score", "token_embed", "token_classify", "plugin"] | None
    ) = None

    @property
    def requested_task(self) -> str | None:
        return self.task


class _Task20(PoolingForm):
    """`task`, since 0.19."""

    task: (
        Literal[
            "embed", "classify", "token_embed", "token_classify", "plugin", "embed&token_classify"
        ]
        | None
    ) = None

    @property
    def requested_task(self) -> str | None:
        return self.task


class _Options8(_TwoEncodings):
    """All routes of 0.8."""

    truncate_prompt_tokens: Annotated[int, Field(ge=1)] | None = None

    @property
    def requested_length(self) -> int | None:
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


class _Classify12(_Truncated, _AnyKeyActivates):
    """`/classify` of 0.12."""


class _Options16(_FourEncodings, _Truncated, _NormalizeIsAlias):
    """`/pooling` and `/v1/embeddings` of 0.16."""


class _Classify16(_Truncated, _UseActivation):
    """`/classify` of 0.16."""


class _Options20(_FourEncodings, _Sided, _UseActivation):
    """`/pooling` and `/v1/embeddings` since 0.20."""


class _TokenEmbedding33(_Sided, _UseActivation):
    """`/v1/embeddings` of a head that embeds each token, since 0.33."""

    encoding_format: Literal["float"] = "float"


class _Classify20(_Sided, _UseActivation):
    """`/classify` since 0.20."""


def _bodies(*bases: type[Form], of: tuple[type[Form], ...]) -> PoolingForms:
    """Make one body for each content, which replaces `Form` among the bases.

    The order of the bases matters: pydantic reports the fields of the last base first.
    """

    def body(content: type[Form]) -> type[PoolingForm]:
        model: type[Any] = create_model(
            content.__name__, __base__=tuple(content if base is Form else base for base in bases)
        )
        return model

    return tuple(body(content) for content in of)


EMBEDDINGS_0_8 = _bodies(_Options8, Form, of=(Input, Chat))
EMBEDDINGS_0_10 = _bodies(_Embedding10, Form, of=(Input, Chat))
EMBEDDINGS_0_12 = _bodies(_Embedding12, Form, of=(Input, Chat))
EMBEDDINGS_0_16 = _bodies(Form, _Options16, of=(Input, Chat))
EMBEDDINGS_0_20 = _bodies(Form, _Options20, of=(Input, Chat))
EMBEDDINGS_0_25 = _bodies(Form, _Options20, of=(Input, Chat, ChatBatch))

TOKEN_EMBEDDINGS_0_33 = _bodies(Form, _TokenEmbedding33, of=(Input,))

POOLING_0_10 = (
    *_bodies(_Pooling10, Form, of=(Input, Chat)),
    *_bodies(Form, PoolingForm, of=(Data,)),
)
POOLING_0_12 = _bodies(_Task12, _Pooling12, Form, of=(Input, Chat, Data))
POOLING_0_16 = _bodies(_Task12, Form, _Options16, of=(Input, Chat, Data))
POOLING_0_20 = _bodies(_Task20, Form, _Options20, of=(Input, Chat, Data))

CLASSIFY_0_10 = _bodies(_Classify10, Form, of=(BareText,))
CLASSIFY_0_12 = _bodies(_Classify12, Form, of=(Text, Chat))
CLASSIFY_0_16 = _bodies(Form, _Classify16, of=(Input, Chat))
CLASSIFY_0_20 = _bodies(Form, _Classify20, of=(Input, Chat))
