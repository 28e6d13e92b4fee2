"""`reward-client doctor`: is each step from a conversation to its reward as it should be?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from reward_client import Diagnosis, RewardClient, RewardClientError
from reward_client.cli.shared import Commands, add_server_options

if TYPE_CHECKING:
    import argparse

    from reward_client import Finding

__all__ = ["add_to"]

_FAILED = 2


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
    parser.add_argument(
        "--recipe",
        default="auto",
        metavar="NAME",
        help="the model, as `reward-client recipe` lists it, or a TOML file; by default looked up "
        'by the server\'s model root; "none" for none',
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    try:
        diagnoses, replicas = _look(options)
    except RewardClientError as error:  # of the options: failures of servers are findings
        print(f"reward-client: {error}")
        return _FAILED
    if options.json:
        reports = [
            {**diagnosis.model_dump(mode="json"), "status": diagnosis.status}
            for diagnosis in diagnoses
        ]
        compared = [finding.model_dump(mode="json") for finding in replicas]
        print(json.dumps({"servers": reports, "replicas": compared}, indent=2))
    else:
        print("\n\n".join(map(str, diagnoses)))
        print(*replicas, sep="\n", end="\n" if replicas else "")
    together = Diagnosis(url="", findings=tuple(replicas))
    return max(together.status, *(diagnosis.status for diagnosis in diagnoses), 0)


def _look(options: argparse.Namespace) -> tuple[list[Diagnosis], list[Finding]]:
    from reward_client.doctor import replica_findings
    from reward_client.replicas import Replica

    recipe = None if options.recipe == "none" else options.recipe
    diagnoses: list[Diagnosis] = []
    replicas: list[Replica] = []
    for url in options.urls:
        with RewardClient(
            url, model=options.model, api_key=options.api_key, recipe=recipe
        ) as client:
            diagnosis = client.diagnose()
            diagnoses.append(diagnosis)
            if diagnosis.tokens is not None and diagnosis.reward is not None:
                replicas.append(Replica(client.servers()[0], diagnosis.tokens, diagnosis.reward))
    return diagnoses, replica_findings(replicas) if len(replicas) > 1 else []
