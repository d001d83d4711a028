"""Texts become shared objects in the cache, once; whatever goes wrong with that is told in words."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from compilers import Compiler, compiled_by, forget, fresh

from harness.lowering import compiler
from harness.lowering.builds import DEFAULT, Build
from harness.lowering.compiler import UnavailableError, library
from harness.registry import PACKAGE_ROOT
from harness.system import machine

__all__ = ["compiled_by", "fresh"]
TEXT = "int answer(void) { return 42; }\n"
CALL = (
    f"from harness.lowering import compiler; print(compiler.library({TEXT!r}, 'float32', 'answer').answer())"
)


def answer(text: str = TEXT, real: str = "float32", build: Build = DEFAULT) -> int:
    return int(library(text, real, "answer", (), build).answer())


def why_not(text: str = TEXT) -> str:
    with pytest.raises(UnavailableError) as error:
        answer(text)
    return str(error.value)


def objects(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.so"))


def elsewhere(count: int = 1) -> Sequence[subprocess.Popen[str]]:
    """Compile and call the text in processes of their own, at once."""
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE_ROOT.parent)}
    command = [sys.executable, "-c", CALL]
    return [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(count)
    ]


def test_a_text_is_compiled_once(fresh: Path, compiled_by: Compiler, tmp_path: Path) -> None:
    compiled_by(f"open({str(tmp_path / 'times')!r}, 'a').write('x'); compile(sys.stdin.read())")
    for _ in range(2):
        assert answer() == 42
        forget()
    assert elsewhere()[0].communicate()[0] == "42\n"
    assert (tmp_path / "times").read_text() == "x"
    assert len(objects(fresh)) == 1
    assert objects(fresh)[0].startswith("answer-float32-")


def test_all_that_decides_the_bits_decides_the_name(
    fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = "#include <stdint.h>\nint answer(void) { return sizeof(REAL); }"
    assert (answer(sizes), answer(sizes, "float64")) == (4, 8)
    own = tmp_path / "own"
    own.mkdir()
    for value in (1, 2):
        (own / "own.h").write_text(f"#define VALUE {value}\n")
        forget()
        text = '#include "own.h"\nint answer(void) { return VALUE; }'
        assert library(text, "float32", "own", (own,)).answer() == value
    before = len(objects(fresh))
    for build in (Build(lanes=4), Build(contraction="off"), Build(machine="-O1")):
        assert answer(build=build) == 42
    monkeypatch.setattr(machine, "processor", lambda: "another processor")
    forget()
    assert answer() == 42
    assert len(objects(fresh)) == before + 4


@pytest.mark.usefixtures("fresh")
def test_vectors_are_as_wide_as_asked_for() -> None:
    assert compiler.lanes() in {4, 8, 16}
    for width in (4, 8, 16):
        assert compiler.lanes(Build(lanes=width)) == width


@pytest.mark.usefixtures("fresh")
def test_errors_name_the_text_and_its_line() -> None:
    assert why_not("int answer(void)\n{ retrun 42; }").startswith("cc fails on answer: answer:")


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("no-such-compiler", "no C compiler (no-such-compiler) is installed"),
        ("false", "false fails on answer"),
        ("true", "true writes nothing for answer"),
        ("cc 'half", 'CC = "cc \'half" is not a command'),
    ],
)
def test_without_a_compiler(command: str, why: str, fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", command)
    assert why_not().startswith(why)
    assert not objects(fresh)


@pytest.mark.usefixtures("fresh")
def test_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert answer() == 42
    monkeypatch.setenv("HARNESS_KERNELS", "off")
    assert why_not() == "switched off by HARNESS_KERNELS"


def test_a_compiler_that_hangs_is_ended_and_not_asked_again(
    compiled_by: Compiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids_file = tmp_path / "pids"
    compiled_by(
        "child = subprocess.Popen(['sleep', '600'])\n"
        f"open({str(pids_file)!r}, 'a').write(f'{{child.pid}} {{os.getpid()}}\\n')\n"
        "time.sleep(600)"
    )
    monkeypatch.setattr(compiler, "TIMEOUT", 2.0)
    assert "took more than 2 s on answer" in why_not()
    forget()
    assert "is asked again after 10 min" in why_not()
    (pids,) = pids_file.read_text().splitlines()
    await_end(int(pid) for pid in pids.split())
    monkeypatch.setattr(compiler, "PATIENCE", 0.0)
    compiled_by("compile(sys.stdin.read())")
    assert answer() == 42


def await_end(processes: Iterable[int]) -> None:
    """Wait until processes that were killed have ended: the kernel takes its time where cores are busy."""
    deadline = time.monotonic() + 60
    for process in processes:
        while runs(process):
            assert time.monotonic() < deadline, f"process {process} runs on"
            time.sleep(0.05)


def runs(process: int) -> bool:
    """Tell whether a process runs: one that has ended may still be listed, as a zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_full_disk(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "sh -c 'ulimit -f 1; exec cc \"$@\"' sh")
    assert "fails on answer" in why_not()
    assert not list(fresh.iterdir())


