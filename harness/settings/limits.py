"""Limits: how large the numbers of a study may be, each with its reason.

They are far beyond what a person wants on one machine, so that a slip (a seed where a count is meant, three
zeros too many) is told at once, instead of taking all memory or running for years.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from pydantic import AfterValidator

SEED = 2**63 - 1
"""The largest seed: TOML and the readers of CSVs hold whole numbers of 64 bits."""
SEEDS = 100_000
"""Seeds that a count may ask for: from some thousands on, no difference that matters is left undecided."""
TRIALS = 1_000_000
"""Trials of one study: a plan holds them all in memory, some kB each."""
EPOCHS = 1_000_000
STEPS = 1_000_000_000
"""Steps of one trial: the fastest stack takes some hours for so many."""
EVALUATIONS = 100_000
"""Evaluations of one trial: no curve shows more points."""
EVALUATIONS_OF_ALL = 100_000_000
"""Evaluations of all trials: epochs.csv has two rows each, some ten gigabytes."""
EVERY = 10**12
"""The largest count in `eval_every`: beyond any budget, it means at the end only."""
BATCH = 1_000_000_000
"""Images of a batch; the plan then asks that the train split has as many."""
LAYERS = 1_000
WIDTH = 1_000_000
PIXELS = 10_000
"""Pixels of an image's side."""
PARAMETERS = 2**31 - 1
"""Parameters of one network: with its gradients and an optimizer's states, 32 GiB."""
OPERATIONS = 10**9
"""Multiplications and additions of a network for one image: four times those of ResNet-56 on CIFAR."""
BUDGET = 100_000
"""Settings that an arm tries."""
SUGGESTIONS = 100_000
"""Suggestions of a search: its storage and its sampler hold all of them."""
TOGETHER = 10_000
"""Suggestions of a batch: they are asked for one after the other before any of them is trained."""


def at_most(most: int, why: str) -> AfterValidator:
    """Make a pydantic validator of whole numbers up to `most`; its error gives the reason `why`."""
    return AfterValidator(partial(_check, most, why))


def _check(most: int, why: str, value: int) -> int:
    if value > most:
        raise ValueError(f"at most {most:,}: {why}")
    return value


def arms(design: str, axes: Mapping[str, Sequence[Any]], steps: Sequence[Any]) -> int:
    """Count the arms of a study's tables, duplicates included, without making them."""
    if design == "ladder":
        return 1 + len(steps)
    if design == "one-factor":
        return 1 + sum(map(len, axes.values()))
    return math.prod(map(len, axes.values()))


def trials_problem(where: str, counts: Mapping[str, int]) -> str:
    """Say so if the product of counts (arms, seeds ..) is more trials than a study may have; else ""."""
    total = math.prod(counts.values())
    if total <= TRIALS:
        return ""
    factors = " x ".join(f"{count:,} {name}" for name, count in counts.items())
    return (
        f"{where}: {factors} = {total:,} trials; allowed: up to {TRIALS:,} in one study. Take values or "
        "seeds out, or divide it into several studies"
    )
