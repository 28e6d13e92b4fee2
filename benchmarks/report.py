"""Write the tables of a file of results into the documentation.

    python -m benchmarks.report [FILE]

In the page, each part has a place between `<!-- figures: PART -->` and `<!-- end of figures -->`.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from benchmarks.process import ROOT
from benchmarks.results import Json, as_markdown

RESULTS = ROOT / "benchmarks" / "results.json"
PAGE = ROOT / "docs" / "explanation" / "benchmarks.md"
PLACE = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end of figures -->)", re.DOTALL)


def filled(text: str, results: Json) -> str:
    """Return the page with the tables of all measured parts."""

    def place(found: re.Match[str]) -> str:
        part = found[2]
        if part not in results:
            return found[0]
        return f"{found[1]}\n{as_markdown(results[part])}\n{found[3]}"

    return PLACE.sub(place, text)


def main() -> None:
    file = Path(sys.argv[1]) if sys.argv[1:] else RESULTS
    results = json.loads(file.read_text(encoding="utf-8"))
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")


if __name__ == "__main__":
    main()
