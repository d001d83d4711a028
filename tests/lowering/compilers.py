"""C compilers that fail in ways of their own, and a cache for them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.lowering import checks, compiler, components

Compiler = Callable[[str], None]
TOP = """
import os, subprocess, sys, time
arguments = sys.argv[1:]
out = arguments[arguments.index("-o") + 1]
def compile(text):
    sys.exit(subprocess.run(["cc", *arguments], input=text, text=True, check=False).returncode)
"""


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache, and a process that remembers nothing; its folder of compiled code."""
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "cache"))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv("HARNESS_KERNELS", raising=False)
    forget()
    yield tmp_path / "cache" / "kernels"
    forget()


def forget() -> None:
    """Be like a new process."""
    compiler.forget()
    components.forget()
    checks.forget()


@pytest.fixture
def compiled_by(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> Compiler:
    """`compiled_by("...")`: what stands there, in Python, is the C compiler."""

    def use(code: str) -> None:
        path = fresh.parent.with_name("compiler.py")
        path.write_text(TOP + code)
        monkeypatch.setenv("CC", f"{sys.executable} {path}")
        forget()

    return use
