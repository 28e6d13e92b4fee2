"""lm-eval's own evaluations with our filter: `nox -s integrations` installs lm-eval."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from reward_client import InputError, ModelChangedError, RewardClient, RewardTimeoutError
from reward_client._client import watch
from reward_client.integrations.lm_eval import best_of_n
from reward_client.testing import RewardServer

from ..replicas.restarting import free_port
from .conftest import blocks_of, port_of

needs_lm_eval = pytest.mark.skipif(
    find_spec("lm_eval") is None, reason="nox -s integrations installs it"
)
pytestmark = pytest.mark.filterwarnings("default")  # of lm-eval and what it imports

LONG = "1" * 3000
DOCS = [{"question": "2 + 2?", "answer": "4"}, {"question": "2 + 3?", "answer": "5"}]
RESPONSES = [["3", "4", "22"], ["5", "23", "6"]]


def direct(url: str, question: str, responses: Sequence[str]) -> list[float]:
    asked = {"role": "user", "content": question}
    chats = [[asked, {"role": "assistant", "content": response}] for response in responses]
    with RewardClient(url) as client:
        return [float(reward) for reward in client.score_many(chats)]


def best(url: str) -> list[str]:
    """The responses with the highest direct rewards."""
    chosen = []
    for document, responses in zip(DOCS, RESPONSES, strict=True):
        rewards = direct(url, document["question"], responses)
        chosen.append(responses[rewards.index(max(rewards))])
    return chosen


# As lm-eval calls


@pytest.mark.parametrize("prompt", ["question", lambda document: document["question"]])
def test_the_highest_reward_is_chosen(prompt: Any, server: RewardServer) -> None:
    chosen = best_of_n(server.url, prompt=prompt).apply(iter(RESPONSES), DOCS)
    assert chosen == [[response] for response in best(server.url)]


def test_of_equal_rewards_the_first(server: RewardServer) -> None:
    given = best_of_n(server.url, prompt="question", transform=lambda _: 1.0)
    assert given.apply(RESPONSES, DOCS) == [["3"], ["5"]]


def test_messages_as_a_prompt(server: RewardServer) -> None:
    docs = [{"turns": [{"role": "user", "content": each["question"]}]} for each in DOCS]
    chosen = best_of_n(server.url, prompt="turns").apply(RESPONSES, docs)
    assert chosen == [[response] for response in best(server.url)]


def test_a_failed_response_is_never_chosen(server: RewardServer) -> None:
    given = best_of_n(server.url, prompt="question")
    assert given.apply([[LONG, "4", LONG], RESPONSES[1]], DOCS)[0] == ["4"]
    with pytest.raises(InputError, match=r"document 1: none has a reward. .* 3010 tokens"):
        given.apply([RESPONSES[0], [LONG, LONG]], DOCS)
    with pytest.raises(InputError, match="document 0: it has no responses"):
        given.apply([[], RESPONSES[1]], DOCS)
    lenient = best_of_n(server.url, prompt="question", failed=-100)
    assert lenient.apply([[LONG, "4"], [LONG, LONG]], DOCS) == [["4"], [LONG]]


def test_a_prompt_that_no_document_has(server: RewardServer) -> None:
    with pytest.raises(InputError, match=r"no column 'query'\. They have question, answer"):
        best_of_n(server.url, prompt="query").apply(RESPONSES, DOCS)
    with pytest.raises(InputError, match="prompt= must be a text or a function, not an int"):
        best_of_n(server.url, prompt=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="base_url"):
        best_of_n(url=server.url, prompt="question")  # type: ignore[call-arg]


def test_a_dead_server_is_one_clear_error() -> None:
    given = best_of_n(f"http://127.0.0.1:{free_port()}", prompt="question", patience=0.5)
    with pytest.raises(RewardTimeoutError, match=r"No server was ready within 0\.5 s"):
        given.apply(RESPONSES, DOCS)


def test_a_restart_costs_time_only() -> None:
    with RewardServer() as first:
        port, given = port_of(first), best_of_n(first.url, prompt="question")
        before = given.apply(RESPONSES, DOCS)
    again = RewardServer(port=port)
    timer = threading.Timer(1, again.__enter__)
    timer.start()
    try:
        assert given.apply(RESPONSES, DOCS) == before
    finally:
        timer.join()
        again.__exit__(None, None, None)


def test_another_model_stops_the_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_INTERVAL", 0)
    with RewardServer() as first:
        port, given = port_of(first), best_of_n(first.url, prompt="question")
        given.apply(RESPONSES, DOCS)
    with (
        RewardServer(port=port, values=lambda ids: 1.0),
        pytest.raises(ModelChangedError, match="Another model answers"),
    ):
        given.apply(RESPONSES, DOCS)


# By lm-eval


def evaluated(folder: Path, filters: str) -> Any:
    """Evaluate a task with the filters, on a model that gives the responses in their order."""
    from lm_eval import simple_evaluate
    from lm_eval.api.model import LM
    from lm_eval.tasks import TaskManager

    class Model(LM):
        def __init__(self) -> None:
            super().__init__()
            self.given: dict[str, int] = defaultdict(int)

        def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
            texts = []
            for request in requests:
                (position,) = [
                    index for index, each in enumerate(DOCS) if each["question"] in request.args[0]
                ]
                texts.append(RESPONSES[position][self.given[request.args[0]]])
                self.given[request.args[0]] += 1
            return texts

        def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> Any:
            raise NotImplementedError

        loglikelihood_rolling = loglikelihood

    data = folder / "docs.jsonl"
    data.write_text("".join(json.dumps(each) + "\n" for each in DOCS))
    (folder / "sums.yaml").write_text(
        f"""task: sums
dataset_path: json
dataset_kwargs:
  data_files: {{test: {data}}}
test_split: test
output_type: generate_until
doc_to_text: "Q: {{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
repeats: 3
generation_kwargs: {{until: [], do_sample: true}}
metric_list:
  - metric: exact_match
{filters}
  - name: first
    filter:
      - function: take_first
"""
    )
    tasks = TaskManager(include_path=str(folder), include_defaults=False)
    return simple_evaluate(
        Model(), tasks=["sums"], task_manager=tasks, bootstrap_iters=0, log_samples=True
    )


@needs_lm_eval
def test_the_example_of_the_page(
    server: RewardServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (filters,) = blocks_of("evaluation-frameworks.md", "lm-eval", server.url, language="yaml")
    found = evaluated(tmp_path, filters.rstrip())
    chosen = best(server.url)
    samples = [each for each in found["samples"]["sums"] if each["filter"] == "best-of-n"]
    assert [each["filtered_resps"] for each in samples] == [[each] for each in chosen]
    right = [each == document["answer"] for each, document in zip(chosen, DOCS, strict=True)]
    results = found["results"]["sums"]
    assert results["exact_match,best-of-n"] == sum(right) / 2
    assert results["exact_match,first"] == 0.5
