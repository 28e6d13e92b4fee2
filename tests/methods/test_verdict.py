"""`Verdict`: what a judge writes becomes a number, or an error with its text; never a guess."""

from __future__ import annotations

import asyncio
import logging
import pickle
import re
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward_client import (
    BatchError,
    Conversation,
    FormattedText,
    GenerationError,
    InputError,
    Limits,
    RecipeError,
    ResponseMismatchError,
    RewardClient,
    RewardTimeoutError,
    RouteNotFoundError,
    Timeouts,
)
from reward_client._base import patterns
from reward_client.methods import Verdict
from reward_client.methods import verdict as verdict_module

from ..support.either import OPENERS, EitherClient, Kind
from ..support.fake_vllm import rendered, text_of, transport_to
from ..support.scribe import Scribe

CHAT = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
MARK = Verdict(r"\[RESULT\] ([1-5])", "Q: {conversation}\nA: {response}\nMark it.")
PAIR = Verdict(
    r"\[\[(A|B|C)\]\]",
    "Q: {conversation}\nA: {response_a}\nB: {response_b}",
    values={"A": 1, "B": -1, "C": 0},
)


def client_of(kind: Kind, scribe: Scribe, method: Verdict, **options: Any) -> EitherClient:
    return OPENERS[kind]("http://vllm", transport=scribe.transport(), method=method, **options)


def prompts_of(scribe: Scribe) -> list[str]:
    return [text_of(body["prompt"]) for body in scribe.asked("/v1/completions") if "seed" in body]


def better(prompt: str, seed: int) -> str:
    """The longer answer wins, wherever it stands."""
    first, second = (
        prompt.partition(f"\n{name}: ")[2].split("\n")[0].split("<")[0] for name in "AB"
    )
    verdict = "A" if len(first) > len(second) else "B" if len(second) > len(first) else "C"
    return f"Is it [[A]] or [[B]]? I say [[{verdict}]]."


@pytest.mark.parametrize("kind", OPENERS)
def test_a_mark(kind: Kind) -> None:
    scribe = Scribe(lambda prompt, seed: "Good. [RESULT] 1, or better: [RESULT] 4")
    with closing(client_of(kind, scribe, MARK)) as client:
        reward = client.score(CHAT)
        tokens = client.tokenize(CHAT).token_ids
    told = {"role": "user", "content": "Q: 2+2?\nA: 4\nMark it."}
    assert prompts_of(scribe) == [rendered([told], opened=True)]
    assert text_of(tokens) == rendered([told], opened=True)
    assert reward.value == 4.0  # the last one counts
    assert reward.critiques == ("Good. [RESULT] 1, or better: [RESULT] 4",)
    assert reward.usage is not None
    assert reward.usage.generated_tokens == len(reward.critiques[0]) + 1
    assert (reward.provenance.method, reward.provenance.head) == ("verdict", "text")


@pytest.mark.parametrize("kind", OPENERS)
def test_votes_are_averaged(kind: Kind) -> None:
    scribe = Scribe(lambda prompt, seed: f"[RESULT] {1 + seed % 5}")
    verdict = Verdict(MARK.pattern, MARK.prompt, votes=4, seed=2)
    with closing(client_of(kind, scribe, verdict)) as client:
        reward = client.score(CHAT)
    assert reward.value == pytest.approx((3 + 4 + 5 + 1) / 4)
    assert (reward.provenance.votes, reward.provenance.seed) == (4, 2)


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize(
    "text",
    ["", "I like it.", "[RESULT] 7", "[RESULT]", "[RESULT] five", "result: 4", "[RESULT] \ud7ff"],
)
def test_what_holds_no_verdict(kind: Kind, text: str) -> None:
    """One sample has none: an error with the text, and its neighbours their rewards."""
    scribe = Scribe(lambda prompt, seed: text if "A: bad" in prompt else "[RESULT] 3")
    bad = [CHAT[0], {"role": "assistant", "content": "bad"}]
    with closing(client_of(kind, scribe, MARK)) as client:
        one, error, other = client.score_many([CHAT, bad, CHAT], on_error="return")
    assert float(one) == float(other) == 3.0
    assert isinstance(error, GenerationError)
    assert error.text == text
    assert pickle.loads(pickle.dumps(error)).text == text


