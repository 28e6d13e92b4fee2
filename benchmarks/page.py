"""Writes the tables of a file of results into the documentation.

    python -m benchmarks.page [FILE]

The page has a place for each part, between `<!-- figures: PART -->` and `<!-- end of figures -->`.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from benchmarks.figures import Json, report
from benchmarks.process import ROOT

RESULTS = ROOT / "benchmarks" / "results.json"
PAGE = ROOT / "docs" / "explanation" / "benchmarks.md"
PLACE = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end of figures -->)", re.DOTALL)


def filled(text: str, results: Json) -> str:
    """The page with the tables of all parts that there are results of."""

    def place(found: re.Match[str]) -> str:
        name = found[2]
        return f"{found[1]}\n{report(results[name])}\n{found[3]}" if name in results else found[0]

    return PLACE.sub(place, text)


def main() -> None:
    file = Path(sys.argv[1]) if sys.argv[1:] else RESULTS
    results = json.loads(file.read_text(encoding="utf-8"))
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")


if __name__ == "__main__":
    main()
