"""How files come into the exported folder, and that nothing ever happens to those of the source."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from reward_client import LinearHead
from reward_client.errors import ExportError, InputError, RecipeError, RewardClientError
from reward_client.export import ExportReport, export_checkpoint
from reward_client.export.output_folder import Link
from reward_client.recipes import load_recipe

from .checkpoints import (
    HIDDEN,
    Stored,
    backbone,
    checkpoint,
    fingerprint,
    numbers,
    read_weights,
    seqcls,
    shard_name,
)

REST = tuple(backbone())
LINKS: tuple[Link, ...] = ("hard", "symbolic", "copy")
BLOB = "a" * 64


def sharded(folder: Path) -> Path:
    """The head is in the second of two files."""
    return checkpoint(folder, seqcls(), files=[REST[:2], [*REST[2:], "score.weight"]])


def size_of_own_files(report: ExportReport) -> int:
    return sum(
        path.stat().st_size
        for path in report.destination.rglob("*")
        if path.is_file() and not path.is_symlink() and path.stat().st_nlink == 1
    )


@pytest.mark.parametrize("link", LINKS)
def test_files_that_stay_as_they_are(link: Link, tmp_path: Path) -> None:
    source = sharded(tmp_path / "source")
    report = export_checkpoint(source, tmp_path / "exported", link=link)
    name = shard_name(1, 2)
    ours, theirs = report.destination / name, source / name
    assert ours.samefile(theirs) == (link != "copy")
    assert ours.is_symlink() == (link == "symbolic")
    assert read_weights(report.destination) == backbone()
    assert report.linked == (0 if link == "copy" else theirs.stat().st_size)
    assert report.written == size_of_own_files(report)
    others = [path for path in report.destination.rglob("*") if path != ours and path.is_file()]
    assert all(not path.is_symlink() and path.stat().st_nlink == 1 for path in others)


@pytest.mark.parametrize("link", LINKS)
def test_nothing_happens_to_the_source(link: Link, tmp_path: Path) -> None:
    source = sharded(tmp_path / "source")
    before = fingerprint(source)
    export_checkpoint(source, tmp_path / "exported", link=link)
    assert fingerprint(source) == before
    export_checkpoint(source, tmp_path / "exported", link=link, force=True)
    assert fingerprint(source) == before
    shutil.rmtree(tmp_path / "exported")
    assert fingerprint(source) == before


def test_symbolic_links_lead_there_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sharded(tmp_path / "source")
    monkeypatch.chdir(tmp_path)
    export_checkpoint("source", "exported", link="symbolic")
    monkeypatch.chdir("/")
    assert read_weights(tmp_path / "exported") == backbone()


NO_LINKS = [
    OSError(errno.EXDEV, "Invalid cross-device link"),
    OSError(errno.EPERM, "Operation not permitted"),
    OSError(errno.EMLINK, "Too many links"),
    NotImplementedError("no links here"),
]


@pytest.mark.parametrize("error", NO_LINKS, ids=repr)
@pytest.mark.parametrize("link", ["hard", "symbolic"])
def test_files_are_copied_where_links_cannot_be_made(
    link: Link, error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(os, "link", fail)
    monkeypatch.setattr(Path, "symlink_to", fail)
    source = sharded(tmp_path / "source")
    report = export_checkpoint(source, tmp_path / "exported", link=link)
    assert read_weights(report.destination) == backbone()
    assert report.linked == 0
    assert not (report.destination / shard_name(1, 2)).samefile(source / shard_name(1, 2))
    table = report.manifest.export
    assert table is not None
    assert table.digests[shard_name(1, 2)] == digest(source / shard_name(1, 2))


def test_a_copy_that_was_to_be_a_link_needs_room_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        # From now on a check sees a full disk: nobody thought of copies before.
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 0))
        raise NO_LINKS[1]

    monkeypatch.setattr(os, "link", fail)
    source = sharded(tmp_path / "source")
    with pytest.raises(ExportError, match="free"):
        export_checkpoint(source, tmp_path / "exported")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


@pytest.mark.parametrize("link", ["hardlink", "", None, True, b"hard", ["hard"]])
def test_there_are_three_kinds_of_links(link: Any, tmp_path: Path) -> None:
    source = sharded(tmp_path / "source")
    with pytest.raises(ExportError, match="'hard', 'symbolic' or 'copy'"):
        export_checkpoint(source, tmp_path / "exported", link=link)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def hub_cache(folder: Path, model: str = "models--my-org--my--model") -> Path:
    """As huggingface_hub keeps it: a snapshot of symbolic links to files named by their digests."""
    plain = sharded(folder / "plain")
    snapshot = folder / "hub" / model / "snapshots" / ("c" * 40)
    blobs = snapshot.parents[1] / "blobs"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for path in plain.iterdir():
        content = path.read_bytes()
        is_large = path.suffix == ".safetensors"
        name = (hashlib.sha256 if is_large else hashlib.sha1)(content).hexdigest()
        if path.name == shard_name(1, 2):
            name = BLOB  # so that it is seen where the digest comes from
        (blobs / name).write_bytes(content)
        (snapshot / path.name).symlink_to(Path("../../blobs") / name)
    shutil.rmtree(plain)
    return snapshot


@pytest.mark.parametrize("link", LINKS)
def test_a_hub_cache_is_read_through_its_links(link: Link, tmp_path: Path) -> None:
    snapshot = hub_cache(tmp_path)
    before = fingerprint(tmp_path / "hub")
    report = export_checkpoint(snapshot, tmp_path / "exported", link=link)
    table = report.manifest.export
    assert table is not None
    assert table.source == "my-org/my--model"
    assert read_weights(report.destination) == backbone()
    exported = report.destination / shard_name(1, 2)
    blob = snapshot.parents[1] / "blobs" / BLOB
    assert exported.samefile(blob) == (link != "copy")
    if link == "symbolic":
        assert exported.readlink() == blob.resolve()
    else:
        assert not exported.is_symlink()
    for name, found in table.digests.items():
        # A file that is read anyway is not believed to be what its name says.
        by_name = name == shard_name(1, 2) and link != "copy"
        assert found == (BLOB if by_name else digest(snapshot / name))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert not (report.destination / name).is_symlink()
        assert (report.destination / name).read_bytes() == (snapshot / name).read_bytes()
    assert fingerprint(tmp_path / "hub") == before
    shutil.rmtree(tmp_path / "exported")
    assert fingerprint(tmp_path / "hub") == before


def test_an_export_outlives_the_cache(tmp_path: Path) -> None:
    """Unless it was asked to be made of symbolic links."""
    report = export_checkpoint(hub_cache(tmp_path), tmp_path / "exported")
    shutil.rmtree(tmp_path / "hub")
    assert read_weights(report.destination) == backbone()


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("hub/models--org--name/snapshots/c0ffee", "org/name"),
        ("hub/models--gpt2/snapshots/c0ffee", "gpt2"),
        ("hub/models--org--name/other/c0ffee", "c0ffee"),
        ("models--org--name", "models--org--name"),
        ("modèle à moi", "modèle à moi"),
        (os.fsdecode(b"not-utf-8-\xff"), "not-utf-8-\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_what_the_source_is_called(folder: str, name: str, tmp_path: Path) -> None:
    source = checkpoint(tmp_path / folder, seqcls())
    manifest = export_checkpoint(source, tmp_path / "exported").manifest
    assert manifest.export is not None
    assert manifest.export.source == name
    assert manifest.name.startswith(name)


def test_a_source_that_is_a_link_itself(tmp_path: Path) -> None:
    sharded(tmp_path / "source")
    (tmp_path / "alias").symlink_to("source")
    report = export_checkpoint(tmp_path / "alias", tmp_path / "exported")
    assert read_weights(report.destination) == backbone()


def test_files_of_the_tokenizer_come_along(tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "source", seqcls())
    names = {
        *("special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt"),
        *("tokenizer.model", "tokenizer.model.v3", "chat_template.jinja", "modeling_mine.py"),
        *("additional_chat_templates/tool_use.jinja", "LICENSE"),
    }
    (source / "additional_chat_templates").mkdir()
    for name in names:
        (source / name).write_bytes(name.encode())
    others = {"README.md", "pytorch_model.bin", "optimizer.pt", "training_args.bin", "consolidated"}
    for name in others:
        (source / name).write_bytes(b"x")
    exported = export_checkpoint(source, tmp_path / "exported").destination
    for name in {*names, "tokenizer.json", "tokenizer_config.json"}:
        assert (exported / name).read_bytes() == (source / name).read_bytes()
    assert not others & {path.name for path in exported.iterdir()}


def test_a_source_without_names_of_architectures(tmp_path: Path) -> None:
    for number, names in enumerate([None, [], [""], "Llama", [7]]):
        source = checkpoint(tmp_path / f"source{number}", seqcls(), architectures=names)
        report = export_checkpoint(source, tmp_path / f"exported{number}")
        assert read_weights(report.destination) == backbone()


def test_large_tensors_are_copied_in_parts(tmp_path: Path) -> None:
    """More than one part of each is read, and the last is shorter."""
    large = {"model.layers.0.large.weight": numbers(3 << 20, seed=77)}  # 12 MiB
    source = checkpoint(
        tmp_path / "source",
        {**backbone(), **large, "score.weight": numbers(1, HIDDEN)},
        files=[[*REST, *large], ["score.weight"]],
    )
    rest = {**backbone(), **large}
    assert read_weights(export_checkpoint(source, tmp_path / "a", link="copy").destination) == rest
    one = checkpoint(tmp_path / "one", {"score.weight": numbers(1, HIDDEN), **rest})
    assert read_weights(export_checkpoint(one, tmp_path / "b").destination) == rest


def test_memory_does_not_grow_with_the_weights(tmp_path: Path) -> None:
    large = {"model.layers.0.large.weight": Stored("BF16", (40 << 19,), bytes(40 << 20))}
    head = {"score.weight": numbers(1, HIDDEN)}
    source = checkpoint(tmp_path / "source", {**backbone(), **large, **head})
    export_checkpoint(source, tmp_path / "before")  # what is imported and kept once
    for link in LINKS:
        tracemalloc.start()
        export_checkpoint(source, tmp_path / link, link=link)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 24 << 20


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "chat_template.jinja"])
@pytest.mark.parametrize("kind", ["pipe", "device", "socket", "broken link"])
def test_45_a_special_file_is_refused_and_not_waited_for(
    name: str, kind: str, tmp_path: Path
) -> None:
    source = sharded(tmp_path / "source")
    path = source / name
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "socket":
        os.mknod(path, stat.S_IFSOCK | 0o600)
    else:
        path.symlink_to("gone")
    reason = ": it is not a regular file" if kind == "pipe" else ""
    with pytest.raises(ExportError, match=f"Cannot read .*{name}{reason}"):
        export_checkpoint(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_45_a_pipe_as_a_head_or_as_a_recipe(tmp_path: Path) -> None:
    source = sharded(tmp_path / "source")
    pipe = tmp_path / "pipe.safetensors"
    os.mkfifo(pipe)
    with pytest.raises(RewardClientError):
        export_checkpoint(source, tmp_path / "out", head=pipe)
    with pytest.raises(InputError, match="not a regular file"):
        LinearHead.load(pipe)
    with pytest.raises(RecipeError, match="not a regular file"):
        load_recipe(pipe)


def test_45_a_configuration_without_end_is_not_read(tmp_path: Path) -> None:
    source = sharded(tmp_path / "source")
    os.truncate(source / "config.json", 2**39)  # no file system stores the zeros
    with pytest.raises(ExportError, match=r"config\.json: it is larger than 64 MiB"):
        export_checkpoint(source, tmp_path / "out")


@pytest.mark.parametrize(
    "name",
    ["config.json", "tokenizer.json", "chat_template.jinja", "LICENSE", "modeling.py"],
)
@pytest.mark.parametrize("is_relative", [False, True])
def test_45_a_link_out_of_the_checkpoint_is_refused(
    name: str, is_relative: bool, tmp_path: Path
) -> None:
    source = sharded(tmp_path / "source")
    secret = tmp_path / "secret"
    secret.write_bytes((source / name).read_bytes() if (source / name).exists() else b"{}")
    (source / name).unlink(missing_ok=True)
    (source / name).symlink_to(f"../{secret.name}" if is_relative else secret)
    with pytest.raises(ExportError, match=f"{name}: it is a link out of the checkpoint"):
        export_checkpoint(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_45_a_hub_cache_does_not_open_its_neighbours(tmp_path: Path) -> None:
    snapshot = hub_cache(tmp_path)
    neighbour = tmp_path / "hub" / "models--other--model" / "blobs" / "abc"
    neighbour.parent.mkdir(parents=True)
    neighbour.write_text("theirs")
    (snapshot / "chat_template.jinja").unlink(missing_ok=True)
    (snapshot / "chat_template.jinja").symlink_to(neighbour)
    with pytest.raises(ExportError, match="link out of the checkpoint"):
        export_checkpoint(snapshot, tmp_path / "out")


def test_links_within_a_checkpoint_are_followed(tmp_path: Path) -> None:
    source = sharded(tmp_path / "source")
    (source / "..data").mkdir()
    (source / "tokenizer.json").rename(source / "..data" / "tokenizer.json")
    (source / "tokenizer.json").symlink_to("..data/tokenizer.json")
    export_checkpoint(source, tmp_path / "out")
    assert (tmp_path / "out" / "tokenizer.json").is_file()
