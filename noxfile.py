"""What people run: `nox -s ablate`, `nox -s tests`; `nox -l` lists the rest."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_venv = "yes"


def install(session: nox.Session, *extras: str) -> None:
    """Install the harness as the committed constraints pin it."""
    target = f".[{','.join(extras)}]" if extras else "."
    session.install("-e", target, "-c", "constraints.txt", silent=True)


FAST = "not slow and not network"
KERNELS_ARE_USED = (
    "import json; kernels = json.load(open('results/choices/provenance.json'))['runs'][-1]['kernels']; "
    "print('kernels:', kernels); assert kernels.startswith('float'), kernels"
)
PYTHONS = ("3.15", "3.14", "3.13", "3.12", "3.11")
"""Those that may be at hand, the newest first."""


def newest_python() -> str:
    """The newest Python at hand; the oldest supported one where there is no other."""
    return next((version for version in PYTHONS if shutil.which(f"python{version}")), PYTHONS[-1])


def lowest_versions() -> list[str]:
    """What pyproject.toml asks for, each at the lowest version that it allows."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["tests"]]
    return [re.sub(r">=([\w.]+).*", r"==\1", requirement) for requirement in asked]


def named(session: nox.Session, default: str) -> list[str]:
    """What was asked for behind `--`, with a study to begin with."""
    asked = list(session.posargs)
    return asked if asked and not asked[0].startswith("-") else [default, *asked]


@nox.session
def ablate(session: nox.Session) -> None:
    """Train a study and draw its report: the main job, or `nox -s ablate -- STUDY --set ...`."""
    install(session)
    session.run("harness", "run", "--report", *named(session, "choices"))


@nox.session
def search(session: nox.Session) -> None:
    """Search a study's space, confirm the winner, draw the report; `nox -s search -- STUDY --set ...`."""
    install(session)
    session.run("harness", "search", "--report", *named(session, "search"))


@nox.session
def report(session: nox.Session) -> None:
    """Draw the report of a results folder: results/choices, or `nox -s report -- FOLDER`."""
    install(session)
    session.run("harness", "report", *(session.posargs or ["results/choices"]))


@nox.session
def tests(session: nox.Session) -> None:
    """The fast tests, on real images; `nox -s tests -- -m slow` and the like choose others."""
    install(session, "tests")
    run_tests(session, "--cov")


def run_tests(session: nox.Session, *options: str) -> None:
    """Run the fast tests, or those that were asked for, on two cores."""
    chosen = () if "-m" in session.posargs else ("-m", FAST)
    everything = ("tests", "--ignore", "tests/benchmarks", "--numprocesses", "2")
    session.run("pytest", *everything, *options, *chosen, *session.posargs)


@nox.session
def oldest(session: nox.Session) -> None:
    """The fast tests with the lowest versions of what pyproject.toml asks for."""
    session.install("-e", ".", *lowest_versions(), silent=True)
    run_tests(session, "-W", "default")  # old packages deprecate themselves beside new ones


@nox.session(python=newest_python())
def newest(session: nox.Session) -> None:
    """The fast tests on the newest Python at hand."""
    install(session, "tests")
    run_tests(session)


@nox.session
def installed(session: nox.Session) -> None:
    """The built wheel, alone in an environment and away from the checkout: it trains the default study."""
    elsewhere = Path(session.create_tmp()).resolve()
    session.run("pip", "wheel", ".", "--no-deps", "--wheel-dir", str(elsewhere), silent=True)
    (wheel,) = elsewhere.glob("*.whl")
    session.install("--force-reinstall", "--no-deps", str(wheel), silent=True)
    session.install(str(wheel), "-c", "constraints.txt", silent=True)
    session.chdir(elsewhere)
    session.run("harness", "run", "choices", "--set", "dataset=digits", "--report", *session.posargs)
    session.run("python", "-c", "import harness, sys; sys.exit('site-packages' not in harness.__file__)")
    session.run("python", "-c", KERNELS_ARE_USED)


@nox.session
def lint(session: nox.Session) -> None:
    """Style: ruff's rules and its format."""
    session.install("ruff", "-c", "constraints.txt", silent=True)
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Types: mypy, strict."""
    install(session, "types")
    session.run("mypy", *session.posargs)


@nox.session
def validity(session: nox.Session) -> None:
    """The harness tests itself: A/A studies by the thousand, into results/validity (about 5 minutes)."""
    install(session)
    session.run("python", "tests/validity/aa_studies.py", *session.posargs)


@nox.session
def torture(session: nox.Session) -> None:
    """Damage done on purpose, by the thousand, into results/torture (about an hour of two cores).

    `-- --only studies --count 1000 --seed 0` does less of it; docs/torture.md says what a case is.
    """
    install(session, "tests")
    session.run("python", "-m", "torture", *session.posargs, env={"PYTHONPATH": "tests"})


@nox.session
def bench(session: nox.Session) -> None:
    """Speed side by side with what one could use instead, about 15 minutes; `nox -s bench -- --all`.

    `-- --only jax,harness --cells 32:sgd` measures less; `-- -k rung` runs other benchmarks by name.
    """
    install(session, "bench")
    everything = any(argument.startswith("-k") for argument in session.posargs)
    chosen = "tests/benchmarks" if everything else "tests/benchmarks/test_side_by_side.py"
    options = {"PYTHONPATH": "tests/benchmarks"}  # where the plugin is
    session.run("pytest", "-p", "bench_options", chosen, *session.posargs, env=options)
