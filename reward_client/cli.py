"""The command line: `reward-client demo`, `reward-client serve` and `reward-client recipe`."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reward_client import RewardClient, RewardClientError
from reward_client.options import API_KEY_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reward_client import Reward

__all__ = ["main"]

_INTERRUPTED = 130
_SHOWN = 10
_WIDTH = 34


class _UsageError(Exception):
    """Something about the command that its user can mend."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except (RewardClientError, _UsageError, ImportError) as error:
        print(f"reward-client: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="reward-client", description="Rewards from reward models served by vLLM."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser(
        "demo",
        help="score pairs of answers and count how often the better one wins",
        description="Scores pairs of a chosen and a rejected conversation and prints their "
        "rewards. Without --url it starts a small reward server of its own.",
    )
    demo.add_argument("--url", help="a running server instead of a built-in one")
    demo.add_argument("--model", help="the model's name on the server, if it serves several")
    demo.add_argument(
        "--api-key",
        help=f"the server's key; better kept in the environment, as {API_KEY_VARIABLE}",
    )
    demo.add_argument(
        "--pairs",
        type=Path,
        metavar="FILE",
        help='JSON lines of {"chosen": [messages], "rejected": [messages]}; by default sums',
    )
    demo.set_defaults(run=_demo)

    serve = commands.add_parser(
        "serve",
        help="run the small reward server, until Ctrl-C",
        description="Serves a small reward model, which judges sums, as a vLLM would.",
    )
    serve.add_argument("--dialect", choices=["0.8", "0.32"], default="0.32", help="vLLM version")
    serve.add_argument(
        "--head",
        choices=["sequence", "token"],
        default="sequence",
        help="one value per conversation, or one per token",
    )
    serve.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    serve.add_argument("--raw", action="store_true", help="apply no activation to the values")
    serve.set_defaults(run=_serve)

    recipe = commands.add_parser(
        "recipe",
        help="what is known of a reward model",
        description="Prints how a reward model is served, how its reward is read, and values to "
        "check it by. Without a name it lists the models that it knows.",
    )
    recipe.add_argument(
        "name",
        nargs="?",
        metavar="NAME",
        help="a Hugging Face ID, a folder called like the model, or a family",
    )
    recipe.set_defaults(run=_recipe)
    return parser


def _serve(options: argparse.Namespace) -> None:
    from reward_client.testing import serve

    try:
        serve(dialect=options.dialect, head=options.head, raw=options.raw, port=options.port)
    except OSError as error:
        raise _UsageError(f"Port {options.port} cannot be served: {error.strerror}.") from error


def _demo(options: argparse.Namespace) -> None:
    pairs = _read_pairs(options.pairs)
    if options.url is not None:
        _score(options, options.url, f"The server at {options.url}", pairs)
        return
    from reward_client.testing import RewardServer

    with RewardServer() as server:
        _score(options, server.url, f"The built-in test server at {server.url}", pairs)


def _recipe(options: argparse.Namespace) -> None:
    from reward_client.recipes import catalogue, find_recipe, recipe_names
    from reward_client.recipes.describing import describe, summary

    families = catalogue()
    if options.name is None:
        for family in families.values():
            for model in family.models:
                print(f"{model}  ({family.name}: {summary(family)})")
        return
    recipe = families.get(options.name.lower()) or find_recipe(options.name)
    if recipe is None:
        near = difflib.get_close_matches(options.name, [*recipe_names(), *families], cutoff=0.5)
        raise _UsageError(
            f"There is no recipe for {options.name}. "
            + (f"Near it: {', '.join(near)}." if near else "`reward-client recipe` lists all.")
        )
    print(describe(recipe))


def _read_pairs(path: Path | None) -> list[dict[str, Any]]:
    """The pairs of a file, or the shipped ones."""
    if path is None:
        from reward_client.testing import demo_pairs

        return list(demo_pairs())
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise _UsageError(f"{path} cannot be read: {error.strerror}.") from error
    pairs: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            pairs.append({"chosen": row["chosen"], "rejected": row["rejected"]})
        except (ValueError, TypeError, KeyError) as error:
            raise _UsageError(
                f'{path}, line {number}, is not {{"chosen": [...], "rejected": [...]}}.'
            ) from error
    if not pairs:
        raise _UsageError(f"{path} has no pairs.")
    return pairs


def _score(options: argparse.Namespace, url: str, server: str, pairs: list[dict[str, Any]]) -> None:
    """Score all pairs through the public client, and print what came out."""
    conversations = [pair[side] for pair in pairs for side in ("chosen", "rejected")]
    with RewardClient(url, model=options.model, api_key=options.api_key) as client:
        profile = client.servers()[0]
        started = time.perf_counter()
        rewards = client.score_many(conversations, progress=True)
        seconds = time.perf_counter() - started
    print(
        f"{server} answers as vLLM {profile.version or 'of unknown version'}: model "
        f"{profile.model}, route {profile.route}, raw rewards "
        f"(known by {profile.activation_known_by}).\n"
    )
    _print_report(pairs, rewards, seconds)


def _print_report(pairs: list[dict[str, Any]], rewards: list[Reward], seconds: float) -> None:
    chosen = [reward.value for reward in rewards[::2]]
    rejected = [reward.value for reward in rewards[1::2]]
    print(f"{'chosen':>8}  {'rejected':>8}  {'':5}  {'chosen answer':{_WIDTH}}  rejected answer")
    for pair, good, bad in list(zip(pairs, chosen, rejected, strict=True))[:_SHOWN]:
        verdict = "right" if good > bad else "WRONG"
        answers = f"{_answer(pair['chosen']):{_WIDTH}}  {_answer(pair['rejected'])}"
        print(f"{good:8.3f}  {bad:8.3f}  {verdict}  {answers}")
    right = sum(good > bad for good, bad in zip(chosen, rejected, strict=True))
    print(
        f"\nThe chosen answer has the higher reward in {right} of {len(pairs)} pairs "
        f"({right / len(pairs):.1%}).\n"
        f"{len(rewards)} conversations in {seconds:.2f} s: {len(rewards) / seconds:.0f} per second."
    )


def _answer(messages: list[dict[str, Any]]) -> str:
    """The last message, on one short line."""
    text = " ".join(str(messages[-1].get("content", "")).split()) if messages else ""
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"
