"""`reward-client demo`: score pairs of answers, and count how often the better one wins."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reward_client import Conversation
from reward_client._base.wording import shorten
from reward_client.cli._options import (
    Commands,
    UsageError,
    add_command,
    add_server_options,
    open_client,
)
from reward_client.cli._output import show, shows_progress
from reward_client.cli._rows import read_rows

if TYPE_CHECKING:
    import argparse

    from reward_client import Reward


_MAX_ROWS = 10
_WIDTH = 34


def add_to(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "demo",
        summary="score pairs of answers and count how often the better one wins",
        description="Score pairs of a chosen and a rejected conversation, and print their "
        "rewards. Without --url, the command starts a small reward server of its own.",
        examples=(
            "reward-client demo",
            "reward-client demo --url http://localhost:8000 --pairs pairs.jsonl",
        ),
    )
    parser.add_argument("--url", help="URL of a running server; by default a built-in one")
    add_server_options(parser)
    parser.add_argument(
        "--pairs",
        type=Path,
        metavar="FILE",
        help="rows with chosen and rejected, in the format of `reward-client score`; by default "
        "sums",
    )
    parser.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> None:
    pairs = _read_pairs(options.pairs)
    if options.url is not None:
        _score(options, options.url, f"The server at {options.url}", pairs)
        return
    from reward_client.testing import RewardServer

    with RewardServer() as server:
        _score(options, server.url, f"The built-in test server at {server.url}", pairs)


def _read_pairs(path: Path | None) -> list[dict[str, Any]]:
    """Read the pairs of a file; without a path, return the built-in pairs."""
    if path is None:
        from reward_client.testing import demo_pairs

        return list(demo_pairs())
    pairs: list[dict[str, Any]] = []
    for number, row in enumerate(read_rows(path)):
        if row.keys is None:
            raise UsageError(
                f"Cannot use row {number} of {path}: it has no chosen and rejected. Score it by "
                "`reward-client score`."
            )
        pairs.append(dict(zip(row.keys, row.samples, strict=True)))
    if not pairs:
        raise UsageError(f"Cannot use {path}: it contains no pairs. Write rows into it.")
    return pairs


def _score(options: argparse.Namespace, url: str, server: str, pairs: list[dict[str, Any]]) -> None:
    """Score all pairs with the public client, and print the rewards."""
    conversations = [pair[side] for pair in pairs for side in ("chosen", "rejected")]
    with open_client(url, options) as client:
        profile = client.servers()[0]
        started = time.perf_counter()
        rewards = client.score_many(conversations, progress=shows_progress())
        seconds = time.perf_counter() - started
    show(
        f"{server} answers as vLLM {profile.version or 'of unknown version'}: model "
        f"{profile.model}, route {profile.route}, raw rewards "
        f"(known by {profile.activation_known_by}).\n"
    )
    _print_report(pairs, rewards, seconds)


def _print_report(pairs: list[dict[str, Any]], rewards: list[Reward], seconds: float) -> None:
    chosen = [reward.value for reward in rewards[::2]]
    rejected = [reward.value for reward in rewards[1::2]]
    show(f"{'chosen':>8}  {'rejected':>8}  {'':5}  {'chosen answer':{_WIDTH}}  rejected answer")
    for pair, good, bad in list(zip(pairs, chosen, rejected, strict=True))[:_MAX_ROWS]:
        verdict = "right" if good > bad else "WRONG"
        answers = f"{_answer(pair['chosen']):{_WIDTH}}  {_answer(pair['rejected'])}"
        show(f"{good:8.3f}  {bad:8.3f}  {verdict}  {answers}")
    right = sum(good > bad for good, bad in zip(chosen, rejected, strict=True))
    show(
        f"\nThe chosen answer has the higher reward in {right} of {len(pairs)} pairs "
        f"({right / len(pairs):.1%}).\n"
        f"{len(rewards)} conversations in {seconds:.2f} s: {len(rewards) / seconds:.0f} per second."
    )


def _answer(sample: Any) -> str:
    """Return the last message, shortened to one line."""
    messages = sample.messages if isinstance(sample, Conversation) else sample
    text = " ".join(str(messages[-1].get("content", "")).split()) if messages else ""
    return shorten(text, _WIDTH)
