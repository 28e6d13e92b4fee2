"""The examples of methods and systems: their output and requests, against other computations."""

from __future__ import annotations

import contextlib
import io
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from reward_client.testing import demo_pairs

from ..support import fake_vllm
from ..support.fake_vllm import rendered, text_of
from . import pages
from .servers import DEFAULT, Stage, logits, pooled, writes

METHODS, SYSTEMS = pages.DOCS / "how-to/methods.md", pages.DOCS / "how-to/systems.md"

QUESTION = {"role": "user", "content": "What is 45 + 43?"}
ASKED = {"role": "user", "content": "Is the answer correct (Yes/No)?"}
CLOUD = (
    "The following is a break down on the correctness and usefulness of the assistant's response "
    "to my question: "
)
MARK = "Question: What is 45 + 43?\nAnswer: {}\nMark the answer from 1 to 5. End with [RESULT]."
DUEL = (
    "Question: What is 45 + 43?\nAnswer A: {}\nAnswer B: {}\n"
    "Which is better? End with [[A]] or [[B]], or with [[C]] for a tie."
)
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?")


class Ran(NamedTuple):
    """An executed example."""

    stage: Stage
    printed: str

    @property
    def numbers(self) -> list[float]:
        return [float(number) for number in NUMBER.findall(self.printed)]


def assert_same_output(printed: str, shown: str) -> None:
    """Compare two outputs, but for the last digit: it differs between machines."""
    assert NUMBER.sub("", printed) == NUMBER.sub("", shown)
    pairs = zip(NUMBER.findall(printed), NUMBER.findall(shown), strict=True)
    for number, expected in pairs:
        places = len(expected.partition(".")[2])
        tolerance = 1.1e-2 if places == 2 else 2e-3
        assert float(number) == pytest.approx(float(expected), abs=tolerance), (printed, shown)


Check = Callable[[Ran], None]


QWEN_MATH = {
    "role": "system",
    "content": r"Please reason step by step, and put your final answer within \boxed{}.",
}


def chat(answer: str = "88") -> list[dict[str, str]]:
    return [QUESTION, {"role": "assistant", "content": answer}]


def ids_of(ran: Ran, name: str, messages: Any) -> list[int]:
    """Return the token IDs of a conversation from the server, without the client."""
    body = {"messages": messages, "add_generation_prompt": False}
    response = ran.stage.http.post(f"{ran.stage.server(name).url}/tokenize", json=body)
    ids: list[int] = response.json()["tokens"]
    return ids


def scores(ran: Ran, name: str, *answers: str) -> list[float]:
    """Return the model's numbers for conversations, without its server."""
    server = ran.stage.server(name)
    return [server.reference(ids_of(ran, name, chat(answer))) for answer in answers]


def about(*numbers: float) -> Any:
    """Match these numbers as printed with three places."""
    return pytest.approx(list(numbers), abs=1.1e-3)


def prompts(ran: Ran, name: str) -> list[str]:
    """Return the prompts that a model continued."""
    bodies = ran.stage.bodies(name, "/v1/completions")
    return [text_of(body["prompt"]) for body in bodies if "seed" in body]


def inputs(ran: Ran, path: str, name: str = DEFAULT) -> list[list[list[int]]]:
    """Return the token lists of each request to a server."""
    return [body.get("input") for body in ran.stage.bodies(name, path)]


def odds(*turns: dict[str, str]) -> float:
    """Return the logit of Yes minus the logit of No after these turns and the question."""
    yes, no = logits(rendered([*turns, ASKED], opened=True))
    return yes - no


