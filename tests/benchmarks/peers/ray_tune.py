"""Ray Tune over the tuned loop: a trial is a worker with one core, and workers are used again."""

from __future__ import annotations

import logging
import os
import tempfile
import time as clock
from dataclasses import replace
from statistics import mean
from typing import Any

import groups
import ray
import torch
from ray import tune
from work import Share, Timing, load

from harness.data.samples import Data
from peers.in_memory import Trial

os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
TRIALS_A_CORE = 3  # that are timed


def objective(config: dict[str, Any], data: Data, share: Share) -> None:
    """One trial: what a person would hand to Tune."""
    torch.set_num_threads(1)
    begun = clock.time()
    own = replace(share, rates=(config["lr"],), members=1)
    timing = (
        groups.in_parts(own, Trial, data, 100, 5)
        if share.extent == "parts"
        else groups.whole(own, Trial, data)
    )
    tune.report(
        {"begun": begun, "ended": clock.time(), "seconds": timing.seconds, "steps": timing.steps,
         "accuracy": timing.accuracies[0] if timing.accuracies else 0.0}
    )  # fmt: skip


def prepare(share: Share) -> None:
    """Start Ray's own processes."""
    if not ray.is_initialized():
        ray.init(
            num_cpus=share.cores, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
        )


def time(share: Share) -> Timing:
    """Trials a few; what Tune adds to each is measured on them and counted for all."""
    parts = share.extent == "parts"
    rates = share.rates[: TRIALS_A_CORE * share.cores] if parts else share.rates
    with tempfile.TemporaryDirectory() as folder:
        before, wall = clock.perf_counter(), clock.time()
        data = load(share.work)
        loaded = clock.perf_counter() - before
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(objective, data=data, share=share), {"cpu": 1}),
            param_space={"lr": tune.grid_search(list(rates))},
            tune_config=tune.TuneConfig(reuse_actors=True),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        found = [result.metrics for result in tuner.fit()]
        measured = clock.perf_counter() - before
    return _timing(share, found, wall, (measured, loaded))


def _timing(share: Share, found: list[Any], wall: float, took: tuple[float, float]) -> Timing:
    """The start once; for every trial its own seconds, and what passes between one and the next."""
    measured, loaded = took
    started = min(one["begun"] for one in found) - wall
    span = max(one["ended"] for one in found) - wall - started
    inside = mean(one["ended"] - one["begun"] for one in found)
    abreast = min(share.cores, len(found))
    between = max(0.0, span * abreast / len(found) - inside)
    seconds = started + len(share.rates) / abreast * (between + mean(one["seconds"] for one in found))
    if share.extent != "parts":
        return Timing(
            measured, measured, loaded, steps=share.work.steps, trials=len(found),
            accuracies=[one["accuracy"] for one in found],
        )  # fmt: skip
    steps = int(mean(one["steps"] for one in found))
    told = f"{steps} of {share.work.steps} steps of {len(found)} of {len(share.rates)} trials"
    return Timing(seconds, measured, loaded, steps=steps, trials=len(found), extrapolated=told)