def test_41_a_search_holds_up_no_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(pattern: str, text: str) -> str | None:
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        return patterns.last_group(pattern, text)

    monkeypatch.setattr(verdict_module, "last_group", found)
    scribe = Scribe(lambda prompt, seed: "[RESULT] 3")
    with closing(client_of("async", scribe, MARK)) as client:
        assert float(client.score(CHAT)) == 3.0


def test_one_vote_without_a_verdict_is_no_average_of_the_others() -> None:
    scribe = Scribe(lambda prompt, seed: "[RESULT] 3" if seed else "no idea")
    verdict = Verdict(MARK.pattern, MARK.prompt, votes=3)
    with closing(client_of("sync", scribe, verdict)) as client, pytest.raises(GenerationError):
        client.score(CHAT)


@pytest.mark.parametrize(
    ("pattern", "values", "text"),
    [
        (r"mark: (\S+)", None, "mark: nan"),
        (r"mark: (\S+)", None, "mark: inf"),
        (r"mark: (\S+)", None, "mark: 1e999"),
        (r"mark: (\S+)", None, "mark: ٣x"),
        (r"mark: (\w+)", {"good": 1}, "mark: bad"),
        (r"mark:( \d)?", None, "mark: none"),
        (r"mark:( \d)?", {"1": 1}, "mark: none"),
    ],
)
def test_verdicts_that_are_no_numbers(pattern: str, values: Any, text: str) -> None:
    with pytest.raises(GenerationError) as caught:
        Verdict(pattern, "{response}", values=values).value(text)
    assert caught.value.text == text


@given(st.text())
def test_any_text_is_a_number_or_an_error(text: str) -> None:
    try:
        value = MARK.value(text)
    except GenerationError:
        assert not re.search(MARK.pattern, text)
    else:
        assert value in {1, 2, 3, 4, 5}


@given(conversation=st.text(), response=st.text())
def test_what_is_judged_stays_as_it_is(conversation: str, response: str) -> None:
    """Also where it looks like a place of the prompt."""
    turns = [{"role": "user", "content": conversation}]
    verdict = Verdict("(x)", "<{conversation}|{response}|{other}>")
    (asked,) = verdict.judge_prompt(turns, [response]).messages
    assert asked["content"] == f"<{conversation}|{response}|{{other}}>"


def test_several_turns_and_a_system_message() -> None:
    scribe = Scribe(lambda prompt, seed: "[RESULT] 2")
    verdict = Verdict(MARK.pattern, MARK.prompt, system="Be fair.")
    with closing(client_of("sync", scribe, verdict)) as client:
        client.score(
            [*CHAT, {"role": "user", "content": "3+3?"}, {"role": "assistant", "content": "6"}]
        )
    told = "Q: user: 2+2?\n\nassistant: 4\n\nuser: 3+3?\nA: 6\nMark it."
    system = {"role": "system", "content": "Be fair."}
    assert prompts_of(scribe) == [
        rendered([system, {"role": "user", "content": told}], opened=True)
    ]


