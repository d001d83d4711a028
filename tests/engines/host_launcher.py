"""The resident kernel on a processor: its text compiled by a C++ compiler, a block's threads as threads."""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.engines.resident.launching import Arguments, Launch
from harness.engines.resident.sources import Program
from harness.lowering.builds import NATIVE

HERE = Path(__file__).parent
H100 = 232_448
"""Bytes of shared memory that a block may have on an H100."""
COMPILER = shutil.which("g++")
FLAGS: tuple[str, ...] = ("-std=c++17", "-O1", NATIVE, "-w", "-pthread", f"-I{HERE}")


def source(program: Program) -> str:
    """A program as a processor's compiler reads it."""
    return f'#include "cuda_on_host.h"\n{program.text}\nRUN_BLOCKS(train, arguments, REAL)\n'


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


@functools.cache
def _loaded(text: str) -> ctypes.CDLL:
    return ctypes.CDLL(str(compiled(text, Path(_folder().name), "-shared", "-fPIC")))


def compiled(text: str, folder: Path, *flags: str) -> Path:
    """Compile a text of C++."""
    path = folder / hashlib.sha256("".join([text, *flags]).encode()).hexdigest()[:16]
    command = ["g++", *FLAGS, *flags, "-x", "c++", "-", "-o", str(path)]
    subprocess.run(command, input=text, text=True, check=True)
    return path


@dataclasses.dataclass
class Host:
    """A processor in place of a GPU: blocks of so many threads, and so much shared memory.

    A block's threads run at the same time, or one by one from barrier to barrier, upwards (1) or
    downwards (-1).
    """

    threads: int = 1
    order: int = 0
    shared_limit: int = H100
    launches: list[int] = dataclasses.field(default_factory=list)
    programs: list[Program] = dataclasses.field(default_factory=list)

    def prepare(self, program: Program) -> Launch:
        self.programs.append(program)
        run = _loaded(source(program)).run
        run.argtypes = [ctypes.c_void_p, *4 * [ctypes.c_int64]]

        def launch(arguments: Arguments, members: int) -> None:
            self.launches.append(arguments.steps)
            run(ctypes.addressof(arguments), members, self.threads, program.shared_bytes, self.order)

        return launch

    def together(self, launches: Sequence[Callable[[], None]]) -> None:
        for launch in launches:
            launch()
