"""Sessions that people run: `nox -s ablate`, `nox -s tests`; `nox -l` lists all of them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_venv = "yes"


def install(session: nox.Session, *extras: str) -> None:
    """Install the harness, with packages at the versions of constraints.txt."""
    target = f".[{','.join(extras)}]" if extras else "."
    session.install("-e", target, "-c", "constraints.txt", silent=True)


FAST = "not slow and not network"
KERNELS_ARE_USED = (
    "import json; kernels = json.load(open('results/choices/provenance.json'))['runs'][-1]['kernels']; "
    "print('kernels:', kernels); assert kernels.startswith('c-'), kernels"
)
OLD_JAX = "0.4.31"  # the last one before its runtime on CPUs changed; constraints.txt has the newest
PYTHONS = ("3.15", "3.14", "3.13", "3.12", "3.11")
"""Versions of Python to look for, the newest first."""


def newest_python() -> str:
    """Return the newest installed Python; the oldest supported version if none is found."""
    return next((version for version in PYTHONS if shutil.which(f"python{version}")), PYTHONS[-1])


def lowest_versions() -> list[str]:
    """Return the requirements of pyproject.toml, each at the lowest version that it allows."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = [*project["dependencies"], *project["optional-dependencies"]["tests"]]
    return [re.sub(r">=([\w.]+).*", r"==\1", requirement) for requirement in requirements]


def study_arguments(session: nox.Session, default: str) -> list[str]:
    """Return the arguments after `--`; a default study comes first if they name none."""
    arguments = list(session.posargs)
    return arguments if arguments and not arguments[0].startswith("-") else [default, *arguments]


@nox.session
def ablate(session: nox.Session) -> None:
    """Train the default study and draw its report; others: `nox -s ablate -- STUDY --set ...`."""
    install(session)
    session.run("harness", "run", "--report", *study_arguments(session, "choices"))


@nox.session
def search(session: nox.Session) -> None:
    """Search a study's space, confirm the winner and draw the report; `nox -s search -- STUDY --set ...`."""
    install(session)
    session.run("harness", "search", "--report", *study_arguments(session, "search"))


@nox.session
def report(session: nox.Session) -> None:
    """Draw the report of results/choices; others: `nox -s report -- FOLDER`."""
    install(session)
    session.run("harness", "report", *(session.posargs or ["results/choices"]))


@nox.session
def tests(session: nox.Session) -> None:
    """Run the fast tests, on real images; `nox -s tests -- -m slow` runs the slow ones."""
    install(session, "tests")
    run_tests(session, "--cov")


def run_tests(session: nox.Session, *options: str) -> None:
    """Run the fast tests, each in ten minutes at most, or those of `-m`: a process a core, four at most."""
    selection = ("--timeout", "3600") if "-m" in session.posargs else ("-m", FAST, "--timeout", "600")
    everything = ("tests", "--ignore", "tests/benchmarks", "--numprocesses", "logical", "--maxprocesses", "4")
    session.run("pytest", *everything, *options, *selection, *session.posargs)


@nox.session
def oldest(session: nox.Session) -> None:
    """Run the fast tests with the lowest versions that pyproject.toml allows."""
    session.install("-e", ".", *lowest_versions(), silent=True)
    run_tests(session, "-W", "default")  # old packages warn about features of newer ones


@nox.session(python=newest_python())
def newest(session: nox.Session) -> None:
    """Run the fast tests on the newest installed Python."""
    install(session, "tests")
    run_tests(session)


@nox.session
def installed(session: nox.Session) -> None:
    """Train the default study with the built wheel, in a new environment and outside of the checkout."""
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
    """Check style: ruff's rules and its format."""
    session.install("ruff", "-c", "constraints.txt", silent=True)
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Check types with mypy, in strict mode."""
    install(session, "types")
    session.run("mypy", *session.posargs)


@nox.session
def validity(session: nox.Session) -> None:
    """Test the statistics by thousands of A/A studies, into results/validity (about 20 minutes).

    `-- intervals` measures the intervals beside the verdicts, `-- tuned` the comparisons of tuned arms,
    `-- looks` studies that are looked at, and those whose seeds a pilot planned, `-- variance` the intervals
    of the variance by source.
    """
    install(session)
    first, *others = session.posargs or [""]
    scripts = {
        "intervals": "interval_studies.py", "looks": "look_studies.py", "tuned": "tuned_studies.py",
        "variance": "variance_coverage.py",
    }  # fmt: skip
    if first in scripts:
        session.run("python", f"tests/validity/{scripts[first]}", *others)
    else:
        session.run("python", "tests/validity/aa_studies.py", *session.posargs)


@nox.session
def reference(session: nox.Session) -> None:
    """Make committed results anew: `nox -s reference -- NAME ..` or `-- --all`; without either, list them.

    `-- --all --minutes 20` makes what is not current, for 20 minutes, and goes on the next time. `-- --plan`
    says how long that takes; `-- --numbers` which numbers of README and docs are not those of the results.
    """
    install(session)
    session.run("python", "tests/reference/make_reference.py", *session.posargs)


@nox.session
def published(session: nox.Session) -> None:
    """Train networks of published tables: `nox -s published -- NAME ..`; without a name, list them."""
    install(session)
    session.run("python", "tests/published/reproduce.py", *session.posargs)


@nox.session
def torture(session: nox.Session) -> None:
    """Kill runs and damage files by the thousand, into results/torture (about an hour of two cores).

    `-- --only studies --count 1000 --seed 0` runs a part of it; docs/torture.md explains the cases.
    """
    install(session, "tests")
    session.run("python", "-m", "torture", *session.posargs, env={"PYTHONPATH": "tests"})


@nox.session
def chaos(session: nox.Session) -> None:
    """Kill, suspend and cut off nodes of a Ray cluster while studies train, into results/chaos (an hour).

    `-- --count 400` goes on up to so many faults. As root on Linux the cluster has a network of its own,
    which is cut, too. docs/chaos.md explains the kinds.
    """
    install(session, "ray")
    session.run("python", "-m", "chaos", *session.posargs, env={"PYTHONPATH": "tests"})


@nox.session
def notebooks(session: nox.Session) -> None:
    """Execute the labs' notebooks, into results/labs; `-- --dataset digits`, `-- --handout FOLDER`."""
    install(session, "labs")
    session.run("python", "docs/labs/notebooks.py", *session.posargs)


