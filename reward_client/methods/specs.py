"""The methods that a caller can pass as ``method=``; `Verdict` has a module of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import cast, get_args

from reward_client._base.choices import check_choice, check_flags
from reward_client._base.numeric import is_finite_number
from reward_client._base.options import RouteChoice
from reward_client._base.token_ids import MAX_TOKEN_ID
from reward_client.errors import InputError
from reward_client.heads import Head

_NOT_IN_DIGEST = ("critic", "critic_key", "classifier_from_token")


@dataclass(frozen=True, slots=True)
class Pooled:
    """A head reads the pooled output of token IDs. A client without ``method=`` does the same.

    Args:
        head: The head, like ``head=`` of the client.
        route: The route, like ``route=`` of the client.

    Raises:
        InputError: If the head or the route is invalid.
    """

    head: Head | str = "auto"
    route: RouteChoice = "auto"

    def __post_init__(self) -> None:
        check_head(self.head)
        check_choice("route", self.route, get_args(RouteChoice))


@dataclass(frozen=True, slots=True)
class Messages:
    """The client sends messages straight to the scoring route, and the server tokenizes them.

    This saves one request for each conversation. An exported checkpoint returns its rewards from
    ``/v1/embeddings``. There, vLLM 0.24 and later accept many conversations in one request (tested
    live on 0.25.1 and 0.32.0); otherwise each conversation takes one request.

    The client also scores some conversations by their token IDs: the first ones of each prompt form
    and every 64th after them. Both ways must give the same number of tokens and the same reward.
    For all other conversations, ``token_count``, ``token_digest`` and ``bos_count`` are None,
    because a server counts the tokens of a request and not of each conversation.

    Samples other than plain messages are scored by their token IDs as usual: text, token IDs, and
    conversations with tools, steps or arguments for the chat template. Messages with images or
    other non-text parts have no token IDs. The client sends them unchanged and compares nothing.
    """


@dataclass(frozen=True, slots=True)
class TokenLogit:
    """The raw logit of one token of the vocabulary at the position after the conversation.

    NVIDIA's Nemotron reward models work this way (token 0, no generation prompt: model card of
    Llama-3.1-Nemotron-70B-Reward-HF; option 2 of vLLM's RFC 8967). The client recognizes three
    kinds of servers:

    * a pooling server with the token's row of ``lm_head`` as its score head
      (``classifier_from_token``),
    * an exported checkpoint,
    * a generating server, started with ``--logprobs-mode raw_logits`` (vLLM 0.10.0 and later). The
      client refuses log-probabilities in place of logits.

    Args:
        token: The token's ID, or a text that is exactly one token.
        classifier_from_token: True if the pooling server was started with ``classifier_from_token``
            for this token. No server reports that, and an ordinary classifier looks the same:
            without this word, the manifest of an export as ``recipe=``, or a recipe with the same
            token, the client raises ``NotARewardError``. A generating server needs no word.

    Raises:
        InputError: If an argument is invalid.
    """

    token: int | str
    classifier_from_token: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        _check_token("TokenLogit", self.token)
        check_flags(classifier_from_token=self.classifier_from_token)


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratingMethod:
    """Generation parameters of a method whose model writes text.

    Args:
        votes: Number of texts for each sample.
        temperature: Sampling temperature. None stands for 0 with a single vote, and for 1 with
            several votes.
        max_tokens: Maximum length of a text in tokens. A text that reaches it is an error.
        seed: Seed of the first vote. Each further vote uses the next integer.
        top_p: Sample from the likeliest tokens whose probabilities make up this share. None for
            all tokens, whatever the model's ``generation_config.json`` says.
        top_k: Sample from this many likeliest tokens. None for all, likewise.

    Raises:
        InputError: If a parameter is invalid.
    """

    votes: int = 1
    temperature: float | None = None
    max_tokens: int = 2048
    seed: int = 0
    top_p: float | None = None
    top_k: int | None = None

    def __post_init__(self) -> None:
        for name, minimum in (("votes", 1), ("max_tokens", 1), ("seed", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < minimum:
                raise InputError(
                    f"{name}= must be an integer of at least {minimum}, not {value!r}."
                )
        temperature: object = self.temperature
        if temperature is not None and not (is_finite_number(temperature) and temperature >= 0):
            raise InputError(f"temperature= must be a number of at least 0, not {temperature!r}.")
        if self.votes > 1 and self.temperature == 0:
            raise InputError(
                f"Cannot use votes={self.votes} at temperature 0: all votes would be the same "
                "text. Omit temperature= or votes=."
            )
        self._check_choice_of_tokens()

    def _check_choice_of_tokens(self) -> None:
        top_p, top_k = cast("object", self.top_p), self.top_k
        if top_p is not None and not (is_finite_number(top_p) and 0 < top_p <= 1):
            raise InputError(f"top_p= must be a number above 0, up to 1, not {top_p!r}.")
        if top_k is not None and (type(top_k) is not int or top_k < 1):
            raise InputError(f"top_k= must be an integer of at least 1, not {top_k!r}.")
        if self.effective_temperature == 0 and (top_p, top_k) != (None, None):
            raise InputError(
                "Cannot use top_p= or top_k= at temperature 0: the likeliest token is taken. "
                "Pass temperature=, or omit them."
            )

    @property
    def labels(self) -> tuple[str, ...]:
        """The texts whose probabilities the method reads; none if it reads the text alone."""
        return ()

    @property
    def generates(self) -> bool:
        """Return True if the method generates text."""
        return True

    @property
    def effective_temperature(self) -> float:
        """The temperature of the request, with the default filled in."""
        if self.temperature is None:
            return float(self.votes > 1)
        return float(self.temperature)


@dataclass(frozen=True, slots=True)
class YesNo(GeneratingMethod):
    """The logit of "Yes" minus the logit of "No" as the answer to a question.

    The question follows the conversation as a user turn, and the client reads the logits of the
    answer's first token. ``reward.sigmoid()`` is the probability of "Yes" among the two tokens.
    Generative verifiers work this way (GenRM, arXiv 2408.15240), and so does NVIDIA's
    Nemotron-70B-Reward-Principle (its model card).

    With ``reasoning``, the model writes before it answers, like GenRM-CoT; the question then
    follows in a turn of its own. With several votes, the client averages the probabilities, and the
    value is the logit of their mean.

    The server can be a generating server (vLLM 0.6.6 and later), or a pooling server whose head
    consists of the two rows of ``lm_head`` (``classifier_from_token`` with ``from_2_way_softmax``,
    or an exported checkpoint). With ``reasoning``, the server must generate.

    Args:
        question: The question; None if the conversations already end with it.
        yes: The token of a good answer: its ID, or a text that is exactly one token.
        no: The token of a bad answer, like ``yes``.
        reasoning: Instruction for the text that the model writes before the question; None for no
            reasoning.
        classifier_from_token: True if the pooling server was started with ``classifier_from_token``
            for these tokens; see `TokenLogit`.

    Raises:
        InputError: If a parameter is invalid.
    """

    question: str | None = "Is the answer correct (Yes/No)?"
    yes: int | str = "Yes"
    no: int | str = "No"
    reasoning: str | None = None
    classifier_from_token: bool = False

    @property
    def generates(self) -> bool:
        """Return True if the model reasons before it answers the question."""
        return self.reasoning is not None

    def __post_init__(self) -> None:
        super(YesNo, self).__post_init__()
        _check_token("YesNo", self.yes)
        _check_token("YesNo", self.no)
        check_flags(classifier_from_token=self.classifier_from_token)
        for name in ("question", "reasoning"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and value.strip()):
                raise InputError(f"{name}= must be a non-empty string, or None.")
        if self.reasoning is None and self.votes > 1:
            raise InputError(
                "Cannot use votes= without reasoning=: every vote would be the same number. Omit "
                'votes=, or pass an instruction such as reasoning="Let\'s verify step by step.".'
            )
        if self.reasoning is not None and self.question is None:
            raise InputError("reasoning= needs a question to answer. Do not pass question=None.")


@dataclass(frozen=True, slots=True)
class CritiqueThenScore(GeneratingMethod):
    """A model writes a critique of the answer, and a head scores the text that includes it.

    Critique-out-loud reward models work this way (CLoud, arXiv 2408.11791): a user turn begins with
    a fixed sentence, the model continues it, and the head reads the token that ends the turn. With
    several critiques, the client averages the rewards. The texts are in ``reward.critiques``.

    Args:
        lead_in: The fixed sentence. The default is CLoud's (``cloud/model.py`` of its authors).
        critic: URL or URLs of the servers that write, because one vLLM server either generates or
            pools. None if the client's own servers write; ``reward`` must then be given.
        critic_model: Name of the model on the critic servers; None for the only one.
        critic_key: API key for the critic servers. They never receive the client's own key.
        continues: True if the model continues the user turn, like CLoud. False if the sentence is a
            complete turn and the critique is the assistant's answer to it.
        reward: The method that reads the reward after the critique; None if the client's ``head=``
            reads it from pooled output.

    Raises:
        InputError: If a parameter is invalid.
    """

    lead_in: str = (
        "The following is a break down on the correctness and usefulness of the assistant's "
        "response to my question: "
    )
    critic: str | Sequence[str] | None = field(default=None, repr=False)
    critic_model: str | None = None
    critic_key: str | None = field(default=None, repr=False)
    continues: bool = True
    reward: TokenLogit | YesNo | None = None

    def __post_init__(self) -> None:
        super(CritiqueThenScore, self).__post_init__()
        check_flags(continues=self.continues)
        for name in ("critic_model", "critic_key"):
            if not isinstance(getattr(self, name), str | None):
                raise InputError(f"{name}= must be a string.")
        critic = cast("object", self.critic)
        if not isinstance(critic, str | list | tuple | None):
            raise InputError("critic= must be a URL, or a list of URLs.")
        lead_in = cast("object", self.lead_in)
        if not (isinstance(lead_in, str) and lead_in.strip()):
            raise InputError("lead_in= must be a non-empty string.")
        reward = cast("object", self.reward)
        if reward is not None and not isinstance(reward, TokenLogit | YesNo):
            raise InputError("reward= must be TokenLogit(…) or YesNo(…).")
        if isinstance(self.reward, YesNo) and self.reward.reasoning is not None:
            raise InputError(
                "The model writes a critique, and no other text. Omit reasoning= of YesNo(…)."
            )
        if isinstance(self.reward, YesNo) and self.continues:
            raise InputError(
                "YesNo(…) asks about an assistant turn, but the critique continues a user turn. "
                "Pass continues=False."
            )
        if self.critic is None and self.reward is None:
            raise InputError(
                "Cannot write critiques: a server with a reward head does not generate text. Pass "
                "critic=, the URL of a generating server. If the client's own server generates, "
                "pass reward=, the method that reads the reward after the critique."
            )


def method_digest(method: GeneratingMethod) -> str:
    """Return the SHA-256 (hex) of a method and its parameters, without addresses and keys."""
    parameters = asdict(method, dict_factory=_meaningful)
    content = json.dumps([type(method).__name__, parameters], sort_keys=True, default=dict)
    return hashlib.sha256(content.encode()).hexdigest()


def _meaningful(parameters: list[tuple[str, object]]) -> dict[str, object]:
    return {key: value for key, value in parameters if key not in _NOT_IN_DIGEST}


def check_head(head: object) -> None:
    """Check a ``head=``.

    Raises:
        InputError: If it is neither a head nor ``"auto"``.
    """
    if not isinstance(head, get_args(Head)) and not (isinstance(head, str) and head == "auto"):
        raise InputError('head= must be "auto" or a head, such as ScalarHead().')


def _check_token(name: str, token: object) -> None:
    is_id = type(token) is int and 0 <= token <= MAX_TOKEN_ID
    if not is_id and not (isinstance(token, str) and token):
        raise InputError(
            f"{name} needs a token: an ID of at least 0, or a text that is exactly one token."
        )
