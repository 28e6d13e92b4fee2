"""`reward-client doctor`: check every step from a conversation to its reward."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from reward_client import Diagnosis, RetryPolicy, RewardClientError, Timeouts
from reward_client._base.options import BASE_URL_VARIABLE
from reward_client.cli._options import (
    Commands,
    add_command,
    add_recipe_option,
    add_sample_options,
    add_server_options,
    add_tokenizer_option,
    add_wait_option,
    open_client,
)
from reward_client.cli._output import Colour, show

if TYPE_CHECKING:
    import argparse

    from reward_client._doctor.report import Examination


_FAILED = 2
_COLOURS: Mapping[str, Colour] = {"ok": "green", "WARN": "yellow", "FAIL": "red"}

# A person waits for the report, so an error that survives a second attempt is a finding.
_RETRY = RetryPolicy(attempts=2, max_wait=5)
_TIMEOUT = Timeouts(connect=10, read=60)


def add_to(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "doctor",
        summary="check whether a server will give correct rewards",
        description="Check every step from a conversation to its reward on a running server. "
        "Several servers are also compared as replicas. Exit status: 0 healthy, 1 warnings, "
        "2 missing or wrong rewards are likely.",
        examples=(
            "reward-client doctor http://localhost:8000",
            "reward-client doctor http://localhost:8000 --wait 600 --json",
        ),
    )
    parser.add_argument(
        "urls",
        nargs="*",
        metavar="URL",
        help=f"URL of a server; by default the environment variable {BASE_URL_VARIABLE}",
    )
    add_server_options(parser)
    add_wait_option(parser)
    add_recipe_option(parser)
    add_sample_options(parser)
    add_tokenizer_option(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_doctor, failure=_FAILED)


def _doctor(options: argparse.Namespace) -> int:
    from reward_client._doctor import replica_findings

    examinations: list[Examination] = []
    for examination in _examinations(options):
        examinations.append(examination)
        if not options.json:
            show(f"{examination.diagnosis}\n", colours=_COLOURS)
    diagnoses = [examination.diagnosis for examination in examinations]
    replicas = Diagnosis(url="", findings=tuple(replica_findings(examinations)))
    status = max(diagnosis.status for diagnosis in (*diagnoses, replicas))
    if options.json:
        servers = [{"status": item.status, **item.model_dump(mode="json")} for item in diagnoses]
        compared = replicas.model_dump(mode="json")["findings"]
        show(json.dumps({"status": status, "servers": servers, "replicas": compared}, indent=2))
    elif replicas.findings:
        show("\n".join(map(str, replicas.findings)), colours=_COLOURS)
    return status


def _examinations(options: argparse.Namespace) -> Iterator[Examination]:
    from reward_client._client.sync_client import examine

    with ExitStack() as clients:
        opened = [
            clients.enter_context(
                open_client(
                    url, options, tokenizer=options.tokenizer, retry=_RETRY, timeout=_TIMEOUT
                )
            )
            for url in options.urls
            or [None]  # opened first, so that a wrong option fails before any request
        ]
        for client in opened:
            if options.wait > 0:
                # What is wrong with a server is a finding: only the wait matters here.
                with suppress(RewardClientError):
                    client.wait_until_ready(timeout=options.wait)
            yield examine(client)
