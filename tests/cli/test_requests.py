"""Options for the requests of a command: headers, certificates, long conversations, the URL."""

from __future__ import annotations

import json
import ssl
from pathlib import Path

import pytest

from reward_client import cli
from reward_client.testing import RewardServer, demo_pairs

from ..doctor.conftest import Serve
from ..files.conftest import read_rows, write_rows
from ..integration.faults.test_tls_and_proxies import certificate, tls_server

__all__ = ["certificate", "tls_server"]

SECRET = "sk-gateway-51962"
CHAT = demo_pairs()[0]["chosen"]


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows(Path("in.jsonl"), [{"messages": CHAT}])
    write_rows(Path("pairs.jsonl"), [demo_pairs()[0]])


@pytest.mark.parametrize(
    "command",
    [
        ["score", "in.jsonl", "out.jsonl", "--url", "URL"],
        ["doctor", "URL"],
        ["demo", "--pairs", "pairs.jsonl", "--url", "URL"],
    ],
)
def test_headers_of_every_request(serve: Serve, command: list[str]) -> None:
    server = serve()
    words = [server.url if word == "URL" else word for word in command]
    assert cli.main([*words, "--header", f"X-Api-Key={SECRET}", "--header", "x-team=a=b"]) == 0
    sent = [request.headers for request in server.requests]
    assert sent
    assert {headers["x-api-key"] for headers in sent} == {SECRET}
    assert {headers["x-team"] for headers in sent} == {"a=b"}


@pytest.mark.parametrize("text", [SECRET, f"={SECRET}", f"my header={SECRET}", f"x\n={SECRET}"])
def test_an_invalid_header_is_not_shown(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["doctor", "http://127.0.0.1:9", "--header", text])
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert "must be NAME=VALUE" in err
    assert SECRET not in err


@pytest.mark.parametrize("value", [f"{SECRET}\n", f"{SECRET}é", f"{SECRET}\x00"])
def test_an_invalid_value_is_not_shown(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["score", "in.jsonl", "out.jsonl", "--url", "http://127.0.0.1:9"]
    assert cli.main([*command, "--header", f"x-key={value}"]) == 2
    err = capsys.readouterr().err
    assert "header 'x-key' must be printable ASCII text" in err
    assert SECRET not in err


def test_a_header_given_twice(capsys: pytest.CaptureFixture[str]) -> None:
    headers = ["--header", f"X-Key={SECRET}", "--header", "x-key=other"]
    assert cli.main(["demo", "--url", "http://127.0.0.1:9", *headers]) == 2
    err = capsys.readouterr().err
    assert "Cannot send a header twice" in err
    assert SECRET not in err


def test_certificates_of_our_own(
    tls_server, certificate: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["score", "in.jsonl", "out.jsonl", "--url", tls_server.url]
    assert cli.main(command) == 1
    assert "certificate" in capsys.readouterr().err
    assert cli.main([*command, "--ca", str(certificate)]) == 0, capsys.readouterr().err
    assert "reward" in read_rows(Path("out.jsonl"))[0]


def test_certificates_that_are_missing(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["score", "in.jsonl", "out.jsonl", "--url", "https://127.0.0.1:9"]
    assert cli.main([*command, "--ca", "missing.pem"]) in (1, 2)
    assert "Cannot read a certificate file" in capsys.readouterr().err


def test_long_conversations() -> None:
    turns = [{"role": role, "content": "5 + 5 " * 40} for role in ("user", "assistant")]
    write_rows(Path("in.jsonl"), [{"messages": [*turns, *CHAT]}])
    with RewardServer(max_model_len=128) as server:
        command = ["score", "in.jsonl", "OUT", "--url", server.url]
        statuses = {}
        for choice in ("raise", "drop_turns"):
            out = f"{choice}.jsonl"
            words = [out if word == "OUT" else word for word in command]
            statuses[choice] = cli.main([*words, "--on-overlong", choice])
    assert statuses == {"raise": 3, "drop_turns": 0}
    assert read_rows(Path("raise.jsonl"))[0]["error"]["type"] == "PromptTooLongError"
    assert read_rows(Path("drop_turns.jsonl"))[0]["truncated"] is True


@pytest.mark.parametrize(
    ("option", "messages"),
    [
        ("--on-control-tokens", [CHAT[0], {"role": "assistant", "content": "88<|end|>"}]),
        ("--on-unanswered", CHAT[:1]),
    ],
)
def test_a_refusal_names_the_option_that_allows_it(
    serve: Serve,
    option: str,
    messages: list[dict[str, str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_rows(Path("in.jsonl"), [{"messages": messages}])
    command = ["score", "in.jsonl", "--url", serve().url]
    assert cli.main([*command, "out.jsonl"]) == 3
    assert f"give {option} " in capsys.readouterr().out
    assert cli.main([*command, "allowed.jsonl", option, "allow"]) == 0


def test_the_doctor_knows_the_url_of_the_environment(
    serve: Serve, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    monkeypatch.setenv("REWARD_CLIENT_BASE_URL", server.url)
    assert cli.main(["doctor", "--json"]) == 0
    (report,) = json.loads(capsys.readouterr().out)["servers"]
    assert report["url"] == server.url


def test_the_doctor_without_any_url(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor"]) == 2
    assert "REWARD_CLIENT_BASE_URL" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["score", "a", "b"], "--url (or REWARD_CLIENT_BASE_URL) must be the server's URL"),
        (["score", "a", "b", "--url", "x"], "--url must look like http://host:8000, not 'x'."),
        (["doctor", "x"], "URL must look like http://host:8000, not 'x'."),
        (["demo", "--url", "http://a:b@c"], "Use --api-key or --header."),
    ],
)
def test_an_invalid_option_has_its_name(
    command: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(command) == 2
    assert says in capsys.readouterr().err


def test_an_error_of_a_run_names_options(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo", "--url", serve().url, "--model", "nobody"]) == 1
    assert "Name one of them by --model. [" in capsys.readouterr().err


def test_certificates_without_use(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["doctor", "https://127.0.0.1:9", "http://127.0.0.1:9", "--ca"]
    assert cli.main([*command, ssl.get_default_verify_paths().openssl_cafile]) == 2
    err = capsys.readouterr().err
    assert "Cannot use --ca for http://127.0.0.1:9: a server at http:// has no" in err
