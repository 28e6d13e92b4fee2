"""Run the benchmarks, print their tables and write the results.

    python -m benchmarks [PART ...] [--server-python PYTHON] [--sglang-python PYTHON]
                         [--package NAME=FOLDER] [--rounds 5] [--scale 1] [--json FILE]

The first PYTHON is the interpreter of an environment with vLLM (`tests/vllm/install.py` makes one).
The part `real` needs it. The other is one with SGLang (`tests/sglang/install.py`). Without it, the
part `sglang` measures an instant server only. FOLDER is another checkout of reward_client, which
the parts `overhead` and `latency` measure in the same rounds. `--rounds 1 --scale 0.05` is a quick
look. The results of other parts stay in FILE; `python -m benchmarks.report FILE` writes all tables
into the documentation. The exit status is 1 if a goal is not met.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

from benchmarks.environment import environment
from benchmarks.report import RESULTS
from benchmarks.results import Settings, as_markdown

PARTS = (
    "overhead",
    "scaling",
    "files",
    "gateway",
    "latency",
    "replicas",
    "real",
    "export",
    "schedules",
    "sglang",
)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="See docs/explanation/benchmarks.md."
    )
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"one or more of {', '.join(PARTS)}; default: all"
    )
    parser.add_argument("--server-python", help="interpreter of an environment with vLLM")
    parser.add_argument("--sglang-python", help="interpreter of an environment with SGLang")
    parser.add_argument(
        "--package",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="another checkout of reward_client, for overhead and latency; may be repeated",
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="fraction of the samples")
    parser.add_argument("--json", type=Path, default=RESULTS, help="file of the results")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown part: {', '.join(unknown)}. Name some of {', '.join(PARTS)}.")
    parts = options.parts or PARTS
    packages = {}
    for package in options.package:
        name, named, folder = package.partition("=")
        if not named or not Path(folder, "reward_client").is_dir():
            parser.error(f"--package {package}: give NAME=FOLDER, a folder with reward_client.")
        packages[name] = str(Path(folder).resolve())
    settings = Settings(
        options.rounds, options.scale, options.server_python, packages, options.sglang_python
    )
    results = json.loads(options.json.read_text()) if options.json.exists() else {}
    met = True
    for name in parts:
        if name == "real" and settings.server_python is None:
            print("real: skipped, as it needs --server-python", file=sys.stderr)
            continue
        result = importlib.import_module(f"benchmarks.{name}").run(settings)
        results[name] = {
            **result,
            "scale": settings.scale,
            "environment": environment(settings.server_python),
        }
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        print(f"## {name}\n\n{as_markdown(results[name])}", flush=True)
        met = met and all(goal["met"] for goal in result["goals"])
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
