"""The entry of the compiled engine: which stacks it takes, and their run."""

from __future__ import annotations

from collections.abc import Sequence

from harness.data.samples import Data
from harness.engines import driver, kernels
from harness.engines.base import DEFAULT_OPTIONS, EngineOptions
from harness.engines.compiled.images import why_dense
from harness.engines.compiled.training import CompiledTraining
from harness.engines.outcome import Outcome
from harness.lowering import components
from harness.lowering.components import NotLoweredError
from harness.study.trials import Trial


def why_not(trials: Sequence[Trial], data: Data, device: str, metrics: Sequence[str]) -> str:
    """Say why a stack does not train in the kernels; empty where it does."""
    if device != "cpu":
        return f"the kernels are for a CPU, not for {device}"
    missing = kernels.why_not(data.train.x.dtype)
    if missing:
        return missing
    try:
        for trial in trials:
            components.of_trial(trial.arm.settings, metrics)
    except NotLoweredError as error:
        return str(error)
    return why_dense(data)


def train(
    trials: Sequence[Trial], data: Data, options: EngineOptions = DEFAULT_OPTIONS
) -> Outcome:
    """Train trials for which `why_not` is empty; the arguments are those of `base.Engine`."""
    lowered = [components.of_trial(trial.arm.settings, options.metrics) for trial in trials]
    return driver.run(CompiledTraining(trials, lowered, data, options.metrics), options)
