"""`reward-client doctor`: is each step from a conversation to its reward as it should be?"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

from reward_client import Diagnosis, RetryPolicy, RewardClient, RewardClientError, Timeouts
from reward_client.cli._options import (
    Commands,
    add_recipe_option,
    add_server_options,
    chosen_recipe,
)

if TYPE_CHECKING:
    import argparse


_FAILED = 2

# Someone waits for the answer: what a second attempt does not mend is a finding.
_RETRY = RetryPolicy(attempts=2, max_wait=5)
_TIMEOUT = Timeouts(connect=10, read=60)


def add_to(commands: Commands) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "doctor",
        help="look at a server: will its rewards be right?",
        description="Looks at each step from a conversation to its reward on a running server. "
        "Several URLs are also compared with each other, as replicas. Exit status: 0 healthy, "
        "1 warnings, 2 no or wrong rewards are likely.",
    )
    parser.add_argument("urls", nargs="+", metavar="URL", help="where the server is")
    add_server_options(parser)
    add_recipe_option(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    from reward_client._doctor import replica_findings

    diagnoses: list[Diagnosis] = []
    try:
        for diagnosis in _diagnoses(options):
            diagnoses.append(diagnosis)
            if not options.json:
                _print(f"{diagnosis}\n")
    except (RewardClientError, ImportError) as error:  # of the options: the rest are findings
        print(f"reward-client: {error}", file=sys.stderr)
        return _FAILED
    replicas = Diagnosis(url="", findings=tuple(replica_findings(diagnoses)))
    status = max(diagnosis.status for diagnosis in (*diagnoses, replicas))
    if options.json:
        servers = [{"status": each.status, **each.model_dump(mode="json")} for each in diagnoses]
        compared = replicas.model_dump(mode="json")["findings"]
        print(json.dumps({"status": status, "servers": servers, "replicas": compared}, indent=2))
    elif replicas.findings:
        _print("\n".join(map(str, replicas.findings)))
    return status


def _diagnoses(options: argparse.Namespace) -> Iterator[Diagnosis]:
    with ExitStack() as clients:
        opened = [
            clients.enter_context(
                RewardClient(
                    url,
                    model=options.model,
                    api_key=options.api_key,
                    recipe=chosen_recipe(options),
                    retry=_RETRY,
                    timeout=_TIMEOUT,
                )
            )
            for url in options.urls  # wrong options are found before any server is asked
        ]
        for client in opened:
            yield client.diagnose()


def _print(text: str) -> None:
    """Prints what the terminal's encoding may not have."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
