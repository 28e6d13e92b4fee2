"""What is made of what was seen: the decisions, without a server."""

from __future__ import annotations

import pytest

from reward_client import (
    AuthenticationError,
    BadRequestError,
    Conversation,
    Diagnosis,
    Finding,
    FormattedText,
    NotARewardError,
    RecipeError,
    RewardClientError,
    RewardTimeoutError,
    RouteNotFoundError,
    ServerUnreachableError,
    ShapeError,
    errors,
)
from reward_client._base.token_ids import TokenIds
from reward_client._doctor import prompt_checks as prompts
from reward_client._doctor.error_findings import (
    discovery_finding,
    error_finding,
    identity_findings,
    split_hint,
)
from reward_client._doctor.report import FindingStatus
from reward_client._tokenization import PromptRules

CHAT = Conversation([{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}])
TEXT = FormattedText("2 + 2? 4")
BOS = 1


@pytest.mark.parametrize(
    ("demanded", "token", "count", "prompt", "verdict"),
    [
        (None, None, 0, CHAT, "ok"),
        (False, None, 0, CHAT, "ok"),
        (True, None, 0, CHAT, "failed"),
        (None, BOS, 0, CHAT, "warning"),
        (None, BOS, 1, CHAT, "ok"),
        (None, BOS, 2, CHAT, "failed"),
        (None, BOS, 3, TEXT, "failed"),
        (True, BOS, 0, CHAT, "ok"),
        (True, BOS, 0, TEXT, "failed"),
        (True, BOS, 1, TEXT, "ok"),
        (True, BOS, 2, CHAT, "failed"),
        (False, BOS, 0, TEXT, "ok"),
        (False, BOS, 1, CHAT, "failed"),
        (False, BOS, 2, CHAT, "failed"),
    ],
)
def test_bos(demanded, token, count, prompt, verdict) -> None:
    """Never well where `PromptRules.finished` refuses the sample, and the other way round."""
    rules = PromptRules(bos=demanded, bos_token_id=token)
    ids = TokenIds.of((*[BOS] * count, 7, 8))
    assert prompts.bos(rules, ids, prompt).verdict == verdict
    try:
        rules.finished(ids, prompt)
    except errors.InputError:
        assert verdict == "failed"
    else:
        assert verdict != "failed" or (demanded is None and count > 1)


OPEN, CLOSED = [1, 2, 3, 9], [1, 2, 3]


@pytest.mark.parametrize(
    ("closed", "opened", "demanded", "text", "verdict"),
    [
        (CLOSED, OPEN, False, "U:q;A:a;", "ok"),
        (CLOSED, OPEN, True, "U:q;A:a;A:", "ok"),
        (CLOSED, CLOSED, True, "U:q;A:a;", "failed"),
        (CLOSED, CLOSED, False, "U:q;A:a;", "ok"),
        (OPEN, OPEN, False, "U:q;A:a;A:", "warning"),
        (OPEN, OPEN, False, "U:q;A:a;A: ", "warning"),
        (OPEN, OPEN, False, "", "ok"),
        (OPEN, OPEN, False, "the template rewrites both", "ok"),
        (CLOSED, CLOSED, False, "q\na\n", "ok"),
    ],
)
def test_generation_prompt(closed, opened, demanded, text, verdict) -> None:
    finding = prompts.generation_prompt(
        closed, opened, required=demanded, text=text, turns=["q", "a"]
    )
    assert finding.verdict == verdict


def test_a_generation_prompt_after_one_turn() -> None:
    found = prompts.generation_prompt([1], [1], required=False, text="U:q;", turns=["q"])
    assert found.verdict == "ok"


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        ("<s>user 2 + 2? assistant 4</s>", []),
        ("<s>user 2+2 ?assistant 4</s>", []),  # a tokenizer that knows no spaces
        ("<s>USER 2 + 2? ASSISTANT 4", []),
        ("<s>user 2 + 2?</s>", ["assistant"]),
        ("<s>assistant 4", ["user"]),
        ("", ["user", "assistant"]),
    ],
)
def test_lost_turns(text: str, lost: list[str]) -> None:
    assert prompts.lost_turns(CHAT, text) == lost


