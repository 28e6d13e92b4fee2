"""Every Python block of the documentation is run, page by page, from top to bottom."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING
from unittest import SkipTest

import pytest

from reward_client import RewardClientError

from . import pages
from .examples import run_block
from .servers import ON_SGLANG, SERVERS
from .test_outputs import assert_same_output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from sybil import Example

    from .servers import Stage

# SGLang refuses what blocks with this word ask for. Outputs with the other words are those of
# vLLM: its route, and its own refusal of a token ID, which the client does not send to an SGLang.
REFUSED_BY_SGLANG = ("Messages()",)
SHOWN_BY_VLLM = ("pooling", "BadRequestError")
# Python under another name would not be run.
OTHER_NAMES = {"py", "python3", "pycon", "ipython", "ipython3", "{code-block} python"}


@pytest.fixture
def run(
    request: pytest.FixtureRequest, surroundings: None, stage: Stage
) -> Callable[[Example], None]:
    def run_example(example: Example) -> None:
        """Run a block: as a script, a cell of a notebook, or a file of tests."""
        before = dict(example.namespace)
        lines_before = "\n" * (example.line + example.parsed.line_offset)
        run_block(lines_before + stage.staged(example.parsed), example.path, example.namespace)
        for name, value in list(example.namespace.items()):
            if name.startswith("test_") and before.get(name) is not value:
                value(**{key: request.getfixturevalue(key) for key in _parameters(value)})

    return run_example


def shown_output(example: Example) -> str | None:
    """Return the text block that directly follows an example, None if there is none."""
    rest = example.document.text[example.region.end :]
    found = re.match(r"\s*```text\n(.*?)^```$", rest, re.MULTILINE | re.DOTALL)
    return found[1] if found else None


def _has(words: Iterable[str], text: str) -> bool:
    return any(word in text for word in words)


def _parameters(function: Callable[..., object]) -> list[str]:
    return list(inspect.signature(function).parameters)


@pytest.mark.parametrize("stage", [SERVERS, ON_SGLANG], ids=["vLLM", "SGLang"], indirect=True)
@pytest.mark.parametrize("page", pages.PAGES, ids=pages.name)
def test_python_blocks_run(
    page: Path, run: Callable[[Example], None], stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    on_sglang = stage.servers is ON_SGLANG
    reasons: list[str] = []
    for example in pages.blocks(page, "python", run):
        capsys.readouterr()
        shown = shown_output(example) or ""
        try:
            example.evaluate()
        except SkipTest as skipped:  # written as: skip: next "the reason"
            reasons.append(str(skipped))
        except RewardClientError as error:
            refused = on_sglang and _has(REFUSED_BY_SGLANG, str(example.parsed))
            if not refused or "SGLang" not in str(error):
                raise
            continue
        if shown and not (on_sglang and _has(SHOWN_BY_VLLM, shown)):
            assert_same_output(capsys.readouterr().out, shown)
    assert all(len(reason.split()) >= 3 for reason in reasons), reasons


@pytest.mark.parametrize("page", pages.PAGES, ids=pages.name)
def test_no_python_block_goes_by_another_name(page: Path) -> None:
    assert not pages.languages(page) & OTHER_NAMES
    # A skip without a reason is no error to sybil: the block is just left out.
    assert not re.search(r"skip:\s*(next\s*-->|start)", pages.text(page))


def test_a_failing_block_fails_its_page(tmp_path: Path, run: Callable[[Example], None]) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Title\n\n```python\nx = 1\n```\n\n```python\nassert x == 2\n```\n", "utf-8")
    first, second = pages.blocks(page, "python", run)
    first.evaluate()
    with pytest.raises(AssertionError) as caught:
        second.evaluate()
    assert caught.traceback[-1].lineno == 7  # counted from 0
