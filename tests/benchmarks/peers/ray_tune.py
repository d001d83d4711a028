"""Ray Tune over the tuned loop: a trial is a worker with one core, and workers are used again."""

from __future__ import annotations

import logging
import os
import tempfile
import time as clock
from dataclasses import replace
from statistics import mean
from typing import Any

import ray
import torch
from ray import tune

from harness.data.samples import Data
from peers import groups
from peers.in_memory import Trial
from peers.shares import Share, Timing, now

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
        {"begun": begun, "ended": clock.time(), "wall": timing.wall, "cpu": timing.cpu,
         "told": timing.extrapolated, "accuracy": timing.accuracies[0] if timing.accuracies else 0.0}
    )  # fmt: skip


def prepare(share: Share) -> None:
    """Start Ray's own processes."""
    if not ray.is_initialized():
        ray.init(
            num_cpus=share.cores, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
        )


def time(share: Share) -> Timing:
    """Trials a few; what Tune adds to each is measured on them and counted for all.

    Of processor seconds, those of the trials and of the driver; Ray's own processes are not charged.
    """
    parts = share.extent == "parts"
    rates = share.rates[: TRIALS_A_CORE * share.cores] if parts else share.rates
    with tempfile.TemporaryDirectory() as folder:
        before, wall = now(), clock.time()
        data = share.work.load()
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(objective, data=data, share=share), {"cpu": 1}),
            param_space={"lr": tune.grid_search(list(rates))},
            tune_config=tune.TuneConfig(reuse_actors=True),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        found = [result.metrics for result in tuner.fit()]
        passed, driver = (now() - before).tolist()
    cpu = driver + len(share.rates) * mean(one["cpu"] for one in found)
    if not parts:
        return Timing(passed, cpu, len(found), accuracies=[one["accuracy"] for one in found])
    told = f"{len(found)} of {len(share.rates)} trials, of each {found[0]['told']}"
    return Timing(_wall(share, found, wall), cpu, len(found), told)


def _wall(share: Share, found: list[Any], wall: float) -> float:
    """The start once; for every trial its own seconds, and what passes between one and the next."""
    started = min(one["begun"] for one in found) - wall
    span = max(one["ended"] for one in found) - wall - started
    inside = mean(one["ended"] - one["begun"] for one in found)
    abreast = min(share.cores, len(found))
    between = max(0.0, span * abreast / len(found) - inside)
    seconds: float = started + len(share.rates) / abreast * (between + mean(one["wall"] for one in found))
    return seconds