def test_a_cache_that_cannot_be_written(fresh: Path) -> None:
    fresh.parent.mkdir()
    fresh.write_text("a file where the folder should be")
    assert why_not().startswith(f"{fresh} cannot be written")


def test_a_cache_that_is_read_only_serves_what_it_has(fresh: Path) -> None:
    assert answer() == 42
    fresh.chmod(0o500)
    try:
        if os.access(fresh, os.W_OK):
            pytest.skip("this user writes everywhere")
        forget()
        assert answer() == 42
        assert "cannot be written: Permission denied" in why_not(TEXT + "/* another */")
    finally:
        fresh.chmod(0o700)


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"cut"])
def test_a_damaged_object_is_compiled_again_not_loaded(content: bytes, fresh: Path) -> None:
    """Loading half of one would end a process."""
    assert elsewhere()[0].communicate()[0] == "42\n"
    (name,) = objects(fresh)
    whole = (fresh / name).read_bytes()
    (fresh / name).write_bytes(whole[: len(whole) // 2] if content == b"cut" else content)
    assert elsewhere()[0].communicate()[0] == "42\n"
    assert (fresh / name).read_bytes() == whole


def test_an_object_of_another_machine_is_compiled_again(fresh: Path) -> None:
    """A shared home: its name says that it is this text's and whole, and it cannot be loaded here."""
    assert elsewhere()[0].communicate()[0] == "42\n"
    (name,) = objects(fresh)
    foreign = b"\xcf\xfa\xed\xfe of another system"
    stem = name.rpartition("-")[0]
    (fresh / name).rename(fresh / f"{stem}-{compiler._digest(foreign)}.so")
    (fresh / f"{stem}-{compiler._digest(foreign)}.so").write_bytes(foreign)
    assert answer() == 42
    assert name in objects(fresh)


def test_an_object_that_cannot_be_loaded_is_told(compiled_by: Compiler, fresh: Path) -> None:
    compiled_by("open(out, 'w').write('no library')")
    assert f"answer, compiled, cannot be loaded: {fresh}" in why_not()
    assert why_not().endswith(f"Delete {fresh}")
    assert not objects(fresh)


def test_processes_that_compile_the_same_at_once(compiled_by: Compiler, fresh: Path) -> None:
    compiled_by("text = sys.stdin.read(); time.sleep(0.5); compile(text)")
    assert [process.communicate()[0] for process in elsewhere(3)] == ["42\n"] * 3
    assert len(list(fresh.iterdir())) == 1


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX signals")
def test_a_process_killed_while_it_compiles_leaves_nothing_that_is_loaded(
    compiled_by: Compiler, fresh: Path, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    compiled_by(
        f"open(out, 'wb').write(b'\\x7fELF half'); open({str(started)!r}, 'w').write(str(os.getpid())); "
        "time.sleep(600)"
    )
    (process,) = elsewhere()
    while not started.exists() or not started.read_text():
        time.sleep(0.02)
    process.kill()
    process.communicate()
    os.kill(int(started.read_text()), signal.SIGKILL)
    assert len(list(fresh.iterdir())) == 1  # the draft
    assert not objects(fresh)
    compiled_by("compile(sys.stdin.read())")
    assert answer() == 42
    assert [path.name for path in fresh.iterdir()] == objects(fresh)
