"""Kernels that run: their arguments, and CUDA's driver, by ctypes."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from ctypes import Structure, c_int64, c_void_p
from typing import Protocol

import torch

from harness.engines.resident import nvrtc
from harness.engines.resident.sources import MOST_HIDDEN, Program
from harness.lowering.calls import MOST_STATES
from harness.lowering.compiler import UnavailableError

MOST_SHARED = 97
"""CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN."""
DYNAMIC_SHARED = 8
"""CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES."""


STREAMS = 15
"""Groups that run beside the first one, at most."""


class Arguments(Structure):
    """The struct `arguments` in the kernel."""

    _fields_ = [
        *(
            (name, c_void_p)
            for name in (
                "codes", "pixels", "palette", "label", "order", "seed", "activation", "output", "rates",
                "settings", "loss_settings", "smoothing", "dropped", "drawn",
            )
        ),
        ("uniforms", c_void_p * MOST_HIDDEN), ("first", c_void_p), ("rest", c_void_p),
        ("first_state", c_void_p * MOST_STATES), ("rest_state", c_void_p * MOST_STATES),
        ("scratch", c_void_p), ("losses", c_void_p), ("uniform_rows", c_int64 * MOST_HIDDEN),
        *(
            (name, c_int64)
            for name in (
                "order_step", "rates_step", "losses_step", "kept", "drawn_seeds", "t", "steps", "begin",
                "images",
            )
        ),
    ]  # fmt: skip


Launch = Callable[[Arguments, int], None]
"""Run a kernel with arguments, for so many members; raise UnavailableError where it does not start."""


class Launcher(Protocol):
    """A device that runs kernels; `shared_limit` are the bytes of shared memory that a block may have."""

    shared_limit: int

    def prepare(self, program: Program) -> Launch:
        """Compile a program and load it; raise UnavailableError where that is not possible."""

    def together(self, launches: Sequence[Callable[[], None]]) -> None:
        """Make launches that may run at the same time; whatever comes later comes after all of them."""


class Cuda:
    """A CUDA device, in PyTorch's context and on its current stream; see `cuda`.

    What is loaded stays loaded: stacks of one text share it.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.driver = _driver()
        torch.cuda.synchronize(device)  # there is a context from now on
        handle, limit = ctypes.c_int(), ctypes.c_int()
        self._check(self.driver.cuCtxGetDevice(ctypes.byref(handle)))
        self._check(self.driver.cuDeviceGetAttribute(ctypes.byref(limit), MOST_SHARED, handle))
        self.shared_limit = limit.value
        self.streams = [torch.cuda.Stream(device) for _ in range(STREAMS)]
        self.loaded: dict[str, c_void_p] = {}

    def prepare(self, program: Program) -> Launch:
        """Compile and load as `Launcher.prepare`."""
        if program.text not in self.loaded:
            self.loaded[program.text] = self._load(program)
        function = self.loaded[program.text]

        def launch(arguments: Arguments, members: int) -> None:
            parameters = (c_void_p * 1)(ctypes.addressof(arguments))
            stream = c_void_p(torch.cuda.current_stream(self.device).cuda_stream)
            result = self.driver.cuLaunchKernel(
                function, members, 1, 1, program.threads, 1, 1, program.shared_bytes, stream, parameters, None
            )
            if result:
                raise UnavailableError(f"the GPU ({self.device}) does not start it: {self._words(result)}")

        return launch

    def _load(self, program: Program) -> c_void_p:
        major, minor = torch.cuda.get_device_capability(self.device)
        code = nvrtc.compiled(program.text, f"sm_{major}{minor}")
        module, function = c_void_p(), c_void_p()
        self._check(self.driver.cuModuleLoadData(ctypes.byref(module), code))
        self._check(self.driver.cuModuleGetFunction(ctypes.byref(function), module, b"resident"))
        self._check(self.driver.cuFuncSetAttribute(function, DYNAMIC_SHARED, program.shared_bytes))
        return function

    def together(self, launches: Sequence[Callable[[], None]]) -> None:
        """Launch as `Launcher.together`: a small group leaves most of a GPU to the others."""
        first, *others = launches
        current = torch.cuda.current_stream(self.device)
        try:
            for place, launch in enumerate(others):
                stream = self.streams[place % len(self.streams)]
                stream.wait_stream(current)
                with torch.cuda.stream(stream):
                    launch()
            first()
        finally:  # also where one does not start: the others write weights
            for stream in self.streams[: len(others)]:
                current.wait_stream(stream)

    def _check(self, result: int) -> None:
        if result:
            raise UnavailableError(f"CUDA's driver refuses: {self._words(result)}")

    def _words(self, result: int) -> str:
        text = ctypes.c_char_p()
        self.driver.cuGetErrorString(result, ctypes.byref(text))
        return (text.value or b"unknown error").decode() + f" ({result})"


def cuda(device: torch.device) -> Cuda:
    """Return a device's launcher, one for all stacks of this process."""
    index = torch.cuda.current_device() if device.index is None else device.index
    return _cuda(torch.device("cuda", index))


@functools.cache
def _cuda(device: torch.device) -> Cuda:
    return Cuda(device)


@functools.cache
def _driver() -> ctypes.CDLL:
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise UnavailableError(f"CUDA's driver cannot be loaded: {error}") from error
