"""What a sample may be, and what is refused with a message that says what to write."""

from __future__ import annotations

from collections import UserDict, UserList
from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward_client import Conversation, FormattedText, InputError
from reward_client._base.samples import (
    parse,
    parse_sample,
    parse_token_ids,
    refuse_single_sample,
    response_texts,
    responses_to,
)
from reward_client._base.token_ids import TokenIds

TURNS = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]


def test_each_kind_of_sample() -> None:
    assert parse_sample(TURNS) == Conversation(TURNS)
    assert parse_sample(tuple(TURNS)) == Conversation(tuple(TURNS))
    assert parse_sample([MappingProxyType(turn) for turn in TURNS]) == Conversation(TURNS)
    assert parse_sample(FormattedText("<s>4")) == FormattedText("<s>4")
    assert parse_sample([1, 2, 3]) == (1, 2, 3)
    parts = [{"role": "user", "content": [{"type": "text", "text": "2+2?"}]}]
    assert parse_sample(parts) == Conversation(parts)
    call = {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "add"}}]}
    assert parse_sample([TURNS[0], {**call, "content": None}]) == Conversation([TURNS[0], call])


class Pydantic:
    role = "user"

    def model_dump(self) -> dict[str, str]:
        return {}


class LangChain:
    type = "human"

    def model_dump(self) -> dict[str, str]:
        return {}


@dataclass
class Dataclass:
    role: str
    content: str


class Table:
    """As in pyarrow and `datasets`; pandas and polars call the names ``columns``."""

    def __init__(self, column_names: list[str]) -> None:
        self.column_names = column_names

    def __iter__(self) -> Iterator[str]:
        return iter(self.column_names)


class Frame:
    columns = ("messages",)

    def __array__(self) -> object:
        raise AssertionError("A table is no array of samples.")

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)


class Lazy:
    """A LazyFrame of polars, which warns of a look at its columns."""

    @property
    def columns(self) -> NoReturn:
        raise AssertionError("PerformanceWarning")

    def collect_schema(self) -> NoReturn:
        raise AssertionError("It may take long.")