@pytest.mark.parametrize("kind", OPENERS)
def test_a_round_robin_in_both_orders(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    scribe = Scribe(better)
    answers = ["three", "one", "the longest", "same!"]
    with closing(client_of(kind, scribe, PAIR)) as client, caplog.at_level(logging.INFO):
        client.servers()
        ranking = client.rank("Which?", answers)
    assert PAIR.calls(4) == len(prompts_of(scribe)) == 12
    assert "12 texts compare 4 responses" in caplog.text
    assert ranking.best == "the longest"
    assert ranking.order == (2, 0, 3, 1)
    assert [reward.value for reward in ranking.rewards] == pytest.approx([0.5, 0, 1, 0.5])
    assert len(ranking.comparisons) == 12
    assert {(each.first, each.second) for each in ranking.comparisons} == {
        (one, other) for one in range(4) for other in range(4) if one != other
    }
    for each in ranking.comparisons:
        lengths = len(answers[each.first]), len(answers[each.second])
        assert each.preference == (lengths[0] > lengths[1]) - (lengths[0] < lengths[1])
        assert each.usage.generated_tokens > 0


@pytest.mark.parametrize("kind", OPENERS)
def test_a_judge_that_favours_the_first_place_makes_a_tie(kind: Kind) -> None:
    scribe = Scribe(lambda prompt, seed: "[[A]]")
    with closing(client_of(kind, scribe, PAIR)) as client:
        ranking = client.rank("Which?", ["x", "y"])
    assert [reward.value for reward in ranking.rewards] == [0.5, 0.5]
    assert ranking.best_index == 0
    once = Verdict(PAIR.pattern, PAIR.prompt, values=PAIR.values, both_orders=False)
    with closing(client_of(kind, scribe, once)) as client:
        ranking = client.rank("Which?", ["x", "y"])
    assert [reward.value for reward in ranking.rewards] == [1.0, 0.0]
    assert once.calls(2) == len(ranking.comparisons) == 1


def test_votes_of_a_comparison() -> None:
    scribe = Scribe(lambda prompt, seed: "[[A]]" if seed % 4 else "[[B]]")
    verdict = Verdict(PAIR.pattern, PAIR.prompt, values=PAIR.values, votes=4)
    with closing(client_of("sync", scribe, verdict)) as client:
        ranking = client.rank("Which?", ["x", "y", "z"])
    assert verdict.calls(3) == len(prompts_of(scribe)) == 24
    assert {each.preference for each in ranking.comparisons} == {0.5}


def test_a_single_response_is_compared_with_nothing() -> None:
    scribe = Scribe()
    with closing(client_of("sync", scribe, PAIR)) as client:
        ranking = client.rank("Which?", ["x"])
    assert (ranking.best, PAIR.calls(1), prompts_of(scribe)) == ("x", 0, [])


@pytest.mark.parametrize("kind", OPENERS)
def test_a_comparison_without_a_verdict(kind: Kind) -> None:
    scribe = Scribe(lambda prompt, seed: "both" if "A: y" in prompt else "[[A]]")
    with (
        closing(client_of(kind, scribe, PAIR)) as client,
        pytest.raises(BatchError, match="Cannot compare two responses") as caught,
    ):
        client.rank("Which?", ["x", "y", "z"])
    assert isinstance(caught.value.__cause__, GenerationError)
    assert caught.value.__cause__.text == "both"


@pytest.mark.parametrize("kind", OPENERS)
def test_a_judge_of_two_has_no_reward_for_one(kind: Kind) -> None:
    with (
        closing(client_of(kind, Scribe(better), PAIR)) as client,
        pytest.raises(InputError, match="use rank"),
    ):
        client.score(CHAT)


@pytest.mark.parametrize("kind", OPENERS)
def test_marks_rank_too(kind: Kind) -> None:
    scribe = Scribe(lambda prompt, seed: f"[RESULT] {len(prompt) % 5 + 1}")
    with closing(client_of(kind, scribe, MARK)) as client:
        ranking = client.rank("Which?", ["x", "yy", "zzz"])
    marks = [reward.value for reward in ranking.rewards]
    assert ranking.best_index == marks.index(max(marks))
    assert (ranking.comparisons, MARK.calls(3)) == ((), 3)


def test_roles_of_the_chat_template() -> None:
    scribe = Scribe(lambda prompt, seed: r"\boxed{2}")
    values = {str(mark): (3.5 - mark) / 2.5 for mark in range(1, 7)}
    verdict = Verdict(
        r"\\boxed\{([1-6])\}", roles=("response_1", "response_2"), values=values, both_orders=False
    )
    with closing(client_of("sync", scribe, verdict)) as client:
        ranking = client.rank("Which?", ["x", "y"])
    roles = [("user", "Which?"), ("response_1", "x"), ("response_2", "y")]
    told = [{"role": role, "content": content} for role, content in roles]
    assert prompts_of(scribe) == [rendered(told, opened=True)]
    assert [reward.value for reward in ranking.rewards] == pytest.approx([0.8, 0.2])


@pytest.mark.parametrize("sample", [FormattedText("x"), [1, 2], CHAT[:1]])
def test_what_cannot_be_judged(sample: Any) -> None:
    with closing(client_of("sync", Scribe(), MARK)) as client, pytest.raises(InputError):
        client.score(sample)


def test_a_server_that_only_pools() -> None:
    scribe = Scribe(pools=lambda text: len(text) - 50.5)
    with (
        closing(client_of("sync", scribe, MARK)) as client,
        pytest.raises(RouteNotFoundError, match="does not write: serve the language model"),
    ):
        client.score(CHAT)


@pytest.mark.parametrize(
    "options",
    [
        {"pattern": "(", "prompt": "{response}"},
        {"pattern": "x", "prompt": "{response}"},
        {"pattern": None, "prompt": "{response}"},
        {"pattern": "(x)"},
        {"pattern": "(x)", "prompt": "no place"},
        {"pattern": "(x)", "prompt": "{response_a}", "values": {"x": 1}},
        {"pattern": "(x)", "prompt": "{response}{response_a}{response_b}", "values": {"x": 1}},
        {"pattern": "(x)", "prompt": "{response_a}{response_b}"},
        {"pattern": "(x)", "prompt": "{response_a}{response_b}", "values": {"x": 2}},
        {"pattern": "(x)", "prompt": "{response}", "values": {"x": float("nan")}},
        {"pattern": "(x)", "prompt": "{response}", "values": {"x": "good"}},
        {"pattern": "(x)", "prompt": "{response}", "roles": ("a",)},
        {"pattern": "(x)", "roles": ("a", "b", "c"), "values": {"x": 1}},
        {"pattern": "(x)", "prompt": "{response}", "votes": 2, "temperature": 0.0},
    ],
)
def test_options_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Verdict(**options)


def test_a_verdict_reads_no_head() -> None:
    with pytest.raises(InputError):
        RewardClient("http://vllm", method=MARK, route="pooling")


@pytest.mark.parametrize("kind", OPENERS)
def test_a_judge_by_its_recipe(kind: Kind) -> None:
    scribe = Scribe(lambda prompt, seed: "Feedback: fine. [RESULT] 3")
    options = {"transport": scribe.transport(), "recipe": "prometheus-2"}
    with closing(OPENERS[kind]("http://vllm", **options)) as client:
        reward = client.score(CHAT)
    assert reward.value == 3.0
    assert (reward.provenance.recipe, reward.provenance.method) == ("prometheus-2", "verdict")
    assert "### Instruction\n2+2?\n\n### Response\n4\n" in prompts_of(scribe)[0]


@pytest.mark.parametrize("kind", OPENERS)
def test_a_judge_that_is_not_asked_for_a_verdict(kind: Kind) -> None:
    scribe = Scribe(root="prometheus-eval/prometheus-7b-v2.0")
    with (
        closing(OPENERS[kind]("http://vllm", transport=scribe.transport())) as client,
        pytest.raises(RecipeError, match="recipe='prometheus-2'"),
    ):
        client.score(CHAT)
    # A method of one's own is as good, and the recipe is what is known of the model.
    scribe = Scribe(lambda prompt, seed: "[RESULT] 5", root="prometheus-eval/prometheus-7b-v2.0")
    with closing(client_of(kind, scribe, MARK)) as client:
        assert client.score(CHAT).value == 5.0


def test_what_a_judge_would_not_see_is_refused() -> None:
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "x"}}]}
    parts = {"role": "user", "content": [{"type": "text", "text": "2+2?"}]}
    for sample in (
        Conversation(CHAT, tools=[{"type": "function"}]),
        [call, *CHAT],
        [parts, CHAT[1]],
        [CHAT[0], call],
        Conversation([CHAT[0]], steps=["4"]),
    ):
        with closing(client_of("sync", Scribe(), MARK)) as client, pytest.raises(InputError):
            client.score(sample)


