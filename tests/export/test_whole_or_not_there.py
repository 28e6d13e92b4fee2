"""Whatever ends an export early leaves nothing that looks whole, and an earlier one as it was."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from reward_client.errors import ExportError
from reward_client.export import export_checkpoint
from reward_client.export.folder_writer import FolderWriter
from reward_client.export.output_folder import Link

from .checkpoints import (
    HIDDEN,
    WEIGHTS,
    backbone,
    checkpoint,
    fingerprint,
    numbers,
    read_weights,
    seqcls,
    shard_name,
    write_file,
)

REST = tuple(backbone())
UNFINISHED = ".exported.unfinished"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """One file is linked, one rewritten, and of one nothing comes."""
    head = {"score.0.weight": numbers(4, HIDDEN), "score.2.weight": numbers(1, 4)}
    return checkpoint(
        tmp_path / "source",
        {**backbone(), **head},
        files=[REST[:2], [*REST[2:], "score.0.weight"], ["score.2.weight"]],
    )


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "exported"


def earlier(destination: Path) -> dict[str, str]:
    """An export of another model, made before."""
    other = checkpoint(destination.parent / "other", seqcls())
    export_checkpoint(other, destination, link="copy")
    shutil.rmtree(other)
    return fingerprint(destination)


def beside(destination: Path) -> set[str]:
    return {path.name for path in destination.parent.iterdir()} - {"source"}


STEPS = (
    *("_append", "_created", "link", "_digest"),
    *("write", "copy", "record", "link_or_copy", "write_tensors", "record_shard", "write_dense"),
)


@contextmanager
def ending(step: str, number: int, end: Callable[[], None]) -> Iterator[list[int]]:
    """Ends it at the n-th call of a method of the writer, or a rename; counts the calls."""
    calls = [0]
    owner: Any = Path if step == "rename" else FolderWriter
    original = getattr(owner, step)

    def called(*arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        if calls[0] == number:
            end()
        return original(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, step, called)
        yield calls


def how_often(step: str, source: Path, destination: Path, link: Link) -> int:
    with ending(step, 0, lambda: None) as calls:
        export_checkpoint(source, destination, link=link)
    shutil.rmtree(destination)
    return calls[0]


class Cut(Exception):
    """Something that nobody expected."""


ENDS = [Cut(), KeyboardInterrupt(), SystemExit(), MemoryError(), OSError(errno.ENOSPC, "No space")]


@pytest.mark.parametrize("force", [False, True], ids=["new", "over an earlier one"])
@pytest.mark.parametrize("error", ENDS, ids=repr)
@pytest.mark.parametrize("step", STEPS)
def test_an_exception_at_any_step(
    step: str, error: BaseException, force: bool, source: Path, destination: Path
) -> None:
    link: Link = "copy" if step == "_append" else "hard"
    count = how_often(step, source, destination, link)
    assert count > 0
    before = earlier(destination) if force else {}
    at_source = fingerprint(source)

    def end() -> None:
        raise error

    expected = ExportError if isinstance(error, OSError) else type(error)
    for number in range(1, count + 1):
        with ending(step, number, end):
            if step == "link" and isinstance(error, OSError):
                continue  # that is caught: the file is copied
            with pytest.raises(expected):
                export_checkpoint(source, destination, force=force, link=link)
        assert beside(destination) == ({"exported"} if force else set())
        if force:
            assert fingerprint(destination) == before
    assert fingerprint(source) == at_source


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("error", ENDS, ids=repr)
def test_an_exception_at_the_last_moment(
    error: BaseException, number: int, source: Path, destination: Path
) -> None:
    """The earlier export was moved aside already, at the second of the two renames."""
    before = earlier(destination)

    def end() -> None:
        raise error

    expected = ExportError if isinstance(error, OSError) else type(error)
    with ending("rename", number, end), pytest.raises(expected):
        export_checkpoint(source, destination, force=True)
    assert beside(destination) == {"exported"}
    assert fingerprint(destination) == before


def killed(step: str, number: int, source: Path, destination: Path, *, force: bool) -> None:
    """Exports in a process that is killed, with no chance to tidy up."""
    child = os.fork()
    if child == 0:
        try:
            with ending(step, number, lambda: os.kill(os.getpid(), signal.SIGKILL)):
                export_checkpoint(source, destination, force=force, link="copy")
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


@pytest.mark.parametrize("force", [False, True], ids=["new", "over an earlier one"])
@pytest.mark.parametrize("step", ["_append", "_created", "_digest", "write_dense"])
def test_a_killed_process_leaves_nothing_that_looks_whole(
    step: str, force: bool, source: Path, destination: Path
) -> None:
    count = how_often(step, source, destination, "copy")
    assert count > 0
    before = earlier(destination) if force else {}
    for number in range(1, count + 1):
        killed(step, number, source, destination, force=force)
        assert beside(destination) == {UNFINISHED, *(["exported"] if force else [])}
        if force:
            assert fingerprint(destination) == before
        with pytest.raises(ExportError, match="killed export"):
            export_checkpoint(source, destination)
        shutil.rmtree(destination.parent / UNFINISHED)


def test_what_a_killed_process_left_is_replaced_by_force(source: Path, destination: Path) -> None:
    killed("_append", 9, source, destination, force=False)
    export_checkpoint(source, destination, force=True)
    assert beside(destination) == {"exported"}
    assert read_weights(destination) == backbone()


@pytest.mark.parametrize("number", [1, 2])
def test_a_process_killed_at_the_last_moment(number: int, source: Path, destination: Path) -> None:
    before = earlier(destination)
    killed("rename", number, source, destination, force=True)
    with pytest.raises(ExportError, match="killed export"):
        export_checkpoint(source, destination)
    shutil.rmtree(destination.parent / UNFINISHED)  # as the message says
    with pytest.raises(ExportError, match="already"):
        export_checkpoint(source, destination)
    assert beside(destination) == {"exported"}
    assert fingerprint(destination) == before


@pytest.mark.parametrize("number", [1, 2])
def test_a_process_killed_at_the_last_moment_and_begun_again(
    number: int, source: Path, destination: Path
) -> None:
    earlier(destination)
    killed("rename", number, source, destination, force=True)
    export_checkpoint(source, destination, force=True)
    assert beside(destination) == {"exported"}
    assert read_weights(destination) == backbone()


def test_everything_is_on_the_disk_before_it_has_its_name(
    source: Path, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power failure later finds each file whole."""
    synced: set[int] = set()
    renamed: list[set[int]] = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.add(os.fstat(number).st_ino))
    original = Path.rename

    def rename(path: Path, target: Path) -> Path:
        renamed.append(set(synced))
        return original(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    export_checkpoint(source, destination, link="copy")
    written = {path.stat().st_ino for path in (destination, *destination.rglob("*"))}
    (before,) = renamed
    assert written <= before
    assert destination.parent.stat().st_ino in synced


@pytest.mark.parametrize("force", [False, True])
def test_a_second_export_at_once_is_refused(
    force: bool, source: Path, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replacing what another process writes would mix the two."""
    begun, go_on = threading.Event(), threading.Event()
    original = FolderWriter.write_dense

    def dense(*arguments: Any) -> None:
        begun.set()
        assert go_on.wait(30)
        original(*arguments)

    monkeypatch.setattr(FolderWriter, "write_dense", dense)
    first = threading.Thread(target=export_checkpoint, args=(source, destination))
    first.start()
    try:
        assert begun.wait(30)
        with pytest.raises(ExportError, match="another export"):
            export_checkpoint(source, destination, force=force)
    finally:
        go_on.set()
        first.join()
    assert beside(destination) == {"exported"}
    assert read_weights(destination) == backbone()


def test_an_earlier_export_is_replaced_by_force_alone(source: Path, destination: Path) -> None:
    before = earlier(destination)
    with pytest.raises(ExportError, match="--force"):
        export_checkpoint(source, destination)
    assert fingerprint(destination) == before
    export_checkpoint(source, destination, force=True)
    assert beside(destination) == {"exported"}
    assert not (destination / WEIGHTS).exists()  # nothing of the earlier one is mixed in


def test_an_empty_folder_is_filled(source: Path, destination: Path) -> None:
    destination.mkdir()
    export_checkpoint(source, destination)
    assert beside(destination) == {"exported"}
    assert read_weights(destination) == backbone()


def test_folders_on_the_way_are_made(source: Path, tmp_path: Path) -> None:
    export_checkpoint(source, tmp_path / "some" / "where" / "exported")
    assert read_weights(tmp_path / "some" / "where" / "exported") == backbone()


def something(destination: Path) -> None:
    destination.mkdir()
    (destination / "thesis.txt").write_text("ten years of work")


def with_a_manifest(destination: Path) -> None:
    """A client's project, into which a manifest was copied."""
    something(destination)
    (destination / "reward_client.json").write_text("{}")


def a_model(destination: Path) -> None:
    checkpoint(destination, seqcls())


def a_sentence_transformer(destination: Path) -> None:
    checkpoint(destination, seqcls())
    (destination / "modules.json").write_text("[]")


def a_file(destination: Path) -> None:
    destination.write_text("ten years of work")


def a_link_to_an_export(destination: Path) -> None:
    earlier(destination)
    destination.rename(destination.with_name("elsewhere"))
    destination.symlink_to("elsewhere")


def a_dangling_link(destination: Path) -> None:
    destination.symlink_to("nowhere")


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        something,
        with_a_manifest,
        a_model,
        a_sentence_transformer,
        a_file,
        a_link_to_an_export,
        a_dangling_link,
    ],
)
def test_what_is_no_export_is_never_replaced(
    make: Callable[[Path], None], force: bool, source: Path, destination: Path
) -> None:
    make(destination)
    before = fingerprint(destination.parent)
    with pytest.raises(ExportError, match="already"):
        export_checkpoint(source, destination, force=force)
    assert fingerprint(destination.parent) == before


