"""Tuned comparisons: every arm tries the same number of settings, and chooses by val accuracy alone.

A study with a [tune] table is three results folders, each an ordinary one:

    <folder>/          the study as it stands: all arms at the settings they were given
    <folder>/tuning/   every arm at every setting it tries, with the tuning seeds; the test set stays closed
    <folder>/tuned/    every arm at the settings it chose, with the study's seeds, which chose nothing
    <folder>/chosen.csv   the choice of each arm, and how it was made

Where blocks of seeds choose by themselves (`harness.study.seed_blocks`), chosen.csv has a row an arm and
block, and tuned/ has an arm at several settings, each with the seeds of its block.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from harness import results
from harness.errors import UsageError
from harness.planning.plan import Plan
from harness.results import columns, csv_rows, documents, part_files, tables
from harness.settings.schema import CHOSEN, OF_ARM, SEED_BLOCK, TUNING
from harness.study import seed_blocks
from harness.study.checker import GivenSettings
from harness.study.study import Study
from harness.study.trials import Arm, arms, trial_of
from harness.text import as_text

if TYPE_CHECKING:
    import pandas as pd

NO_SCORE = -math.inf
"""Score of a setting that did not finish with every seed."""
CUT = "halving: "
"""The beginning of the reason why a trial is not trained, of a setting that halving left behind."""
LAST = ["val_accuracy", "seeds", "tried", "unfinished", "edge"]
"""Columns of chosen.csv behind the chosen settings."""


def choose(plan: Plan, folder: Path) -> dict[str, GivenSettings]:
    """Choose settings for each arm, by its name (`seed_blocks.named`), and write chosen.csv.

    An arm takes the setting with the highest val accuracy, averaged over the tuning seeds; of equal ones the
    first. A setting with a diverged seed is not taken. An arm for which nothing is left chooses nothing.
    Where blocks of seeds choose, each takes a setting by its own tuning seeds, in the same way. Where trials
    of `folder`/tuning are missing or failed, that is a UsageError.
    """
    import pandas as pd

    study = plan.study.in_phase("tuning")
    tried = _tried(folder / TUNING)
    chosen: dict[str, GivenSettings] = {}
    rows = []
    for name, tries in _tries(study, plan.arms).items():
        for block in study.blocks:
            settings, row = _choice(study, tries, block, tried)
            if settings is not None:
                chosen[seed_blocks.named(name, block)] = settings
            rows.append({"dataset": tries[0].settings["dataset"], "arm": name, **row})
    table = pd.DataFrame(rows)
    table = table[[*table.columns.drop(LAST), *LAST]]
    tables.write(folder, {CHOSEN: csv_rows.written(table, part_files.SIGNIFICANT).encode()})
    return chosen


def _choice(
    study: Study, tries: Sequence[Arm], block: int, tried: pd.DataFrame
) -> tuple[GivenSettings | None, dict[str, Any]]:
    """Give the settings that a block of seeds chooses for an arm, None without any; and chosen.csv's row."""
    seeds, points = study.seeds_of(block), [arm.tried for arm in tries]
    ids = [_ids(study, arm, seeds) for arm in tries]
    scores = [_score(arm, of_arm, tried) for arm, of_arm in zip(tries, ids, strict=True)]
    best = max(range(len(tries)), key=scores.__getitem__)
    finished = scores[best] > NO_SCORE
    row = {
        **({SEED_BLOCK: block} if block else {}),
        **{key: as_text(value) if finished else "" for key, value in points[best].items()},
        "val_accuracy": scores[best] if finished else None,
        "seeds": len(seeds),
        "tried": len(tries),
        "unfinished": scores.count(NO_SCORE) - sum(_only_cut(of_arm, tried) for of_arm in ids),
        "edge": edge(points[best], points) if finished else "",
    }
    return dict(points[best]) if finished else None, row


def read(folder: Path) -> pd.DataFrame:
    """Read chosen.csv: dataset, arm, tuned settings, val_accuracy, seeds, tried, unfinished, edge.

    Where blocks of seeds choose, `SEED_BLOCK` is behind the arm.
    """
    return columns.read(folder / CHOSEN, documents.study(folder))


def _tried(folder: Path) -> pd.DataFrame:
    """Read status, val accuracy and reason of the trials of a folder, by their ids."""
    trials = results.read_trials(folder).set_index("trial_id")[["status", "val_accuracy", "reason"]]
    return trials.assign(reason=trials["reason"].fillna("").astype(str))


def _tries(study: Study, trained: Collection[str]) -> dict[str, list[Arm]]:
    """Map the names of the trained arms to the arm at each setting that it tries."""
    tries: dict[str, list[Arm]] = {name: [] for name in trained}
    for arm in arms(study):
        if arm.labels[OF_ARM] in tries:
            tries[arm.labels[OF_ARM]].append(arm)
    return tries


def _ids(study: Study, arm: Arm, seeds: Iterable[int]) -> list[str]:
    return [trial_of(study, arm, seed).trial_id for seed in seeds]


