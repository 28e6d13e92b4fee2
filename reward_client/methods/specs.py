"""The methods that a caller can choose."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TypeGuard, cast

from reward_client._base.options import RouteChoice
from reward_client._base.token_ids import MAX_TOKEN_ID
from reward_client.errors import InputError
from reward_client.heads import Head

_WHERE = ("critic", "critic_key")
_MOST = sys.float_info.max


@dataclass(frozen=True, slots=True)
class Pooled:
    """The head reads the pooled output of token IDs: what a client does without ``method=``.

    Args:
        head: As the client's ``head=``, which is short for this.
        route: As the client's ``route=``.
    """

    head: Head | str = "auto"
    route: RouteChoice = "auto"


@dataclass(frozen=True, slots=True)
class Messages:
    """The messages go straight to the scoring route, where the server tokenizes them.

    That saves a request for each conversation. With an exported checkpoint, whose rewards come
    from ``/v1/embeddings``, vLLM 0.24 and later take many conversations in one request (live on
    0.25.1 and 0.32.0); elsewhere each has its own. The first conversations of each form, and each
    64th later, are scored by their token IDs too, and must get the same number of tokens and the
    same reward. The others' ``token_count``, ``token_digest`` and ``bos_count`` are None: a server
    tells the tokens of a request, not those of each conversation.

    Text, token IDs, and conversations with tools, steps or arguments for the chat template go by
    their token IDs as always. Messages with parts other than text (images, for a model that takes
    them) have no token IDs: they are sent as they are, and compared with nothing.
    """


@dataclass(frozen=True, slots=True)
class TokenLogit:
    """The raw logit of one token of the vocabulary at the position after the conversation.

    So NVIDIA's Nemotron reward models are read (token 0, no generation prompt: model card of
    Llama-3.1-Nemotron-70B-Reward-HF; option 2 of vLLM's RFC 8967). The client finds out which of
    three servers it speaks to: a pooling server that was given the token's row of ``lm_head`` as
    its score head (``classifier_from_token``), an exported checkpoint, or a generating server,
    which must have been started with ``--logprobs-mode raw_logits`` (vLLM 0.10.0 and later): a
    log-probability is not taken for a logit.

    Args:
        token: Its ID, or a text that is this one token.

    Raises:
        InputError: It is neither an ID nor a text.
    """

    token: int | str

    def __post_init__(self) -> None:
        _check_token("TokenLogit", self.token)


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """How a model writes what is scored, or what holds the score.

    Args:
        votes: How often it writes for a sample.
        temperature: None has it write the likeliest text for one vote (0), and sample for several
            (1).
        max_tokens: The most tokens of a text. One that is cut by it is an error.
        seed: Of the first vote; each further one has the next number.

    Raises:
        InputError: One of them is not possible.
    """

    votes: int = 1
    temperature: float | None = None
    max_tokens: int = 2048
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("votes", 1), ("max_tokens", 1), ("seed", 0)):
            given = getattr(self, name)
            if type(given) is not int or given < least:
                raise InputError(f"{name}= must be an integer from {least} up, not {given!r}.")
        temperature: object = self.temperature
        if temperature is not None and not (is_finite(temperature) and temperature >= 0):
            raise InputError(f"temperature= must be a number from 0 up, not {temperature!r}.")
        if self.votes > 1 and self.temperature == 0:
            raise InputError(
                f"All {self.votes} votes are the same text at temperature 0: leave temperature= "
                "or votes= out."
            )

    @property
    def writes(self) -> bool:
        """Whether anything is written at all."""
        return True

    @property
    def sent_temperature(self) -> float:
        """The temperature that is sent."""
        if self.temperature is None:
            return float(self.votes > 1)
        return self.temperature


@dataclass(frozen=True, slots=True)
class YesNo(Writing):
    """By how much the logit of "Yes" exceeds that of "No" as the answer to a question.

    The question follows the conversation as the user's turn, and the answer's first token is looked
    at. ``reward.sigmoid()`` is the probability of "Yes" among the two. So generative verifiers are
    read (GenRM, arXiv 2408.15240) and NVIDIA's Nemotron-70B-Reward-Principle (its model card).

    With ``reasoning`` the model writes first, as GenRM-CoT does, and the question follows in a turn
    of its own. Of several votes the probabilities are averaged, and the value is the logit of their
    mean.

    The server may generate (vLLM 0.6.6 and later), or be a pooling server with the two rows of
    ``lm_head`` as its head (``classifier_from_token`` and ``from_2_way_softmax``, or an exported
    checkpoint), which nobody can ask whether they are those of these tokens; with ``reasoning`` it
    must generate.

    Args:
        question: What is asked; None where the conversations end with it already.
        yes: The token that stands for a good answer: its ID, or a text that is this one token.
        no: The other one.
        reasoning: What the model is told to write before the question; None for nothing.

    Raises:
        InputError: One of them cannot be meant so.
    """

    question: str | None = "Is the answer correct (Yes/No)?"
    yes: int | str = "Yes"
    no: int | str = "No"
    reasoning: str | None = None

    @property
    def writes(self) -> bool:
        """Whether anything is written before the question."""
        return self.reasoning is not None

    def __post_init__(self) -> None:
        super(YesNo, self).__post_init__()
        _check_token("YesNo", self.yes)
        _check_token("YesNo", self.no)
        for name in ("question", "reasoning"):
            given = getattr(self, name)
            if given is not None and not (isinstance(given, str) and given.strip()):
                raise InputError(f"{name}= must be a text, or None.")
        if self.reasoning is None and self.votes > 1:
            raise InputError(
                "Without reasoning= every vote is the same number: leave votes= out, or give the "
                'model something to write, such as reasoning="Let\'s verify step by step.".'
            )
        if self.reasoning is not None and self.question is None:
            raise InputError("After reasoning= there must be a question: leave question= in.")


@dataclass(frozen=True, slots=True)
class CritiqueThenScore(Writing):
    """A model writes a critique of the answer, and the reward is read after it.

    So critique-out-loud reward models work (CLoud, arXiv 2408.11791): a user's turn begins with a
    fixed sentence, the model goes on with it, and the head reads the token that ends the turn. Of
    several critiques the rewards are averaged; the texts are in ``reward.critiques``.

    Args:
        lead_in: The sentence. The default is that of CLoud (``cloud/model.py`` of its authors).
        critic: The URLs of the servers that write, where those of the client have the head: vLLM
            either generates or pools. None where they do both, and ``reward`` says how.
        critic_model: The model's name there; None for the only one.
        critic_key: The key that is sent there; the client's own is not.
        continues: Whether the model goes on with the user's turn, as CLoud does; else the sentence
            is a turn of its own, and the critique the assistant's answer to it.
        reward: What is read after the critique, where it is not what the client's ``head=`` makes
            of pooled output.

    Raises:
        InputError: One of them cannot be meant so.
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
        if not isinstance(cast("object", self.continues), bool):
            raise InputError("continues= must be True or False.")
        for name in ("critic_model", "critic_key"):
            if not isinstance(getattr(self, name), str | None):
                raise InputError(f"{name}= must be a text.")
        critic = cast("object", self.critic)
        if not isinstance(critic, str | list | tuple | None):
            raise InputError("critic= must be a URL, or a list of them.")
        lead_in = cast("object", self.lead_in)
        if not (isinstance(lead_in, str) and lead_in.strip()):
            raise InputError("lead_in= must be a text.")
        reward = cast("object", self.reward)
        if reward is not None and not isinstance(reward, TokenLogit | YesNo):
            raise InputError("reward= must be TokenLogit(…) or YesNo(…).")
        if isinstance(self.reward, YesNo) and self.reward.reasoning is not None:
            raise InputError("The critique is what is written: leave reasoning= out of YesNo(…).")
        if isinstance(self.reward, YesNo) and self.continues:
            raise InputError(
                "YesNo(…) asks about an assistant's turn, and the critique goes on with a user's: "
                "give continues=False."
            )
        if self.critic is None and self.reward is None:
            raise InputError(
                "A server with a reward head writes nothing: give critic=, the URL of one that "
                "generates. Where one does both, reward= says what is read after the critique."
            )


def is_finite(value: object) -> TypeGuard[float]:
    """Whether it is a finite number, and no bool."""
    return type(value) in (int, float) and -_MOST <= cast("float", value) <= _MOST


def digest_of(method: Writing) -> str:
    """SHA-256 (hex) of all that a method was told, but for where its critic is."""
    told = {key: value for key, value in asdict(method).items() if key not in _WHERE}
    written = json.dumps([type(method).__name__, told], sort_keys=True, default=dict)
    return hashlib.sha256(written.encode()).hexdigest()


def _check_token(name: str, token: object) -> None:
    is_id = type(token) is int and 0 <= token <= MAX_TOKEN_ID
    if not is_id and not (isinstance(token, str) and token):
        raise InputError(
            f"{name} needs a token: its ID, an integer from 0 up, or a text that is one token."
        )
