"""Whether an exported checkpoint answers what its source does, sample by sample."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import TypeAlias

from reward_client._base.activation import Activation
from reward_client._base.results import Reward
from reward_client._base.samples import Sample
from reward_client._client.sync_client import RewardClient
from reward_client.errors import BadRequestError, ExportError, InputError
from reward_client.export.local_tokens import LocalTokens
from reward_client.export.manifest import serialized
from reward_client.export.output_folder import MANIFEST
from reward_client.export.torch_reference import Outputs, exported_model, libraries, original_model
from reward_client.export.verification_samples import conversations, texts
from reward_client.heads import Head, Rows, ScalarHead, Scores, StepHead
from reward_client.recipes import Recipe, Reference, load_recipe

_FLOAT32 = 1e-4
"""What two float32 computations of the same numbers differ by, relative above 1."""
_ROUNDING = 0.1
"""Of the largest value: what half precision, in which most servers compute, may move one by.

A difference of two logits was seen 0.12 off in bfloat16 (SmolLM2, vLLM 0.32.0). A layer that is
missing moves all values, by about their own size."""
_SMALLEST = 1e-6
_MOST_REFERENCES = 16

Numbers: TypeAlias = tuple[float, ...]
TokenIds: TypeAlias = tuple[int, ...]
Answers: TypeAlias = tuple[str, tuple[Numbers, ...]]
"""How numbers were had, in words, and those of each sample."""

_RAW = Activation("none", "task")


@dataclass(frozen=True, slots=True)
class Verification:
    """What the source and the export answered.

    Attributes:
        original: How the source's numbers were had, in words.
        exported: How the export's were.
        token_ids: The samples.
        expected: The source's numbers for each: the reward, the objectives, or each step's.
        found: The export's.
    """

    original: str
    exported: str
    token_ids: tuple[tuple[int, ...], ...]
    expected: tuple[Numbers, ...]
    found: tuple[Numbers, ...]

    @property
    def largest_difference(self) -> float:
        """Of all numbers; absolute."""
        return max(
            abs(one - other)
            for expected, found in zip(self.expected, self.found, strict=True)
            for one, other in zip(expected, found, strict=True)
        )

    def __str__(self) -> str:
        """For a terminal."""
        low = min(min(numbers) for numbers in self.expected)
        high = max(max(numbers) for numbers in self.expected)
        return (
            f"Verified over {len(self.token_ids)} samples: largest difference "
            f"{self.largest_difference:.2g}, of values from {low:.6g} to {high:.6g} "
            f"(source: {self.original}; export: {self.exported})."
        )


def verify_export(
    source: str | PathLike[str],
    destination: str | PathLike[str],
    *,
    head: str | PathLike[str] = "auto",
    samples: Iterable[Sample] | None = None,
    original_url: str | None = None,
    exported_url: str | None = None,
) -> Verification:
    """Compares an exported checkpoint with its source, and keeps values for clients to check by.

    Each side is computed in this process (extra ``verify``: transformers and torch, in float32,
    which takes four bytes of memory for each weight), or asked for at a server that runs there.
    The source's numbers go into the manifest as reference values: a client that is given it as its
    recipe scores them before its first reward, and believes no server that answers otherwise.

    Args:
        source: The checkpoint.
        destination: Its export.
        head: As it was exported.
        samples: Samples of yours, in addition to those that come with the package.
        original_url: A server that serves the source, which vLLM can for some kinds of heads.
        exported_url: A server that serves the export.

    Raises:
        ExportError: They differ: in this process by more than 1e-4, relative above 1, where a
            server took part by more than a tenth of the largest value. Or one cannot be loaded.
        ImportError: torch or transformers is not installed, and a side has no server.
        RewardClientError: As `reward_client.RewardClient.score`, of a server.
    """
    if original_url is None or exported_url is None:
        libraries()  # before anything takes long
    folder, target = Path(source).expanduser(), Path(destination).expanduser()
    manifest = load_recipe(target / MANIFEST)
    reader = manifest.head
    if manifest.export is None or reader is None:
        raise ExportError(
            f"{target / MANIFEST} does not say how the outputs are read (which token ends a step): "
            "export it again with the model's recipe (--recipe)."
        )
    with ExitStack() as clients:

        def client(url: str | None, recipe: Recipe | None) -> RewardClient | None:
            if url is None:
                return None
            return clients.enter_context(RewardClient(url, head=reader, recipe=recipe))

        original = client(original_url, None)
        exported = client(exported_url, manifest.model_copy(update={"references": ()}))
        if original is not None and exported is not None:
            ids = _token_ids(lambda sample: exported.tokenize(sample).token_ids, reader, samples)
            by_source, expected = _by_server(original, ids)
            by_export, found = _by_server(exported, ids)
        else:
            local = LocalTokens(target, manifest)
            ids = _token_ids(local.ids, reader, samples)
            by_source, expected = (
                _by_server(original, ids)
                if original is not None
                else _by_torch(original_model(folder, str(head)), reader, ids, local)
            )
            by_export, found = (
                _by_server(exported, ids)
                if exported is not None
                else _by_torch(exported_model(target), reader, ids, local)
            )
    verification = Verification(by_source, by_export, ids, expected, found)
    _refuse_differences(verification, exact=original is None and exported is None)
    _keep(target / MANIFEST, manifest, verification)
    return verification


def _token_ids(
    tokenize: Callable[[Sample], TokenIds], reader: Head, samples: Iterable[Sample] | None
) -> tuple[TokenIds, ...]:
    """The token IDs of the shipped samples and of the caller's, each once."""
    try:
        shipped = list(map(tokenize, conversations(in_steps=isinstance(reader, StepHead))))
    except (InputError, BadRequestError):  # the tokenizer has no chat template
        token = reader.step_token if isinstance(reader, StepHead) else ""
        shipped = list(map(tokenize, texts(step_token=str(token))))
    return tuple(dict.fromkeys([*shipped, *map(tokenize, samples or ())]))


