"""The stacked engine: a stack trains in C where all its components are compiled, and in PyTorch otherwise.

There, mlps are one kind of stack, and networks of any other modules another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from harness.data.samples import Data
from harness.engines import outcome as outcomes
from harness.engines.base import DEFAULT_OPTIONS, EngineOptions
from harness.engines.compiled import engine as compiled
from harness.engines.members import select_members, shape, update_key
from harness.engines.outcome import Outcome
from harness.engines.states import State
from harness.errors import MachineError
from harness.lowering import builds
from harness.study.trials import Trial


def train(
    trials: Sequence[Trial], data: Data, device: str = "cpu", dtype: DTypeLike = np.float32,
    options: EngineOptions = DEFAULT_OPTIONS,
) -> Outcome:  # fmt: skip
    """Train trials of one group as one stack, and observe them; the arguments are those of `base.Engine`.

    The trials may be of one seed or several; those of one shape are side by side, and those of one optimizer,
    activation and so on among them.
    """
    why = compiled.why_not(trials, data, device, options.metrics)
    if not why:
        return compiled.train(trials, data, options)
    if builds.portable():
        raise MachineError(f"portable bits are compiled code's, which these trials cannot train in: {why}")
    if not trials[0].arm.settings.plain_mlp:
        from harness.engines.modules import engine as modules

        return modules.train(trials, data, device, dtype, options)
    from harness.engines.stacked import engine

    return engine.train(trials, data, device, dtype, options)


def select(state: State, trials: Sequence[Trial], keep: Sequence[int]) -> State:
    """Return the state of some members, as `base.Engine.select`."""
    selected: dict[str, Any] = {}
    for prefix, key_of in (("block", shape), ("update", update_key)):
        values = select_members(state.under(f"{prefix}."), list(map(key_of, trials)), keep)
        selected |= {f"{prefix}.{name}": value for name, value in values.items()}
    return State(state.step, selected | outcomes.select(state.values, keep))
