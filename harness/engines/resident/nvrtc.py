"""NVRTC, CUDA's compiler as a library: a text becomes machine code, once for each text and kind of GPU.

It is found where PyTorch's packages have it, or on the system, and called by ctypes. It needs no GPU.

Source: https://docs.nvidia.com/cuda/nvrtc/
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import sys
from collections.abc import Iterator
from contextlib import suppress
from ctypes import byref, c_char_p, c_int, c_size_t, c_void_p
from pathlib import Path

import torch

from harness.engines.resident import sources
from harness.errors import LONGEST, MachineError
from harness.lowering import compiler
from harness.lowering.compiler import UnavailableError
from harness.system import files

VERSIONS = ("13", "12")
"""Major versions of CUDA whose library is looked for, after PyTorch's own."""
OPTIONS = ("--std=c++17", "--device-as-default-execution-space", "--disable-warnings")
"""Options of every compilation.

Products and sums may become one rounding (-fmad, the default), as on a processor; divisions and roots are
exact, subnormal numbers are kept, and no tensor core (no TF32) is used.
"""


def compiled(text: str, architecture: str) -> bytes:
    """Return the machine code of a text for an architecture ("sm_90"), compiled now or kept in the cache.

    Raises:
        UnavailableError: there is no NVRTC, or it refuses the text.
    """
    key = hashlib.sha256("\n".join([text, architecture, *OPTIONS, version()]).encode()).hexdigest()
    kept = compiler.folder() / "cuda" / f"{key[:24]}.cubin"
    with suppress(OSError, ValueError):
        digest, code = kept.read_bytes().split(b"\n", 1)
        if digest.decode(errors="replace") == hashlib.sha256(code).hexdigest():
            return code
    code = _made(text, architecture)
    with suppress(MachineError):  # where the cache cannot be written, every process compiles it again
        files.write(kept, hashlib.sha256(code).hexdigest().encode() + b"\n" + code)
    return code


def version() -> str:
    """Return the library's version; raise UnavailableError where there is none."""
    major, minor = c_int(), c_int()
    _check(_library().nvrtcVersion(byref(major), byref(minor)))
    return f"{major.value}.{minor.value}"


@functools.cache
def identity() -> str:
    """Digest what decides the bits of the resident kernel beside the GPU: its text, options and compiler."""
    try:
        compiler_version = version()
    except UnavailableError:
        compiler_version = "none"
    return hashlib.sha256("\n".join([sources.digest(), *OPTIONS, compiler_version]).encode()).hexdigest()[:16]


def _made(text: str, architecture: str) -> bytes:
    program, nvrtc = c_void_p(), _library()
    _check(nvrtc.nvrtcCreateProgram(byref(program), text.encode(), b"resident.cu", 0, None, None))
    try:
        options = [option.encode() for option in (f"--gpu-architecture={architecture}", *OPTIONS)]
        if nvrtc.nvrtcCompileProgram(program, len(options), (c_char_p * len(options))(*options)):
            log = _bytes("ProgramLog", program).decode(errors="replace").strip()
            first = next((line for line in log.splitlines() if "error" in line), log)
            raise UnavailableError(f"NVRTC {version()} refuses its text: {first[:LONGEST]}")
        return _bytes("CUBIN", program)
    finally:
        nvrtc.nvrtcDestroyProgram(byref(program))


def _bytes(what: str, program: c_void_p) -> bytes:
    """Return what NVRTC has of a program: its log, or its machine code."""
    size = c_size_t()
    _check(getattr(_library(), f"nvrtcGet{what}Size")(program, byref(size)))
    content = ctypes.create_string_buffer(size.value)
    _check(getattr(_library(), f"nvrtcGet{what}")(program, content))
    return content.raw


def _check(result: int) -> None:
    if result:
        words = _library().nvrtcGetErrorString
        words.restype = c_char_p
        raise UnavailableError(f"NVRTC fails: {words(result).decode()}")


def _paths() -> Iterator[str]:
    """Yield the places where the library may be."""
    own = str(torch.version.cuda or "").partition(".")[0]
    ordered = dict.fromkeys(filter(None, (own, *VERSIONS)))
    folders = [folder for root in map(Path, sys.path) for folder in sorted(root.glob("nvidia/*/lib"))]
    yield from (str(folder / f"libnvrtc.so.{number}") for number in ordered for folder in folders)
    yield from (f"libnvrtc.so.{number}" for number in ordered)


@functools.cache
def _library() -> ctypes.CDLL:
    for name in _paths():
        with suppress(OSError):
            found = ctypes.CDLL(name)
            for part in sorted(Path(name).parent.glob("libnvrtc-builtins.so.*")) if "/" in name else ():
                ctypes.CDLL(str(part), ctypes.RTLD_GLOBAL)  # NVRTC looks for it by its name alone
            return found
    raise UnavailableError("NVRTC (libnvrtc.so), which comes with PyTorch for CUDA, is not found")
