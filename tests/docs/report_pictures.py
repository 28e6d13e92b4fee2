"""Photographs of a report, for its page: `python -m tests.docs.report_pictures`.

A `RewardServer` scores 2,000 pairs of sums, `write_report` makes the page, and Chromium
(`apt-get install chromium`) takes its picture, at the width of a desk and of a phone. The test
server's model learned sums of two digits: it knows less about one, and nothing about three.
"""

from __future__ import annotations

import json
import random
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from reward_client import RewardClient
from reward_client.files import score_file
from reward_client.report import write_report
from reward_client.testing import RewardServer

from . import pages

FOLDER = pages.DOCS / "pictures"
PICTURES = {
    "report.png": ("light", 1400, 960, ""),
    "report-dark.png": ("dark", 1400, 1075, "header, section:nth-of-type(-n + 2)"),
    "report-phone.png": ("dark", 400, 1150, ""),
}
"""The scheme, the width and the height of each picture in pixels, and the parts it leaves out."""
ROWS = 2000
_SUBSETS = {"one digit": 3, "two digits": 5, "near miss": 5, "long answer": 3, "three digits": 4}
_RANGES = {"one digit": (1, 9), "three digits": (100, 999)}
_QUESTIONS = ("What is {} + {}?", "Add {} and {}.", "Please compute {} + {}.")
_ANSWERS = ("{}", "It is {}.", "The answer is {}.", "That makes {}.")
_LONG = "Let me add the tens first and then the ones, so that no carry is lost."
_BROWSER = (
    *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--hide-scrollbars"),
)


def rows() -> Iterator[dict[str, str]]:
    """Yield pairs of a right and a wrong answer to a sum, in several subsets."""
    rng = random.Random(7)
    for _ in range(ROWS):
        (subset,) = rng.choices([*_SUBSETS], [*_SUBSETS.values()])
        low, high = _RANGES.get(subset, (1, 99))
        one, other = rng.randint(low, high), rng.randint(low, high)
        near = (-10, -1, 1, 10) if subset == "near miss" else (*range(-30, 0), *range(1, 31))
        right, wrong = (
            rng.choice(_ANSWERS).format(total)
            for total in (one + other, abs(one + other + rng.choice(near)))
        )
        if subset == "long answer" and rng.random() < 0.5:
            right = f"{_LONG} {right}"
        elif subset == "long answer":
            wrong = f"{_LONG} {wrong}"
        prompt = rng.choice(_QUESTIONS).format(one, other)
        yield {"prompt": prompt, "chosen": right, "rejected": wrong, "subset": subset}


def write_page(folder: Path) -> Path:
    """Score the rows, and write the report on them."""
    source, scored = folder / "sums.jsonl", folder / "sums.scored.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows()), encoding="utf-8")
    with RewardServer() as server, RewardClient(server.url) as client:
        score_file(client, source, scored, by="subset", progress=True)
    write_report(scored, folder / "report.html", by="subset", title="Right and wrong sums")
    return folder / "report.html"


def photograph(
    page: Path, picture: Path, scheme: str, width: int, height: int, hidden: str
) -> None:
    """Take the picture of a part of a page."""
    if hidden:
        shown = page.read_text(encoding="utf-8")
        page = page.with_name("part.html")
        page.write_text(shown.replace("</style>", f"{hidden} {{ display: none; }}</style>"))
    with tempfile.TemporaryDirectory() as profile:
        options = [f"--user-data-dir={profile}", f"--window-size={width},{height}"]
        if scheme == "dark":
            options.append("--blink-settings=preferredColorScheme=0")
        command = [*_BROWSER, *options, f"--screenshot={picture}", page.as_uri()]
        subprocess.run(command, check=True, timeout=120, capture_output=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        page = write_page(Path(folder))
        for name, options in PICTURES.items():
            photograph(page, FOLDER / name, *options)