def test_arguments_of_the_chat_template_are_passed_on() -> None:
    scribe = Scribe(lambda prompt, seed: "[RESULT] 1")
    sample = Conversation(CHAT, chat_template_kwargs={"enable_thinking": False})
    with closing(client_of("sync", scribe, MARK)) as client:
        client.score(sample)
        client.score(sample)  # once, the template is asked whether it reads the argument
    assert scribe.asked("/tokenize")[-1]["chat_template_kwargs"] == {"enable_thinking": False}


def test_values_are_the_verdict_s_own() -> None:
    values = {"A": 1.0, "B": -1.0}
    verdict = Verdict(PAIR.pattern, PAIR.prompt, values=values)
    values["A"] = float("nan")
    assert verdict.value("[[A]]") == 1.0


@pytest.mark.parametrize("kind", OPENERS)
def test_the_deadline_holds_for_a_ranking(kind: Kind) -> None:
    async def slowly(request: httpx.Request) -> httpx.Response:
        if b'"seed"' in request.content:
            await asyncio.sleep(60)
        return scribe.answer(request)

    scribe = Scribe(better)
    transport = httpx.MockTransport(slowly)
    options: dict[str, Any] = {"transport": transport, "timeout": Timeouts(total=0.3)}
    with (
        closing(OPENERS[kind]("http://vllm", method=PAIR, **options)) as client,
        pytest.raises(RewardTimeoutError),
    ):
        client.rank("Which?", ["x", "y"])


