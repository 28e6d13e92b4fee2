"""The forms of data sets: which conversations a row is scored as, or why it is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reward_client import Conversation, FormattedText, InputError
from reward_client._rows.forms import FORMS, read_row

Q = {"role": "user", "content": "What is 12 + 30?"}
A = {"role": "assistant", "content": "12 + 30 = 42."}
B = {"role": "assistant", "content": "It is 57."}
S = {"role": "system", "content": "Be brief."}
Q2 = {"role": "user", "content": "Sure?"}
A2 = {"role": "assistant", "content": "Yes."}
QUESTION, RIGHT, WRONG = Q["content"], A["content"], B["content"]
IMAGE = b"\x89PNG\r\n\x1a\n"
URL = "data:image/png;base64,iVBORw0KGgo="
PART = {"type": "image_url", "image_url": {"url": URL}}


def gpt(text: str) -> dict[str, str]:
    return {"from": "gpt", "value": text}


HUMAN = {"from": "human", "value": QUESTION}
HH = "\n\nHuman: What is 12 + 30?\n\nAssistant: {}"
RIGHT_TURNS, WRONG_TURNS = [Q, A], [Q, B]
PAIR = {"chosen": RIGHT_TURNS, "rejected": WRONG_TURNS}


def _prmbench(steps: list[str]) -> dict[str, Any]:
    """A row of PRMBench, whose modified prompt and steps are scored."""
    return {
        "original_question": "What is 1 + 1?",
        "modified_question": QUESTION,
        "question": "?",
        "original_process": ["1. It is 2."],
        "modified_process": steps,
        "modified_steps": [1],
        "error_steps": [1],
        "reason": "r",
        "idx": "p1_0",
        "classification": "circular",
    }


FACTS = {
    "language": "English",
    "timestamp": datetime(2024, 1, 1, tzinfo=UTC),
    "country": "US",
    "header": {"user-agent": "x"},
    "redacted": False,
    "turn_identifier": 1,
}
PARTS = {"role": "user", "content": [{"type": "text", "text": "12"}, {"type": "text", "text": "?"}]}
IN_NUMPY = {"role": "user", "content": np.array(PARTS["content"], dtype=object)}


# Name of the data set or habit: (row, form, conversations by the layout of their rewards).
ROWS: dict[str, tuple[dict[str, Any], str, Any]] = {
    "OpenAI messages": ({"messages": RIGHT_TURNS}, "messages", RIGHT_TURNS),
    "RMB and WildChat, with facts about a turn": (
        {"conversation": [{**turn, **FACTS} for turn in RIGHT_TURNS]},
        "messages",
        RIGHT_TURNS,
    ),
    "LMSYS conversation": ({"conversation": RIGHT_TURNS}, "messages", RIGHT_TURNS),
    "ultrachat, with a copy of the prompt": (
        {"prompt": QUESTION, "prompt_id": "1", "messages": RIGHT_TURNS},
        "messages",
        RIGHT_TURNS,
    ),
    "ShareGPT": ({"conversations": [HUMAN, gpt(RIGHT)]}, "messages", RIGHT_TURNS),
    "ShareGPT with a system column": (
        {"conversations": [HUMAN, gpt(RIGHT)], "system": "Be brief."},
        "messages",
        [S, Q, A],
    ),
    "messages as JSON, from CSV": ({"messages": json.dumps(RIGHT_TURNS)}, "messages", RIGHT_TURNS),
    "messages of Parquet in pandas": (
        {"messages": np.array(RIGHT_TURNS, dtype=object), "score": np.float64("nan")},
        "messages",
        RIGHT_TURNS,
    ),
    "messages as a dict of lists": (
        {"messages": {"role": ["user", "assistant"], "content": [QUESTION, RIGHT]}},
        "messages",
        RIGHT_TURNS,
    ),
    "prompt and response": ({"prompt": QUESTION, "response": RIGHT}, "response", RIGHT_TURNS),
    "TRL prompt and completion, as turns": (
        {"prompt": [S, Q], "completion": [A], "label": True},
        "response",
        [S, Q, A],
    ),
    "question and answer": ({"question": QUESTION, "answer": RIGHT}, "response", RIGHT_TURNS),
    "a reference beside the response": (
        {"question": QUESTION, "answer": "42", "response": RIGHT},
        "response",
        RIGHT_TURNS,
    ),
    "alpaca": (
        {"instruction": "What is", "input": "12 + 30?", "output": RIGHT},
        "response",
        [{"role": "user", "content": "What is\n12 + 30?"}, A],
    ),
    "alpaca with history": (
        {"instruction": "Sure?", "input": "", "output": "Yes.", "history": [[QUESTION, RIGHT]]},
        "response",
        [Q, A, Q2, A2],
    ),
    "messages and a response": (
        {"messages": [Q], "response": RIGHT, "model": "x"},
        "response",
        RIGHT_TURNS,
    ),
    "prompt and responses": (
        {"prompt": QUESTION, "responses": [RIGHT, WRONG]},
        "responses",
        [RIGHT_TURNS, WRONG_TURNS],
    ),
    "prompt and completions, as turns": (
        {"prompt": [Q], "completions": [[A], [B]]},
        "responses",
        [RIGHT_TURNS, WRONG_TURNS],
    ),
    "UltraFeedback, raw": (
        {
            "instruction": QUESTION,
            "completions": [{"response": RIGHT, "overall_score": 9.0}, {"response": WRONG}],
        },
        "responses",
        [RIGHT_TURNS, WRONG_TURNS],
    ),
    "Nectar": (
        {"prompt": HH.format(""), "answers": [{"answer": RIGHT, "rank": 1.0}, {"answer": WRONG}]},
        "responses",
        [RIGHT_TURNS, WRONG_TURNS],
    ),
    "chosen and rejected, texts": (
        {"prompt": QUESTION, "chosen": RIGHT, "rejected": WRONG},
        "preference",
        PAIR,
    ),
    "chosen and rejected, last turns": (
        {"prompt": [Q], "chosen": [A], "rejected": [B]},
        "preference",
        PAIR,
    ),
    "chosen and rejected, one turn": (
        {"prompt": [Q], "chosen": A, "rejected": B},
        "preference",
        PAIR,
    ),
    "chosen and rejected, all turns": (PAIR, "preference", PAIR),
    "Orca: system, question": (
        {"system": "Be brief.", "question": QUESTION, "chosen": RIGHT, "rejected": WRONG},
        "preference",
        {"chosen": [S, Q, A], "rejected": [S, Q, B]},
    ),
    "UltraFeedback: messages beside chosen": (
        {"prompt": QUESTION, "messages": RIGHT_TURNS, "score_chosen": 8.5, **PAIR},
        "preference",
        PAIR,
    ),
    "RewardBench 2: lists of texts": (
        {"prompt": QUESTION, "chosen": [RIGHT], "rejected": [WRONG, "41", "40"], "num_correct": 1},
        "preference",
        {
            "chosen": [RIGHT_TURNS],
            "rejected": [WRONG_TURNS, *([Q, {**A, "content": text}] for text in ("41", "40"))],
        },
    ),
    "lists of conversations": (
        {"chosen": [RIGHT_TURNS], "rejected": [WRONG_TURNS, WRONG_TURNS]},
        "preference",
        {"chosen": [RIGHT_TURNS], "rejected": [WRONG_TURNS, WRONG_TURNS]},
    ),
    "hh-rlhf strings": (
        {"chosen": HH.format(RIGHT), "rejected": HH.format(WRONG)},
        "preference",
        PAIR,
    ),
    "hh-rlhf without the first line breaks": (
        {
            "prompt": "Human: What is 12 + 30?\n\nAssistant:",
            "chosen": RIGHT,
            "rejected": "Human: What is 12 + 30?\n\nAssistant: It is 57.",
        },
        "preference",
        PAIR,
    ),
    "HelpSteer2: several turns in a text": (
        {
            "prompt": f"{QUESTION}\n<extra_id_1>Assistant\n{RIGHT}\n<extra_id_1>User\nSure?",
            "response": "Yes.",
            "helpfulness": 4,
        },
        "response",
        [Q, A, Q2, A2],
    ),
    "parts of pandas in prompt and answers": (
        {
            "prompt": np.array([IN_NUMPY], dtype=object),
            "chosen": np.array([IN_NUMPY, A], dtype=object),
            "rejected": np.array([B], dtype=object),
        },
        "preference",
        {"chosen": [PARTS, A], "rejected": [PARTS, B]},
    ),
    "history as JSON, from CSV": (
        {"instruction": "Sure?", "output": "Yes.", "history": json.dumps([[QUESTION, RIGHT]])},
        "response",
        [Q, A, Q2, A2],
    ),
    "answers that are JSON": (
        {"prompt": QUESTION, "chosen": "[42]", "rejected": '[{"a": "b"}]'},
        "preference",
        {
            "chosen": [Q, {"role": "assistant", "content": "[42]"}],
            "rejected": [Q, {"role": "assistant", "content": '[{"a": "b"}]'}],
        },
    ),
    "full-hh-rlhf: the response again": (
        {"prompt": HH.format(""), "response": RIGHT, "chosen": RIGHT, "rejected": WRONG},
        "preference",
        PAIR,
    ),
    "ShareGPT preference": (
        {"conversations": [HUMAN], "chosen": gpt(RIGHT), "rejected": gpt(WRONG)},
        "preference",
        PAIR,
    ),
    "RMB": (
        {
            "conversation_input": [Q],
            "bon_best": {"llm_name": "x", "answer": RIGHT},
            "loser_list": [{"llm_name": "y", "answer": WRONG}],
        },
        "preference",
        {"chosen": RIGHT_TURNS, "rejected": [WRONG_TURNS]},
    ),
    "JudgeBench": (
        {"question": QUESTION, "response_A": RIGHT, "response_B": WRONG, "label": "A>B"},
        "comparison",
        {"response_A": RIGHT_TURNS, "response_B": WRONG_TURNS},
    ),
    "PKU-SafeRLHF": (
        {"prompt": QUESTION, "response_0": RIGHT, "response_1": WRONG, "is_response_0_safe": True},
        "comparison",
        {"response_0": RIGHT_TURNS, "response_1": WRONG_TURNS},
    ),
    "HelpSteer3": (
        {"context": [Q], "response1": RIGHT, "response2": WRONG, "overall_preference": -2},
        "comparison",
        {"response1": RIGHT_TURNS, "response2": WRONG_TURNS},
    ),
    "SHP": (
        {"history": QUESTION, "human_ref_A": RIGHT, "human_ref_B": WRONG, "score_A": 2},
        "comparison",
        {"human_ref_A": RIGHT_TURNS, "human_ref_B": WRONG_TURNS},
    ),
    "WebGPT": (
        {
            "question": {"full_text": QUESTION, "id": "x"},
            "answer_0": RIGHT,
            "answer_1": WRONG,
            "score_0": 1.0,
        },
        "comparison",
        {"answer_0": RIGHT_TURNS, "answer_1": WRONG_TURNS},
    ),
    "Arena": (
        {"conversation_a": RIGHT_TURNS, "conversation_b": WRONG_TURNS, "winner": "model_a"},
        "comparison",
        {"conversation_a": RIGHT_TURNS, "conversation_b": WRONG_TURNS},
    ),
    "PPE, best of many": (
        {"prompt": QUESTION, **{f"response_{n}": f"{n}." for n in range(1, 33)}},
        "comparison",
        {f"response_{n}": [Q, {**A, "content": f"{n}."}] for n in range(1, 33)},
    ),
    "TRL vision, a place for the image": (
        {
            "images": [{"bytes": IMAGE, "path": None}],
            "prompt": [
                {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "2?"}]}
            ],
            "completion": [A],
        },
        "response",
        [{"role": "user", "content": [PART, {"type": "text", "text": "2?"}]}, A],
    ),
    "RLAIF-V, one image": (
        {"image": {"bytes": IMAGE}, "question": QUESTION, "chosen": RIGHT, "rejected": WRONG},
        "preference",
        {
            side: [{"role": "user", "content": [PART, {"type": "text", "text": QUESTION}]}, answer]
            for side, answer in (("chosen", A), ("rejected", B))
        },
    ),
    "LLaMA-Factory, <image> in a text": (
        {"messages": [{**Q, "content": "<image>2?"}, A], "images": [URL]},
        "messages",
        [{"role": "user", "content": [PART, {"type": "text", "text": "2?"}]}, A],
    ),
}


def conversation(turns: Any) -> Conversation:
    return Conversation(turns)


def laid_out(expected: Any) -> Any:
    """The conversations in the layout of the rewards."""
    if isinstance(expected, dict):
        return {side: laid_out(inner) for side, inner in expected.items()}
    if isinstance(expected[0], list):
        return [Conversation(turns) for turns in expected]
    return Conversation(expected)


@pytest.mark.parametrize("name", ROWS)
def test_forms_of_data_sets(name: str) -> None:
    row, form, expected = ROWS[name]
    read = read_row(row)
    assert (read.form, read.layout.of(read.samples)) == (form, laid_out(expected))


def test_process_rewards() -> None:
    steps = ["12 + 30 = 42.", "So it is 42."]
    wanted = Conversation([Q], steps=steps)
    rows: list[tuple[Mapping[str, Any], str | None]] = [
        ({"id": "g-1", "generator": "x", "problem": QUESTION, "steps": steps, "label": -1}, None),
        ({"messages": [Q], "steps": steps}, None),
        ({"prompt": QUESTION, "completions": steps, "labels": [True, False]}, "steps"),
        ({"prompt": QUESTION, "steps": json.dumps(steps)}, None),
        (_prmbench([f"{number}. {step}" for number, step in enumerate(steps, 1)]), None),
        (_prmbench([f"Step {number}.  {step}\n" for number, step in enumerate(steps)]), None),
    ]
    for row, form in rows:
        read = read_row(row, form)
        assert (read.form, [*read.samples]) == ("steps", [wanted])


def test_texts_and_token_ids() -> None:
    assert read_row({"text": "<s>a"}).samples == [FormattedText("<s>a")]
    assert read_row({"token_ids": [1, 2], "source": "x"}).samples == [[1, 2]]
    assert read_row({"token_ids": np.array([1, 2])}).samples == [[1, 2]]
    assert read_row({"token_ids": "[1, 2]"}).samples == [[1, 2]]


def test_tools_may_be_json() -> None:
    tool = {"type": "function", "function": {"name": "add"}}
    read = read_row({"messages": RIGHT_TURNS, "tools": json.dumps([tool])})
    assert read.samples == [Conversation(RIGHT_TURNS, tools=[tool])]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no form": ({"source": "x", "n": 5}, "no form has these"),
    "no text": (
        {"prompt": "a", "response": None, "output": 7, "chosen": math.nan, "tools": None},
        "a row with prompt, and no text in response, output, chosen: no form",
    ),
    "only empty": ({"text": None}, "a row with no text in text: no form has these"),
    "other names": ({"frage": QUESTION, "antwort": RIGHT}, "Name the columns to read"),
    "two prompts": ({"prompt": "a", "question": "b", "response": "c"}, "Cannot tell the prompt"),
    "two responses": ({"prompt": "a", "response": "b", "output": "c"}, "which of"),
    "response and responses": (
        {"prompt": "a", "response": "b", "responses": ["c"]},
        "Cannot tell the form",
    ),
    "pair and another response": (
        {"prompt": "a", "chosen": "b", "rejected": "c", "response": "d"},
        "Cannot tell the form",
    ),
    "stepwise labels": (
        {"prompt": "a", "completions": ["b", "c"], "labels": [True, False]},
        "completions (form responses), completions (form steps)",
    ),
    "messages unlike chosen": (
        {"messages": [Q, A, Q2, A2], "chosen": RIGHT_TURNS, "rejected": WRONG_TURNS},
        "neither their prompt nor a copy",
    ),
    "prompt unlike messages": (
        {"prompt": "2 + 2?", "messages": RIGHT_TURNS},
        "they hold other turns",
    ),
    "one side": ({"prompt": "a", "chosen": "b"}, "needs chosen and rejected"),
    "one side is null": ({"prompt": "a", "chosen": "b", "rejected": None}, "chosen and rejected"),
    "an empty side": ({"prompt": "a", "chosen": ["b"], "rejected": []}, "without a response"),
    "no prompt": ({"chosen": "a", "rejected": "b"}, "without a prompt"),
    "context beside a question": (
        {"context": "12 + 30 = 42", "question": "a", "response": "b"},
        "column 'context': it would be ignored",
    ),
    "a tool's turn": (
        {"conversations": [HUMAN, {"from": "observation", "value": "x"}, gpt("a")]},
        "from 'observation'",
    ),
    "Python's text of turns": (
        {"prompt": "a", "chosen": str([A]), "rejected": str([B])},
        "Python's str()",
    ),
    "Python's text of messages": ({"messages": str(RIGHT_TURNS)}, "Python's str()"),
    "thoughts beside a response": (
        {"prompt": "a", "responses": [{"response": "b", "thinking": "c"}]},
        "column 'thinking': it would be ignored",
    ),
    "more images than places": (
        {"messages": [{**Q, "content": "<image>2?"}, A], "images": [URL, URL]},
        "Cannot place 2 images",
    ),
    "a path of an image": ({"messages": RIGHT_TURNS, "images": ["a.png"]}, "Cannot read an image"),
    "bytes of no image": ({"messages": RIGHT_TURNS, "image": b"abc"}, "no PNG, JPEG"),
    "text beside messages": ({"messages": RIGHT_TURNS, "text": "a"}, "text with messages"),
    "OASST: a message in each row": ({"text": "a", "role": "prompter"}, "text with role"),
    "Arena: a JSON list of the user's turns": (
        {"prompt": '["a", "b"]', "response_a": '["c", "d"]', "response_b": '["e", "f"]'},
        "Cannot read prompt: it is a JSON list of texts",
    ),
    "a JSON list: one answer or several": (
        {"prompt": "List two.", "chosen": '["a", "b"]', "rejected": "a, b"},
        "Cannot read a side that is a JSON list of texts",
    ),
    "tools of a table, with the keys of other tools": (
        {
            "messages": RIGHT_TURNS,
            "tools": [{"type": "function", "function": {"name": "add", "parameters": None}}],
        },
        "Cannot read tools: a key is null",
    ),
    "a call in a table, with the arguments of other calls": (
        {
            "messages": [
                Q,
                {**A, "tool_calls": [{"function": {"name": "add", "arguments": {"x": None}}}]},
            ]
        },
        "Cannot read a tool call: an argument is null",
    ),
    "two comparisons": (
        {"prompt": "a", "answer_1": "b", "answer_2": "c", "response_1": "d", "response_2": "e"},
        "Cannot tell which are compared: answer_1 and answer_2, or response_1 and response_2",
    ),
    "a whole conversation beside a response": (
        {"prompt": "a", "response": "b", "messages": RIGHT_TURNS},
        "would be ignored. Name the form to read (form=)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_76_what_a_row_cannot_mean(name: str) -> None:
    row, says = REFUSED[name]
    with pytest.raises(InputError) as caught:
        read_row(row)
    assert says in str(caught.value)


def test_a_form_by_name() -> None:
    row = {"prompt": QUESTION, "completions": [RIGHT, WRONG], "labels": [True, False]}
    assert read_row(row, "responses").samples == [
        Conversation(RIGHT_TURNS),
        Conversation(WRONG_TURNS),
    ]
    both = {"messages": RIGHT_TURNS, "response": "Yes."}
    assert read_row(both, "messages").samples == [Conversation(RIGHT_TURNS)]
    for form in FORMS:
        with pytest.raises(InputError, match=f"form='{form}': that needs"):
            read_row({"source": "x"}, form)


def test_columns_by_name() -> None:
    row = {"frage": QUESTION, "antwort": RIGHT, "history": "old", "text": "x", "n": 1}
    read = read_row(row, columns={"prompt": "frage", "response": "antwort"})
    assert (read.samples, read.unread) == ([Conversation(RIGHT_TURNS)], ("history", "text", "n"))
    named = {"prompt": QUESTION, "response": RIGHT, "output": "b", "images": [URL]}
    assert read_row(named, columns=["prompt", "response"]).samples == [Conversation(RIGHT_TURNS)]
    with pytest.raises(InputError, match="Cannot read the column 'b': the row has a"):
        read_row({"a": 1}, columns=["b"])
    with pytest.raises(InputError, match="Cannot use the column 'note'"):
        read_row({**named, "note": "x"}, columns=["prompt", "response", "note"])


def test_missing_values_of_tables() -> None:
    frame = pd.DataFrame(
        {
            "prompt": [QUESTION],
            "response": [RIGHT],
            "chosen": [None],
            "images": [pd.NA],
            "history": [float("nan")],
            "context": [pd.NaT],
        }
    )
    (row,) = frame.to_dict("records")
    assert read_row(row).samples == [Conversation(RIGHT_TURNS)]


@pytest.mark.parametrize(
    "value",
    [[], np.array([], dtype=object), np.float32("nan"), np.int64(3), Decimal(3)],
    ids=repr,
)
def test_empty_cells_and_numbers_of_other_libraries(value: Any) -> None:
    row = {"prompt": QUESTION, "response": RIGHT, "history": value, "images": value, "tools": value}
    assert read_row(row).samples == [Conversation(RIGHT_TURNS)]
