"""What servers, files and models write reaches nobody with control characters or credentials."""

from __future__ import annotations

import ast
import html
import json
import logging
import pickle
from pathlib import Path
from urllib.parse import quote, quote_plus, urlencode

import pytest

import reward_client
from reward_client import ModelNotFoundError, RewardClient, RewardClientError, errors
from reward_client._transport.redaction import redact
from reward_client._transport.status_errors import read_error
from reward_client.cli import main
from reward_client.cli._output import show, show_error
from reward_client.testing import RewardServer

PACKAGE = Path(reward_client.__file__).parent
NASTY = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202eabc\r\x00\x7f"
CONTROLS = set(NASTY) - set("]0;owned[2J31mabc")
SECRET = """k"&y'<p>/+= \\%41é\u00ff-1"""


def is_safe(text: str) -> bool:
    return not CONTROLS & set(text)


@pytest.mark.parametrize("name", errors.__all__)
def test_44_no_error_shows_control_characters(name: str) -> None:
    error: RewardClientError
    if name == "BatchError":
        error = errors.BatchError(f"a {NASTY}\nb", results=())
    else:
        error = getattr(errors, name)(f"a {NASTY}\nb", endpoint="x", attempts=(NASTY,))
    assert is_safe(str(error))
    assert is_safe(str(pickle.loads(pickle.dumps(error))))
    assert "\\x1b]0;owned" in str(error)
    assert "\nb" in str(error)


def test_44_no_log_line_holds_control_characters(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "reward_client"):
        logging.getLogger("reward_client").info("model %s", NASTY)
    assert is_safe(caplog.text)
    assert "owned" in caplog.text


@pytest.mark.parametrize(
    "command", [["demo", "--url", "URL"], ["doctor", "URL"], ["score", "IN", "OUT", "--url", "URL"]]
)
def test_44_no_command_prints_control_characters(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text(json.dumps({"messages": [{"role": "user", "content": "a"}], NASTY: 1}))
    with RewardServer(model_name=f"m{NASTY}", root=f"r{NASTY}", max_model_len=64) as server:
        places = {"URL": server.url, "IN": str(source), "OUT": str(tmp_path / "out.jsonl")}
        main([places.get(part, part) for part in command])
    printed = capsys.readouterr()
    assert is_safe(printed.out)
    # The progress bar of demo returns to the start of its line.
    assert is_safe(printed.err.replace("\r", ""))


@pytest.mark.parametrize("is_error", [False, True])
def test_44_show_escapes_control_characters(
    is_error: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    show(f"a {NASTY}", is_error=is_error)
    printed = capsys.readouterr()
    assert is_safe(printed.out + printed.err)
    assert "\\x1b]0;owned" in (printed.err if is_error else printed.out)


def test_44_no_command_prints_but_by_show() -> None:
    for path in (PACKAGE / "cli").glob("*.py"):
        if path.name == "_output.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = node.func if isinstance(node, ast.Call) else None
            assert not (isinstance(name, ast.Name) and name.id == "print"), path
            assert not (isinstance(name, ast.Attribute) and name.attr == "write"), path


ENCODINGS = {
    "plain": str,
    "JSON": json.dumps,
    "JSON in JSON": lambda text: json.dumps(json.dumps({"a": text})),
    "JSON three times": lambda text: json.dumps([json.dumps([json.dumps(text)])]),
    "JSON without ASCII": lambda text: json.dumps(text, ensure_ascii=False),
    "Python": repr,
    "HTML": html.escape,
    "HTML in HTML": lambda text: html.escape(html.escape(text)),
    "HTML by numbers": lambda text: "".join(f"&#{ord(char)};" for char in text),
    "HTML by hex numbers": lambda text: "".join(f"&#x{ord(char):04X};" for char in text),
    "JSON in HTML": lambda text: html.escape(json.dumps(text)),
    "HTML in JSON": lambda text: json.dumps(html.escape(text)),
    "URL": lambda text: quote(text, safe=""),
    "URL in lower case": lambda text: quote(text, safe="").lower(),
    "URL in URL": lambda text: quote(quote(text)),
    "form": lambda text: urlencode({"key": text}),
    "form value": quote_plus,
    "URL in HTML": lambda text: html.escape(quote(text, safe="&'")),
    "JSON in URL": lambda text: quote(json.dumps(text), safe=""),
    "JSON in JSON in URL": lambda text: quote(json.dumps(json.dumps(text))),
    "HTML in URL": lambda text: quote(html.escape(text), safe=""),
    "JSON of Go": lambda text: (
        json.dumps(text).replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    ),
    "HTML in JSON of Go": lambda text: json.dumps(html.escape(text)).replace("&", "\\u0026"),
    "broken by lines": lambda text: " ".join("\n  ".join(word) for word in text.split(" ")),
    "JavaScript": lambda text: "".join(f"\\x{ord(char):02x}" for char in text),
}


@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
@pytest.mark.parametrize("header", ["Authorization", "x-key"])
def test_44_a_credential_is_blanked_in_every_encoding(encode: object, header: str) -> None:
    sent = {header: f"Bearer {SECRET}" if header == "Authorization" else SECRET}
    body = encode(SECRET)  # type: ignore[operator]
    shown = redact(f"before {body} after", sent)
    assert shown.startswith("before ")
    assert shown.endswith(" after")
    assert "***" in shown
    # What is left is what stands around the credential.
    assert not any(part in shown.lower() for part in ("41", "-1", "%c3", "&lt", "233", "e9"))


def test_44_in_an_error_of_a_server_too() -> None:
    inner = json.dumps({"error": f"no such key {SECRET}"})
    body = json.dumps({"error": {"message": inner}}).encode()
    error = read_error(body, json.loads(body), {"authorization": f"Bearer {SECRET}"})
    assert error is not None
    assert "***" in error.message
    assert "41" not in error.message


def test_redaction_takes_linear_time() -> None:
    sent = {"authorization": f"Bearer {SECRET}"}
    for text in (
        "\\" * 200_000,
        "k\\" * 100_000,
        "%25" * 60_000,
        "&amp;" * 40_000,
        "k" * 200_000,
        " \n" * 99_999,
    ):
        assert redact(text, sent) == text


FORGED = "m\nok    reference value  FAKE"


def test_44_a_name_begins_no_line_of_an_error() -> None:
    with (
        RewardServer(model_name=FORGED) as server,
        RewardClient(server.url, model="other") as client,
        pytest.raises(ModelNotFoundError) as caught,
    ):
        client.servers()
    assert "it lists: m\\nok    reference value  FAKE." in str(caught.value)


@pytest.mark.parametrize("command", [["demo", "--url"], ["doctor"]])
def test_44_a_name_begins_no_line_of_a_report(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with RewardServer(model_name=FORGED) as server:
        main([*command, server.url])
    shown = capsys.readouterr().out
    assert "m\\nok" in shown
    assert "\nok    reference value  FAKE" not in shown


def test_44_an_error_begins_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    show_error(RewardClientError("HTTP 400: refused\nok    reference value  FAKE"))
    assert capsys.readouterr().err == (
        "reward-client: HTTP 400: refused\n  ok    reference value  FAKE\n"
    )