def _by_server(client: RewardClient, ids: Sequence[TokenIds]) -> Answers:
    rewards = client.score_many(ids)
    return f"vLLM {rewards[0].provenance.server_version}", tuple(map(_numbers, rewards))


def _by_torch(
    model: tuple[Outputs, str], reader: Head, token_ids: Sequence[TokenIds], local: LocalTokens
) -> Answers:
    outputs, how = model
    scores = (
        reader.read(Rows(outputs(ids), "per token", local.step_places(ids)), _RAW)
        for ids in token_ids
    )
    return f"torch, {how}", tuple(map(_numbers, scores))


def _numbers(answer: Reward | Scores) -> Numbers:
    """Each step's number, or each objective's, or the reward."""
    if answer.steps:
        return tuple(step.value for step in answer.steps)
    if answer.objectives:
        return tuple(answer.objectives.values())
    value = answer.scalar if isinstance(answer, Reward) else answer.value
    return () if value is None else (value,)


def _refuse_differences(verification: Verification, *, exact: bool) -> None:
    allowed = _rounding(verification.expected)
    for ids, expected, found in zip(
        verification.token_ids, verification.expected, verification.found, strict=True
    ):
        for one, other in zip(expected, found, strict=True):
            tolerance = _FLOAT32 * max(1.0, abs(one)) if exact else allowed
            if not abs(one - other) <= tolerance:
                raise ExportError(
                    f"The export does not answer what its source does: {other:.6g} instead of "
                    f"{one:.6g} for a sample of {len(ids)} tokens (source: "
                    f"{verification.original}; export: {verification.exported}). Do not use it."
                )


def _rounding(expected: Iterable[Numbers]) -> float:
    return _ROUNDING * max(_SMALLEST, *map(abs, chain.from_iterable(expected)))


def _keep(path: Path, manifest: Recipe, verification: Verification) -> None:
    """Writes the source's numbers into the manifest, whole or not at all."""
    pairs = list(zip(verification.token_ids, verification.expected, strict=True))
    tolerance = _rounding(verification.expected)
    references = tuple(
        Reference(
            token_ids=ids,
            expected=numbers[0] if isinstance(manifest.head, ScalarHead) else numbers,
            tolerance=tolerance,
            source=f"{verification.original}, of the source",
        )
        for ids, numbers in pairs[:_MOST_REFERENCES]
    )
    published = tuple(known for known in manifest.references if known.token_ids is None)
    verified = manifest.model_copy(update={"references": (*published, *references)})
    unfinished = path.with_suffix(".unfinished")
    try:
        unfinished.write_bytes(serialized(verified))
        unfinished.replace(path)
    except OSError as error:
        raise ExportError(f"{path} cannot be written: {error.strerror}.") from error
