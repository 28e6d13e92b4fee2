"""What is said where an export cannot be verified; real verification is in `tests/vllm`."""

from __future__ import annotations

import importlib
from importlib import resources
from pathlib import Path
from types import ModuleType

import pytest

from reward_client import Conversation, FormattedText, cli
from reward_client.cli._rows import read_rows
from reward_client.errors import ExportError, InputError
from reward_client.export import export_checkpoint, verify_export
from reward_client.export.verification_samples import ExportTokenizer

from .checkpoints import backbone, checkpoint, numbers


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return checkpoint(tmp_path / "source", {**backbone(), "score.weight": numbers(1, 8)})


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def without(name: str, package: str | None = None) -> ModuleType:
        if name == "torch":
            raise ImportError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", without)


@pytest.mark.usefixtures("no_torch")
@pytest.mark.parametrize(
    "option", [["--verify"], ["--original-url", "http://127.0.0.1:1"], ["--samples", "s.jsonl"]]
)
def test_without_torch_nothing_is_exported_to_be_verified(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.jsonl").write_text('{"token_ids": [1, 2]}\n', encoding="utf-8")
    assert cli.main(["export", str(source), "exported", *option]) == 1
    assert "reward-client[verify]" in capsys.readouterr().err
    assert not Path("exported").exists()
    with pytest.raises(ImportError, match="original-url"):
        verify_export(source, "exported")


@pytest.mark.parametrize("rows", ["{}", "[1]", "{", '{"messages": 3}', "7", "\xff"])
def test_samples_that_are_none(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: str
) -> None:
    samples = tmp_path / "s.jsonl"
    samples.write_text(rows, encoding="latin-1")
    command = ["export", str(source), str(tmp_path / "exported"), "--samples", str(samples)]
    assert cli.main(command) == 1
    assert "s.jsonl" in capsys.readouterr().err
    assert not (tmp_path / "exported").exists()


def test_samples_keep_what_their_chat_template_takes(tmp_path: Path) -> None:
    rows = tmp_path / "s.jsonl"
    rows.write_text(
        '{"messages": [{"role": "user", "content": "a"}], "chat_template_kwargs": {"x": 1}}\n'
        '\n{"text": "b"}\n{"token_ids": [1, 2]}\n',
        encoding="utf-8",
    )
    assert [each for row in read_rows(rows) for each in row.samples] == [
        Conversation([{"role": "user", "content": "a"}], chat_template_kwargs={"x": 1}),
        FormattedText("b"),
        [1, 2],
    ]


def test_what_a_server_prepares_is_not_tokenized_here(tmp_path: Path) -> None:
    with resources.as_file(
        resources.files("reward_client.testing") / "_model" / "checkpoint"
    ) as model:
        manifest = export_checkpoint(model, tmp_path / "exported").manifest
    local = ExportTokenizer(tmp_path / "exported", manifest)
    chat = [{"role": "user", "content": "What is 1 + 1?"}]
    assert local.ids(chat)
    with pytest.raises(InputError, match="token_ids"):
        local.ids(Conversation(chat, tools=[{"type": "function", "function": {"name": "add"}}]))


def test_a_process_head_of_unknown_steps_cannot_be_verified(tmp_path: Path) -> None:
    head = {"score.0.weight": numbers(8, 8), "score.2.weight": numbers(2, 8)}
    architecture = {"architectures": ["Qwen2ForProcessRewardModel"], "model_type": "qwen2"}
    source = checkpoint(tmp_path / "source", {**backbone(), **head}, **architecture)
    report = export_checkpoint(source, tmp_path / "exported")
    assert "The step token is unknown" in str(report)
    urls = {"original_url": "http://127.0.0.1:1", "exported_url": "http://127.0.0.1:1"}
    with pytest.raises(ExportError, match="--recipe"):
        verify_export(source, tmp_path / "exported", **urls)
