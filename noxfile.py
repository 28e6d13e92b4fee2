"""The checks: `nox` runs the quick ones; `nox -s vllm` and `-s sglang` need real servers."""

import argparse
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import nox
from packaging.requirements import Requirement

nox.options.sessions = ["lint", "types", "tests", "docs"]
nox.needs_version = ">=2025.2.9"

PYPROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PYPROJECT)
EXTRAS = ["completion", "data", "gateway", "testing", "openai", "local", "otel"]
# The schemas of check-jsonschema, and the files that follow them.
SCHEMAS = {
    "citation-file-format": ["CITATION.cff"],
    "dependabot": [".github/dependabot.yml"],
    "github-issue-config": [".github/ISSUE_TEMPLATE/config.yml"],
    "github-issue-forms": [
        ".github/ISSUE_TEMPLATE/bug.yml",
        ".github/ISSUE_TEMPLATE/model.yml",
        ".github/ISSUE_TEMPLATE/question.yml",
    ],
    "readthedocs": [".readthedocs.yaml"],
}
# What the client is measured beside.
BESIDE = ["baseten-performance-client", "requests"]
# Gateways of other projects. verl is installed alone: its router needs neither torch nor ray.
SGLANG_ROUTER = "sglang-router==0.3.2"
VERL, VERL_NEEDS = "verl==0.9.1", ["aiohttp", "fastapi>=0.115", "uvicorn>=0.34"]


class Framework(NamedTuple):
    """A framework that asks for rewards, with what its tests of an integration need.

    Attributes:
        alone: Its requirement, or several with spaces between them, installed without their
            dependencies: most of them need GPUs.
        needs: The dependencies that the tests reach.
        module: A module that must be there: its tests skip without it.
        is_light: True if that takes a minute or two.
        python: The version of Python that it needs; None for the one that runs nox.
    """

    alone: str | None
    needs: list[str]
    module: str
    is_light: bool = False
    python: str | None = None


FRAMEWORKS = {
    "areal": Framework("areal==1.0.4", ["colorlog"], "areal", is_light=True),
    "areal-workflow": Framework(
        "areal==1.0.4",
        [
            "colorlog",
            "hydra-core",
            "lark",
            "numba",
            "omegaconf",
            "pillow",
            "ray",
            "torch",
            "torchdata",
            "uvloop",
        ],
        "torch",
    ),
    # The code that asks a gateway for rewards: `openrlhf` and others test their integrations.
    "gateway-callers": Framework(
        f"openrlhf==0.11.2 llamafactory==0.9.5 {VERL}", ["requests"], "llamafactory", is_light=True
    ),
    "inspect": Framework(None, ["inspect-ai==0.3.285"], "inspect_ai", is_light=True),
    "lm-eval": Framework(None, ["lm-eval==0.4.13"], "lm_eval", is_light=True),
    "ms-swift": Framework(
        "ms-swift==4.6.0",
        ["accelerate", "dacite", "json-repair", "modelscope", "peft", "pillow", "trl==1.16.0"],
        "swift",
    ),
    # Its agent, before a gateway. Later versions need Python 3.13.14.
    "nemo-gym": Framework(
        "nemo-gym==0.4.0",
        [
            "fastapi",
            "gprof2dot",
            "hydra-core",
            "itsdangerous",
            "omegaconf",
            "openai<=2.7.2",
            "pandas",
            "pydot",
            "python-multipart",
            "ray",
            "requests",
            "rich",
            "wandb",
            "yappi",
        ],
        "nemo_gym",
        python="3.12",
    ),
    "nemo-rl": Framework(None, ["omegaconf", "torch"], "torch"),
    "openrlhf": Framework("openrlhf==0.11.2", ["torch"], "openrlhf"),
    "ray": Framework(None, ["ray[data]==2.60.0"], "ray"),
    "trl": Framework(None, ["trl==1.16.0"], "trl"),
    "verifiers": Framework(None, ["verifiers==0.4.0"], "verifiers", is_light=True),
    "verl": Framework(None, [VERL, *VERL_NEEDS], "ray"),
}
# A worker for each core. A worker that is done takes tests from the end of another's list, so that
# those of a module mostly share the servers that its fixtures start. `-- -n0` runs without workers.
REAL = ["--ignore=tests/vllm", "--ignore=tests/sglang"]
PARALLEL = [*REAL, "--numprocesses=logical", "--dist=worksteal"]
# Half of pip's time goes into compiling modules that are never imported. Python compiles the
# others when they are first imported, if it may keep the result.
os.environ["PIP_COMPILE"] = "0"
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def package_with(*extras: str) -> str:
    """Return the requirement of the package with extras."""
    # CI names the wheel that it built and inspected; otherwise nox builds a wheel of this folder.
    return f"{os.environ.get('REWARD_CLIENT_WHEEL', '.')}[{','.join(extras)}]"