@pytest.mark.parametrize("kind", OPENERS)
def test_errors_that_are_not_this_package_s_come_as_they_are(kind: Kind) -> None:
    def broken(request: httpx.Request) -> httpx.Response | None:
        if b'"seed"' in request.content:
            raise ZeroDivisionError
        return None

    with (
        closing(client_of(kind, Scribe(better, before=broken), PAIR)) as client,
        pytest.raises(ZeroDivisionError),
    ):
        client.rank("Which?", ["x", "y"])


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize(("what", "value"), [("version", "0.31.0"), ("sure", -4.0)])
def test_another_judge_in_the_middle_of_a_ranking(kind: Kind, what: str, value: Any) -> None:
    """All comparisons are of one model; other weights show in how sure it is of its tokens."""
    changed = False

    def replaced(request: httpx.Request) -> httpx.Response | None:
        nonlocal changed
        if not changed and len(prompts_of(scribe)) > 3:
            changed = True
            setattr(scribe, what, value)
            scribe.writes = lambda prompt, seed: "[[C]]"
            raise httpx.ConnectError("refused")
        return None

    scribe = Scribe(lambda prompt, seed: "[[A]]", before=replaced)
    options: dict[str, Any] = {"limits": Limits(max_concurrency=1)}
    with closing(client_of(kind, scribe, PAIR, **options)) as client:
        ranking = client.rank("Which?", ["x", "y", "z"])
    assert changed
    assert {each.preference for each in ranking.comparisons} == {0.0}
    assert {reward.provenance.server_version for reward in ranking.rewards} == {scribe.version}


