"""A broken checkpoint is refused with one line that says what is broken, and leaves nothing."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reward_client.cli import main
from reward_client.errors import ExportError, RecipeError
from reward_client.export import export_checkpoint

from .broken_sources import CASES, Broken
from .checkpoints import (
    INDEX,
    WEIGHTS,
    backbone,
    checkpoint,
    encoded,
    fingerprint,
    read_weights,
    seqcls,
    write_raw,
)


@pytest.mark.parametrize("broken", CASES, ids=lambda broken: broken.what)
def test_a_broken_source(
    broken: Broken, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, destination = tmp_path / "source", tmp_path / "exported"
    broken.make(source)
    with pytest.raises(ExportError) as raised:
        export_checkpoint(source, destination)
    message = str(raised.value)
    assert broken.said in message
    assert len(message) < 600
    assert message.isprintable()  # one line, and nothing that a terminal obeys
    assert main(["export", str(source), str(destination)]) == 1
    printed = capsys.readouterr()
    assert printed.err == f"reward-client: {message}\n"
    assert printed.out == ""
    assert {path.name for path in tmp_path.iterdir()} <= {"source"}


@pytest.mark.parametrize("argument", ["source", "destination"])
@pytest.mark.parametrize(
    "value", [None, 7, b"folder", "a\0b", "a\ud800b", 1.5, ["a"], "~no-such-user/x"]
)
def test_what_is_no_path(value: Any, argument: str, tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "source", seqcls())
    paths: dict[str, Any] = {"source": source, "destination": tmp_path / "exported"}
    with pytest.raises(ExportError, match="as a path"):
        export_checkpoint(**{**paths, argument: value})
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@pytest.mark.parametrize("value", [7, b"x", 1.5, ["a"], "no-such-recipe", "a\0b", "", Path("gone")])
def test_what_is_no_recipe(value: Any, tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "source", seqcls())
    with pytest.raises((ExportError, RecipeError)):
        export_checkpoint(source, tmp_path / "exported", recipe=value)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@pytest.mark.parametrize(
    "destination",
    ["/proc/exported", "/dev/null/exported", "/proc/self/exported", f"/tmp/{'x' * 256}"],
)
def test_a_destination_that_cannot_be_written(
    destination: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: room)  # these file systems have none
    source = checkpoint(tmp_path / "source", seqcls())
    before = fingerprint(source)
    with pytest.raises(ExportError, match="Cannot write") as raised:
        export_checkpoint(source, destination)
    assert len(str(raised.value)) < 600
    assert fingerprint(source) == before


def test_a_file_on_the_way_to_the_destination(tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "source", seqcls())
    (tmp_path / "file").write_text("x")
    with pytest.raises(ExportError, match="Cannot write"):
        export_checkpoint(source, tmp_path / "file" / "exported")


def test_a_folder_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = checkpoint(tmp_path / "source", seqcls())

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(ExportError, match="Permission denied"):
        export_checkpoint(source, tmp_path / "exported")


@pytest.mark.parametrize("name", ["tokenizer.json", WEIGHTS, "config.json"])
def test_a_file_of_the_source_that_may_not_be_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = checkpoint(tmp_path / "source", seqcls())
    original = os.open

    def refuse(path: Any, *arguments: Any, **options: Any) -> Any:
        if str(path) == str(source / name):
            raise PermissionError(13, "Permission denied")
        return original(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ExportError, match=f"{name}: Permission denied"):
        export_checkpoint(source, tmp_path / "exported")


def test_a_large_header_is_read(tmp_path: Path) -> None:
    """Some checkpoints carry much in their metadata; the format allows 100 MB."""
    source = checkpoint(tmp_path / "source", seqcls())
    header, data = encoded(seqcls(), {"format": "pt", "notes": "x" * 20_000_000})
    write_raw(source / WEIGHTS, json.dumps(header).encode(), data)
    assert read_weights(export_checkpoint(source, tmp_path / "exported").destination) == backbone()


def test_the_whole_sources_are_exported(tmp_path: Path) -> None:
    """Else every test above would pass of an export that refuses all."""
    for number, files in enumerate((1, 2)):
        source = checkpoint(tmp_path / f"source{number}", seqcls(), files=files)
        exported = export_checkpoint(source, tmp_path / f"exported{number}").destination
        assert read_weights(exported) == backbone()


FLOATS = st.floats(allow_nan=False, allow_infinity=False)  # JSON has no others
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
FUZZED = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


def was_exported(source: Path, head: str = "auto") -> bool:
    """Either it is, and then the folder can be read, or nothing is left but a short error."""
    destination = source.with_name("exported")
    try:
        export_checkpoint(source, destination, head=head)
    except ExportError as error:
        message = str(error)
    else:
        return True
    assert len(message) < 600
    assert not destination.exists()
    return False


def check_what_was_exported(source: Path, head: str = "auto") -> None:
    """What is exported of what was made at random holds the same backbone."""
    if was_exported(source, head):
        destination = source.with_name("exported")
        rest = {
            name: tensor
            for name, tensor in read_weights(source).items()
            if not name.startswith("score.")
        }
        assert read_weights(destination) == rest
        shutil.rmtree(destination)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return checkpoint(tmp_path / "source", seqcls(), files=2)


@FUZZED
@given(data=st.data())
def test_any_index(data: st.DataObject, source: Path) -> None:
    path = source / INDEX
    sound = path.read_text()
    content = json.loads(sound)
    table = content["weight_map"]
    names = st.sampled_from([*table, "other"])
    files = st.sampled_from(sorted(set(table.values()))) | st.text(max_size=12) | JSON
    table.update(data.draw(st.dictionaries(names, files, max_size=2)))
    path.write_text(json.dumps(content))
    check_what_was_exported(source)
    path.write_text(sound)


@FUZZED
@given(data=st.data())
def test_any_header(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("headers")
    source = checkpoint(folder / "source", seqcls())
    header, content = encoded(seqcls())
    name = data.draw(st.sampled_from(list(header)))
    field = data.draw(st.sampled_from(["dtype", "shape", "data_offsets", "other"]))
    counts = st.lists(st.integers(0, 1000) | st.integers(), max_size=3)
    dtypes = st.sampled_from(["F64", "F32", "I32", "BF16", "I8"])
    value = data.draw(dtypes if field == "dtype" else JSON | counts)
    header[name][field] = value
    write_raw(source / WEIGHTS, json.dumps(header).encode(), content)
    check_what_was_exported(source)


@FUZZED
@given(cut=st.integers(0, 1200), noise=st.binary(max_size=40), at=st.integers(0, 1200))
def test_any_bytes(
    cut: int, noise: bytes, at: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("bytes")
    source = checkpoint(folder / "source", seqcls())
    content = (source / WEIGHTS).read_bytes()
    (source / WEIGHTS).write_bytes(content[:at] + noise + content[at : len(content) - cut])
    check_what_was_exported(source)


@FUZZED
@given(
    values=st.dictionaries(
        st.sampled_from(
            [
                "architectures",
                "hidden_size",
                "num_hidden_layers",
                "id2label",
                "score_type",
                "do_normalize",
                "normalize_reward",
                "mean",
                "std",
                "var",
                "auto_map",
                "pooling",
                "tie_word_embeddings",
                "logit_scale",
                "vision_config",
                "bias",
            ]
        ),
        JSON,
        max_size=4,
    )
)
def test_any_configuration(
    values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("configurations")
    tensors = {**seqcls(), "lm_head.weight": seqcls(8)["score.weight"]}
    source = checkpoint(folder / "source", tensors)
    config = {**json.loads((source / "config.json").read_text()), **values}
    (source / "config.json").write_text(json.dumps(config))
    for head in ("auto", "lm-head:Yes"):
        check_what_was_exported(source, head)