PACKAGE = package_with(*EXTRAS)


def group(name: str) -> list[str]:
    return nox.project.dependency_groups(PYPROJECT, name)


def server_python(session: nox.Session, engine: str, *version: str) -> Path:
    """Of an environment with a real server: the newest that a CPU runs, or one of `install.py`."""
    # Outlives the session's environment: it takes minutes to make and never changes.
    server = session.cache_dir / "-".join([f"{engine}-server", *version])
    session.run("python", f"tests/{engine}/install.py", str(server), *version)
    return server / "bin" / "python"


def run_tests(session: nox.Session, *requirements: str) -> None:
    session.install(PACKAGE, *group("tests"), *requirements)
    session.run("pytest", *PARALLEL, *session.posargs)


def lowest() -> list[str]:
    """Return the lowest versions that pyproject.toml allows, as requirements."""
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"]
    lines = project["dependencies"] + [line for extra in EXTRAS for line in extras[extra]]
    return [
        f"{requirement.name}=={bound.version}"
        for requirement in map(Requirement, lines)
        for bound in requirement.specifier
        if bound.operator == ">="
    ]


@nox.session
def lint(session: nox.Session) -> None:
    """Check the style, the direction of imports, and the files that GitHub and others read."""
    session.install(*group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports")
    session.run("python", "tools/check_prose.py")
    session.run("jactionlint")
    session.run("zizmor", "--offline", ".github")
    session.run("pre-commit", "validate-config")
    for schema, files in SCHEMAS.items():
        session.run("check-jsonschema", f"--builtin-schema=vendor.{schema}", *files)


@nox.session
def types(session: nox.Session) -> None:
    """The package's annotations, and what callers see of them, by two checkers."""
    session.install(
        package_with("completion", "testing", "openai", "otel"), "pytest", *group("types")
    )
    # Each of them keeps one core busy.
    with ThreadPoolExecutor() as pool:
        list(pool.map(session.run, ["mypy", "pyright"]))


@nox.session
def tests(session: nox.Session) -> None:
    """Run every test except those on real servers, on the Python that runs nox."""
    run_tests(session)


@nox.session(default=False)
def coverage(session: nox.Session) -> None:
    """Measure which lines and branches the tests reach; the floor is in pyproject.toml.

    It has a session of its own, because measuring takes 60 % more CPU time on Python 3.11.
    coverage measures branches by the cheap `sys.monitoring` from Python 3.14 on.
    """
    session.install(PACKAGE, *group("tests"), *group("coverage"))
    session.run("coverage", "erase")
    # In one process, from its start: pytest imports the package before pytest-cov begins.
    session.run("coverage", "run", "-m", "pytest", *REAL, *session.posargs)
    session.run("coverage", "report", "--skip-covered")


@nox.session(default=False)
def fuzz(session: nox.Session) -> None:
    """Try all examples of the tests with generated input; the `tests` session tries a quarter."""
    session.install(PACKAGE, *group("tests"))
    session.env["REWARD_CLIENT_FUZZ"] = "full"
    session.run("pytest", "-m", "hypothesis", *PARALLEL, *session.posargs)


@nox.session(python=PYTHONS, default=False)
def pythons(session: nox.Session) -> None:
    """Run the tests on every supported Python."""
    run_tests(session)


@nox.session(python=PYTHONS[0], default=False)
def minimums(session: nox.Session) -> None:
    """Run the tests with the lowest versions that pyproject.toml allows."""
    # Later versions of pyarrow need NumPy 2.
    run_tests(session, *lowest(), "pyarrow<19")


@nox.session(default=False)
@nox.parametrize("versions", ["lowest", "newest"])
def audit(session: nox.Session, versions: str) -> None:
    """Look for known advisories about the dependencies, in the lowest and in the newest set."""
    session.install(package_with(*EXTRAS), *(lowest() if versions == "lowest" else []))
    installed = session.run("pip", "freeze", "--exclude=reward-client", silent=True, log=False)
    requirements = Path(session.create_tmp(), "requirements.txt")
    requirements.write_text(str(installed))
    session.install("pip-audit")
    # Strict: where the advisories of a package cannot be read, that is an error and not a pass.
    session.run("pip-audit", "--strict", "--disable-pip", "--no-deps", f"-r={requirements}")


@nox.session(default=False)
def cures(session: nox.Session) -> None:
    """Take each measure against a pitfall out of a copy of the package; its tests must fail."""
    session.install(PACKAGE, *group("tests"))
    session.run("python", "tests/integration/pitfalls/mutations.py", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation; a broken reference is an error."""
    session.install(package_with("testing", "openai"), *group("docs"))
    session.run("sphinx-build", "-W", "-n", "--jobs=auto", "docs", "docs/_build")


@nox.session(default=False)
def package(session: nox.Session) -> None:
    """Build the wheel and the source distribution in `dist`, and inspect them."""
    session.install(*group("package"))
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build")
    session.run("check-wheel-contents", "dist")
    session.run("twine", "check", "--strict", *map(str, Path("dist").iterdir()))


@nox.session(default=False)
def gateways(session: nox.Session) -> None:
    """Run the client on the test server behind gateways of other projects."""
    session.install(PACKAGE, *group("tests"), *VERL_NEEDS, SGLANG_ROUTER)
    session.install("--no-deps", VERL)
    session.run("pytest", "tests/gateways", *session.posargs)


@nox.session(default=False)
@nox.parametrize(
    ("python", "framework"),
    [(each.python, name) for name, each in FRAMEWORKS.items()],
    ids=[f"framework={name!r}" for name in FRAMEWORKS],
)
def integrations(session: nox.Session, framework: str) -> None:
    """Run the integrations in the code of their frameworks: `-- --all` for the larger ones too."""
    chosen = FRAMEWORKS[framework]
    options = [option for option in session.posargs if option != "--all"]
    if not chosen.is_light and "--all" not in session.posargs:
        session.skip("it takes long: give `-- --all`")
    session.install(PACKAGE, *group("tests"), *chosen.needs)
    if chosen.alone is not None:
        session.install("--no-deps", *chosen.alone.split())
    find = f"import importlib.util as u, sys; sys.exit(u.find_spec({chosen.module!r}) is None)"
    session.run("python", "-c", find)
    name = framework.partition("-workflow")[0].replace("-", "_")
    session.run("pytest", f"tests/integrations/test_{name}.py", *options)


@nox.session(python="3.11", default=False)
def benchmarks(session: nox.Session) -> None:
    """Measure the client beside others: `-- --rounds 1 --scale 0.05` for a quick look."""
    session.install(PACKAGE, *BESIDE)
    vllm, sglang = (server_python(session, engine) for engine in ("vllm", "sglang"))
    pythons = [f"--server-python={vllm}", f"--sglang-python={sglang}"]
    session.run("python", "-m", "benchmarks", *pythons, *session.posargs)


@nox.session(python="3.11", default=False)
def vllm(session: nox.Session) -> None:
    """The proof on a real vLLM: `-- --all` for everything, `-- --url URL` for a server of yours.

    `-- --version 0.33.0` takes another version than the newest with a CPU build.
    """
    session.install(PACKAGE, *group("tests"))
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    own.add_argument("--version", nargs=1, default=[])
    own.add_argument("--url")
    chosen, options = own.parse_known_args(session.posargs)
    if chosen.url:
        session.run("pytest", "tests/vllm/test_running.py", f"--url={chosen.url}", *options)
        return
    session.install(*VERL_NEEDS)
    session.install("--no-deps", VERL)
    python = server_python(session, "vllm", *chosen.version)
    session.run("pytest", "tests/vllm", f"--server-python={python}", *options)


@nox.session(python="3.11", default=False)
def sglang(session: nox.Session) -> None:
    """The proof on a real SGLang: `-- --all` for everything and the older versions.

    `-- --vllm` compares its rewards with those of a real vLLM, and mixes both behind one client.
    """
    session.install(PACKAGE, *group("tests"))
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    own.add_argument("--all", action="store_true")
    own.add_argument("--vllm", action="store_true")
    chosen, options = own.parse_known_args(session.posargs)
    newest = server_python(session, "sglang")
    torch = f"--torch-python={newest}"
    further = ["--all"] if chosen.all else []
    if chosen.vllm:
        further.append(f"--vllm-python={server_python(session, 'vllm')}")
    session.run("pytest", "tests/sglang", torch, f"--server-python={newest}", *further, *options)
    for version in ("0.5.22", "0.4.9.post6") if chosen.all else ():
        python = server_python(session, "sglang", version)
        tests = [f"tests/sglang/test_{name}.py" for name in ("numbers", "killers", "options")]
        session.run("pytest", *tests, torch, f"--server-python={python}", *options)
