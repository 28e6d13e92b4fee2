"""Write everything in the documentation that comes from the code.

`python -m tests.docs.refresh` writes the tables, the tree of errors, the output below the examples,
the reports of the doctor, the output of the demo, and the pictures. `--fast` keeps the numbers of
counted tests.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from reward_client.testing import RewardServer

from . import pages, pictures
from .examples import example_files, run_block
from .servers import DEFAULT, Stage
from .tables import COUNTS, TABLES, count_cells, error_tree

DOCTOR = pages.DOCS / "how-to" / "doctor.md"
ERRORS = pages.DOCS / "reference" / "errors.md"
EXAMPLE = re.compile(r"^```python\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
OUTPUT = re.compile(r"(\s*```text\n)(.*?)(^```$)", re.MULTILINE | re.DOTALL)
SKIPPED = re.compile(r"<!---? skip: next [^\n]*\n\Z")


def write_outputs(page: Path, stage: Stage) -> None:
    """Run the examples of a page, and write their output into the text blocks that follow."""
    text, parts, done = pages.text(page), [], 0
    namespace: dict[str, object] = {}
    for example in EXAMPLE.finditer(text):
        if SKIPPED.search(text[: example.start()]):
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            run_block(stage.staged(example[1]), str(page), namespace)
        output = OUTPUT.match(text, example.end())
        if output is not None:
            parts += [text[done : output.start()], output[1], printed.getvalue(), output[3]]
            done = output.end()
    page.write_text("".join([*parts, text[done:]]), encoding="utf-8")


def write_blocks(page: Path, outputs: Iterator[str]) -> None:
    """Write outputs into the first text blocks of a page."""
    text = pages.text(page)
    for number, output in enumerate(outputs):
        block = list(re.finditer(r"^```text\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))[number]
        text = text[: block.start(1)] + output + text[block.end(1) :]
    page.write_text(text, encoding="utf-8")


def doctor_reports() -> Iterator[str]:
    """Yield the reports of a healthy server and of one that was started wrongly."""
    for dialect in ("0.32", "0.8"):
        with RewardServer(dialect=dialect) as server:
            yield printed("doctor", server.url).replace(server.url, DEFAULT).rstrip("\n") + "\n"


def demo_report() -> str:
    """Return the report of the demo without its last line, which holds a time."""
    lines = printed("demo").splitlines(keepends=True)[:-1]
    return re.sub(r"(?<=127\.0\.0\.1:)\d+", "34333", "".join(lines))


def printed(*arguments: str) -> str:
    """Return the output of a command."""
    run = "import sys; from reward_client.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", run, *arguments]
    environment = {**os.environ, "COLUMNS": "100"}
    return subprocess.run(
        command, env=environment, check=False, stdout=subprocess.PIPE, text=True
    ).stdout


def main() -> None:
    if "--fast" not in sys.argv:
        count_cells(COUNTS)
    for table in TABLES.values():
        table.write()
    write_blocks(ERRORS, iter([error_tree()]))
    write_blocks(DOCTOR, doctor_reports())
    write_blocks(pages.ROOT / "README.md", iter([demo_report()]))
    with contextlib.closing(Stage()) as stage:
        os.environ["REWARD_CLIENT_BASE_URL"] = stage.server(DEFAULT).url
        for page in pages.PAGES:
            if "```python" in pages.text(page):
                with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
                    example_files(Path(folder))
                    write_outputs(page, stage)
    pictures.write()


if __name__ == "__main__":
    main()
