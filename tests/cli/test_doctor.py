"""`reward-client doctor`: what it prints, and its exit status."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from reward_client import cli
from reward_client.testing import Fault, RewardServer

from ..doctor.conftest import Serve
from ..doctor.situations import KEY, tokens
from ..support.altered import ALWAYS, alter_replies

NOBODY = "http://127.0.0.1:9"
ROOT = Path(__file__).parents[2]

HEALTHY = [
    *("reach", "key", "version", "model", "recipe", "length limit", "route", "head", "activation"),
    *("tokens", "BOS", "generation prompt", "template", "text path", "local tokenizer"),
    *("keep-alive", "sample", "one server", "reference value"),
]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
    """Runs the command; its exit status, output and errors."""

    def run_command(*arguments: str) -> tuple[int, str, str]:
        status = cli.main(["doctor", *arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run_command


@pytest.fixture
def look(run):
    """Runs the command for machines."""

    def look_at(*arguments: str) -> dict[str, Any]:
        status, out, _ = run("--json", *arguments)
        report = json.loads(out)
        assert report["status"] == status
        return report

    return look_at


def test_healthy(serve: Serve, run) -> None:
    server = serve()
    status, out, err = run(server.url)
    first, *lines, closing, empty = out.splitlines()
    assert (status, err, first, empty) == (0, "", server.url, "")
    assert [line[6:23].strip() for line in lines] == HEALTHY
    assert closing == "No problem found. (16 ok, 3 not checked)"


def test_warnings(serve: Serve, run) -> None:
    status, out, _ = run(serve(head="token").url)
    assert status == 1
    assert "WARN  head               scalar (last token, assumed)" in out
    assert "\n                         cure: For Qwen2ForRewardModel" in out


def test_failures(serve: Serve, run) -> None:
    status, out, _ = run(serve(dialect="0.8").url)
    assert status == 2
    assert "FAIL  activation " in out
    assert """cure: Start the server with --override-pooler-config '{"softmax": false}'.""" in out
    assert "ok    template " in out


def test_the_keys_of_the_json(serve: Serve, look) -> None:
    report = look(serve().url, NOBODY)
    assert list(report) == ["status", "servers", "replicas"]
    healthy, nobody = report["servers"]
    for server in (healthy, nobody):
        assert list(server) == ["status", "url", "findings", "profile", "tokens", "reward"]
        for finding in server["findings"]:
            assert list(finding) == ["check", "verdict", "detail", "cure"]
    assert [finding["check"] for finding in healthy["findings"]] == HEALTHY
    assert {finding["verdict"] for finding in healthy["findings"]} == {"ok", "not checked"}
    assert (healthy["status"], nobody["status"], report["status"]) == (0, 2, 2)
    assert (nobody["profile"], nobody["tokens"], nobody["reward"]) == (None, None, None)
    assert [finding["check"] for finding in nobody["findings"]] == ["reach"]


def test_the_reward_and_its_provenance_in_json(serve: Serve, look) -> None:
    server = serve()
    (found,) = look(server.url)["servers"]
    ids = found["tokens"]["token_ids"]
    assert found["reward"]["value"] == pytest.approx(server.reference(ids), abs=1e-4)
    assert found["reward"]["token_count"] == len(ids)
    provenance = found["reward"]["provenance"]
    assert (provenance["model"], provenance["route"], provenance["activation"]) == (
        "sum-judge",
        "pooling",
        "none",
    )
    assert found["profile"]["url"] == server.url


def test_the_key(serve: Serve, run, monkeypatch: pytest.MonkeyPatch) -> None:
    url = serve(api_key=KEY).url
    status, out, err = run(url, "--api-key", KEY)
    assert status == 0
    assert KEY not in out + err
    status, out, err = run(url, "--api-key", "sk-another-key-98765")
    assert status == 2
    assert "98765" not in out + err
    monkeypatch.setenv("REWARD_CLIENT_API_KEY", KEY)
    assert run(url)[0] == 0


def test_the_model(serve: Serve, run) -> None:
    url = serve().url
    assert run(url, "--model", "sum-judge")[0] == 0
    assert run(url, "--model", "nobody")[0] == 2


KNOWN = "Skywork/Skywork-Reward-V2-Llama-3.1-8B"


@pytest.mark.parametrize(
    ("arguments", "followed", "status"),
    [
        ([], "The recipe skywork-reward-v2-llama does not fit", 2),  # it has other special tokens
        (["--recipe", KNOWN], "The recipe skywork-reward-v2-llama does not fit", 2),
        (["--recipe", "none"], f"No recipe applies to {KNOWN}.", 0),
        (["--recipe", "mine.toml"], "mine (digest ", 0),
    ],
)
def test_the_recipe(
    serve: Serve, look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments, followed, status
) -> None:
    """Looked up by the server's model root, named, none, or of a file."""
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text('models = ["my/judge"]\n[head]\ntype = "scalar"\n', "utf-8")
    report = look(serve(root=KNOWN).url, *arguments)
    details = {each["check"]: each["detail"] for each in report["servers"][0]["findings"]}
    assert details["recipe"].startswith(followed)
    assert report["status"] == status


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["ftp://127.0.0.1"], "URL must look like"),
        (["http://me:a-password@127.0.0.1"], "no user or password"),
        (["--recipe", "missing.toml"], "Cannot read the recipe missing.toml"),
        (["--recipe", "no-such-model"], "There is no recipe for 'no-such-model'"),
        (["--api-key", "two\nlines"], "printable ASCII"),
    ],
)
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_wrong_options_are_told_before_any_server_is_asked(
    serve: Serve, run, arguments: list[str], says: str, form: list[str]
) -> None:
    server = serve(model_name="unasked")
    status, out, err = run(*form, server.url, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("reward-client: ")
    assert says in err
    assert "a-password" not in err
    assert not server.requests


REPLICAS = [
    ({}, 0, "ok", "gives the same tokens and reward as"),
    ({"head": "token"}, 1, "ok", "gives the same tokens and reward as"),  # and its own warning
    ({"version": "0.32.1"}, 1, "warning", "runs vLLM 0.32.0, "),
    ({"max_model_len": 512}, 1, "warning", "takes 1024 tokens, "),
    ({"dialect": "0.25"}, 2, "failed", "vLLM 0.32.0 and 0.25.1"),
    ({"root": "reward-client/another"}, 2, "failed", "sum-judge and reward-client/another"),
    ({"values": lambda ids: float(len(ids))}, 2, "failed", "and 37 for the same sample"),
    ({"dialect": "0.8"}, 2, "not checked", "gave no reward to compare"),
]


@pytest.mark.parametrize(("options", "status", "verdict", "detail"), REPLICAS)
def test_replicas(serve: Serve, look, options, status, verdict, detail) -> None:
    report = look(serve().url, serve(model_name="sum-judge", **options).url)
    (finding,) = report["replicas"]
    assert finding["check"] == "replicas"
    assert finding["verdict"] == verdict
    assert detail in finding["detail"]
    assert bool(finding["cure"]) == (verdict in ("failed", "warning"))
    assert report["status"] == status


def test_replicas_with_another_chat_template(serve: Serve, look) -> None:
    one, two = serve(), serve(model_name="other")
    tokens(lambda ids: [*ids[:5], *ids[6:]])(two)
    (finding,) = look(one.url, two.url)["replicas"]
    assert finding["verdict"] == "failed"
    assert "different token IDs for the same sample, from position 5 on" in finding["detail"]
    assert "the same chat template" in finding["cure"]


def test_replicas_behind_a_dead_one(serve: Serve, run) -> None:
    one, two = serve(), serve(model_name="sum-judge")
    status, out, _ = run(NOBODY, one.url, two.url)
    assert status == 2
    assert f"{NOBODY} gave no reward to compare." in out
    assert f"{two.url} gives the same tokens and reward as {one.url}." in out


def test_a_single_server_has_no_replicas(serve: Serve, look) -> None:
    assert look(serve().url)["replicas"] == []


def test_a_terminal_without_unicode(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve()
    alter_replies(
        server,
        "/v1/models",
        lambda _, response: response["data"][0].update(root="東京/\x1b[31mjudge\u202e"),
    )
    bytes_written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(bytes_written, encoding="ascii"))
    assert cli.main(["doctor", server.url]) == 0
    assert rb"\u6771\u4eac/\x1b[31mjudge\u202e" in bytes_written.getvalue()


def test_ctrl_c_ends_it_at_once() -> None:
    with RewardServer() as server:
        server.inject(Fault.delay(30), path="/pooling", times=ALWAYS)
        command = "import sys; from reward_client.cli import main; sys.exit(main())"
        process = subprocess.Popen(
            [sys.executable, "-c", command, "doctor", server.url],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            deadline = time.monotonic() + 60
            while not any(request.path == "/pooling" for request in server.requests):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=20)  # the reply would take 30
        finally:
            process.kill()
            process.communicate()
    assert process.returncode == 130
    assert (out, err) == (b"", b"")