@pytest.mark.parametrize("force", [False, True])
def test_what_came_there_in_the_meantime_is_not_replaced(
    force: bool, source: Path, destination: Path
) -> None:
    """An export takes long; the folder was empty, or an export, when it began."""
    destination.mkdir()

    def arrive() -> None:
        (destination / "thesis.txt").write_text("ten years of work")

    refused = pytest.raises(ExportError, match="not an exported checkpoint")
    with ending("write_dense", 1, arrive), refused:
        export_checkpoint(source, destination, force=force)
    assert beside(destination) == {"exported"}
    assert [path.name for path in destination.iterdir()] == ["thesis.txt"]


def test_a_mount_point_cannot_be_replaced_and_is_refused_first(source: Path) -> None:
    with pytest.raises(ExportError, match="mount point"):
        export_checkpoint(source, "/proc")


@pytest.mark.parametrize("force", [False, True])
def test_source_and_destination_lie_apart(
    force: bool, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "alias").symlink_to("source")
    (tmp_path / "up").symlink_to(".")
    before = fingerprint(tmp_path)
    monkeypatch.chdir(tmp_path)
    for target in (
        source,
        source / "exported",
        source / "a" / "b",
        tmp_path,
        tmp_path / "alias" / "exported",
        tmp_path / "up" / "source" / "exported",
        tmp_path / "other" / ".." / "source" / "exported",
        Path("source/exported"),
        Path(),
    ):
        for given in (source, tmp_path / "alias", Path("source")):
            with pytest.raises(ExportError, match="contains the other"):
                export_checkpoint(given, target, force=force)
    assert fingerprint(tmp_path) == before


