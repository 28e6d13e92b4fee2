"""`verify_export`: compare the outputs of an export and its source, sample by sample."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import TypeAlias

from reward_client._base.activation import Activation
from reward_client._base.atomic_file import write_atomically
from reward_client._base.results import Reward
from reward_client._base.samples import Sample
from reward_client._client.sync_client import RewardClient
from reward_client.errors import BadRequestError, ExportError, InputError
from reward_client.export.manifest import serialize
from reward_client.export.output_folder import MANIFEST
from reward_client.export.torch_reference import Outputs, exported_model, libraries, original_model
from reward_client.export.verification_samples import ExportTokenizer, conversations, texts
from reward_client.heads import Head, Rows, ScalarHead, Scores, StepHead
from reward_client.recipes import Recipe, Reference, load_recipe

_FLOAT32_TOLERANCE = 1e-4
"""Tolerance for two computations in float32: absolute up to 1, and relative above."""
_SERVER_TOLERANCE = 0.1
"""Tolerance for servers in half precision, relative to the largest value.

A difference of two logits was off by 0.12 in bfloat16 (SmolLM2, vLLM 0.32.0). In contrast, a
missing layer changes all values by about their own size."""
_MIN_SIZE = 1e-6
_MAX_REFERENCES = 16

Numbers: TypeAlias = tuple[float, ...]
Measurement: TypeAlias = tuple[str, tuple[Numbers, ...]]
"""A description of the computation, and the numbers of each sample."""

_RAW = Activation("none", "task")


@dataclass(frozen=True, slots=True)
class Verification:
    """The outputs of an export and its source.

    Attributes:
        original: How the source's numbers were computed, in words.
        exported: How the export's numbers were computed, in words.
        token_ids: The samples.
        expected: The source's numbers for each sample: the reward, the objectives, or a number for
            each step.
        found: The export's numbers for each sample.
    """

    original: str
    exported: str
    token_ids: tuple[tuple[int, ...], ...]
    expected: tuple[Numbers, ...]
    found: tuple[Numbers, ...]

    @property
    def largest_difference(self) -> float:
        """Largest absolute difference between two numbers."""
        return max(
            abs(value - reference)
            for expected, found in zip(self.expected, self.found, strict=True)
            for reference, value in zip(expected, found, strict=True)
        )

    def __str__(self) -> str:
        """Format the verification for a terminal."""
        low = min(min(numbers) for numbers in self.expected)
        high = max(max(numbers) for numbers in self.expected)
        return (
            f"Verified on {len(self.token_ids)} samples: the largest difference is "
            f"{self.largest_difference:.2g}, for values from {low:.6g} to {high:.6g} "
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
    """Compare an export with its source, and write reference values into the manifest.

    The outputs of each side are computed in this process, or come from a running server. In this
    process, transformers and torch compute in float32 (extra ``verify``), which takes four bytes of
    memory for each weight. The source's numbers become the reference values of the manifest. A
    client with the manifest as its recipe scores them before its first reward, and refuses a server
    that returns other values.

    Args:
        source: The source checkpoint.
        destination: The exported folder.
        head: The value of ``head=`` in the export.
        samples: Samples in addition to those of this package.
        original_url: URL of a server with the source; vLLM can serve only some kinds of heads.
        exported_url: URL of a server with the export.

    Raises:
        ExportError: If a model cannot be loaded, or if the numbers differ. The tolerance in this
            process is 1e-4, relative above 1. With a server, it is a tenth of the largest value.
        ImportError: If torch or transformers is not installed, and a side has no server.
        RewardClientError: If a server fails; see `reward_client.RewardClient.score`.
    """
    if original_url is None or exported_url is None:
        libraries()  # fail early if they are missing
    folder, target = Path(source).expanduser(), Path(destination).expanduser()
    manifest = load_recipe(target / MANIFEST)
    reader = manifest.head
    if manifest.export is None or reader is None:
        raise ExportError(
            f"Cannot verify {target}: {MANIFEST} has no head, because the step token is unknown. "
            "Export the checkpoint again with the model's recipe (--recipe)."
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
            tokenizer = ExportTokenizer(target, manifest)
            ids = _token_ids(tokenizer.ids, reader, samples)
            by_source, expected = (
                _by_server(original, ids)
                if original is not None
                else _by_torch(original_model(folder, str(head)), reader, ids, tokenizer)
            )
            by_export, found = (
                _by_server(exported, ids)
                if exported is not None
                else _by_torch(exported_model(target), reader, ids, tokenizer)
            )
    verification = Verification(by_source, by_export, ids, expected, found)
    _refuse_differences(verification, exact=original is None and exported is None)
    _write_references(target / MANIFEST, manifest, verification)
    return verification


def _token_ids(
    tokenize: Callable[[Sample], tuple[int, ...]], reader: Head, samples: Iterable[Sample] | None
) -> tuple[tuple[int, ...], ...]:
    """Return the token IDs of this package's samples and of the caller's, without duplicates."""
    try:
        standard = list(map(tokenize, conversations(in_steps=isinstance(reader, StepHead))))
    except (InputError, BadRequestError):  # the tokenizer has no chat template
        token = reader.step_token if isinstance(reader, StepHead) else ""
        standard = list(map(tokenize, texts(step_token=str(token))))
    return tuple(dict.fromkeys([*standard, *map(tokenize, samples or ())]))


def _by_server(client: RewardClient, ids: Sequence[tuple[int, ...]]) -> Measurement:
    rewards = client.score_many(ids)
    return f"vLLM {rewards[0].provenance.server_version}", tuple(map(_numbers, rewards))


def _by_torch(
    model: tuple[Outputs, str],
    reader: Head,
    token_ids: Sequence[tuple[int, ...]],
    tokenizer: ExportTokenizer,
) -> Measurement:
    outputs, description = model
    scores = (
        reader.read(Rows(outputs(ids), "per token", tokenizer.step_places(ids)), _RAW)
        for ids in token_ids
    )
    return f"torch, {description}", tuple(map(_numbers, scores))


def _numbers(result: Reward | Scores) -> Numbers:
    """Return the numbers of the steps, the objectives, or the reward."""
    if result.steps:
        return tuple(step.value for step in result.steps)
    if result.objectives:
        return tuple(result.objectives.values())
    value = result.scalar if isinstance(result, Reward) else result.value
    return () if value is None else (value,)


def _refuse_differences(verification: Verification, *, exact: bool) -> None:
    server_tolerance = _server_tolerance(verification.expected)
    for ids, expected, found in zip(
        verification.token_ids, verification.expected, verification.found, strict=True
    ):
        for reference, value in zip(expected, found, strict=True):
            exact_tolerance = _FLOAT32_TOLERANCE * max(1.0, abs(reference))
            if not abs(reference - value) <= (exact_tolerance if exact else server_tolerance):
                raise ExportError(
                    f"Cannot verify the export: it returns {value:.6g}, but the source returns "
                    f"{reference:.6g}, for a sample of {len(ids)} tokens (source: "
                    f"{verification.original}; export: {verification.exported}). Do not use it."
                )


def _server_tolerance(expected: Iterable[Numbers]) -> float:
    return _SERVER_TOLERANCE * max(_MIN_SIZE, *map(abs, chain.from_iterable(expected)))


def _write_references(path: Path, manifest: Recipe, verification: Verification) -> None:
    """Write the source's numbers into the manifest."""
    pairs = list(zip(verification.token_ids, verification.expected, strict=True))
    tolerance = _server_tolerance(verification.expected)
    references = tuple(
        Reference(
            token_ids=ids,
            expected=numbers[0] if isinstance(manifest.head, ScalarHead) else numbers,
            tolerance=tolerance,
            source=f"{verification.original}, of the source",
        )
        for ids, numbers in pairs[:_MAX_REFERENCES]
    )
    published = tuple(known for known in manifest.references if known.token_ids is None)
    verified = manifest.model_copy(update={"references": (*published, *references)})
    try:
        write_atomically(path, serialize(verified))
    except OSError as error:
        raise ExportError(f"Cannot write {path}: {error.strerror}.") from error
