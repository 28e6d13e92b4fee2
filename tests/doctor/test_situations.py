"""Each situation ends in the right verdict and a cure, and in no other complaint."""

from __future__ import annotations

import logging
import re

import pytest

from reward_client import LinearHead, ObjectiveHead, RewardClient
from reward_client._base.token_ids import TokenIds

from ..support.sglang_flags import sglang_flags
from .conftest import Connect, Serve
from .sglang_situations import SGLANG_SITUATIONS
from .situations import KEY, SITUATIONS, STEP_HEAD, Situation, complaints

DIALECTS = ("0.8", "0.10", "0.12", "0.16", "0.20", "0.25", "0.32", "0.33")


@pytest.mark.parametrize("situation", [*SITUATIONS, *SGLANG_SITUATIONS], ids=lambda each: each.name)
def test_situation(
    situation: Situation, serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = serve(**situation.serves)
    situation.wrong(server)
    diagnosis = connect(server.url, **situation.client(server)).diagnose(situation.sample)

    found = {finding.check: finding for finding in diagnosis.findings}
    assert len(found) == len(diagnosis.findings)
    for check, (verdict, detail, cure) in situation.expected.items():
        assert found[check].verdict == verdict, found[check]
        assert detail in found[check].detail
        assert cure in (found[check].cure or "")
    assert complaints(diagnosis.findings) == {
        check: verdict
        for check, (verdict, _, _) in situation.expected.items()
        if verdict in ("failed", "warning")
    }
    assert diagnosis.status == situation.status
    for finding in diagnosis.findings:
        assert bool(finding.cure) == (finding.verdict in ("failed", "warning"))
    for secret in (KEY, "Two and two", "37 + 45"):
        assert secret not in caplog.text
    assert KEY not in diagnosis.model_dump_json()


OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]+")
OWN = {"--api-key", "--json", "--model", "--recipe", "--tokenizer", "--verify"}


@pytest.mark.parametrize("situation", SGLANG_SITUATIONS, ids=lambda each: each.name)
def test_cures_name_options_that_sglang_has(
    situation: Situation, serve: Serve, connect: Connect
) -> None:
    server = serve(**situation.serves)
    diagnosis = connect(server.url, **situation.client(server)).diagnose()
    cures = " ".join(finding.cure or "" for finding in diagnosis.findings)
    cures = re.sub(r"\(vLLM: [^)]*\)", "", cures)
    flags = sglang_flags()
    known = flags.get(situation.serves["dialect"], flags["0.4.9.post6"])
    assert set(OPTION.findall(cures)) - OWN <= known


SERVED = {
    "sequence": {"0.8": "activation"},
    "token": dict.fromkeys(DIALECTS, "head"),
    "labels": {"0.8": "activation"},
    "steps": {},
    "embed": {"0.8": "activation"},
    "export": dict.fromkeys(DIALECTS, "activation"),
    "export-steps": dict.fromkeys(DIALECTS, "activation"),
}
"""What is complained about by head and version: nothing, where there is none."""
HEADS = {
    "labels": ObjectiveHead(5),
    "steps": STEP_HEAD,
    "embed": LinearHead([1.0] * 128),
    "export-steps": STEP_HEAD,
}


# vLLM applies the Dense modules of an exported head since 0.10.2, to each token since 0.16.
CASES = [
    (head, dialect)
    for head in SERVED
    for dialect in DIALECTS
    if (head, dialect) != ("export", "0.8")
    and not (head == "export-steps" and dialect in ("0.8", "0.10", "0.12"))
]


@pytest.mark.parametrize(("head", "dialect"), CASES)
def test_every_version_and_head(head: str, dialect: str, serve: Serve) -> None:
    with RewardClient(
        serve(dialect=dialect, head=head).url, head=HEADS.get(head, "auto")
    ) as client:
        diagnosis = client.diagnose()

    wrong = SERVED[head].get(dialect)
    verdict = "warning" if head in ("token", "export", "export-steps") else "failed"
    assert complaints(diagnosis.findings) == ({} if wrong is None else {wrong: verdict})
    scored = diagnosis.reward is not None and diagnosis.profile is not None
    assert scored == (verdict == "warning" or wrong is None)
    assert diagnosis.tokens is not None
    assert diagnosis.tokens.bos_count == 1
    if diagnosis.reward is not None:
        assert diagnosis.reward.token_digest == TokenIds.of(diagnosis.tokens.token_ids).digest


@pytest.mark.parametrize("head", ["sequence", "labels", "embed"])
def test_the_recommended_flag_solves_the_problem(head: str, serve: Serve) -> None:
    wrong, mended = (serve(dialect="0.8", head=head, raw=raw) for raw in (False, True))
    statuses: list[int] = []
    for server in (wrong, mended):
        with RewardClient(server.url, head=HEADS.get(head, "auto")) as client:
            statuses.append(client.diagnose().status)
    assert statuses == [2, 0]