def test_parts_are_not_looked_for() -> None:
    parts = [{"type": "text", "text": "2 + 2?"}]
    conversation = Conversation([{"role": "user", "content": parts}])
    assert prompts.lost_turns(conversation, "") == []


@pytest.mark.parametrize(
    ("plain", "special", "verdict", "words"),
    [
        ([7, 8], [7, 8], "ok", "the same tokens."),
        ([7, 8], [1, 7, 8], "ok", "adds 1 to a text"),
        ([7, 9], [1, 7, 9], "warning", "2 tokens; its text gives 2 different ones"),
        ([7], [7], "warning", "its text gives 1 different"),
    ],
)
def test_text_path(plain, special, verdict, words) -> None:
    finding = prompts.text_path((7, 8), plain, special)
    assert (finding.verdict, words in finding.detail) == (verdict, True)


def test_a_long_prompt_is_shortened() -> None:
    detail = prompts.tokens(10**4, "a" * 5000 + "b" * 5000).detail
    assert len(detail) < 250
    assert "…" in detail


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("It is so. Do that.", ("It is so.", "Do that.")),
        ("Is it so? `do that`.", ("Is it so?", "`do that`.")),
        ("vLLM 0.8.5 does that. Upgrade it. Now.", ("vLLM 0.8.5 does that.", "Upgrade it. Now.")),
        ("It is so. and so on.", ("It is so. and so on.", "")),
        ("", ("", "")),
    ],
)
def test_split_hint(text: str, parts: tuple[str, str]) -> None:
    assert split_hint(text) == parts


KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, RewardClientError)
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("message", ["", "No.", "No. Do it.", "HTTP 400: no. Do it."])
def test_every_error_becomes_a_finding_with_a_cure(kind, message: str) -> None:
    error = kind(message)
    for finding in (
        error_finding("sample", error),
        discovery_finding(error, head_named=True, hint="Serve it."),
        discovery_finding(error, head_named=False, hint="Serve it."),
        identity_findings(error)[-1],
    ):
        assert finding.verdict == "failed"
        assert finding.cure


@pytest.mark.parametrize(
    ("said", "detail"),
    [
        ("", "HTTP 400 with an empty body. [POST http://x/pooling, request id rc-1]"),
        (
            "No. Never. Not so",
            "HTTP 400: No. Never. Not so. [POST http://x/pooling, request id rc-1]",
        ),
        ("No.", "HTTP 400: No. [POST http://x/pooling, request id rc-1]"),
        ("HTTP", "HTTP 400: HTTP. [POST http://x/pooling, request id rc-1]"),
    ],
)
def test_the_servers_own_words(said: str, detail: str) -> None:
    happened = f": {said}" if said else " with an empty body"
    error = BadRequestError(
        f"HTTP 400{happened}. The same request would get the same response.",
        status=400,
        server_message=said,
        endpoint="POST http://x/pooling",
        request_id="rc-1",
    )
    finding = error_finding("sample", error)
    assert finding.detail == detail
    assert "please report" in (finding.cure or "")


@pytest.mark.parametrize(
    ("error", "check"),
    [
        (ServerUnreachableError("Refused. Is it up?"), "reach"),
        (RewardTimeoutError("Silent. Wait."), "reach"),
        (AuthenticationError("HTTP 401."), "key"),
        (errors.ModelNotFoundError("None."), "model"),
        (RouteNotFoundError("HTTP 404."), "server"),
        (errors.ProtocolError("HTML."), "server"),
        (BadRequestError("HTTP 400."), "server"),
        (errors.ServerError("HTTP 502."), "reach"),
        (errors.EngineDeadError("Dead."), "reach"),
        (OSError("a bug"), "reach"),
    ],
)
def test_what_keeps_one_from_the_server(error: Exception, check: str) -> None:
    *before, last = identity_findings(error)
    assert last.check == check
    assert [finding.verdict for finding in before] == ["ok"] * len(before)
    assert [finding.check for finding in before] == (
        {"reach": [], "model": ["reach", "key"]}.get(check, ["reach"])
    )


