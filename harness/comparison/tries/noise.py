"""`harness noise`: how much a study's baseline varies over seeds, and what differences that lets one see."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from harness.comparison.tries import folder as try_folder
from harness.comparison.tries.changes import baselines
from harness.comparison.tries.folder import FolderKeywords, Trained, TryFolder
from harness.comparison.tries.trying import check_metric
from harness.data.splits import size
from harness.errors import MachineError, UsageError
from harness.settings.schema import BASELINE
from harness.stats import detectable_difference, sd_interval
from harness.study.checker import GivenSettings
from harness.study.study import Study
from harness.study.trials import settings_of
from harness.system import spawning
from harness.training.cluster import connection

if TYPE_CHECKING:
    import pandas as pd

SEEDS = 10
COMPARED_SEEDS = (3, 5, 10, 20)
"""Numbers of seeds whose detectable differences are told."""


@dataclass(frozen=True)
class Noise:
    """The noise floor of a study's baseline.

    Attributes:
        study: the study's name.
        metric: such as val_accuracy.
        baselines: a row a data set: dataset, seeds, n (finished), diverged, mean, sd, sd_low, sd_high (its
            95 % interval, by chi-square), val_images, sampling_sd (what another val set of that size would
            change; NaN of a metric that is no share), seconds_a_trial (with all processes at work).
        detectable: a row a data set and number of seeds: dataset, seeds, difference (the smallest that a
            comparison of two arms, paired by seed, finds with 80 % power at alpha 0.05, at worst: if their
            noise is unrelated), difference_low, difference_high (the same with the ends of the SD's
            interval), seconds (of training both arms).
        trained: trials trained in this call, and their seconds.
        folder: where they are; `harness try` finds them there.
    """

    study: str
    metric: str
    baselines: pd.DataFrame = field(repr=False)
    detectable: pd.DataFrame = field(repr=False)
    trained: Trained
    folder: Path


def noise(
    study: Study, *, seeds: int = SEEDS, metric: str = "val_accuracy", **keywords: Unpack[FolderKeywords]
) -> Noise:  # fmt: skip
    """Measure the noise floor of a study's baseline: its spread over seeds, and which differences show.

    The baseline alone is trained, with seeds of its own, into the folder of tries, where `harness.try_` finds
    these trials again. Test stays closed. Of several data sets, each is measured.

    Args:
        study: one with a baseline, of `harness.load` or `harness.parse`.
        seeds: how many, 2 or more; the SD of 10 is known to about a quarter.
        metric: val_accuracy, val_loss, or a tracked metric of val.
        **keywords: `FolderKeywords`: folder, display, engine, device, workers, bits,
            cluster.

    Raises:
        UsageError: the study or an option is not valid, or hardly a seed finishes.
        MachineError: a trial could not be trained, or results cannot be written.

    Example:
        >>> harness.noise(study).detectable  # doctest: +SKIP
    """
    spawning.check_main()
    if not 2 <= seeds <= try_folder.MOST_SEEDS:
        raise UsageError(
            f"--seeds {seeds}: allowed are 2 to {try_folder.MOST_SEEDS:,}; one seed shows no spread"
        )
    alone = baselines(study)
    for one in alone:
        check_metric(one, metric)
    arms: Mapping[str, GivenSettings] = {_arm(one, alone): dict(one.baseline) for one in alone}
    place = TryFolder.of(alone[0], arms, keywords)
    with connection.connected(place.options.cluster):
        trained, processes = place.train(seeds), place.options.processes(place.options.devices())
    rows = place.rows(seeds)
    if trained.failures or rows["status"].eq("failed").any():
        raise MachineError(f"trials could not be trained: {'; '.join(trained.failures) or 'see trials.csv'}")
    import pandas as pd

    table = pd.DataFrame(
        [_measured(rows[rows["arm"].eq(_arm(one, alone))], one, metric, processes) for one in alone]
    )
    return Noise(study.name, metric, table, _detectable(table), trained, place.path)


def _arm(one: Study, alone: list[Study]) -> str:
    return BASELINE if len(alone) == 1 else f"{BASELINE}, dataset={one.baseline['dataset']}"


def _measured(rows: pd.DataFrame, study: Study, metric: str, processes: int) -> dict[str, Any]:
    """Make the row of a data set from its trials."""
    settings = settings_of(study)
    values = rows.loc[rows["status"].eq("ok"), metric].astype(float).dropna()
    n, diverged = len(values), int(rows["status"].eq("diverged").sum())
    if n < 2:
        raise UsageError(
            f"the baseline diverges with {diverged} of {len(rows)} seeds on {settings.dataset}: there is no "
            "noise to measure. Give it a lower lr, such as --set lr=0.01"
        )
    mean, sd = float(values.mean()), float(values.std(ddof=1))
    low, high = sd_interval(sd, n)
    images = size(settings.facts.train, settings.val_fraction)
    is_share = metric.endswith("accuracy")
    sampling = math.sqrt(max(mean * (1 - mean), 0) / images) if is_share else math.nan
    each = float((rows["group_seconds"].astype(float) / rows["group_size"].astype(float)).mean())
    return {
        "dataset": settings.dataset, "seeds": len(rows), "n": n, "diverged": diverged, "mean": mean, "sd": sd,
        "sd_low": low, "sd_high": high, "val_images": images, "sampling_sd": sampling,
        "seconds_a_trial": each / processes,
    }  # fmt: skip


def _detectable(table: pd.DataFrame) -> pd.DataFrame:
    """Make the table of detectable differences: of two arms whose noise is unrelated, sqrt(2) SDs of one."""
    import pandas as pd

    effects = detectable_difference(COMPARED_SEEDS)
    rows = [
        {"dataset": row["dataset"], "seeds": seeds}
        | {f"difference{end}": math.sqrt(2) * row[f"sd{end}"] * effect for end in ("", "_low", "_high")}
        | {"seconds": 2 * seeds * row["seconds_a_trial"]}
        for row in table.to_dict("records")
        for seeds, effect in zip(COMPARED_SEEDS, effects, strict=True)
    ]
    return pd.DataFrame(rows)
