"""`reward-client score`: what it prints, its exit status, and its progress bar."""

from __future__ import annotations

import errno
import fcntl
import gzip
import io
import json
import os
import pty
import re
import shlex
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reward_client import FileError, RewardClient
from reward_client.cli import main
from reward_client.files import score_file
from reward_client.files.results import Stream
from reward_client.testing import Fault, RewardServer

from ..files.conftest import read_rows, write_rows
from ..files.killing import COMMAND, ROOT

CHAT = [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]
ROWS = [{"id": n, "messages": CHAT} for n in range(20)]


@pytest.fixture(scope="module")
def server() -> Iterator[RewardServer]:
    with RewardServer() as server:
        yield server


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> int:
    return main(["score", "in.jsonl", "out.jsonl", *arguments])


def test_all_scored(server: RewardServer, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(Path("in.jsonl"), ROWS)
    assert run("--url", server.url) == 0
    out, err = capsys.readouterr()
    assert re.fullmatch(
        r"20 rows: 20 scored, 0 failed\n"
        r"rewards: min (\S+), 5% \1, 25% \1, 50% \1, 75% \1, 95% \1, max \1\n"
        r"20 conversations in \d+\.\d s: [\d,]+ conv/s, [\d,]+ tokens/s\n",
        out,
    )
    assert err == ""
    assert [row["id"] for row in read_rows(Path("out.jsonl"))] == list(range(20))
    assert run("--url", server.url) == 0
    assert capsys.readouterr().out.startswith(
        "20 rows: 20 scored, 0 failed; 20 of them in earlier runs\n"
    )


def test_some_failed(server: RewardServer, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(Path("in.jsonl"), [*ROWS, {"text": ""}, {"token_ids": [1] * 2000}, {"text": 3}])
    assert run("--url", server.url) == 3
    out = capsys.readouterr().out
    summary, *reasons, rewards, _ = out.splitlines()
    assert summary == "23 rows: 20 scored, 3 failed (2 InputError, 1 PromptTooLongError)"
    assert reasons[0].startswith("first InputError, in row 20: ")
    assert reasons[1].startswith("first PromptTooLongError, in row 21: ")
    assert rewards.startswith("rewards: ")
    assert "--retry-failed" not in out  # the rows have to change
    assert run("--url", server.url, "--retry-failed") == 3
    out = capsys.readouterr().out
    assert "; 20 of them in earlier runs\n" in out
    assert "--retry-failed" not in out


def test_nothing_to_score(server: RewardServer, capsys: pytest.CaptureFixture[str]) -> None:
    Path("in.jsonl").write_bytes(b"")
    assert run("--url", server.url) == 0
    assert capsys.readouterr().out == "0 rows: 0 scored, 0 failed\n"
    assert Path("out.jsonl").read_bytes() == b""


def test_what_cannot_be_done_is_said_in_one_line(
    server: RewardServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--url", server.url) == 1
    write_rows(Path("in.jsonl"), ROWS)
    assert run("--url", server.url, "--model", "nobody") == 1
    assert run("--url", server.url, "--recipe", "nothing") == 2
    assert run() == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("reward-client: ") for line in lines)
    assert lines[0] == "reward-client: Cannot read in.jsonl: No such file or directory."
    assert not Path("out.jsonl").exists()


def test_options_reach_the_server(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows(Path("in.jsonl"), ROWS)
    with RewardServer(api_key="secret", model_name="judge", root="someone/ours") as server:
        monkeypatch.setenv("REWARD_CLIENT_BASE_URL", server.url)
        options = ["--api-key", "secret", "--model", "judge", "--recipe", "none"]
        options += ["--tokenizer", str(RewardServer.checkpoint)]
        assert run(*options) == 0, capsys.readouterr().err
    settings = json.loads(Path("out.jsonl.settings.json").read_text())
    assert settings["model"] == "judge"
    assert settings["root"] == "someone/ours"
    assert settings["recipe"] is None
    assert settings["tokenizer"] == str(RewardServer.checkpoint)
    assert "secret" not in json.dumps(settings) + Path("out.jsonl").read_text()


@pytest.mark.parametrize("piped", [False, True])
def test_progress_on_a_terminal(server: RewardServer, *, piped: bool) -> None:
    write_rows(Path("in.jsonl"), ROWS * 5)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 100, 0, 0))
    source = "/dev/stdin" if piped else "in.jsonl"
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, "score", source, "out.jsonl", "--url", server.url],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        process.communicate(Path("in.jsonl").read_bytes())
    shown = os.read(ours, 1 << 20).decode()
    os.close(ours)
    assert process.returncode == 0, shown
    *_, last = shown.strip().split("\r")
    if piped:
        assert re.search(r"100 rows, [\d,]+ conv/s \[00:\d\d\]", last)
    else:
        assert re.search(r"100%\|█+\| 100 rows, [\d,]+ conv/s \[00:\d\d<00:00\]", last)