def test_a_folder_beside_the_source_may_begin_like_it(source: Path) -> None:
    export_checkpoint(source, source.with_name("source-exported"))


def full(free: int) -> Any:
    return lambda _: shutil._ntuple_diskusage(free, 0, free)


def test_a_full_disk_is_seen_before_anything_is_written(
    source: Path, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", full(1 << 20))
    monkeypatch.setattr(FolderWriter, "__init__", lambda *_: pytest.fail("it writes"))
    with pytest.raises(ExportError, match="free"):
        export_checkpoint(source, destination)
    assert beside(destination) == set()


def test_links_need_no_room(
    tmp_path: Path, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = {"model.layers.0.large": numbers(1 << 20)}  # 4 MiB
    source = checkpoint(
        tmp_path / "source",
        {**backbone(), **large, "score.weight": numbers(1, HIDDEN)},
        files=[list(large), [*REST, "score.weight"]],
    )
    monkeypatch.setattr(shutil, "disk_usage", full((64 << 20) + (1 << 20)))
    with pytest.raises(ExportError, match=r"4\.2 MB"):
        export_checkpoint(source, destination, link="copy")
    export_checkpoint(source, destination, link="symbolic")
    shutil.rmtree(destination)
    export_checkpoint(source, destination)


def test_a_file_that_cannot_grow(source: Path, destination: Path) -> None:
    """A quota, or the largest file that a file system has."""
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))
        status = 2
        try:
            export_checkpoint(source, destination, link="copy")
        except ExportError as error:
            status = 0 if "File too large" in str(error) else 3
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert beside(destination) == set()


def shorter(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 8)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def longer(path: Path) -> None:
    with path.open("ab") as file:
        file.write(bytes(8))


def other_numbers(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-8, os.SEEK_END)
        file.write(bytes(8))
    os.utime(path, ns=(1, 1))


def gone(path: Path) -> None:
    path.unlink()


def another_file(path: Path) -> None:
    path.unlink()
    write_file(path, {name: numbers(2) for name in REST})


@pytest.mark.parametrize("link", ["hard", "symbolic", "copy"])
@pytest.mark.parametrize("shard", [1, 2, 3], ids=["linked", "rewritten", "head"])
@pytest.mark.parametrize("step", ["copy", "record"], ids=["before", "after"])
@pytest.mark.parametrize("change", [shorter, empty, longer, other_numbers, gone, another_file])
def test_a_source_that_changes_meanwhile(
    change: Callable[[Path], None],
    step: str,
    shard: int,
    link: Any,
    source: Path,
    destination: Path,
) -> None:
    """It is being downloaded, or trained on."""
    name = shard_name(shard, 3)
    with (
        ending(step, 1, lambda: change(source / name)),
        pytest.raises(ExportError, match=name),
    ):
        export_checkpoint(source, destination, link=link)
    assert beside(destination) == set()
