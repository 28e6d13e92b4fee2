"""`reward-client export`: a reward checkpoint made into one for `/v1/embeddings`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from reward_client import Sample
from reward_client.cli._options import Commands, UsageError, add_recipe_option, chosen_recipe

if TYPE_CHECKING:
    import argparse


def add_to(commands: Commands) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "export",
        help="lay out a reward checkpoint for /v1/embeddings",
        description="Writes a reward checkpoint anew, with its head as Dense modules: then "
        "/v1/embeddings of any vLLM from 0.10.2 on answers its raw rewards, and so does "
        "sentence-transformers. Weights are copied byte by byte, or linked.",
    )
    parser.add_argument("source", metavar="SOURCE", help="the checkpoint's folder")
    parser.add_argument("destination", metavar="DESTINATION", help="the folder to write")
    parser.add_argument(
        "--head",
        default="auto",
        help='by default the one in the checkpoint; "lm-head:TOKEN" or "lm-head:YES-NO" for a '
        "language model's logit of a token, or the difference of two; a .safetensors file for a "
        "linear layer of yours",
    )
    parser.add_argument(
        "--link",
        nargs="?",
        const="hard",
        default="hard",
        choices=["hard", "symbolic", "copy"],
        help="how files come there whose weights stay as they are (default: hard links; copied "
        "where links cannot be made)",
    )
    parser.add_argument("--force", action="store_true", help="replace an earlier export")
    add_recipe_option(parser, known_by="the folder's name")
    parser.add_argument(
        "--verify",
        action="store_true",
        help="compare the export with its source over some conversations, here (extra `verify`) or "
        "on running servers, and keep the values in the manifest",
    )
    parser.add_argument(
        "--original-url", metavar="URL", help="verify by this server, which serves SOURCE"
    )
    parser.add_argument(
        "--exported-url",
        metavar="URL",
        help="verify by this server, which serves DESTINATION; nothing is exported then",
    )
    parser.add_argument(
        "--samples",
        metavar="FILE",
        help="verify over these too: JSON lines, with rows as `reward-client score` takes them",
    )
    parser.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> None:
    from reward_client.export import export_checkpoint, verify_export
    from reward_client.export.torch_reference import libraries

    samples = None if options.samples is None else _samples(Path(options.samples))
    servers = (options.original_url, options.exported_url)
    verifies = options.verify or any(servers) or samples is not None
    if verifies and not all(servers):
        libraries()  # their lack is better known before the export than after it
    if options.exported_url is None:
        report = export_checkpoint(
            options.source,
            options.destination,
            head=options.head,
            link=options.link,
            force=options.force,
            recipe=chosen_recipe(options),
            progress=sys.stderr.isatty(),
        )
        print(report, flush=True)
    if verifies:
        verification = verify_export(
            options.source,
            options.destination,
            head=options.head,
            samples=samples,
            original_url=options.original_url,
            exported_url=options.exported_url,
        )
        print(f"\n{verification}")


def _samples(path: Path) -> list[Sample]:
    """The samples of a file of JSON lines, as `reward-client score` reads its rows."""
    from reward_client.files.reader import Source
    from reward_client.files.rows import read_row

    with Source(path) as source:
        rows = [read_row(line, digest="") for line in source.lines()]
    for number, row in enumerate(rows):
        if row.result is not None:
            raise UsageError(f"{path}: row {number} is no sample: {row.result.decode().strip()}")
    return [sample for row in rows for sample in row.samples]