def _score(arm: Arm, ids: Sequence[str], tried: pd.DataFrame) -> float:
    """Return the mean val accuracy of an arm's trials; NO_SCORE where one diverged."""
    rows = tried.reindex(list(ids))
    missing = rows["status"][~rows["status"].isin(["ok", "diverged", "skipped"])]
    if len(missing):
        raise UsageError(
            f"{arm.name!r}: {len(missing)} of its {len(ids)} tuning trials have no result, so nothing is "
            f"chosen yet. See trials.csv in {TUNING}/, and run the study again to train them."
        )
    return float(rows["val_accuracy"].mean()) if rows["status"].eq("ok").all() else NO_SCORE


def _only_cut(ids: Sequence[str], tried: pd.DataFrame) -> bool:
    """Tell whether halving alone is why some of a setting's trials were not trained."""
    rows = tried.reindex(list(ids))
    return bool(rows["reason"].str.startswith(CUT).any() and not rows["status"].eq("diverged").any())


# ---------------------------------------------------------------------------------------------------- halving


def rounds(study: Study) -> int:
    """Count the rounds in which a study's tuning is trained: one, or with halving several."""
    if study.tune is None or not study.tune.halving:
        return 1
    tuning = study.in_phase("tuning")
    return len(seed_blocks.rounds(2, len(tuning.seeds_of(tuning.blocks[0]))))


def in_round(drawn: Plan, folder: Path, number: int) -> Plan:
    """Give the plan of a round of halving, from 0 on: what it or an earlier round leaves behind is skipped.

    Each round goes on with the settings that were best by val in the one before, for each arm and block of
    seeds by itself; `folder` is tuning/, in which the earlier rounds are finished.
    """
    tried = _tried(folder) if number else None

    def best(of_arm: Sequence[tuple[Arm, Sequence[str]]], count: int) -> list[int]:
        if tried is None:
            return list(range(len(of_arm)))[:count]
        scores = [_score(arm, ids, tried) for arm, ids in of_arm]
        places = sorted(range(len(scores)), key=lambda place: -scores[place])  # stable: of equals the first
        return [place for place in places[:count] if scores[place] > NO_SCORE]

    return _left(drawn, number, best)


def expected(drawn: Plan) -> Plan:
    """Give the plan of tuning as halving will train it: which settings are left is open, how many is not."""
    if drawn.study.tune is None or not drawn.study.tune.halving:
        return drawn
    return _left(drawn, rounds(drawn.study) - 1, lambda of_arm, count: list(range(len(of_arm)))[:count])


def left_behind(drawn: Plan) -> int:
    """Count the trials of a plan of tuning that halving does not train."""
    return sum(reason.startswith(CUT) for reason in drawn.skipped.values())


Best: TypeAlias = Callable[[Sequence[tuple[Arm, Sequence[str]]], int], list[int]]
"""A function (arms, each with trials of it; how many) -> the places of the best of them."""


def _left(drawn: Plan, number: int, best: Best) -> Plan:
    """Give a plan of tuning in which what is left behind up to a round is skipped."""
    there, wanted = {trial.trial_id for trial in drawn.trials}, set[str]()
    study = drawn.study
    every = dict.fromkeys(arm.labels[OF_ARM] for arm in arms(study))
    for tries in _tries(study, every).values():
        for block in study.blocks:
            of_block = [(arm, _ids(study, arm, study.seeds_of(block))) for arm in tries]
            if there.issuperset(itertools.chain.from_iterable(ids for _, ids in of_block)):  # of this shard
                wanted.update(_wanted(of_block, number, best))
    reason = f"{CUT}with the seeds before, it diverged or other settings were better by val"
    cut = dict.fromkeys(there - wanted - set(drawn.skipped), reason)
    whole = None
    if drawn.whole is not None:
        whole = replace(drawn.whole, skipped={**drawn.whole.skipped, **cut})
    return replace(drawn, skipped={**drawn.skipped, **cut}, whole=whole)


def _wanted(of_block: Sequence[tuple[Arm, Sequence[str]]], number: int, best: Best) -> Iterator[str]:
    """Yield the trials of an arm and a block of seeds that are trained up to a round."""
    left, done = list(of_block), 0
    for count, seeds in seed_blocks.rounds(len(of_block), len(of_block[0][1]))[: number + 1]:
        if done:
            places = best([(arm, ids[:done]) for arm, ids in left], count)
            left = [left[place] for place in sorted(places)]
        for _, ids in left:
            yield from ids[done:seeds]
        done = seeds


def edge(chosen: GivenSettings, points: Sequence[GivenSettings]) -> str:
    """Say in words which chosen numbers are the lowest or highest tried; "" if none is.

    >>> edge({"lr": 1.0}, [{"lr": 0.01}, {"lr": 0.1}, {"lr": 1.0}])
    'lr is the highest tried'
    """
    edges = []
    for name, value in chosen.items():
        tried = [point[name] for point in points]
        values = [float(number) for number in tried if not isinstance(number, str | bool | list)]
        if isinstance(value, str | bool | list) or len(values) < len(tried):
            continue  # without an order
        for end, word in ((min(values), "lowest"), (max(values), "highest")):
            if value == end and min(values) < max(values):
                edges.append(f"{name} is the {word} tried")
    return ", ".join(edges)