def probability(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def by_messages(ran: Ran) -> None:
    assert ran.numbers == about(*scores(ran, DEFAULT, "88", "78"))
    assert {"messages", "model"} <= {*ran.stage.bodies(DEFAULT, "/classify")[-1]}
    sent = [body.get("messages") for body in ran.stage.bodies(DEFAULT, "/classify")]
    assert chat() in sent
    assert chat("78") in sent


def by_many_messages(ran: Ran) -> None:
    name = "http://exported:8000"
    answers = [str(number) for number in range(60, 100)]
    values = scores(ran, name, *answers)
    best = max(values)
    assert ran.numbers == about(float(answers[values.index(best)]), best)
    sent = [body.get("messages") for body in ran.stage.bodies(name, "/v1/embeddings")]
    assert any(chat("99") in batch and len(batch) > 1 for batch in sent if batch)


def by_route(ran: Ran) -> None:
    assert ran.numbers == about(*scores(ran, DEFAULT, "88"))
    assert [ids_of(ran, DEFAULT, chat())] in inputs(ran, "/classify")
    assert ran.printed.endswith("by classify, pooled\n")


def by_default(ran: Ran) -> None:
    ids = ids_of(ran, DEFAULT, chat())
    assert ran.numbers == about(*scores(ran, DEFAULT, "88"), len(ids))
    assert [ids] in inputs(ran, "/pooling")
    assert chat() in [body.get("messages") for body in ran.stage.bodies(DEFAULT, "/tokenize")]


def token_logit(name: str, token: str, *, recipe: bool = False) -> Check:
    def check(ran: Ran) -> None:
        server = ran.stage.server(name)
        response = ran.stage.http.post(
            f"{server.url}/tokenize", json={"prompt": token, "add_special_tokens": False}
        )
        place = 0 if recipe else response.json()["tokens"][0]
        expected = server.reference_logits(ids_of(ran, name, chat()))[place]
        assert ran.numbers[:1] == about(expected)
        allowed = [
            body.get("allowed_token_ids") for body in ran.stage.bodies(name, "/v1/completions")
        ]
        assert [place] in allowed

    return check


def math_rm(ran: Ran) -> None:
    name = "http://math-rm:8000"
    ids = ids_of(ran, name, [QWEN_MATH, *chat()])
    assert ran.numbers == about(ran.stage.server(name).reference_values(ids).token_scores[-1])


def math_prm(ran: Ran) -> None:
    name = "http://math-prm:8000"
    server = ran.stage.server(name)
    token = server.step_token
    answer = f"45 + 43 = 88.{token}So it is 88.{token}"
    rows = server.reference_values(ids_of(ran, name, [QWEN_MATH, *chat(answer)])).steps
    steps = [probability(good - bad) for bad, good in rows]
    assert len(steps) == 2
    assert ran.numbers[:2] == about(*steps)
    assert ran.numbers[2] == pytest.approx(math.prod(steps), rel=0.02)


def accuracy(ran: Ran) -> None:
    server = ran.stage.server(DEFAULT)
    won = [
        server.reference(ids_of(ran, DEFAULT, pair["chosen"]))
        > server.reference(ids_of(ran, DEFAULT, pair["rejected"]))
        for pair in demo_pairs()
    ]
    assert ran.numbers == [sum(won), len(won), round(100 * sum(won) / len(won), 1)]


def on_token_ids(ran: Ran) -> None:
    server = ran.stage.server(DEFAULT)
    rollouts = [[1, 51, 237, 60], [1, 51, 237, 61]]
    assert ran.numbers == about(*(server.reference(ids) for ids in rollouts))
    assert rollouts in inputs(ran, "/pooling")


def on_a_policy_s_token_ids(ran: Ran) -> None:
    assert ran.numbers == about(*scores(ran, DEFAULT, "88"))
    assert chat() in [body.get("messages") for body in ran.stage.bodies(DEFAULT, "/tokenize")]


def best_of_n(ran: Ran) -> None:
    answers = ["78", "88", "98"]
    values = scores(ran, DEFAULT, *answers)
    order = sorted(range(3), key=lambda place: -values[place])
    assert ran.numbers == [float(answers[order[0]]), *order]


def cloud(ran: Ran) -> None:
    lead = {"role": "user", "content": CLOUD}
    asked = rendered([*chat(), lead]).removesuffix("</>")
    assert prompts(ran, "http://critic:8000") == [asked]
    critique = writes(asked, 0)
    turn = {"role": "user", "content": CLOUD.strip() + critique}
    scored = rendered([*chat(), turn])
    assert ran.numbers[:1] == about(pooled(scored))
    assert critique in ran.printed
    assert [fake_vllm.ids_of(scored)] in inputs(ran, "/pooling", "http://head:8000")
    assert ran.stage.bodies("http://head:8000", "/v1/completions") == []


def one_server(ran: Ran) -> None:
    told = {"role": "user", "content": "Criticise the answer."}
    asked = rendered([*chat(), told], opened=True)
    assert prompts(ran, "http://verifier:8000") == [asked]
    value = odds(*chat(), told, {"role": "assistant", "content": writes(asked, 0)})
    assert ran.numbers == about(value, probability(value))


def yes_or_no(ran: Ran) -> None:
    values = [odds(*chat("88")), odds(*chat("78"))]
    expected = [number for value in values for number in (value, probability(value))]
    assert ran.numbers == about(*expected)
    bodies = ran.stage.bodies("http://verifier:8000", "/v1/completions")
    lists = [ids for body in bodies for ids in body["prompt"]]
    for answer in ("88", "78"):
        assert fake_vllm.ids_of(rendered([*chat(answer), ASKED], opened=True)) in lists
    assert ran.stage.bodies("http://verifier:8000", "/v1/chat/completions") == []


def after_thoughts(ran: Ran) -> None:
    told = {"role": "user", "content": "Let's verify step by step."}
    asked = rendered([*chat(), told], opened=True)
    assert prompts(ran, "http://verifier:8000") == [asked] * 4
    texts = [writes(asked, seed) for seed in range(4)]
    thoughts = [{"role": "assistant", "content": text} for text in texts]
    mean = sum(probability(odds(*chat(), told, each)) for each in thoughts) / 4
    assert ran.numbers[:2] == about(math.log(mean / (1 - mean)), mean)
    assert str(sum(len(text) + 1 for text in texts)) in ran.printed


def marks(ran: Ran) -> None:
    asked = [
        rendered([{"role": "user", "content": MARK.format(each)}], opened=True)
        for each in ("88", "78")
    ]
    sent = prompts(ran, "http://judge:8000")
    assert sorted(sent) == sorted(asked * 2)
    lines = ran.printed.splitlines()
    assert [float(line.split()[0]) for line in lines] == [(5 + 4) / 2, (2 + 1) / 2]


def duels(ran: Ran) -> None:
    pairs = [(one, other) for one in ("78", "88", "98") for other in ("78", "88", "98")]
    asked = [
        rendered([{"role": "user", "content": DUEL.format(*pair)}], opened=True)
        for pair in pairs
        if pair[0] != pair[1]
    ]
    assert sorted(prompts(ran, "http://judge:8000")) == sorted(asked)
    # 88 wins all; 78 and 98 lose to it, and are a tie.
    assert ran.numbers[:5] == [6.0, 88.0, 0.25, 1.0, 0.25]


def provenance(ran: Ran) -> None:
    assert ran.printed.startswith("yes or no ")
    assert "scribe from root (vLLM 0.32.0)" in ran.printed


CHECKS: dict[tuple[Path, str], tuple[Check, ...]] = {
    (METHODS, "Pooled output"): (by_route,),
    (METHODS, "The logit of a token"): (token_logit("http://generates:8000", "", recipe=True),),
    (METHODS, "Yes or no"): (yes_or_no,),
    (METHODS, "Yes or no after a chain of thought"): (after_thoughts,),
    (METHODS, "A critique, then the reward"): (cloud, one_server),
    (METHODS, "A judge's mark"): (marks,),
    (METHODS, "A judge of two answers"): (duels,),
    (METHODS, "Where a reward came from"): (provenance,),
    (SYSTEMS, "Messages to a pooled route"): (by_messages,),
    (SYSTEMS, "A token's logit"): (token_logit("http://generates:8000", "!"),),
    (SYSTEMS, "Messages to /v1/embeddings"): (by_many_messages,),
    (SYSTEMS, "Token IDs to a pooled route"): (by_default,),
    (SYSTEMS, "Qwen2.5-Math-RM"): (math_rm,),
    (SYSTEMS, "Qwen2.5-Math-PRM"): (math_prm,),
    (SYSTEMS, "Chosen and rejected"): (accuracy,),
    (SYSTEMS, "PPO on token IDs"): (on_token_ids, on_a_policy_s_token_ids),
    (SYSTEMS, "Rejection sampling"): (best_of_n,),
    (SYSTEMS, "Nemotron-70B-Reward"): (token_logit("http://nemotron:8000", "", recipe=True),),
    (SYSTEMS, "CLoud"): (cloud,),
    (SYSTEMS, "GenRM"): (yes_or_no,),
    (SYSTEMS, "GenRM-CoT"): (after_thoughts,),
    (SYSTEMS, "A judge of one answer"): (marks,),
    (SYSTEMS, "A judge of two answers"): (duels,),
}


def examples(page: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield the headings of a page with their examples and the output shown."""
    for heading, section in pages.sections(page).items():
        yield heading, pages.fenced(section, "python"), pages.fenced(section, "text")


def run(stage: Stage, page: Path, heading: str) -> Iterator[Ran]:
    """Run the examples below a heading, after the blocks before all headings."""
    blocks = {name: python for name, python, _ in examples(page)}
    namespace: dict[str, object] = {}
    for block in blocks[""]:
        exec(compile(stage.staged(block), str(page), "exec"), namespace)
    for block in blocks[heading]:
        source = stage.staged(block)
        stage.forget()
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(source, f"{page}: {heading}", "exec"), namespace)
        yield Ran(stage, printed.getvalue())


@pytest.mark.parametrize("page", [METHODS, SYSTEMS], ids=pages.name)
def test_every_example_is_checked(page: Path) -> None:
    for heading, python, text in examples(page):
        if heading and python:
            assert len(CHECKS[page, heading]) == len(python) == len(text), heading


@pytest.mark.parametrize(
    ("page", "heading"), CHECKS, ids=lambda part: str(getattr(part, "stem", part))
)
def test_what_an_example_prints_and_sends(
    stage: Stage, surroundings: None, page: Path, heading: str
) -> None:
    shown = {name: text for name, _, text in examples(page)}[heading]
    for ran, check, text in zip(
        run(stage, page, heading), CHECKS[page, heading], shown, strict=True
    ):
        check(ran)
        assert_same_output(ran.printed, text)


def test_every_system_has_its_lines() -> None:
    sections = pages.sections(SYSTEMS)
    linked = re.findall(r"\]\(#(.+)\) \|$", sections.pop(""), re.MULTILINE)
    anchors = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in sections]
    assert sorted(linked) == sorted(anchors)
    assert all(pages.fenced(section, "python") for section in sections.values())
