"""The stacked engine: a stack trains in C where all its components are compiled, and in PyTorch otherwise.

There, mlps are one kind of stack, and networks of any other modules another.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from harness.data.samples import Data
from harness.engines import outcome as outcomes
from harness.engines.base import DEFAULT_OPTIONS, EngineOptions
from harness.engines.compiled import engine as compiled
from harness.engines.members import by_member, by_runs, shape, update_key
from harness.engines.outcome import Outcome
from harness.engines.states import State, same_step
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
    return _arranged([state], [trials], keep)


def join(states: Sequence[State], trials: Sequence[Sequence[Trial]], order: Sequence[int] = ()) -> State:
    """Return the states of several stacks as one's, as `base.Engine.join`."""
    return _arranged(states, trials, order or range(sum(map(len, trials))))


def _arranged(states: Sequence[State], trials: Sequence[Sequence[Trial]], order: Sequence[int]) -> State:
    """Return the state of the members `order`, which count through all of the stacks."""
    step, members = same_step(states), list(itertools.chain(*trials))
    arranged: dict[str, Any] = {}
    for prefix, key_of in (("block", shape), ("update", update_key)):
        rows = [
            by_member(state.under(f"{prefix}."), list(map(key_of, stack)))
            for state, stack in zip(states, trials, strict=True)
        ]
        every = list(itertools.chain(*rows))
        values = by_runs([every[k] for k in order], [key_of(members[k]) for k in order])
        arranged |= {f"{prefix}.{name}": value for name, value in values.items()}
    observed = outcomes.join([state.values for state in states])
    return State(step, arranged | outcomes.select(observed, order))
