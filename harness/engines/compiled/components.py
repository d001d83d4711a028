"""The compiled components of trials, as the kernels call them: by address."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.arm_settings import Settings
from harness.engines import kernels
from harness.engines.compiled.memory import address, function_address, zeros
from harness.lowering import compiler
from harness.lowering.components import TrialComponents
from harness.lowering.lowered import Lowered
from harness.study.trials import Trial

PROBED_STEPS = (1, 2, 3, 10, 1000)
"""Steps at which an optimizer is tried without a gradient."""


@functools.cache
def functions(lowered: Lowered, real: str) -> Mapping[str, int]:
    """Return the addresses of a compiled component's functions, by their names in C."""
    library = compiler.library(lowered.text, real, lowered.name)
    return {name: function_address(library, name) for name in FUNCTIONS[lowered.kind]}


FUNCTIONS = {
    "activation": ("activate", "derive"),
    "output": ("loss", "judge"),
    "metric": ("measure",),
    "optimizer": ("scalars", "step_tiles", "step_rows"),
}
"""The functions of each kind of component: harness/lowering/headers/component.h."""


class MemberParts:
    """The `parts` of some members in C, and the memory that they point at."""

    def __init__(self, trials: Sequence[Trial], lowered: Sequence[TrialComponents], classes: int, real: str) -> None:
        self.kept: list[Any] = []
        self.array = (kernels.Parts * len(trials))(
            *(self._parts(*pair, classes, real) for pair in zip(trials, lowered, strict=True))
        )

    def _parts(self, trial: Trial, lowered: TrialComponents, classes: int, real: str) -> kernels.Parts:
        settings, smoothing = trial.arm.settings, trial.arm.settings.label_smoothing
        activation, output = functions(lowered.activation, real), functions(lowered.output, real)
        names = lowered.output.facts["settings"]
        loss_settings = np.array([float(settings[name]) for name in names] or [0.0])
        measures = np.array([functions(metric, real)["measure"] for metric in lowered.metrics] or [0], np.uint64)
        self.kept += [loss_settings, measures]
        return kernels.Parts(
            activate=activation["activate"], derive=activation["derive"],
            loss=output["loss"], judge=output["judge"], measures=address(measures),
            loss_settings=address(loss_settings), keep=1 - smoothing, spread=smoothing / classes,
            dropped=settings.dropout or 0.0,
        )  # fmt: skip


@dataclass(frozen=True)
class CompiledOptimizer:
    """An optimizer of k members: its functions, its settings (k, n) with the learning rate first, its states."""

    addresses: Mapping[str, int]
    states: tuple[str, ...]
    scalars: int
    settings: NDArray[np.float64]
    real: str

    @classmethod
    def of(cls, lowered: Lowered, trials: Sequence[Trial], real: str) -> CompiledOptimizer:
        """Return the optimizer of some trials, whose settings are zero at the same places."""
        names = lowered.facts["settings"]
        rows = [[_setting(trial.arm.settings, name) for name in names] for trial in trials]
        return cls(
            functions(lowered, real), tuple(lowered.facts["states"]), int(lowered.facts["scalars"]),
            np.array(rows, np.float64), real,
        )  # fmt: skip

    def idle(self) -> bool:
        """Try whether a step without a gradient changes no weight, and leaves states at zero."""
        return all(self._changes_nothing(row) for row in self.settings)

    def _changes_nothing(self, settings: NDArray[np.float64]) -> bool:
        import ctypes

        n, vector = 2 * kernels.MOST_LANES, ctypes.c_void_p
        weights = zeros((n,), self.real)
        weights[:] = np.linspace(-2, 3, n)
        start, gradient, scalars = weights.copy(), zeros((n,), self.real), zeros((self.scalars + 1,), self.real)
        states = [zeros((n,), self.real) for _ in self.states]
        pointers = (vector * kernels.MOST_STATES)(*map(address, states))
        to_scalars = ctypes.CFUNCTYPE(None, ctypes.c_double, vector, vector)(self.addresses["scalars"])
        n_type = ctypes.c_int64
        step = ctypes.CFUNCTYPE(None, vector, vector, vector, n_type, n_type, vector)(self.addresses["step_rows"])
        for t in PROBED_STEPS:
            to_scalars(t, address(settings), address(scalars))
            step(address(weights), address(gradient), pointers, n, t == 1, address(scalars))
        return np.array_equal(weights, start) and not any(state.any() for state in states)


def _setting(settings: Settings, name: str) -> float:
    """Return a setting of an optimizer, or one of a pair: "betas.1"."""
    whole, _, place = name.partition(".")
    value = settings[whole]
    return float(value[int(place)] if place else value)
