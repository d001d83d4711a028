"""The methods' environments: one for each from PyPI, made and tried before anything trains."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import own_cell

from harness.errors import UsageError, did_you_mean

HERE = Path(__file__).parent
TABLE = HERE / "peers.toml"
SHARED = ("asking", "config_spaces")
"""Modules that several peers' files import."""
STAMP = "requirements.txt"
"""In an environment: the requirements that it was made of and tried with."""


@dataclass(frozen=True)
class Method:
    """A way to search: `script` is run by `python` for each of its cells.

    `python` is None until its environment is made; `short`: it takes part in the short one; `detached`:
    the processor seconds of its workers are not known.
    """

    name: str
    title: str
    script: Path
    requirements: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    short: bool = True
    python: Path | None = None
    detached: bool = False


def known() -> dict[str, Method]:
    """Return all methods by name: the harness's own, then those of peers.toml."""
    script = HERE / "own_cell.py"
    methods = {
        name: Method(name, own.title, script, short=own.short) for name, own in own_cell.METHODS.items()
    }
    for name, table in tomllib.loads(TABLE.read_text(encoding="utf-8")).items():
        requirements, modules = tuple(table["requirements"]), tuple(table["modules"])
        script = HERE / f"peers_{name}.py"
        methods[name] = Method(
            name, table["title"], script, requirements, modules, short=table["short"],
            detached=table.get("detached", False),
        )  # fmt: skip
    return methods


def chosen(names: Sequence[str], short: bool) -> list[Method]:
    """Return the methods of these names; without names, all, or those of the short comparison.

    Raises:
        UsageError: an unknown name; says what is close.
    """
    methods = known()
    for name in names:
        if name not in methods:
            raise UsageError(f"--methods: unknown method {name!r}; {did_you_mean(name, methods)}")
    picked = [methods[name] for name in names] or [m for m in methods.values() if m.short or not short]
    return list(dict.fromkeys(picked))


def prepared(methods: Sequence[Method], folder: Path, tell: Callable[[str], None]) -> list[Method]:
    """Make the environments that are not there yet, and try all of them.

    Args:
        methods: which.
        folder: where environments are kept, one a method.
        tell: hears what takes long.

    Returns:
        The methods, each with its Python.

    Raises:
        UsageError: those that cannot be installed or imported, and why; nothing was trained.
    """
    ready, problems = [], []
    for method in methods:
        try:
            python = _environment(method, folder / method.name, tell)
            _try(method, python)
        except subprocess.CalledProcessError as error:
            problems.append(f"{method.name} ({method.title}): {_end(error)}")
            continue
        ready.append(dataclasses.replace(method, python=python))
    if problems:
        others = ",".join(method.name for method in ready)
        raise UsageError(
            "not installed:\n  "
            + "\n  ".join(problems)
            + f"\nNothing was trained. Pins are in {TABLE.name}; `--methods {others}` leaves these out."
        )
    return ready


def _environment(method: Method, folder: Path, tell: Callable[[str], None]) -> Path:
    """Return the Python of a method's environment, which is made if it is missing or of other pins."""
    if not method.requirements:
        return Path(sys.executable)
    python, wanted = folder / "bin" / "python", "\n".join(method.requirements)
    if (folder / STAMP).is_file() and (folder / STAMP).read_text(encoding="utf-8") == wanted:
        return python
    tell(f"{method.name}: making an environment of {', '.join(method.requirements)} ...")
    shutil.rmtree(folder, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(folder)])
    # As a constraints file too: nothing that comes along may bring another version of what is pinned.
    pins = folder / "pins.txt"
    pins.write_text(_pins(method.requirements), encoding="utf-8")
    torch_first = sorted(method.requirements, key=lambda pin: not pin.startswith("torch=="))
    _run([str(python), "-m", "pip", "install", "--quiet", "-c", str(pins), *torch_first])
    _try(method, python)
    (folder / STAMP).write_text(wanted, encoding="utf-8")
    return python


def _pins(requirements: Sequence[str]) -> str:
    """Return requirements as a constraints file, which knows no extras: ray[tune]==2 -> ray==2."""
    names = [
        (pin.partition("[")[0], pin.partition("]")[2]) if "[" in pin else (pin, "") for pin in requirements
    ]
    return "\n".join(name + version for name, version in names)


def _try(method: Method, python: Path) -> None:
    """Import a method's modules in its environment."""
    _run([str(python), "-c", "".join(f"import {name}\n" for name in method.modules)])


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


def _end(error: subprocess.CalledProcessError) -> str:
    """Return the last line of what a command printed."""
    lines = (error.stderr or error.stdout or "").strip().splitlines()
    return lines[-1] if lines else f"exit code {error.returncode}"


def digest(method: Method) -> str:
    """Return what identifies the code that a method's cells ran: a digest of its script and the problem."""
    content = b"".join(file.read_bytes() for file in sources(method))
    return hashlib.sha256(content).hexdigest()[:8]


def sources(method: Method) -> list[Path]:
    """List the files that a method's cells run: its own, the problem's, and the shared ones it imports."""
    text = method.script.read_text(encoding="utf-8")
    shared = [HERE / f"{name}.py" for name in SHARED if f"from {name} import" in text]
    return [method.script, HERE / "problem.py", HERE / "network.py", *shared]


def environment(given: Mapping[str, str], mark: str) -> dict[str, str]:
    """Return the environment variables of a cell's process: one thread for every numerical library."""
    threads = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM")
    single = {f"{library}_NUM_THREADS": "1" for library in threads}
    paths = ":".join(filter(None, [str(HERE), given.get("PYTHONPATH", "")]))
    return {**given, **single, "PYTHONPATH": paths, MARK: mark}


MARK = "ANYTIME_CELL"
"""The environment variable that names a cell in all of its processes."""