def test_interrupted(server: RewardServer) -> None:
    write_rows(Path("in.jsonl"), [{"id": n, "token_ids": [1, n % 99]} for n in range(30_000)])
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, "score", "in.jsonl", "out.jsonl", "--url", server.url],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while not Path("out.jsonl").exists() or not Path("out.jsonl").read_bytes():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert process.returncode == 130
    assert (out, err) == ("", "reward-client: stopped; run the same command to resume.\n")
    rows = read_rows(Path("out.jsonl"))
    assert [row["row"] for row in rows] == list(range(len(rows)))


def test_interrupted_into_stdout(server: RewardServer) -> None:
    write_rows(Path("in.jsonl"), [{"id": n, "token_ids": [1, n % 99]} for n in range(30_000)])
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, "score", "in.jsonl", "-", "--url", server.url],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130
    assert err == b"reward-client: stopped; stdout cannot be resumed.\n"


@pytest.mark.parametrize(
    "command",
    [
        ["score", "in.jsonl", "out.jsonl"],
        ["score", "in.jsonl", "out.parquet"],
        ["score", "in.jsonl", "-"],
        ["score", "in.jsonl", "out", "--ray"],
        ["evaluate", "best-of-n", "in.jsonl", "--out", "out.jsonl"],
    ],
    ids=" ".join,
)
def test_a_run_without_results_is_not_to_be_resumed(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ray itself is not reached.
    monkeypatch.setattr("reward_client.integrations.ray._ray", lambda: None)
    rows = [{"prompt": "2 + 2?", "responses": ["4", "5"], "correct": [True, False]}]
    write_rows(Path("in.jsonl"), rows)
    with RewardServer() as server:
        url = server.url
    assert main([*command, "--url", url]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("reward-client: Connection refused")
    assert "stopped" not in err


@pytest.mark.parametrize(
    ("command", "results"),
    [
        (["score", "in.jsonl", "out.jsonl"], "out.jsonl"),
        (["score", "in.jsonl", "out.parquet"], "out.parquet.rewards.jsonl"),
        (["score", "in.jsonl", "out", "--ray"], "out/_work/in.parquet.rewards.jsonl"),
        (["score", "in.jsonl", "out", "--ray"], "out/in.parquet"),
        (["evaluate", "best-of-n", "in.jsonl", "--out", "out.jsonl"], "out.jsonl"),
    ],
)
def test_a_run_with_results_is(
    command: list[str],
    results: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("reward_client.integrations.ray._ray", lambda: None)
    rows = [{"prompt": "2 + 2?", "responses": ["4", "5"], "correct": [True, False]}]
    write_rows(Path("in.jsonl"), rows)
    Path(results).parent.mkdir(parents=True, exist_ok=True)
    Path(results).write_text("{}\n")
    with RewardServer() as server:
        url = server.url
    assert main([*command, "--url", url]) == 1
    err = capsys.readouterr().err
    assert err.startswith("reward-client: stopped; run the same command to resume.\n")


def test_a_retry_is_advised_where_it_can_help(
    server: RewardServer, capsys: pytest.CaptureFixture[str]
) -> None:
    with RewardServer() as failing, RewardClient(failing.url) as client:
        client.servers()
        write_rows(Path("in.jsonl"), ROWS[:1])
        failing.inject(Fault.status(401), path="/pooling")
        score_file(client, "in.jsonl", "out.jsonl")
        assert run("--url", failing.url) == 3
        assert capsys.readouterr().out.endswith("failed by a fault of the server.\n")


def test_stdin_and_stdout(server: RewardServer) -> None:
    write_rows(Path("in.jsonl"), [*ROWS, {"text": ""}])
    plain = score_words("in.jsonl", "out.jsonl", server)
    assert plain.returncode == 3
    piped = score_words("-", "-", server, stdin=Path("in.jsonl").read_bytes())
    assert piped.returncode == 3
    assert piped.stdout == Path("out.jsonl").read_bytes()
    assert b"21 rows: 20 scored, 1 failed (1 InputError)\nfirst InputError" in piped.stderr
    assert b"--retry-failed" not in piped.stderr
    assert sorted(path.name for path in Path().iterdir()) == [
        "in.jsonl",
        "out.jsonl",
        "out.jsonl.settings.json",
    ]
    resumed = score_words("-", "out.jsonl", server, stdin=Path("in.jsonl").read_bytes())
    assert b"21 of them in earlier runs" in resumed.stdout
    zipped = score_words("-", "-", server, stdin=gzip.compress(Path("in.jsonl").read_bytes()))
    assert zipped.stdout == piped.stdout


def test_54_a_reader_of_stdout_that_has_enough(server: RewardServer) -> None:
    write_rows(Path("in.jsonl"), ROWS * 500)
    program = shlex.join([sys.executable, "-c", COMMAND, "score", "in.jsonl", "-", "--url"])
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{program} {server.url} | head -n 1"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    # `bash -o pipefail`: the status is that of the command, and not of `head`.
    assert (done.returncode, done.stdout.count(b"\n")) == (1, 1)
    assert re.fullmatch(
        rb"reward-client: Cannot write row \d+ and those after it to stdout: "
        rb"its reader has ended\.\n",
        done.stderr.replace(b",", b""),
    )


@pytest.mark.parametrize(
    ("redirection", "reason"),
    [
        ("> /dev/full", b"row 0 and those after it to stdout: No space left on device."),
        (">&-", b"to stdout: it is closed."),
    ],
)
def test_54_stdout_that_cannot_be_written(
    server: RewardServer, redirection: str, reason: bytes
) -> None:
    write_rows(Path("in.jsonl"), ROWS)
    program = shlex.join(
        [sys.executable, "-c", COMMAND, "score", "in.jsonl", "-", "--url", server.url]
    )
    done = subprocess.run(
        ["bash", "-c", f"{program} {redirection}"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == b"reward-client: Cannot write " + reason + b"\n"


@pytest.mark.parametrize(
    ("error", "reason"),
    [(errno.EPIPE, "its reader has ended"), (errno.ENOSPC, "No space left on device")],
)
def test_54_a_stream_that_takes_no_further_row(error: int, reason: str) -> None:
    class Full(io.BytesIO):
        def write(self, line: object) -> int:
            if self.tell():
                raise OSError(error, os.strerror(error))
            return super().write(line)  # type: ignore[arg-type]

    stream = Stream(Full())
    stream.append(b"{}\n{}\n")
    stream.flush()
    stream.append(b"{}\n")
    with pytest.raises(FileError, match=f"row 2 and those after it to stdout: {reason}."):
        stream.flush()


def test_rows_that_all_fail_into_stdout(server: RewardServer) -> None:
    write_rows(Path("in.jsonl"), [{"text": ""}] * 200)
    done = score_words("in.jsonl", "-", server)
    assert done.returncode == 1
    assert done.stdout.count(b"\n") == 100
    assert b"to score the remaining rows nevertheless, write into a file." in done.stderr


def test_stdout_cannot_be_retried(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["score", "in.jsonl", "-", "--url", "http://127.0.0.1:9", "--retry-failed"]
    assert main(command) == 2
    assert "Cannot retry rows: stdout keeps no results." in capsys.readouterr().err


def score_words(
    source: str, output: str, server: RewardServer, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", COMMAND, "score", source, output, "--url", server.url],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        input=stdin,
        capture_output=True,
        check=False,
    )


PAIRS = [
    {
        "prompt": "2 + 2?" + " " * n,
        "chosen": "It is 4.",
        "rejected": "It is 5.",
        "subset": "odd" if n % 2 else "even",
    }
    for n in range(20)
]


def test_groups(server: RewardServer, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(Path("in.jsonl"), PAIRS)
    assert run("--url", server.url, "--by", "subset") == 0
    out = capsys.readouterr().out
    assert "20 pairs: accuracy " in out
    assert re.search(r"^by subset  rows .*\neven +10 .*\nodd +10 ", out, re.MULTILINE)


def test_a_column_that_no_row_has(capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(Path("in.jsonl"), PAIRS)
    assert run("--url", "http://127.0.0.1:9", "--by", "set") == 2
    assert capsys.readouterr().err == (
        "reward-client: Cannot group by 'set': no row has the column. There are: prompt, chosen, "
        "rejected, subset.\n"
    )


@pytest.mark.parametrize(("encoding", "block"), [("utf-8", "█"), ("ascii", "#")])
def test_the_histogram_of_a_terminal(server: RewardServer, encoding: str, block: str) -> None:
    write_rows(Path("in.jsonl"), PAIRS)
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "score", "in.jsonl", "out.jsonl", "--url", server.url],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONIOENCODING": encoding,
            "COLUMNS": "70",
        },
        capture_output=True,
        check=True,
    )
    _, bars = done.stdout.decode(encoding).split("histogram of the rewards:\n")
    lines = bars.splitlines()
    assert 2 <= len(lines) <= 10
    assert max(map(len, lines)) <= 70
    assert block in bars
    shares = [float(line.split()[-1].removesuffix("%")) for line in lines]
    assert sum(shares) == pytest.approx(100, abs=0.05 * len(lines))