@pytest.mark.parametrize(
    ("error", "check"),
    [
        (errors.ActivationError("No. Do."), "activation"),
        (NotARewardError("No. Do."), "head"),
        (ShapeError("No. Do."), "head"),
        (errors.InputError("No. Do."), "head"),
        (RecipeError("No. Do."), "recipe"),
        (RouteNotFoundError("No. Do."), "route"),
        (ServerUnreachableError("No. Do."), "route"),
        (errors.ProtocolError("No. Do.", endpoint="POST http://x/tokenize"), "tokens"),
        (errors.ProtocolError("No. Do.", endpoint="POST http://x/detokenize"), "tokens"),
        (KeyError("a bug"), "route"),
    ],
)
def test_what_keeps_one_from_a_reward(error: Exception, check: str) -> None:
    assert discovery_finding(error, head_named=False, hint="Serve it.").check == check


def test_a_recipe_that_does_not_fit_says_why() -> None:
    error = RecipeError("The recipe x does not fit. The model answers with 5 values. Give it.")
    error.__cause__ = ShapeError("The model answers with 5 values. Give it.")
    finding = error_finding("recipe", error)
    assert finding.detail == "The recipe x does not fit. The model answers with 5 values."
    assert "--recipe" in (finding.cure or "")


def diagnosis(*verdicts: FindingStatus) -> Diagnosis:
    findings = [
        Finding(check="sample", verdict=verdict, detail="It is so.", cure="Do that.")
        for verdict in verdicts
    ]
    return Diagnosis(url="http://x", findings=tuple(findings))


@pytest.mark.parametrize(
    ("verdicts", "status", "closing"),
    [
        ((), 0, "No problem"),
        (("ok", "not checked"), 0, "No problem found. (1 ok, 1 not checked)"),
        (("ok", "warning", "ok"), 1, "Read the warnings"),
        (("warning", "failed", "ok"), 2, "Do not trust this server"),
    ],
)
def test_status(verdicts, status, closing) -> None:
    found = diagnosis(*verdicts)
    assert found.status == status
    assert str(found).splitlines()[-1].startswith(closing)


LONG = Finding(
    check="generation prompt",
    verdict="failed",
    detail="A detail of many words that says at length what was seen on this server. " * 3,
    cure="Start it with --override-pooler-config '{\"softmax\": false}'. " * 3,
)


@pytest.mark.parametrize(("columns", "width"), [("80", 80), ("120", 120), ("20", 60)])
def test_as_wide_as_the_terminal(columns: str, width: int, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    lines = str(LONG).splitlines()
    assert max(map(len, lines)) <= width
    assert lines[0].startswith("FAIL  generation prompt  A detail")
    assert all(line.startswith(" " * 25) and line[25] != " " for line in lines[1:])
    assert sum(line.startswith(f"{'':25}cure: Start") for line in lines) == 1
    assert " ".join(" ".join(lines).split()) == (
        " ".join(f"FAIL generation prompt {LONG.detail} cure: {LONG.cure}".split())
    )


def test_one_line_each_where_there_is_no_terminal(monkeypatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr("sys.__stdout__", None)
    assert len(str(LONG).splitlines()) == 2


def test_nothing_steers_the_terminal() -> None:
    hostile = "\x1b[2J\x07\r\nbad\u202e\ud800\u2028 end"
    finding = Finding(check="model", verdict="ok", detail=hostile)
    assert str(finding).isprintable()
    assert r"\x1b[2J\x07\r\nbad\u202e\ud800\u2028 end" in str(finding)
