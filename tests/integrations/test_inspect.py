"""inspect-ai's own evaluations with our scorer: `nox -s integrations` installs inspect-ai."""

from __future__ import annotations

import gc
import math
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from reward_client import InputError, RewardClient
from reward_client._client import watch
from reward_client.integrations.inspect import reward_model
from reward_client.testing import RewardServer

from ..replicas.restarting import free_port
from .conftest import blocks_of, port_of

pytestmark = [
    pytest.mark.skipif(find_spec("inspect_ai") is None, reason="nox -s integrations installs it"),
    pytest.mark.filterwarnings("default"),  # of inspect-ai and what it imports
]

LONG = "1" * 3000
QUESTIONS = ("2 + 2?", "2 + 3?", "2 + 4?")
ANSWERS = ("4", "5", "6")


@pytest.fixture(autouse=True)
def _display(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("INSPECT_DISPLAY", "none")
    monkeypatch.setenv("INSPECT_LOG_DIR", str(tmp_path))
    yield
    gc.collect()  # inspect-ai's streams warn here, and not after the last test, as an error


def evaluated(scorer: Any, answers: Sequence[Any] = ANSWERS, **options: Any) -> Any:
    from inspect_ai import Task
    from inspect_ai import eval as evaluate
    from inspect_ai.dataset import Sample
    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    outputs = [
        answer if isinstance(answer, ModelOutput) else ModelOutput.from_content("mock", answer)
        for answer in answers
    ]
    for output in outputs:
        output.usage = ModelUsage()  # else the mock downloads a tokenizer to count them
    model = get_model("mockllm/model", custom_outputs=outputs)
    task = Task(dataset=[Sample(input=each, target="-") for each in QUESTIONS], scorer=scorer)
    # One after the other, so that each question gets its answer.
    (log,) = evaluate(task, model=model, max_samples=1, **options)
    return log


def chat(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def direct(url: str, answers: Sequence[str] = ANSWERS) -> list[float]:
    with RewardClient(url) as client:
        return [float(each) for each in client.score_many(map(chat, QUESTIONS, answers))]


def scores(log: Any) -> list[Any]:
    return [sample.scores["reward_model"] for sample in log.samples]


def metrics(log: Any) -> dict[str, float]:
    (found,) = log.results.scores
    return {name: metric.value for name, metric in found.metrics.items()}


def test_scores_and_metrics(server: RewardServer) -> None:
    log = evaluated(reward_model(server.url))
    assert log.status == "success", log.error
    expected = direct(server.url)
    assert [score.value for score in scores(log)] == expected
    assert [score.answer for score in scores(log)] == list(ANSWERS)
    mean = math.fsum(expected) / 3
    deviation = math.sqrt(sum((each - mean) ** 2 for each in expected) / 2)
    assert metrics(log) == {
        "mean": pytest.approx(mean),
        "stderr": pytest.approx(deviation / math.sqrt(3)),
    }


def test_a_sample_that_fails_is_unscored(server: RewardServer) -> None:
    log = evaluated(reward_model(server.url), ["4", LONG, "6"])
    assert log.status == "success", log.error
    first, failed, last = scores(log)
    assert math.isnan(failed.value)
    assert failed.reason == "scoring_failed"
    assert "PromptTooLongError: " in failed.explanation
    assert "has 3010 tokens, but the server takes 1024" in failed.explanation
    assert [first.value, last.value] == direct(server.url, ["4", "5", "6"])[::2]
    assert metrics(log)["mean"] == pytest.approx((first.value + last.value) / 2)
    assert log.results.scores[0].unscored_samples == 1


def test_a_number_for_failures(server: RewardServer) -> None:
    log = evaluated(reward_model(server.url, failed=-10), ["4", LONG, "6"])
    assert scores(log)[1].value == -10
    assert scores(log)[1].reason == "scoring_failed"


def test_a_dead_server_is_an_error_of_the_evaluation() -> None:
    scorer = reward_model(f"http://127.0.0.1:{free_port()}", patience=0.5)
    log = evaluated(scorer)
    assert log.status == "error"
    assert "No server was ready within 0.5 s" in log.error.message
    # With errors allowed, a sample has an error and no score.
    log = evaluated(scorer, fail_on_error=False)
    assert log.status == "success"
    assert all("No server was ready" in sample.error.message for sample in log.samples)
    assert not any(sample.scores for sample in log.samples)


def test_a_restart_costs_time_only() -> None:
    with RewardServer() as first:
        port, url = port_of(first), first.url
        expected = direct(url)
        assert [score.value for score in scores(evaluated(reward_model(url)))] == expected
    again = RewardServer(port=port)
    timer = threading.Timer(1, again.__enter__)
    timer.start()
    try:
        assert [score.value for score in scores(evaluated(reward_model(url)))] == expected
    finally:
        timer.join()
        again.__exit__(None, None, None)


def test_another_model_stops_the_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_INTERVAL", 0)
    with RewardServer() as first:
        port, url = port_of(first), first.url
        assert evaluated(reward_model(url)).status == "success"
    with RewardServer(port=port, values=lambda ids: 1.0):
        log = evaluated(reward_model(url))
    assert log.status == "error"
    assert "ModelChangedError('Another model answers" in log.error.message


def test_a_log_of_an_earlier_evaluation(server: RewardServer) -> None:
    """By its registered name, which the entry point provides."""
    from inspect_ai import score
    from inspect_ai.scorer import match
    from inspect_ai.scorer._scorer import scorer_create

    earlier = evaluated(match())
    scorer = scorer_create("reward_client/reward_model", base_url=server.url)
    log = score(earlier, scorer, action="append")
    assert [sample.scores["reward_model"].value for sample in log.samples] == direct(server.url)
    (recorded,) = [each for each in log.results.scores if each.name == "reward_model"]
    assert recorded.params == {"base_url": server.url}


def test_reasoning_is_left_out_by_name(server: RewardServer) -> None:
    from inspect_ai.model import ChatMessageAssistant, ContentReasoning, ContentText, ModelOutput

    content = [ContentReasoning(reasoning="Two and two."), ContentText(text="4")]
    parsed = ModelOutput.from_message(ChatMessageAssistant(content=content))
    answers = [parsed, "<think>2 + 3</think>5", "6"]
    log = evaluated(reward_model(server.url, strip_reasoning="think"), answers)
    assert [score.value for score in scores(log)] == direct(server.url)
    stripped = [(score.metadata or {}).get("reasoning_stripped") for score in scores(log)]
    assert stripped == [len("Two and two."), len("<think>2 + 3</think>"), None]


def test_messages_in_the_form_of_chat_completions() -> None:
    from inspect_ai.model import (
        ChatMessageAssistant,
        ChatMessageTool,
        ChatMessageUser,
        ContentImage,
        ContentReasoning,
        ContentText,
    )
    from inspect_ai.tool import ToolCall, ToolCallError

    from reward_client.integrations.inspect import _turn

    call = ToolCall(id="1", function="add", arguments={"a": 2})
    content: list[Any] = [ContentReasoning(reasoning="Hm."), ContentText(text="I add.")]
    assert _turn(ChatMessageAssistant(content=content, tool_calls=[call])) == {
        "role": "assistant",
        "content": "I add.",
        "reasoning_content": "Hm.",
        "tool_calls": [
            {
                "id": "1",
                "type": "function",
                "function": {"name": "add", "arguments": '{"a":2}'},
            }
        ],
    }
    tool = ChatMessageTool(content="", tool_call_id="1", error=ToolCallError("timeout", "Slow."))
    assert _turn(tool) == {"role": "tool", "content": "Error: Slow.", "tool_call_id": "1"}
    with pytest.raises(InputError, match="a part of the type image"):
        _turn(ChatMessageUser(content=[ContentImage(image="data:image/png;base64,AA==")]))


def test_secrets_are_refused_for_the_log(server: RewardServer) -> None:
    for name, value in {"api_key": "key", "headers": {"x": "y"}}.items():
        with pytest.raises(InputError, match=f"REWARD_CLIENT_{name.upper()}") as raised:
            reward_model(server.url, **{name: value})  # type: ignore[arg-type]
        assert "key'" not in str(raised.value)
    with pytest.raises(TypeError, match="base_url"):
        reward_model(url=server.url)  # type: ignore[call-arg]


def test_the_examples_of_the_page(
    server: RewardServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from inspect_ai.log import list_eval_logs, read_eval_log
    from inspect_ai.model import ModelAPI

    async def no_tokens(self: object, text: str) -> int:
        return 0  # the mock downloads a tokenizer to count them

    monkeypatch.setattr(ModelAPI, "count_text_tokens", no_tokens)
    page = ("evaluation-frameworks.md", "inspect-ai", server.url)
    (block,) = blocks_of(*page)
    exec(block, {})
    (file,) = list_eval_logs(str(tmp_path))
    (sample,) = read_eval_log(file).samples or []
    before = (sample.scores or {})["reward_model"].value

    (command,) = blocks_of(*page, language="bash")
    _, *words = shlex.split(command.replace("LOG", file.name))
    more = ["--action", "append", "--overwrite"]
    # In another folder than the sources, which inspect-ai does not take for an installed package.
    command_line = [sys.executable, "-m", "inspect_ai", *words, *more]
    subprocess.run(command_line, check=True, cwd=tmp_path)
    (sample,) = read_eval_log(file).samples or []
    scores = sample.scores or {}
    assert len(scores) == 2, scores
    assert {score.value for score in scores.values()} == {before}
