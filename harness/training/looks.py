"""Looks at a study while it trains: seeds are added until every contrast is decided, or all are trained.

The seeds up to a look are trained whole before it is looked at, so that a run that was killed anywhere goes
on to the same end. Trials that are not needed any more are skipped, with the reason.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from harness import notes, results
from harness.errors import UsageError
from harness.planning.plan import Plan
from harness.results import run_folder
from harness.settings.schema import NOT_NEEDED
from harness.text import count


def looks_of(drawn: Plan) -> list[int]:
    """Return the numbers of seeds at which a study is looked at; [] if it is judged once.

    Raises:
        UsageError: a shard is to be trained, which has no look: its seeds are not those of the others.
    """
    looks = drawn.study.contrasts.looks if drawn.study.about.phase == "fixed" else []
    if looks and drawn.shard is not None:
        raise UsageError(
            f"--shard {drawn.shard.number}/{drawn.shard.count}: {drawn.study.name} is looked at after "
            f"{', '.join(map(str, looks))} seeds, which takes the seeds of all shards. Train it on one "
            "machine or a cluster (--cluster), or with all seeds: --set contrasts.looks=[]"
        )
    return looks


def stages(drawn: Plan, folder: Path) -> Iterator[Plan]:
    """Yield what is trained up to each look, and at last the plan of all that is needed.

    Between two of them the folder is looked at: each is to be trained before the next is asked for.
    """
    for seeds, following in pairwise(looks_of(drawn)):
        there = (folder / "plan.json").is_file()
        done = run_folder.finished(folder) if there else {}
        kept = run_folder.finished(folder, with_old=True) if there else {}
        first, later = _parted(drawn, seeds)
        waiting = later - {*kept, *drawn.skipped}
        if not _are_trained(first, {*done, *drawn.skipped}, folder):
            yield replace(drawn, waiting=waiting)
        decided, contrasts = look(drawn, folder, seeds)
        said = f"look at {seeds} seeds: {decided} of {count(contrasts, 'contrast')} decided"
        if contrasts and decided == contrasts:
            notes.tell(f"{said}; no more seeds are needed")
            yield _without(drawn, waiting, seeds)
            return
        notes.tell(f"{said}; on to {following} seeds")
    yield drawn


def without_needless(drawn: Plan, folder: Path) -> Plan:
    """Give a plan whose trials behind a look that decided all contrasts are skipped; say nothing of it."""
    done = run_folder.finished(folder)
    for seeds, _ in pairwise(looks_of(drawn)):
        first, later = _parted(drawn, seeds)
        if not _are_trained(first, {*done, *drawn.skipped}, folder):
            return drawn
        decided, contrasts = look(drawn, folder, seeds)
        if contrasts and decided == contrasts:
            return _without(drawn, later - {*done, *drawn.skipped}, seeds)
    return drawn


def _without(drawn: Plan, needless: Collection[str], seeds: int) -> Plan:
    """Skip trials that are not needed since every contrast was decided at so many seeds."""
    reason = f"{NOT_NEEDED}{seeds} seeds"
    return replace(drawn, skipped={**drawn.skipped, **dict.fromkeys(needless, reason)})


def look(drawn: Plan, folder: Path, seeds: int) -> tuple[int, int]:
    """Judge the first seeds of a study in a folder: contrasts that are decided, and all contrasts."""
    from harness.results import families

    trials = results.read_trials(folder)
    first, _ = _parted(drawn, seeds)
    trials, axes = families.varied(trials[trials["trial_id"].isin(first)], drawn.study.tables())
    differences = families.differences(trials, axes, drawn.contrasts, [])
    if differences.empty:
        return 0, 0
    words = families.verdicts(differences, drawn.contrasts, seeds)["verdict"]
    return int(words.isin(families.DECIDED).sum()), len(words)


def _parted(drawn: Plan, seeds: int) -> tuple[set[str], set[str]]:
    """Part the trials into those of the first seeds and those of later ones."""
    early = set(drawn.study.seeds[:seeds])
    first = {trial.trial_id for trial in drawn.trials if trial.seed in early}
    return first, {trial.trial_id for trial in drawn.trials} - first


def _are_trained(trial_ids: set[str], ended: set[str], folder: Path) -> bool:
    """Tell whether trials have ended and are in tables that can be read: a run makes these anew."""
    trials = results.readable_trials(folder) if trial_ids <= ended else None
    return trials is not None and trial_ids <= set(trials["trial_id"])
