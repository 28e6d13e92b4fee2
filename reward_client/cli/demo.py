"""`reward-client demo`: score pairs of answers, and count how often the better one wins."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from reward_client import Conversation
from reward_client._base.wording import count, shorten
from reward_client._printable import one_line
from reward_client._protocols.engines import ENGINES
from reward_client.cli._options import (
    Commands,
    UsageError,
    add_command,
    add_server_options,
    add_tokenizer_option,
    open_client,
    sent_headers,
)
from reward_client.cli._output import show, shows_progress
from reward_client.cli._plain import Prompt, explain, read_plainly
from reward_client.cli._rows import read_rows

if TYPE_CHECKING:
    import argparse

_MAX_ROWS = 10
_WIDTH = 24
_TOLERANCE = 1e-5
"""Between a reward and the forward pass of the test server's model, which counts in float32."""

Forward: TypeAlias = Callable[[Sequence[int]], float]
"""The model's own value for token IDs."""


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
    add_tokenizer_option(parser)
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
        _score(options, options.url, f"The server at {options.url}", pairs, None)
        return
    from reward_client.testing import RewardServer

    with RewardServer() as server:
        name = f"The built-in test server at {server.url}"
        _score(options, server.url, name, pairs, server.reference)


def _read_pairs(path: Path | None) -> list[dict[str, Any]]:
    """Read the pairs of a file; without a path, return the built-in pairs."""
    if path is None:
        from reward_client.testing import demo_pairs

        return list(demo_pairs())
    pairs: list[dict[str, Any]] = []
    for number, row in enumerate(read_rows(path)):
        names = [*row.layout.sample_names()]
        if names != ["chosen", "rejected"]:
            raise UsageError(
                f"Cannot use row {number} of {path}: it has no chosen and rejected. Score it "
                "by `reward-client score`."
            )
        pairs.append(dict(zip(names, row.samples, strict=True)))
    if not pairs:
        raise UsageError(f"Cannot use {path}: it contains no pairs. Write rows into it.")
    return pairs


def _score(
    options: argparse.Namespace,
    url: str,
    server: str,
    pairs: list[dict[str, Any]],
    forward: Forward | None,
) -> None:
    """Score all pairs with the public client, and print the rewards."""
    conversations = [pair[side] for pair in pairs for side in ("chosen", "rejected")]
    with open_client(url, options, tokenizer=options.tokenizer) as client:
        profile = client.servers()[0]
        started = time.perf_counter()
        rewards = client.score_many(conversations, progress=shows_progress())
        seconds = time.perf_counter() - started
        shown = conversations[: 2 * _MAX_ROWS]
        prompts = [client.tokenize(conversation).token_ids for conversation in shown]
    plain = read_plainly(profile, sent_headers(options), [*map(_ways_to_write, prompts, shown)])
    show(
        f"{server} answers as {ENGINES[profile.engine].name} "
        f"{profile.version or 'of unknown version'}: model "
        f"{one_line(profile.model)}, route {profile.route}, raw rewards "
        f"(known by {profile.activation_known_by}).\n"
    )
    values = [reward.value for reward in rewards]
    _print_pairs(pairs, values, plain)
    right = sum(good > bad for good, bad in zip(values[::2], values[1::2], strict=True))
    show(
        f"\nThe chosen answer has the higher reward in {right} of {count(len(pairs), 'pair')} "
        f"({right / len(pairs):.1%})."
    )
    if forward is not None:
        _print_difference(values, [forward(prompt) for prompt in prompts])
    if plain is not None:
        show(explain(values[: len(plain)], plain))
    scored = count(len(values), "conversation")
    show(f"{scored} in {seconds:.2f} s: {len(values) / seconds:.0f} per second.")


def _ways_to_write(ids: Sequence[int], conversation: object) -> Prompt:
    ways: dict[str, object] = {"input": list(ids)}
    if isinstance(conversation, list):
        ways["messages"] = conversation
    return ways


def _print_pairs(
    pairs: list[dict[str, Any]], values: Sequence[float], plain: Sequence[float] | None
) -> None:
    """Print the first pairs: their rewards, what a plain client reads, their answers."""
    sides = f"{'chosen':>8}  {'rejected':>8}"
    columns = [f"{'rewards':>18}{'':7}", sides + f"{'':7}"]
    if plain is not None:
        columns = [columns[0] + f"  {'a plain client':>18}", columns[1] + f"  {sides}"]
    show(columns[0])
    show(f"{columns[1]}  {'chosen answer':{_WIDTH}}  rejected answer")
    for index, pair in enumerate(pairs[:_MAX_ROWS]):
        both = slice(2 * index, 2 * index + 2)
        good, bad = values[both]
        line = f"{_two_numbers([good, bad])}  {'right' if good > bad else 'WRONG'}"
        if plain is not None:
            line += f"  {_two_numbers(plain[both])}"
        show(f"{line}  {_answer(pair['chosen']):{_WIDTH}}  {_answer(pair['rejected'])}")


def _two_numbers(values: Sequence[float]) -> str:
    return "  ".join(f"{value:8.3f}" for value in values)


def _print_difference(values: Sequence[float], forward: Sequence[float]) -> None:
    largest = max(abs(one - other) for one, other in zip(values, forward, strict=False))
    if largest <= _TOLERANCE:
        show(f"The rewards above equal the model's own forward pass, to {_TOLERANCE:g}.")
    else:
        show(f"The rewards above differ from the model's forward pass by up to {largest:.3g}.")


def _answer(sample: Any) -> str:
    """Return the last message, shortened to one line."""
    messages = sample.messages if isinstance(sample, Conversation) else sample
    text = " ".join(str(messages[-1].get("content", "")).split()) if messages else ""
    return shorten(text, _WIDTH)
