"""The entry of the compiled engine: which stacks it takes, and their run."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import DTypeLike

from harness.data.arm_settings import Settings
from harness.data.samples import Data
from harness.engines import driver, kernels
from harness.engines.base import DEFAULT_OPTIONS, EngineOptions
from harness.engines.compiled.images import in_full, sparse_form
from harness.engines.compiled.training import CompiledTraining
from harness.engines.outcome import Outcome
from harness.lowering import checks, components
from harness.lowering.lowered import Lowered, looking_once
from harness.planning import compilation
from harness.planning.stack import Stack
from harness.study.trials import Trial


def why_not(trials: Sequence[Trial], data: Data, device: str, metrics: Sequence[str]) -> str:
    """Say why a stack does not train in the kernels; empty where it does."""
    return unfit(trials, device, metrics, data.train.dtype) or why_slow(data)


@looking_once()
def unfit(trials: Sequence[Trial], device: str, metrics: Sequence[str], dtype: DTypeLike = np.float32) -> str:
    """Say why a stack does not train in the kernels, whatever its images are; empty where it may."""
    if device != "cpu":
        return f"the kernels are for a CPU, not for {device}"
    missing = kernels.why_not(np.dtype(dtype))
    if missing:
        return missing
    arms = _arms(trial.arm.settings for trial in trials)
    shapes = (compilation.why_not(settings, metrics) for settings in arms)
    return next(filter(None, shapes), "") or next(filter(None, checks.verdicts(_lowered(arms, metrics))), "")


def why_slow(data: Data) -> str:
    """Say why images train in PyTorch although the kernels could read them; empty where these are faster."""
    form = sparse_form(data.train)
    if kernels.measured().dense or not in_full(data.train, form):
        return ""
    return (
        f"{form.density:.0%} of the pixels differ from the most frequent value: by the kernels' self-test, "
        "PyTorch is faster on this machine with such images"
    )


@looking_once()
def identity(trials: Sequence[Trial], device: str, metrics: Sequence[str]) -> str:
    """Return a digest of the kernels and components that decide a stack's bits; "" where it is PyTorch's."""
    if unfit(trials, device, metrics):
        return ""
    # Metrics change no weight; a checkpoint names its own (results.checkpoints).
    texts = [lowered.text for lowered in _lowered(_arms(trial.arm.settings for trial in trials), ())]
    return f"{kernels.identity()}-{hashlib.sha256(''.join(sorted(texts)).encode()).hexdigest()[:16]}"


def _arms(settings: Iterable[Settings]) -> list[Settings]:
    """Return settings once each, which the trials of an arm share."""
    return list({id(arm): arm for arm in settings}.values())


def _lowered(arms: Iterable[Settings], metrics: Sequence[str]) -> list[Lowered]:
    """Return the components of arms that are all lowered, once each."""
    return list(dict.fromkeys(itertools.chain(*(components.of_trial(arm, metrics) for arm in arms))))


@looking_once()
def train(trials: Sequence[Trial], data: Data, options: EngineOptions = DEFAULT_OPTIONS) -> Outcome:
    """Train trials for which `why_not` is empty; the arguments are those of `base.Engine`."""
    lowered = [components.of_trial(trial.arm.settings, options.metrics) for trial in trials]
    return driver.run(CompiledTraining(trials, lowered, data, options.metrics), options)


@looking_once()
def prepare(stacks: Sequence[Stack], metrics: Sequence[str]) -> list[str]:
    """Compile and check the components of stacks for a CPU, so that workers find them in the cache.

    Return sentences about the trials that train in PyTorch instead, and why.
    """
    trials = [trial for stack in stacks if stack.engine == "stacked" for trial in stack.trials]
    if missing := compile_new(trials, metrics):
        return [f"{missing}: PyTorch computes what the kernels would"]
    return compilation.reasons(stacks, "cpu", metrics)


@looking_once()
def compile_new(trials: Iterable[Trial], metrics: Sequence[str]) -> str:
    """Compile and check what is new of the components of trials; say why there are no kernels, or "".

    Done before trials are put into stacks, it keeps those with a component that fails its check apart.
    """
    settings = compilation.distinct(trial.arm.settings for trial in trials)
    if not settings:
        return ""
    if missing := kernels.why_not():
        return missing
    fitting = [arm for arm in settings if not compilation.why_not(arm, metrics)]
    components.prepare(_lowered(fitting, metrics))
    return ""
