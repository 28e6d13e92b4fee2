"""Whatever a caller passes as a sample ends in a reward, or in an InputError before a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson
from hypothesis import given
from hypothesis import strategies as st

from reward_client import Conversation, FormattedText, InputError, Reward
from reward_client._base.samples import (
    Prompt,
    parse_sample,
    refuse_single_sample,
    response_texts,
    responses_to,
)
from reward_client._protocols.vllm.tokenize import chat_request
from reward_client._server.probes import twins_of

from .objects import anything, conversations, keys, made, texts, token_lists
from .running import Running, check_error, count, ended, examples
from .vllm import Case, Vllm

CASE = Case("0.32.0", "scalar", "/pooling", "classify")


@dataclass(frozen=True)
class Made:
    """A sample, and the class that it is given to; `made` only within a test, it may be hostile."""

    kind: Literal["as it is", "FormattedText", "Conversation"]
    arguments: tuple[Any, ...]

    def __call__(self) -> Any:
        given = [made(argument) for argument in self.arguments]
        if self.kind == "as it is":
            return given[0]
        return FormattedText(given[0]) if self.kind == "FormattedText" else Conversation(*given)


_none = st.none()
some_tools = _none | st.lists(st.dictionaries(keys, anything, max_size=2), max_size=2) | anything
some_arguments = _none | st.dictionaries(keys, anything, max_size=2) | anything
some_steps = _none | st.lists(texts, min_size=1, max_size=3) | st.lists(anything) | anything
samples: st.SearchStrategy[Made] = st.one_of(
    st.builds(Made, st.just("as it is"), st.tuples(conversations | token_lists | anything)),
    st.builds(Made, st.just("FormattedText"), st.tuples(st.text() | anything)),
    st.builds(
        Made,
        st.just("Conversation"),
        st.tuples(conversations, some_tools, some_arguments, _none | some_steps),
    ),
)


def read(make: Made) -> Prompt | None:
    """A sample as the client reads it, None if it is refused."""
    try:
        prompt = parse_sample(make())
    except InputError as error:
        ended["a typed error"] += 1
        check_error(error)
        return None
    ended["a reading"] += 1
    return prompt


@examples(500, 60_000)
@given(make=samples)
def test_what_is_accepted_can_be_sent(make: Made) -> None:
    prompt = read(make)
    if isinstance(prompt, Conversation):
        call = chat_request("m", "0.32.0", prompt, generation_prompt=False)
        sent = orjson.loads(orjson.dumps(call.body))
        assert are_sent(sent["messages"], prompt.messages)
        assert isinstance(sent.get("tools", []), list)
        assert isinstance(sent.get("chat_template_kwargs", {}), dict)
    elif isinstance(prompt, FormattedText):
        assert orjson.loads(orjson.dumps(prompt.text)) == prompt.text
    elif prompt is not None:
        assert all(type(token) is int and 0 <= token < 2**31 for token in prompt)
        assert prompt


@examples(150, 15_000)
@given(make=samples)
def test_a_sample_that_is_refused_is_not_scored(runner: Running, make: Made) -> None:
    server = Vllm(CASE, limit=None)
    try:
        sample = make()
    except InputError as error:
        ended["a typed error"] += 1
        check_error(error)
        return
    outcome = runner.score(server, sample)
    count(outcome)
    if isinstance(outcome, InputError):
        # The head, the version and the tokenizer may have to be found out first.
        scored = [each for each in server.exchanges if each.path == "/pooling"]
        probes = scored[0].asked["input"] if scored else []
        known = [*probes, *map(list, twins_of(probes, None))]
        assert all(ids in known for each in scored for ids in each.asked["input"])
        return
    assert isinstance(outcome, Reward), outcome
    asked = [each for each in server.exchanges if each.path in ("/tokenize", "/pooling")]
    check_sent(sample, [each.asked for each in asked[3:]])


def check_sent(sample: Any, asked: Sequence[Any]) -> None:
    """What was sent is the sample, to the letter; further texts may be looked up before."""
    tokenized = [each for each in asked if "input" not in each]
    if isinstance(sample, FormattedText):
        assert sample.text in [each.get("prompt") for each in tokenized]
    elif tokenized:
        messages = sample.messages if isinstance(sample, Conversation) else sample
        assert any(are_sent(each.get("messages", []), by_hand(messages)) for each in tokenized)
    else:
        assert asked[-1]["input"] == [list(sample)]


def are_sent(sent: Sequence[Any], given: Sequence[Mapping[str, Any]]) -> bool:
    """Keys without a value, which the server does not read, may be missing."""
    return len(sent) == len(given) and all(map(_is_sent, sent, given))


def _is_sent(sent: Any, given: Mapping[str, Any]) -> bool:
    missing = given.keys() - sent.keys()
    return (
        not missing & {"role", "content"}
        and all(given[key] in ("", [], {}) for key in missing)
        and sent == {key: value for key, value in given.items() if key not in missing}
    )


def by_hand(value: Any) -> Any:
    """Mappings as dicts, sequences as lists, subclasses of text and numbers as these."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Mapping):
        return {str.__str__(key): by_hand(value[key]) for key in value}
    if isinstance(value, Sequence):
        return [by_hand(inner) for inner in value]
    if isinstance(value, bool) or value is None:
        return value
    return int.__int__(value) if isinstance(value, int) else float.__float__(value)


@examples(300, 15_000)
@given(several=st.lists(anything, max_size=2) | anything)
def test_many_samples(several: Any) -> None:
    try:
        refuse_single_sample(made(several))
    except InputError as error:
        check_error(error)
        ended["a typed error"] += 1
    else:
        ended["a reading"] += 1


@examples(300, 15_000)
@given(
    prompt=st.text() | conversations | anything,
    responses=st.lists(st.text() | anything, max_size=3) | anything,
)
def test_responses(prompt: Any, responses: Any) -> None:
    try:
        found = responses_to(made(prompt), response_texts(made(responses)))
    except InputError as error:
        check_error(error)
        ended["a typed error"] += 1
        return
    ended["a reading"] += 1
    for conversation in found:
        call = chat_request("m", "0.32.0", conversation, generation_prompt=False)
        sent = orjson.loads(orjson.dumps(call.body))["messages"]
        assert are_sent(sent, conversation.messages)