@nox.session(python=False)
def findings(session: nox.Session) -> None:
    """Run the scripts of findings/, each in an environment of its own; `-- torch optuna`: some by name.

    They need a package registry, and up to two minutes each. One fails where its packages behave otherwise.
    """
    words = session.posargs or [""]
    everything = sorted(Path("findings").glob("*.sh"))
    scripts = [path for path in everything if any(word in path.stem for word in words)]
    changed = []
    for script in scripts:
        session.log(f"{script}: installs its packages, which shows nothing, then runs; up to two minutes")
        if subprocess.run(["bash", str(script)], check=False).returncode:
            changed.append(script.stem)
    if changed or not scripts:
        session.error(f"{len(changed)} of {len(scripts)} findings have changed: {', '.join(changed)}")


@nox.session(python=False)
def gpu(session: nox.Session) -> None:
    """Test and measure a GPU with this machine's own Python, PyTorch and JAX, in at most six minutes.

    Results go into results/reference/gpu; `nox -s gpu -- --only resident,jax` measures some parts.
    """
    session.run("python", "tests/benchmarks/gpu.py", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure speed beside alternatives, or another revision: `nox -s bench -- --gate REV`; `-- --help`.

    `-- --cells wide,fashion --sides jax` measures a part; the same command again goes on where it stopped;
    `-- -k rung` runs other benchmarks by name.
    """
    install(session, "bench")
    if any(argument.startswith("-k") for argument in session.posargs):
        session.run("pytest", "tests/benchmarks", *session.posargs)
        return
    if any(argument.startswith("--gate") for argument in session.posargs):
        judge(session)
        return
    pythons = ("--jax", "python", "--jax", str(old_jax(session)))
    session.run("python", "tests/benchmarks/bench.py", *pythons, *session.posargs)


@nox.session
def anytime(session: nox.Session) -> None:
    """Compare searches over time with other optimizers: `nox -s anytime -- --short`; `-- --help`.

    15 minutes a cell, 5 repeats, into results/reference/anytime; again, it goes on where it stopped.
    """
    install(session)
    beside = {"PYTHONPATH": str(Path("tests/benchmarks").resolve())}
    session.run("python", "tests/benchmarks/anytime/session.py", *session.posargs, env=beside)


def judge(session: nox.Session) -> None:
    """End with the gate's own exit code, of which nox would make 1, whatever went wrong."""
    python = shutil.which("python", path=session.bin)
    command = [python or "python", "tests/benchmarks/bench.py", *session.posargs]
    code = subprocess.run(command, check=False).returncode
    if code:
        sys.exit(code)


def old_jax(session: nox.Session) -> Path:
    """Make an environment with the last JAX before XLA's CPU runtime changed, and return its Python."""
    folder = Path(session.virtualenv.location).resolve().parent / f"jax-{OLD_JAX}"
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    if next(folder.rglob("jaxlib"), None) is None:
        session.run("python", "-m", "venv", "--clear", str(folder))
        pins = Path("constraints.txt").read_text(encoding="utf-8").splitlines()
        others = folder / "constraints.txt"
        others.write_text("\n".join(pin for pin in pins if not pin.startswith("jax")), encoding="utf-8")
        wanted = (f"jax=={OLD_JAX}", f"jaxlib=={OLD_JAX}", "-c", str(others))
        # Where that fails, the bench says so and goes on without.
        pip = (str(python), "-m", "pip", "install", "--quiet", *wanted)
        session.run(*pip, external=True, success_codes=range(256))
    return python
