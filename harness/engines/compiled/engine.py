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
from harness.lowering.lowered import Lowered
from harness.planning import compilation
from harness.planning.stack import Stack
from harness.study.trials import Trial


def why_not(trials: Sequence[Trial], data: Data, device: str, metrics: Sequence[str]) -> str:
    """Say why a stack does not train in the kernels; empty where it does."""
    if device != "cpu":
        return f"the kernels are for a CPU, not for {device}"
    missing = kernels.why_not(data.train.dtype)
    if missing:
        return missing
    reasons = (compilation.why_not(trial.arm.settings, metrics) for trial in trials)
    return next(filter(None, reasons), "") or why_dense(data)


def train(trials: Sequence[Trial], data: Data, options: EngineOptions = DEFAULT_OPTIONS) -> Outcome:
    """Train trials for which `why_not` is empty; the arguments are those of `base.Engine`."""
    lowered = [components.of_trial(trial.arm.settings, options.metrics) for trial in trials]
    return driver.run(CompiledTraining(trials, lowered, data, options.metrics), options)


def prepare(stacks: Sequence[Stack], metrics: Sequence[str]) -> list[str]:
    """Compile and check the components of stacks for a CPU, so that workers find them in the cache.

    Return sentences about the trials that train in PyTorch instead, and why.
    """
    settings = [trial.arm.settings for stack in stacks if stack.engine == "stacked" for trial in stack.trials]
    if not settings:
        return []
    missing = kernels.why_not()
    if missing:
        return [f"{missing}: PyTorch computes what the kernels would"]
    lowered: dict[Lowered, None] = {}
    for arm in {id(arm): arm for arm in settings}.values():
        if not compilation.why_not(arm, metrics):
            lowered |= dict.fromkeys(components.of_trial(arm, metrics))
    components.prepare(list(lowered))
    return compilation.reasons(stacks, "cpu", metrics)
