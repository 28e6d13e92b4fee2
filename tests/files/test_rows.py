"""What a row is scored as, and what is written for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reward_client import Conversation, FormattedText, ObjectiveHead, RewardClient, StepHead
from reward_client.files import score_file
from reward_client.testing import RewardServer

from .conftest import read_rows, write_rows

QUESTION = {"role": "user", "content": "What is 12 + 30?"}
RIGHT = {"role": "assistant", "content": "12 + 30 = 42."}
WRONG = {"role": "assistant", "content": "It is 57."}
SYSTEM = {"role": "system", "content": "Be brief."}
TEXT = "<|bos|><|user|>What is 1 + 1?<|end|><|assistant|>2<|end|>"

Results = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def client() -> Iterator[RewardClient]:
    with RewardServer() as server, RewardClient(server.url) as client:
        yield client


@pytest.fixture
def results(client: RewardClient, tmp_path: Path) -> Results:
    def score(*rows: Any) -> list[dict[str, Any]]:
        source = write_rows(tmp_path / "in.jsonl", rows)
        score_file(client, source, tmp_path / "out.jsonl")
        return read_rows(tmp_path / "out.jsonl")

    return score


@pytest.mark.parametrize(
    ("row", "sample"),
    [
        ({"messages": [QUESTION, RIGHT]}, [QUESTION, RIGHT]),
        ({"messages": [QUESTION, WRONG], "text": None}, [QUESTION, WRONG]),
        (
            {"messages": [QUESTION, RIGHT], "chat_template_kwargs": {"x": 1}},
            Conversation([QUESTION, RIGHT], chat_template_kwargs={"x": 1}),
        ),
        ({"text": TEXT}, FormattedText(TEXT)),
        ({"token_ids": [1, 5, 9, 12]}, [1, 5, 9, 12]),
    ],
    ids=["messages", "null elsewhere", "template arguments", "text", "token IDs"],
)
def test_one_sample(client: RewardClient, results: Results, row: Any, sample: Any) -> None:
    expected = client.score(sample)
    (result,) = results(row)
    assert result.pop("digest")
    assert result == {
        "row": 0,
        **row,
        "form": next(name for name, value in row.items() if value is not None),
        "reward": pytest.approx(expected.value, abs=1e-4),
        "token_count": expected.token_count,
    }


@pytest.mark.parametrize("prompt", [QUESTION["content"], [QUESTION], [SYSTEM, QUESTION]])
def test_responses(client: RewardClient, results: Results, prompt: Any) -> None:
    before = [QUESTION] if isinstance(prompt, str) else prompt
    answers = [RIGHT, WRONG, RIGHT]
    expected = client.score_many([[*before, answer] for answer in answers])
    (result,) = results({"prompt": prompt, "responses": [each["content"] for each in answers]})
    assert result["reward"] == pytest.approx([each.value for each in expected], abs=1e-4)
    assert result["token_count"] == [each.token_count for each in expected]


@pytest.mark.parametrize(
    "row",
    [
        {"chosen": [QUESTION, RIGHT], "rejected": [QUESTION, WRONG]},
        {"prompt": [QUESTION], "chosen": [RIGHT], "rejected": [WRONG]},
        {"prompt": [QUESTION], "chosen": [QUESTION, RIGHT], "rejected": [QUESTION, WRONG]},
        {"prompt": QUESTION["content"], "chosen": [QUESTION, RIGHT], "rejected": [WRONG]},
        {
            "prompt": QUESTION["content"],
            "chosen": RIGHT["content"],
            "rejected": WRONG["content"],
        },
    ],
    ids=["conversations", "last turns", "prompt in both", "mixed", "texts"],
)
def test_pairs(client: RewardClient, results: Results, row: Any) -> None:
    chosen, rejected = client.score_many([[QUESTION, RIGHT], [QUESTION, WRONG]])
    (result,) = results(row)
    assert result["reward"] == {
        "chosen": pytest.approx(chosen.value, abs=1e-4),
        "rejected": pytest.approx(rejected.value, abs=1e-4),
    }
    assert result["reward"]["chosen"] > 0 > result["reward"]["rejected"]


@pytest.mark.parametrize(
    "given",
    ["r-1", 17, 2**63, 10**40, 1.5, [1, "a"], {"a": 10**30}, "ünï", "", False],
    ids=lambda given: str(given)[:12],
)
@pytest.mark.parametrize("row", [{"token_ids": [1, 2]}, {"text": 5}], ids=["scored", "failed"])
def test_ids_are_kept_to_the_last_digit(results: Results, row: Any, given: Any) -> None:
    (result,) = results({"id": given, **row})
    assert result["id"] == given
    assert type(result["id"]) is type(given)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({}, "no form has these"),
        ([1, 2], "not a JSON object"),
        ("text", "not a JSON object"),
        ({"prompt": "2 + 2?"}, "a row with prompt"),
        ({"messages": [QUESTION], "text": TEXT}, "Cannot combine text with messages"),
        (
            {"messages": [QUESTION, RIGHT], "prompt": "2?", "chosen": "a", "rejected": "b"},
            "neither their prompt nor a copy",
        ),
        ({"chosen": [QUESTION, RIGHT]}, "The row has chosen."),
        (
            {"rejected": [QUESTION, RIGHT], "messages": [QUESTION]},
            "A preference needs chosen and rejected",
        ),
        ({"messages": [QUESTION], "prompt": "2 + 2?"}, "Cannot combine messages with prompt"),
        ({"text": "4", "prompt": "2 + 2?"}, "Cannot combine text with prompt"),
        ({"token_ids": [1], "tools": [{}]}, "Cannot combine token_ids with tools"),
        (
            {"prompt": "a", "responses": ["b"], "steps": ["c"]},
            "responses (form responses), steps (form steps)",
        ),
        ({"messages": []}, "non-empty list"),
        ({"messages": "What is 12 + 30?"}, "non-empty list"),
        ({"messages": [{"role": "user", "content": 5}]}, "content of message 0"),
        ({"text": ""}, "non-empty str"),
        ({"token_ids": [QUESTION, RIGHT]}, "list of integers"),
        ({"token_ids": [1, -2]}, "Position 1 holds -2"),
        ({"token_ids": [1, 10**30]}, "Position 1 holds"),
        ({"token_ids": []}, "list of integers"),
        ({"responses": ["b"]}, "needs a prompt"),
        ({"prompt": "a", "responses": []}, "list of texts"),
        ({"prompt": "a", "responses": "b"}, "list of texts"),
        ({"prompt": "a", "responses": ["b", 3]}, "must be a text"),
        ({"prompt": [], "responses": ["b"]}, "text or a list of messages"),
        ({"chosen": "a", "rejected": "b"}, "without a prompt"),
        ({"prompt": "a", "chosen": [QUESTION, RIGHT], "rejected": "b"}, "start with the prompt's"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_meant_is_an_error_and_stops_nothing(
    results: Results, row: Any, says: str
) -> None:
    first, failed, last = results({"token_ids": [1, 2]}, row, {"token_ids": [1, 2]})
    columns = row.keys() if isinstance(row, dict) else {}
    assert failed.keys() - {"form", "token_count"} == {"row", *columns, "reward", "error", "digest"}
    assert failed["error"]["type"] == "InputError"
    assert says in failed["error"]["message"]
    assert first["reward"] == last["reward"]
    assert [first["row"], failed["row"], last["row"]] == [0, 1, 2]


def test_other_responses_keep_their_rewards(client: RewardClient, results: Results) -> None:
    (result,) = results({"id": 3, "prompt": "2 + 2?", "responses": ["4", "1" * 3000, "5"]})
    alone = client.score([{"role": "user", "content": "2 + 2?"}, {**RIGHT, "content": "4"}])
    assert result["reward"] == [pytest.approx(alone.value, abs=1e-4), None, result["reward"][2]]
    assert isinstance(result["reward"][2], float)
    assert result["token_count"][1] is None
    assert [each and each["type"] for each in result["error"]] == [
        None,
        "PromptTooLongError",
        None,
    ]


def test_objectives_and_steps(tmp_path: Path) -> None:
    names = ["a", "b", "c", "d", "e"]
    source = write_rows(tmp_path / "in.jsonl", [{"messages": [QUESTION, RIGHT]}])
    with RewardServer(head="labels") as server:
        for weights in (None, {"a": 1.0}):
            out = tmp_path / f"labels-{weights is None}.jsonl"
            head = ObjectiveHead(names, weights)
            with RewardClient(server.url, head=head) as client:
                expected = client.score([QUESTION, RIGHT])
                score_file(client, source, out)
            (result,) = read_rows(out)
            assert result["objectives"] == pytest.approx(expected.objectives, abs=1e-4)
            assert result["reward"] == (weights and pytest.approx(expected.value, abs=1e-4))
    head = StepHead(step_token=RewardServer.step_token, good_label=1, aggregate="min")
    row = {"messages": [QUESTION], "steps": ["12 + 30 = 42.", "So it is 43."]}
    with RewardServer(head="steps") as server, RewardClient(server.url, head=head) as client:
        expected = client.score(Conversation(**row))
        score_file(client, write_rows(tmp_path / "steps.in", [row]), tmp_path / "steps.out")
    (result,) = read_rows(tmp_path / "steps.out")
    assert result["reward"] == pytest.approx(expected.value, abs=1e-4)
    assert [each["start"] for each in result["step_rewards"]] == [
        each.start for each in expected.steps
    ]
    assert [each["value"] for each in result["step_rewards"]] == pytest.approx(
        [each.value for each in expected.steps], abs=1e-4
    )
    assert result["reward"] == min(each["value"] for each in result["step_rewards"])


def test_results_hold_nothing_of_a_run(client: RewardClient, tmp_path: Path) -> None:
    """Two runs that meet the same error write the same: no request ID, no attempts, no time."""
    rows = [{"id": 1, "messages": [QUESTION, RIGHT]}, {"token_ids": [1, 10**7]}, {"text": ""}]
    source = write_rows(tmp_path / "in.jsonl", rows)
    for name in ("one", "two"):
        score_file(client, source, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    _, refused, _ = read_rows(tmp_path / "one")
    assert refused["error"]["type"] == "BadRequestError"
    assert "rc-" not in json.dumps(refused)


@pytest.mark.parametrize("name", ["system", "system_prompt", "system_message"])
@pytest.mark.parametrize(
    "row",
    [
        {"messages": [QUESTION, RIGHT]},
        {"messages": [SYSTEM, QUESTION, RIGHT]},
        {"prompt": QUESTION["content"], "responses": [RIGHT["content"]]},
        {"prompt": [QUESTION], "chosen": [RIGHT], "rejected": [WRONG]},
        {"chosen": [QUESTION, RIGHT], "rejected": [QUESTION, WRONG]},
    ],
)
def test_42_a_system_column_is_the_system_message(
    client: RewardClient, results: Results, row: dict[str, Any], name: str
) -> None:
    right, wrong = client.score_many([[SYSTEM, QUESTION, RIGHT], [SYSTEM, QUESTION, WRONG]])
    found = results({**row, name: SYSTEM["content"]})[0]["reward"]
    if isinstance(found, dict):
        assert found["rejected"] == pytest.approx(wrong.value, abs=1e-4)
        found = found["chosen"]
    assert (found[0] if isinstance(found, list) else found) == pytest.approx(right.value, abs=1e-4)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"history": [["a", "b"]]}, "messages or prompt"),
        ({"chat_history": [QUESTION]}, "messages or prompt"),
        ({"images": ["a.png"]}, "bytes of its file"),
        ({"Images": ["a.png"]}, "Name it images."),
        ({"audio": {"path": "a.wav"}}, "part of a message"),
        ({"documents": [{"text": "a"}]}, "chat_template_kwargs"),
        ({"context": "12 + 30 is 42"}, "prompt or a message"),
        ({"response": "42"}, "follows an answer"),
        ({"functions": [{}]}, "as tools"),
        ({"tool_calls": [{}]}, "tool_calls of a message"),
        ({"sys-prompt": "Be brief."}, "Name it system."),
        ({"docs": ["a"]}, "or into chat_template_kwargs if the model's template reads it."),
        ({"System": "Be brief."}, "Name it system."),
        ({"Chat Template Kwargs": {"a": 1}}, "Name it chat_template_kwargs."),
        ({"system": ["Be brief."]}, "must be one text"),
        ({"system": "a", "system_prompt": "b"}, "must be one text"),
    ],
)
def test_42_a_column_with_a_meaning_is_not_ignored(
    results: Results, extra: dict[str, Any], message: str
) -> None:
    (result,) = results({"messages": [QUESTION, RIGHT], **extra})
    assert result["error"]["type"] == "InputError"
    assert message in result["error"]["message"]
    assert result["reward"] is None


@pytest.mark.parametrize(
    "name",
    [
        *("systemPrompt", "SystemPrompt", "systemprompt", "sys_prompt", "system_instruction"),
        *("System-Instructions", "default_system_prompt", "sys", "system_text", "SYSTEM PROMPT"),
        *("chatHistory", "chathistory", "conversation_history", "messageHistory", "dialogue-turns"),
        *("previous_messages", "priorTurns", "conversation_a", "chat", "request.history"),
        *("imageUrl", "imageURL", "imageURLs", "image_1", "image_base64", "input_image"),
        *("list_of_images", "video_path", "multimodalData", "Attachments"),
        *("reasoning_content", "reasoning", "reasoningContent", "chain_of_thought", "thinking"),
        *("docs", "document", "retrieved_documents", "retrievedContext", "search_results"),
        *("tool_calls", "toolChoice", "tools_json", "available_tools", "functionDefinitions"),
        *("prompt_system", "attachedImages", "reasoning_trace", "toolDefs", "convo"),
        *("response1", "responseA", "modelResponse", "userMessage", "chatTemplateKwargs"),
    ],
)
def test_42_a_column_is_known_by_its_words(results: Results, name: str) -> None:
    (result,) = results({"messages": [QUESTION, RIGHT], name: "Be brief."})
    assert f"the column {name!r}: it would be ignored" in result["error"]["message"]


ABOUT = [
    *("source", "score", "model", "language", "category", "timestamp", "createdAt", "answer"),
    *("system_id", "systemId", "system_name", "system_fingerprint", "ai_system", "sys_id"),
    *("filesystem", "file_system", "operating_system", "subsystem", "file", "file_name", "path"),
    *("history_id", "historical", "conversation_id", "conversationHash", "num_turns", "turn"),
    *("is_multi_turn", "chat_id", "chat_model", "turn_count", "image_id", "image_count"),
    *("imageWidth", "has_image", "imagenet", "docker_image", "media_type", "doc_id", "docTitle"),
    *("document_count", "toolkit", "tool_name", "function_name", "uses_tools", "functional"),
    *("prompt_id", "prompt_hash", "promptTokens", "instruction_id_list", "context_length"),
    *("input_tokens", "query_id", "error_message", "response_length", "response_time"),
    *("completion_tokens", "generation_model", "chosen_score", "rejected_model"),
    *("reasoning_score", "thinking_tokens", "system_prompt_version", "reference_response"),
    *("历史", "", "_", "chat_" * 1000),
]


def test_42_a_column_about_a_column_is_ignored(client: RewardClient, results: Results) -> None:
    expected = client.score([QUESTION, RIGHT]).value
    counts = {"turns": 3, "images": 2, "chat": 0.5, "reasoning": 4, "history": False}
    (result,) = results({"messages": [QUESTION, RIGHT], **dict.fromkeys(ABOUT, "a"), **counts})
    assert result["reward"] == pytest.approx(expected, abs=1e-4)


def test_42_a_switch_of_the_template_is_no_count(results: Results) -> None:
    rows = [{"messages": [QUESTION, RIGHT], name: True} for name in ("enableThinking", "thinking")]
    assert [each["error"]["type"] for each in results(*rows)] == ["InputError"] * 2


def test_42_the_summary_names_the_columns_that_are_not_read(
    client: RewardClient, tmp_path: Path
) -> None:
    row = {"id": 1, "messages": [QUESTION, RIGHT], "system": "Be brief."}
    rows = [{**row, "a\n": 1, "images": []}, {**row, "source": "x", "a\n": 2}]
    source = write_rows(tmp_path / "in.jsonl", rows)
    summary = score_file(client, source, tmp_path / "out.jsonl")
    assert summary.unread == ("a\n", "source")
    assert "columns that were not read: 'a\\n', source" in str(summary).splitlines()
    varied = [{**row, f"c{number}": 1} for number in range(300)]
    summary = score_file(client, write_rows(tmp_path / "2", varied), tmp_path / "3")
    assert len(summary.unread) == 100
    assert max(map(len, str(summary).splitlines())) < 500
    summary = score_file(client, write_rows(tmp_path / "4", [row]), tmp_path / "5")
    assert "not read" not in str(summary)


def test_42_two_system_messages_are_refused(results: Results) -> None:
    rows = results(
        {"messages": [SYSTEM, QUESTION, RIGHT], "system": "Be long."},
        {"text": TEXT, "system": "Be brief."},
        {"token_ids": [1, 5], "system_prompt": "Be brief."},
    )
    assert all("system" in row["error"]["message"] for row in rows)


def test_columns_without_a_meaning_or_a_value_are_ignored(
    client: RewardClient, results: Results
) -> None:
    expected = client.score([QUESTION, RIGHT]).value
    extra = {"history": [], "images": None, "system": "", "source": "gsm8k", "answer": "42"}
    (result,) = results({"messages": [QUESTION, RIGHT], **extra})
    assert result["reward"] == pytest.approx(expected, abs=1e-4)
