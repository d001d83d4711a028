"""Builds: how C is compiled in this process, for its own processor alone, or for the same bits everywhere.

Forked workers inherit the build in use; workers that are spawned, and the processes that check compiled code,
are told it at their start.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from harness.errors import UsageError, did_you_mean

NATIVE = "-mcpu=native" if platform.machine() in {"arm64", "aarch64"} else "-march=native"
Bits: TypeAlias = Literal["native", "portable"]
"""Kinds of builds, by the bits that they give."""


@dataclass(frozen=True)
class Build:
    """Options of a compilation: `lanes` numbers in a vector (0: as many as the processor's registers hold).

    `contraction` is what the compiler may do to products and sums: "fast" (one rounding) or "off". With "off"
    every operation is rounded by itself and stays where it is written, whatever CC asks for.
    """

    lanes: int = 0
    contraction: str = "fast"
    machine: str = NATIVE

    @property
    def decisive(self) -> tuple[int, str]:
        """Give the options that decide the bits where every operation is rounded by itself."""
        return self.lanes, self.contraction

    @property
    def flags(self) -> tuple[str, ...]:
        """Give the compiler's arguments."""
        lanes = (f"-DLANES={self.lanes}",) if self.lanes else ()
        strict = ("-fno-fast-math", "-fno-unsafe-math-optimizations") if self.contraction == "off" else ()
        contraction = f"-ffp-contract={self.contraction}"
        return (
            *("-O3", self.machine, *strict, contraction, "-fno-math-errno"),
            *("-w", "-fPIC", "-shared", *lanes),
        )


DEFAULT = Build()
PORTABLE = Build(lanes=8, contraction="off")
"""Sums run in an order that depends on the lanes alone, and no two operations become one.

Vectors of a processor without registers of 8 numbers are two or four of its own: slower, and the same.
"""
BUILDS: dict[Bits, Build] = {"native": DEFAULT, "portable": PORTABLE}

_begun: list[Bits] = []
"""The bits of the runs in progress in this process, the last one's in use."""
_inherited: list[Bits] = ["native"]
"""The bits that this process was started with."""


def bits() -> Bits:
    """Return the bits in use: those of the run in progress, or those that a worker was started with."""
    return (_begun or _inherited)[-1]


def current() -> Build:
    """Return the build in use."""
    return BUILDS[bits()]


def portable() -> bool:
    """Tell whether the build in use gives the same bits on every processor."""
    return bits() == "portable"


@contextmanager
def using(wanted: Bits) -> Iterator[None]:
    """Compile for these bits inside the block, in all threads, and in the workers that are forked in it.

    Raises:
        UsageError: there are no such bits, or a run of other bits is in progress in this process.
    """
    wanted = named(wanted)
    others = sorted({other for other in _begun if other != wanted})
    if others:
        raise UsageError(
            f"bits = {wanted!r}: a run with bits = {others[0]!r} is in progress in this process. "
            "Wait for its end, or start this one in a process of its own"
        )
    _begun.append(wanted)
    try:
        yield
    finally:
        _begun.remove(wanted)


def named(text: str) -> Bits:
    """Return the bits of a name; raise UsageError where there are none."""
    for known in BUILDS:
        if known == text:
            return known
    raise UsageError(f"bits = {text!r}: {did_you_mean(text, get_args(Bits))}")


def inherit(wanted: Bits) -> None:
    """Compile for these bits from now on: in a process that another one has started for its run."""
    _inherited[:] = [named(wanted)]
