"""Starting worker processes: forked where that is safe; else spawned, which runs the main program again.

The main program may forbid to be run again.
"""

from __future__ import annotations

import ast
import multiprocessing
import multiprocessing.process
import os
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from harness import notes

GUARD = 'if __name__ == "__main__":'


def can_fork() -> bool:
    """Tell whether a forked child would find everything as it is here: it has this thread alone.

    Where torch is imported, and in a process with several threads (a notebook, NumPy's own on several cores),
    locks could stay locked in the child for ever. Elsewhere than on Linux, system libraries forbid it.
    """
    if sys.platform != "linux" or "torch" in sys.modules:
        return False
    try:
        return len(list(Path("/proc/self/task").iterdir())) == 1
    except OSError:
        return False


def possible(workers: int) -> int:
    """Return `workers`; or one, which is this process, with a warning, where none can be started."""
    why = problem() if workers > 1 else ""
    if why:
        notes.warn(f"trains in this process, on one core: {why}")
    return 1 if why else workers


def check_main() -> None:
    """Raise SystemExit in a worker that runs the main program again and comes to a call it should not.

    The parent looks for such calls beforehand; those from another thread it does not see.
    """
    if getattr(multiprocessing.process.current_process(), "_inheriting", False):
        raise SystemExit(
            f"a worker process ran the main program again, which calls the harness outside of `{GUARD}`: "
            "put the call there"
        )


def problem() -> str:
    """Say why no worker process can be started from here, and what to do; "" where they can."""
    if getattr(sys, "frozen", False):
        return "an executable cannot be started again as a worker; run the program with Python itself"
    path = _main_file()
    if path is None:
        return ""
    if not path.is_file():
        return f"a worker could not run the main program, {path.name}, again; save it as a file and run that"
    line = _unguarded(path)
    if line:
        return (
            f"line {line} of {path} is outside of `{GUARD}`, and each worker would run it again; put it there"
        )
    return ""


def _main_file() -> Path | None:
    """Return the file that a spawned process runs before anything else; None if it runs none.

    As `multiprocessing.spawn` decides it: packages' `__main__` and notebooks are not run again.
    """
    main = sys.modules["__main__"]
    name = getattr(getattr(main, "__spec__", None), "name", None)
    file = getattr(main, "__file__", None)
    if file is None or (name is not None and (name == "__main__" or name.endswith(".__main__"))):
        return None
    start = getattr(multiprocessing.process, "ORIGINAL_DIR", None) or ""
    path = Path(os.path.normpath(Path(start) / file))
    return None if path.stem == "ipython" else path


def _unguarded(path: Path) -> int:
    """Return the line of the main program that has led here, if a worker would come to it too; else 0."""
    lines = _lines_of_main()
    try:
        with tokenize.open(path) as file:
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError):  # compiled, or not Python
        return 0
    spans = [range(start, end + 1) for start, end in _guarded(tree)]
    if not lines or any(line in span for line in lines for span in spans):
        return 0
    return lines[-1]


def _lines_of_main() -> list[int]:
    """Return the current lines of the main program, innermost first; [] if its top level has not led here."""
    variables = vars(sys.modules["__main__"])
    frame: FrameType | None = sys._getframe()
    lines, top = [], False
    while frame is not None:
        if frame.f_globals is variables:
            lines.append(frame.f_lineno)
            top |= frame.f_code.co_name == "<module>"
        frame = frame.f_back
    return lines if top else []


def _guarded(tree: ast.Module) -> Iterator[tuple[int, int]]:
    """Yield the first and last lines of code that depends on the name under which the file is run."""
    for node in ast.walk(tree):
        test = node if isinstance(node, ast.BoolOp) else getattr(node, "test", None)  # of If, IfExp, While
        if isinstance(test, ast.expr) and isinstance(node, ast.stmt | ast.expr):
            names = [name.id for name in ast.walk(test) if isinstance(name, ast.Name)]
            if "__name__" in names:
                yield node.lineno, node.end_lineno or node.lineno
