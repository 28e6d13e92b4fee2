"""`reward-client export`: convert a reward checkpoint for `/v1/embeddings`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reward_client.cli._options import (
    Commands,
    add_command,
    add_link_option,
    add_recipe_option,
    chosen_recipe,
)
from reward_client.cli._output import show, shows_progress
from reward_client.cli._rows import read_rows

if TYPE_CHECKING:
    import argparse


def add_to(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "export",
        summary="convert a reward checkpoint for /v1/embeddings",
        description="Write a copy of a reward checkpoint with its head as Dense modules. Then "
        "/v1/embeddings of vLLM 0.10.2 and later returns its raw rewards, and so does "
        "sentence-transformers. The backbone's weights are linked, or copied unchanged.",
        examples=(
            "reward-client export ./my-reward-model ./exported",
            "reward-client export ./my-reward-model ./exported --link copy --force",
        ),
    )
    parser.add_argument("source", metavar="SOURCE", help="folder of the checkpoint")
    parser.add_argument("destination", metavar="DESTINATION", help="folder to write")
    parser.add_argument(
        "--head",
        default="auto",
        help="the head; by default that of the checkpoint. `lm-head:TOKEN` for the logit of a "
        "token, `lm-head:YES-NO` for the difference of two logits, or a .safetensors file "
        "with a linear layer",
    )
    add_link_option(parser)
    parser.add_argument("--force", action="store_true", help="replace an earlier export")
    add_recipe_option(parser, lookup_key="the folder's name")
    parser.add_argument(
        "--verify",
        action="store_true",
        help="compare the export with its source on some conversations, in this process (extra "
        "`verify`) or on running servers, and keep the values in the manifest",
    )
    parser.add_argument(
        "--original-url", metavar="URL", help="verify with this server, which serves SOURCE"
    )
    parser.add_argument(
        "--exported-url",
        metavar="URL",
        help="verify with this server, which serves DESTINATION; do not export again",
    )
    parser.add_argument(
        "--samples",
        metavar="FILE",
        help="additional samples to verify: JSON lines, in the format of `reward-client score`",
    )
    parser.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> None:
    from reward_client.export import export_checkpoint, verify_export
    from reward_client.export.torch_reference import libraries

    samples = None
    if options.samples is not None:
        samples = [each for row in read_rows(Path(options.samples)) for each in row.samples]
    servers = (options.original_url, options.exported_url)
    verifies = options.verify or any(servers) or samples is not None
    if verifies and not all(servers):
        libraries()  # fail before the export if they are missing, not after it
    if options.exported_url is None:
        report = export_checkpoint(
            options.source,
            options.destination,
            head=options.head,
            link=options.link,
            force=options.force,
            recipe=chosen_recipe(options),
            progress=shows_progress(),
        )
        show(report)
    if verifies:
        verification = verify_export(
            options.source,
            options.destination,
            head=options.head,
            samples=samples,
            original_url=options.original_url,
            exported_url=options.exported_url,
        )
        show(f"\n{verification}")