@pytest.mark.parametrize("kind", OPENERS)
def test_replicas_of_a_judge_need_not_be_equally_sure(kind: Kind) -> None:
    one, other = Scribe(lambda p, s: "[RESULT] 3"), Scribe(lambda p, s: "[RESULT] 3")
    other.sure = 2.5
    urls = ["http://one", "http://other"]
    transport = transport_to({"one": one, "other": other})
    with closing(OPENERS[kind](urls, transport=transport, method=MARK)) as client:
        assert [reward.value for reward in client.score_many([CHAT] * 8)] == [3.0] * 8
        assert len(client.servers()) == 2


@pytest.mark.parametrize(
    "options",
    [
        {"prompt": 5},
        {"roles": 5},
        {"roles": "ab"},
        {"roles": (1, 2)},
        {"roles": ("",)},
        {"prompt": "{response}", "pattern": b"(x)"},
        {"prompt": "{response}", "values": [1]},
        {"prompt": "{response}", "values": {1: 1}},
        {"prompt": "{response}", "values": {"x": 10**400}},
        {"prompt": "{response}", "values": {"x": True}},
        {"prompt": "{response}", "both_orders": "no"},
        {"prompt": "{response}", "system": 5},
        {"prompt": "{response}", "temperature": 10**400},
        {"prompt": "{response}", "temperature": "1"},
    ],
)
def test_options_of_wrong_types(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Verdict(**{"pattern": "(x)", **options})


@pytest.mark.parametrize(
    "change",
    [
        lambda payload: payload["usage"].pop("prompt_tokens"),
        lambda payload: payload["usage"].update(prompt_tokens=1),
        lambda payload: payload["usage"].update(completion_tokens=None),
        lambda payload: payload["choices"].append(payload["choices"][0]),
        lambda payload: payload["choices"].clear(),
        lambda payload: payload["choices"][0].update(text=None),
        lambda payload: payload.pop("choices"),
    ],
)
def test_replies_that_cannot_be_believed(change: Any) -> None:
    def changed(request: httpx.Request, payload: Any) -> None:
        if b'"seed"' in request.content:
            change(payload)

    scribe = Scribe(lambda prompt, seed: "[RESULT] 3", after=changed)
    with (
        closing(client_of("sync", scribe, MARK)) as client,
        pytest.raises(ResponseMismatchError),
    ):
        client.score(CHAT)


def test_the_model_s_own_generation_settings_are_switched_off() -> None:
    scribe = Scribe(lambda prompt, seed: "[RESULT] 3")
    with closing(client_of("sync", scribe, MARK)) as client:
        client.score(CHAT)
    (sent,) = [body for body in scribe.asked("/v1/completions") if "seed" in body]
    assert {
        "skip_special_tokens": True,
        "top_p": 1.0,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
    }.items() <= sent.items()


def test_a_text_that_the_server_gave_up() -> None:
    scribe = Scribe(lambda prompt, seed: "[RESULT] 3", ending="abort")
    with (
        closing(client_of("sync", scribe, MARK)) as client,
        pytest.raises(GenerationError, match="not finished by the server"),
    ):
        client.score(CHAT)


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize(("method", "seen"), [(MARK, "ok"), (PAIR, "not checked")])
def test_the_doctor_looks_at_judges(kind: Kind, method: Verdict, seen: str) -> None:
    scribe = Scribe(lambda prompt, seed: "[RESULT] 3")
    with closing(client_of(kind, scribe, method)) as client:
        diagnosis = client.diagnose()
    found = {finding.check: finding for finding in diagnosis.findings}
    assert found["sample"].verdict == seen
    assert {finding.verdict for finding in diagnosis.findings} == {"ok", "not checked"}


def test_a_recipe_whose_verdict_cannot_be(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[verdict]\npattern = "("\nprompt = "{response}"\n')
    with pytest.raises(RecipeError, match="not a valid regular expression"):
        RewardClient("http://vllm", recipe=path)
