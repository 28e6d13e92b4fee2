"""Runs the benchmarks, prints their tables, writes the figures.

    python -m benchmarks [PART ...] [--server-python PYTHON] [--rounds 5] [--scale 1] [--json FILE]

PYTHON is that of an environment with vLLM (`tests/server/install.py` makes one); without it the
part `real` is left out. `--rounds 1 --scale 0.05` is a quick look. The file keeps the figures of
parts that are not run now; `python -m benchmarks.page FILE` writes the tables into the
documentation. The exit status is 1 if something that is demanded was not met.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

from benchmarks.environment import environment
from benchmarks.figures import Settings, report
from benchmarks.page import RESULTS

PARTS = ("instant", "growth", "latency", "replicas", "real", "export")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="See docs/explanation/benchmarks.md."
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all")
    parser.add_argument("--server-python", help="of an environment with vLLM")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="part of the samples")
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(unknown)}")
    parts = options.parts or PARTS
    settings = Settings(options.rounds, options.scale, options.server_python)
    results = json.loads(options.json.read_text()) if options.json.exists() else {}
    met = True
    for name in parts:
        if name == "real" and settings.server_python is None:
            print("real: left out, it needs --server-python", file=sys.stderr)
            continue
        result = importlib.import_module(f"benchmarks.{name}").run(settings)
        results[name] = {
            **result,
            "scale": settings.scale,
            "environment": environment(settings.server_python),
        }
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        print(f"## {name}\n\n{report(results[name])}", flush=True)
        met = met and all(each["met"] for each in result["demands"])
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
