"""The compiled components of trials, as the kernels call them: by address."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.engines import kernels
from harness.engines.compiled.memory import address, function_address, zeros
from harness.lowering import builds, compiler
from harness.lowering.components import TrialComponents
from harness.lowering.lowered import Lowered
from harness.study.trials import Trial

PROBED_STEPS = (1, 2, 3, 10, 1000)
"""Steps at which an optimizer is tried without a gradient."""
TO_SCALARS = ctypes.CFUNCTYPE(None, ctypes.c_double, ctypes.c_void_p, ctypes.c_void_p)
"""The type of `scalars` of an optimizer in C."""
STEP_ROWS = ctypes.CFUNCTYPE(None, *3 * [ctypes.c_void_p], ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
"""The type of `step_rows` of an optimizer in C."""


def functions(lowered: Lowered, real: str) -> Mapping[str, int]:
    """Return the addresses of a compiled component's functions in the build in use, by their names in C."""
    return addresses(lowered, real, builds.current())


@functools.cache
def addresses(lowered: Lowered, real: str, build: builds.Build) -> Mapping[str, int]:
    """Return the addresses of a compiled component's functions in a build."""
    library = compiler.library(lowered.text, real, lowered.name, build=build)
    return {name: function_address(library, name) for name in FUNCTIONS[lowered.kind]}


FUNCTIONS = {
    "activation": ("activate", "derive"),
    "output": ("loss", "judge"),
    "metric": ("measure",),
    "optimizer": ("scalars", "step_tiles", "step_rows"),
}
"""The functions of each kind of component: harness/lowering/headers/component.h."""


class MemberParts:
    """The `parts` of some members in C, for so many classes, and the memory that they point at."""

    def __init__(
        self, trials: Sequence[Trial], lowered: Sequence[TrialComponents], classes: int, real: str
    ) -> None:
        self.classes, self.real = classes, real
        self.kept: list[Any] = []
        self.array = (kernels.CParts * len(trials))(*map(self._parts, trials, lowered))

    def _parts(self, trial: Trial, lowered: TrialComponents) -> kernels.CParts:
        settings, smoothing, real = trial.arm.settings, trial.arm.settings.label_smoothing, self.real
        activation, output = functions(lowered.activation, real), functions(lowered.output, real)
        loss_settings = np.array(lowered.output.values(settings) or [0.0])
        measured = [functions(metric, real)["measure"] for metric in lowered.metrics]
        measures = np.array(measured or [0], np.uint64)
        self.kept += [loss_settings, measures]
        return kernels.CParts(
            activate=activation["activate"], derive=activation["derive"],
            loss=output["loss"], judge=output["judge"], measures=address(measures),
            loss_settings=address(loss_settings), keep=1 - smoothing, spread=smoothing / self.classes,
            dropped=settings.dropout or 0.0,
        )  # fmt: skip


@dataclass(frozen=True)
class CompiledOptimizer:
    """An optimizer of k members: its functions, states, and settings (k, n) with the learning rate first."""

    addresses: Mapping[str, int]
    states: tuple[str, ...]
    scalars: int
    settings: NDArray[np.float64]
    real: str

    @classmethod
    def of(cls, lowered: Lowered, trials: Sequence[Trial], real: str) -> CompiledOptimizer:
        """Return the optimizer of some trials, whose settings are zero at the same places."""
        rows = np.array([lowered.values(trial.arm.settings) for trial in trials], np.float64)
        return cls(functions(lowered, real), lowered.states, lowered.scalars, rows, real)

    def idle(self) -> bool:
        """Try whether a step without a gradient changes no weight, and leaves states at zero."""
        return all(self._changes_nothing(row) for row in self.settings)

    def _changes_nothing(self, settings: NDArray[np.float64]) -> bool:
        sizes = np.logspace(-30, 30, 8 * kernels.MOST_LANES)  # an optimizer may treat small weights otherwise
        start = np.concatenate([sizes, -sizes]).astype(self.real)
        n = len(start)
        weights, gradient, scalars = (
            start.copy(),
            zeros((n,), self.real),
            zeros((self.scalars + 1,), self.real),
        )
        states = [zeros((n,), self.real) for _ in self.states]
        pointers = (ctypes.c_void_p * kernels.MOST_STATES)(*map(address, states))
        to_scalars, step = TO_SCALARS(self.addresses["scalars"]), STEP_ROWS(self.addresses["step_rows"])
        for t in PROBED_STEPS:
            to_scalars(t, address(settings), address(scalars))
            step(address(weights), address(gradient), pointers, n, t == 1, address(scalars))
        return np.array_equal(weights, start) and not any(state.any() for state in states)