@pytest.mark.parametrize(
    ("sample", "hint"),
    [
        ("2+2?", "FormattedText(text)"),
        (b"2+2?", "a list of messages"),
        (TURNS[0], "Cannot score a single message"),
        ({"messages": TURNS, "id": 7}, 'Write sample["messages"].'),
        ({"chosen": TURNS, "rejected": TURNS}, 'Write sample["chosen"]. For other samples, put'),
        (UserDict({"input_ids": [1, 2]}), 'Write sample["input_ids"].'),
        ({"prompt": "2+2?", "response": "4"}, "without messages or token IDs"),
        ({}, "without messages or token IDs"),
        ({"role": ["user"], "content": ["2+2?"]}, 'zip(sample["role"], sample["content"])'),
        ([], "empty sample"),
        (Lazy(), "it holds no cells yet. Write table.collect()."),
        ((), "empty sample"),
        (None, "not None"),
        (3, "not 3"),
        ({1, 2}, "not a set"),
        (iter(TURNS), "not a list_iterator"),
        (["2+2?", "4"], "A text needs a role"),
        (("2+2?", "4"), "A text needs a role"),
        ([("user", "2+2?"), ("assistant", "4")], "A text needs a role"),
        (
            [TURNS[0], ["assistant", "4"]],
            "Message 1 is a list, not a dict with a role. A text needs",
        ),
        ([TURNS], "write score_many(samples)"),
        ([TURNS, TURNS], "write score_many(samples)"),
        ([[1, 2], [3]], "write score_many(samples)"),
        ([Conversation(TURNS)], "write score_many(samples)"),
        ([FormattedText("<s>4")], "write score_many(samples)"),
        ([Pydantic()], "message.model_dump(exclude_none=True)"),
        ([LangChain()], "convert_to_openai_messages(messages)"),
        ([Dataclass("user", "2+2?")], "dataclasses.asdict(message)"),
        ([b"4"], 'Write [{"role": "user"'),
        ([None], 'Write [{"role": "user"'),
        ([1.0], "Position 0 holds 1.0. Write integers"),
        ([1.0, 2], "Position 0 holds 1.0. Write integers"),
        (Table(["messages", "id"]), 'Write score_many(table["messages"]). For other samples'),
        ([TURNS[0], "4"], "Message 1"),
        ([{"content": "4"}], "Message 0 has no role"),
        ([{"role": 1, "content": "4"}], "The role of message 0 is 1, not text."),
        ([{"role": ["user"], "content": "4"}], "The role of message 0 is a list, not text."),
        ([{"role": "user", "content": 4}], "The content of message 0 is 4"),
        ([{"role": "user", "content": [{"type": 7}]}], "has no type"),
        ([{"role": "user", "content": [{"type": "text"}]}], "has no text"),
        ([{"role": "user", "content": ["text"]}], "has no type"),
        ([{"role": "user", "content": "x", "score": float("nan")}], "JSON"),
        ([{"role": "user", "content": "x", "score": {1, 2}}], "JSON"),
        ([1, -1], "Position 1 holds -1"),
        ([True, 2], "Position 0 holds True"),
        ([1, 2.0], "Position 1 holds 2.0"),
        ([1, float("nan")], "Position 1 holds nan"),
        ([1, None], "Position 1 holds None"),
        ([1, "2"], "Position 1 holds a str"),
        ([1, 2**31], "Position 1 holds 2147483648"),
        ([1, 2**80], "up to the size of the vocabulary"),
    ],
)
def test_what_is_refused(sample: Any, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_sample(sample)
    assert hint in str(caught.value)


def test_a_refusal_never_shows_the_prompt() -> None:
    secret: Any = "the secret prompt"
    for sample in (secret, [secret], [{"role": "user", "content": {secret}}]):
        with pytest.raises(InputError) as caught:
            parse_sample(sample)
        assert secret not in str(caught.value)


def test_template_arguments_cannot_change_what_the_client_sets() -> None:
    for key in ("add_generation_prompt", "continue_final_message", "chat_template", "tools"):
        with pytest.raises(InputError, match=key):
            Conversation(TURNS, chat_template_kwargs={key: True})
    with pytest.raises(InputError, match="JSON"):
        Conversation(TURNS, chat_template_kwargs={"x": float("inf")})
    with pytest.raises(InputError, match="Cannot write the tools as JSON"):
        Conversation(TURNS, tools=[{"x": object()}])
    recursive: list[Any] = []
    recursive.append(recursive)
    with pytest.raises(InputError, match="JSON"):
        Conversation(TURNS, tools=[{"x": recursive}])


def test_formatted_text_is_not_empty() -> None:
    wrong: Any
    for wrong in ("", None, TURNS):
        with pytest.raises(InputError):
            FormattedText(wrong)


@pytest.mark.parametrize(
    "samples",
    [TURNS, [1, 2, 3], "2+2?", b"2+2?", TURNS[0], UserDict(TURNS[0]), Conversation(TURNS), None, 3],
)
def test_a_single_sample_where_many_belong(samples: Any) -> None:
    with pytest.raises(InputError):
        refuse_single_sample(samples)


@pytest.mark.parametrize(
    ("samples", "hint"),
    [
        ([{"messages": TURNS}], 'Write score_many([row["messages"] for row in rows])'),
        (({"id": 1, "chosen": TURNS},), 'row["chosen"]'),
        ([{"prompt": "2+2?"}], 'Write score_many([[{"role": "user", "content": …}'),
        ({"messages": [TURNS, TURNS], "id": [1, 2]}, 'Write samples["messages"]'),
        ({"train": Table(["messages"])}, 'score_many(samples["train"]["messages"])'),
        (Table(["messages"]), 'score_many(table["messages"])'),
        (Frame(), 'score_many(table["messages"])'),
    ],
)
def test_tables_and_rows_where_samples_belong(samples: Any, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        refuse_single_sample(samples)
    assert hint in str(caught.value)


def test_an_empty_text_is_called_empty() -> None:
    with pytest.raises(InputError, match="not an empty str"):
        FormattedText("")


@pytest.mark.parametrize(
    "samples", [[], [TURNS], (TURNS,), iter([TURNS]), [[1, 2]], {1: TURNS}.values()]
)
def test_many_samples(samples: Any) -> None:
    refuse_single_sample(samples)


def test_responses_to_a_prompt() -> None:
    (one,) = responses_to("2+2?", ["4"])
    assert one == Conversation(TURNS)
    (with_turns,) = responses_to([{"role": "system", "content": "Add."}, TURNS[0]], ["4"])
    assert with_turns.messages[-1] == TURNS[1]


@pytest.mark.parametrize(
    ("prompt", "responses", "hint"),
    [
        ("2+2?", "4", "a list of responses"),
        ("2+2?", [], "at least one response"),
        ("2+2?", ["4", None], r"at \[1\]"),
        ("2+2?", {"4"}, "a list of responses"),
        ([], ["4"], "non-empty list"),
        (None, ["4"], "non-empty list"),
        (FormattedText("x"), ["4"], "non-empty list"),
    ],
)
def test_what_rank_refuses(prompt: Any, responses: Any, hint: str) -> None:
    with pytest.raises(InputError, match=hint):
        responses_to(prompt, response_texts(responses))


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(
    JSON
    | st.lists(st.integers())
    | st.lists(st.dictionaries(st.sampled_from(["role", "content"]), JSON))
)
def test_anything_is_parsed_or_refused(sample: Any) -> None:
    try:
        parsed = parse_sample(sample)
    except InputError:
        return
    assert isinstance(parsed, Conversation | TokenIds)


def test_the_error_of_an_object_of_the_caller_is_the_cause() -> None:
    class Broken(UserList[object]):
        def __iter__(self) -> NoReturn:
            raise OSError("disk")

    right, wrong = parse(TURNS), parse(Broken(TURNS))
    assert right == Conversation(TURNS)
    assert isinstance(wrong, InputError)
    assert isinstance(wrong.__cause__, OSError)


@pytest.mark.parametrize("empty", [[], (), UserList()])
def test_an_empty_list_is_called_empty(empty: Any) -> None:
    with pytest.raises(InputError, match="not an empty "):
        Conversation(empty)
    with pytest.raises(InputError, match="not an empty "):
        parse_token_ids(empty)


def table_of(columns: dict[str, list[Any]]) -> Any:
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame(columns)


@pytest.mark.parametrize(
    "row",
    [
        {"chosen": TURNS, "rejected": TURNS},
        {"id": 7, "messages": TURNS},
        {"prompt": "2+2?", "response": "4"},
        {"Instruction": "2+2?", "output": "4"},
    ],
)
@pytest.mark.parametrize("is_table", [False, True])
def test_what_the_advice_writes_can_be_pasted(row: dict[str, Any], is_table: bool) -> None:
    rows = [row, row]
    table = table_of({key: [value, value] for key, value in row.items()}) if is_table else None
    with pytest.raises(InputError) as caught:
        refuse_single_sample(rows if table is None else table)
    advice = str(caught.value)
    code = (
        advice[advice.index("score_many(") :]
        .split(". To score rows by ", maxsplit=1)[0]
        .split(". For other samples, put ", maxsplit=1)[0]
        .rstrip(".")
    )
    given: list[Any] = []
    eval(code, {"score_many": given.extend, "rows": rows, "table": table})
    assert [*map(parse, given)] == [Conversation(TURNS)] * 2
    assert " or " not in code


def test_a_table_of_one_conversation() -> None:
    table = table_of({"role": ["user", "assistant"], "content": ["2+2?", "4"]})
    with pytest.raises(InputError) as caught:
        refuse_single_sample(table)
    code = str(caught.value).partition("Write score")[2].rstrip(".")
    assert parse_sample(eval(code, {"table": table})) == Conversation(TURNS)
