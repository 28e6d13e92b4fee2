"""The commands `demo` and `serve`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import httpx
import pytest

from reward_client._base.activation import sigmoid
from reward_client.cli import main
from reward_client.cli._plain import explain
from reward_client.testing import Fault, RewardServer, demo_pairs

from ..files.conftest import write_rows
from ..files.killing import COMMAND

CHAT = [{"role": "user", "content": "What is 2 + 2?"}, {"role": "assistant", "content": "4"}]


def test_demo_starts_its_own_server(capsys):
    assert main(["demo"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("The built-in test server at http://127.0.0.1:")
    assert "answers as vLLM 0.32.0: model sum-judge, route pooling" in out
    accuracy = float(out.rpartition("%).")[0].rpartition("(")[2])
    assert accuracy >= 90
    assert "400 conversations in" in out
    assert out.count("right  ") + out.count("WRONG  ") == 10
    rows = [line.split() for line in out.splitlines() if "  right  " in line or "  WRONG  " in line]
    for good, bad, _, *plain in (row[:5] for row in rows):
        read = [sigmoid(float(value)) for value in (good, bad)]
        assert [float(value) for value in plain] == pytest.approx(read, abs=1e-3)
    assert "a plain client" in out
    assert "reads the sigmoid of each reward" in out
    assert "equal the model's own forward pass, to 1e-05." in out


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ({"dialect": "0.12"}, "the sigmoid of each reward"),
        ({"raw": True}, "the same numbers"),
        ({"head": "export"}, "the same numbers"),
        ({"head": "token"}, "the first one that the server sends is no reward"),
        ({"dialect": "0.10"}, None),
        ({"engine": "sglang"}, None),
    ],
)
def test_what_a_plain_client_reads(capsys, server, said):
    with RewardServer(**server) as running:
        assert main(["demo", "--url", running.url]) == 0
    out = capsys.readouterr().out
    assert ("answers as SGLang 0.5.23:" in out) == ("engine" in server)
    assert "forward pass" not in out  # only the model of the test server is at hand
    assert (said in out) if said else ("plain client" not in out)


def test_a_server_that_renders_no_conversation(capsys):
    with RewardServer(engine="sglang", dialect="0.5.22") as running:
        command = ["demo", "--url", running.url, "--tokenizer", str(RewardServer.checkpoint)]
        assert main(command) == 0
    out = capsys.readouterr().out
    assert "answers as SGLang 0.5.22:" in out
    assert "195 of 200 pairs" in out


def test_what_the_numbers_of_a_plain_client_are():
    assert "1 for each answer" in explain([3.0, -2.0], [1.0, 1.0])
    assert "sigmoid" in explain([3.0, -2.0], [0.953, 0.119])
    assert "same" in explain([3.0, -2.0], [3.0, -2.0])
    assert "no reward" in explain([3.0, -2.0], [-0.124, -0.118])


def test_demo_on_a_running_server(capsys, tmp_path, monkeypatch):
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("\n".join(json.dumps(pair) for pair in demo_pairs()[:3]) + "\n", "utf-8")
    monkeypatch.setenv("REWARD_CLIENT_API_KEY", "secret")
    with RewardServer(api_key="secret", model_name="judge") as server:
        assert main(["demo", "--url", server.url, "--model", "judge", "--pairs", str(pairs)]) == 0
        start = f"The server at {server.url} "
    out = capsys.readouterr().out
    assert out.startswith(start)
    assert "answers as vLLM 0.32.0: model judge" in out
    assert "of 3 pairs" in out


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "What is 2 + 2?", "chosen": "4", "rejected": "5"},
        {"system": "Be brief.", "prompt": "What is 2 + 2?", "chosen": "4", "rejected": "5"},
        {"prompt": [CHAT[0]], "chosen": [CHAT[1]], "rejected": "5", "id": 3},
        {"chosen": CHAT, "rejected": [*CHAT, *CHAT], "chat_template_kwargs": {"x": 1}},
    ],
)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_pairs_in_every_form_that_score_takes(capsys, tmp_path, row, suffix):
    pairs = write_rows(tmp_path / f"pairs.jsonl{suffix}", [row, row])
    assert main(["demo", "--pairs", str(pairs)]) == 0
    out = capsys.readouterr().out
    assert "of 2 pairs" in out
    assert "  4  " in out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "contains no pairs"),
        ('{"chosen": []}\n', "The row has chosen."),
        ('{"text": "2 + 2 = 4"}\n', "Cannot use row 0 of"),
        ("[1]\n", "it is not a JSON object"),
        (None, "Cannot read"),
    ],
)
def test_bad_pairs(capsys, tmp_path, content, message):
    path = tmp_path / "pairs.jsonl"
    if content is not None:
        path.write_text(content, "utf-8")
    assert main(["demo", "--pairs", str(path)]) == 1
    assert message in capsys.readouterr().err


def test_errors_of_the_client_have_no_traceback(capsys):
    with RewardServer() as server:
        assert main(["demo", "--url", server.url, "--model", "nobody"]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("reward-client: ")
    assert "nobody" in captured.err


def test_interrupt(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("reward_client.cli.demo._score", interrupted)
    assert main(["demo", "--url", "http://127.0.0.1:9"]) == 130


@pytest.mark.parametrize(
    ("options", "title", "path", "version"),
    [
        (["--dialect", "0.8", "--raw"], "vLLM 0.8", "/version", "0.8.5"),
        (["--engine", "sglang"], "SGLang 0.5.23", "/server_info", "0.5.23"),
    ],
)
def test_serve_until_interrupted(options, title, path, version):
    command = [sys.executable, "-c", COMMAND]
    process = subprocess.Popen(
        [*command, "serve", "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert line.startswith(f"Serving sum-judge as {title} at ")
        url = line.split(" at ")[1].split(";")[0]
        assert httpx.get(url + path).json()["version"] == version
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
        assert (process.returncode, errors) == (0, "")
    finally:
        process.kill()
        process.communicate()


def test_serve_a_version_of_the_other_engine(capsys):
    assert main(["serve", "--engine", "sglang", "--dialect", "0.32"]) == 1
    assert "Name one of 0.4.9, 0.5.22, 0.5.23." in capsys.readouterr().err


def test_serve_on_a_taken_port(capsys):
    with RewardServer() as server:
        assert main(["serve", "--port", server.url.rpartition(":")[2]]) == 1
    assert "Cannot listen on port" in capsys.readouterr().err


def test_client_survives_a_reset():
    """The faults and the client know each other: a reset is tried again."""
    from reward_client import RewardClient

    with RewardServer() as server, RewardClient(server.url) as client:
        client.servers()
        server.inject(Fault.reset(), path="/pooling")
        conversation = demo_pairs()[0]["chosen"]
        ids = client.tokenize(conversation).token_ids
        assert client.score(conversation).value == pytest.approx(server.reference(ids), abs=1e-5)


def test_a_reader_that_has_enough():
    """As in `reward-client recipe | head -1`."""
    program = "from reward_client.cli import main; raise SystemExit(main(['recipe']))"
    writer = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    writer.stdout.readline()
    writer.stdout.close()
    assert (writer.wait(timeout=30), writer.stderr.read()) == (0, b"")
    writer.stderr.close()
