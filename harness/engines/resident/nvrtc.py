"""NVRTC, CUDA's compiler as a library: a text becomes machine code, once for each text and kind of GPU.

It is found where PyTorch's packages have it, or on the system, and called by ctypes. It needs no GPU.

Source: https://docs.nvidia.com/cuda/nvrtc/
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from harness.errors import MachineError
from harness.lowering import compiler
from harness.lowering.compiler import UnavailableError
from harness.system import files

VERSIONS = (13, 12)
"""Major versions of CUDA whose library is looked for, in this order."""
OPTIONS = ("--std=c++17", "--device-as-default-execution-space", "--disable-warnings")
"""Options of every compilation. Products and sums may become one rounding (-fmad), as on a processor; divisions
and roots are exact, subnormal numbers are kept, and there is no TF32: the kernel uses no tensor cores."""


def compiled(text: str, architecture: str) -> bytes:
    """Return the machine code of a text for an architecture ("sm_90"), compiled now or kept in the cache.

    Raises:
        UnavailableError: there is no NVRTC, or it refuses the text.
    """
    library = _library()
    key = hashlib.sha256("\n".join([text, architecture, *OPTIONS, _version(library)]).encode()).hexdigest()
    kept = compiler.folder() / "cuda" / f"{key[:24]}.cubin"
    with suppress(OSError):
        digest, code = kept.read_bytes().split(b"\n", 1)
        if digest.decode(errors="replace") == hashlib.sha256(code).hexdigest():
            return code
    code = _made(library, text, architecture)
    with suppress(MachineError):  # where the cache cannot be written, it is compiled again by every process
        files.write(kept, hashlib.sha256(code).hexdigest().encode() + b"\n" + code)
    return code


def _made(library: ctypes.CDLL, text: str, architecture: str) -> bytes:
    program = ctypes.c_void_p()
    _check(
        library,
        library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"resident.cu", 0, None, None),
    )
    try:
        options = [f"--gpu-architecture={architecture}".encode(), *(option.encode() for option in OPTIONS)]
        failed = library.nvrtcCompileProgram(
            program, len(options), (ctypes.c_char_p * len(options))(*options)
        )
        if failed:
            log = _bytes(library, "ProgramLog", program).decode(errors="replace")
            first = next((line for line in log.splitlines() if "error" in line), log.strip())
            raise UnavailableError(f"NVRTC {_version(library)} refuses its text: {first[:300]}")
        return _bytes(library, "CUBIN", program)
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _bytes(library: ctypes.CDLL, what: str, program: ctypes.c_void_p) -> bytes:
    """Return what NVRTC has of a program: its log, or its machine code."""
    size = ctypes.c_size_t()
    _check(library, getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    content = ctypes.create_string_buffer(size.value)
    _check(library, getattr(library, f"nvrtcGet{what}")(program, content))
    return content.raw


def _check(library: ctypes.CDLL, result: int) -> None:
    if result:
        library.nvrtcGetErrorString.restype = ctypes.c_char_p
        raise UnavailableError(f"NVRTC fails: {library.nvrtcGetErrorString(result).decode()}")


def _version(library: ctypes.CDLL) -> str:
    major, minor = ctypes.c_int(), ctypes.c_int()
    library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return f"{major.value}.{minor.value}"


def _folders() -> Iterator[Path]:
    """Yield the folders of NVIDIA's Python packages that may have the library."""
    for root in map(Path, sys.path):
        with suppress(OSError):
            yield from sorted(root.glob("nvidia/*/lib"))


def _paths(folders: Sequence[Path]) -> Iterator[str]:
    for version in VERSIONS:
        for folder in folders:
            path = folder / f"libnvrtc.so.{version}"
            if path.exists():
                yield str(path)
    for version in VERSIONS:
        yield f"libnvrtc.so.{version}"
    yield "libnvrtc.so"


@functools.cache
def _library() -> ctypes.CDLL:
    folders = list(_folders())
    for name in _paths(folders):
        with suppress(OSError):
            for part in sorted(Path(name).parent.glob("libnvrtc-builtins.so.*")) if "/" in name else ():
                ctypes.CDLL(str(part), ctypes.RTLD_GLOBAL)  # NVRTC looks for it by its name alone
            return ctypes.CDLL(name)
    raise UnavailableError("NVRTC (libnvrtc.so), which comes with PyTorch for CUDA, is not found")
