"""The results folder of a run: its compatibility with the study, its finished trials, and its plan."""

from __future__ import annotations

import csv
import json
import tomllib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Literal

import tomli_w

from harness import notes
from harness.axes.metrics import metrics
from harness.data.arm_settings import Settings, once_an_arm
from harness.engines import bits
from harness.errors import UsageError, quoted
from harness.lowering.builds import Bits
from harness.planning.plan import Plan
from harness.planning.shards import Shard
from harness.planning.stack import Stack
from harness.results import checksums, columns, csv_rows, documents, part_files, tables
from harness.results.columns import FINISHED
from harness.results.csv_rows import TextTable
from harness.results.documents import SCHEMA
from harness.results.part_files import Part, Parts
from harness.settings import CORE, Value
from harness.settings.schema import NAMED_ONLY, TRIES
from harness.study import starts
from harness.study.checker import known_settings
from harness.study.study import Study
from harness.study.trials import SEMANTICS, components_of
from harness.system import files, locks
from harness.text import as_text, count

BEFORE_A_PLAN = (".lock", locks.PREFIX, checksums.FILE, starts.FILE, TRIES)
"""Beginnings of the names of files that a run which was killed before it wrote its plan may have left.

`harness try` may have tried changes of the study, too, before it runs.
"""
AFTER = ("changed_after", "target_after")
"""Keys of [contrasts]: how many trials had been trained when the family, or the target, was changed."""
DEFINING = ("axes", "steps")
"""Tables that make a study what it is: with other ones, and no trial in common, it is another study."""
MOST_LISTED = 3  # differences that an error lists


def check_compatible(folder: Path, study: Study, digests: Mapping[str, str]) -> dict[str, Any]:
    """Read the plan that an earlier run of this study left in the folder; {} if there was none.

    Raises:
        UsageError: it is of another study, phase, schema or data (`digests`), or is not a results folder.
    """
    name, phase = study.name, study.about.phase
    if folder.is_file():
        raise UsageError(f"{folder} is a file, not a results folder. Choose another name with --results.")
    if not (folder / "plan.json").exists():
        strangers = [path.name for path in folder.glob("*") if not path.name.startswith(BEFORE_A_PLAN)]
        if strangers:
            raise UsageError(
                f"{folder} holds {strangers[0]!r} and no plan.json, so it is not a results folder. "
                "Choose an empty or new one with --results."
            )
        return {}
    advice = "Choose another folder with --results, or move this one away."
    plan = documents.plan(folder, advice)
    if plan.get("study") != name:
        raise UsageError(
            f"{folder} holds results of the study {plan.get('study')!r}, not of {name!r}. {advice}"
        )
    if plan.get("phase", "fixed") != phase and "tries" in {phase, plan.get("phase")}:
        raise UsageError(
            f"{folder} holds the {plan.get('phase', 'fixed')} trials of {name!r}, and tries have a folder of "
            "their own: leave out --results, or choose another folder"
        )
    if plan.get("phase", "fixed") != phase:
        raise UsageError(
            f"{folder} holds the {plan.get('phase', 'fixed')} trials of {name!r}, not the {phase} ones. "
            "Run the study's own file; it finds the folder of each."
        )
    for dataset, digest in plan["data"].items():
        if digests.get(dataset, digest) != digest:
            raise UsageError(
                f"{folder} was trained on other data called {dataset!r}: digest {digest[:12]} there, "
                f"{digests[dataset][:12]} here. {advice}"
            )
    return plan


def check_shard(folder: Path, plan: Plan, known: Mapping[str, Any]) -> None:
    """Raise UsageError where a folder's earlier plan (`known`) is of another shard, or of no shard."""
    there = Shard(*known["shard"]) if known.get("shard") else None
    if not known or there == plan.shard:
        return
    held, asked = there or "all trials", plan.shard or "all trials"
    again = f"--shard {there.number}/{there.count}" if there else "no --shard"
    raise UsageError(
        f"{folder} is for {held} of {plan.study.name!r}, not for {asked}. Give {again} to go on with it, or "
        "leave out --results, so that each shard has a folder of its own; `harness merge` joins them"
    )


def check_trials(folder: Path, plan: Plan, known: Mapping[str, Any]) -> None:
    """Raise UsageError if the finished trials in a folder belong to another study of the same name.

    A study that has grown, or lost some of its arms, shares trials with its earlier form (`known`); one whose
    components or baseline were changed (`--set epochs=2`) varies the same axes: these go on, with notes.
    """
    earlier = _trial_ids(known)
    shared = earlier & {trial.trial_id for trial in plan.trials}
    if plan.study.about.phase != "fixed" or not earlier or shared:
        return
    done = earlier & set(finished(folder, with_old=True))
    differences = _differences(folder, plan) if done else []
    if differences:
        raise UsageError(
            f"{folder} holds {len(done)} finished trials of another study called {plan.study.name!r}, "
            f"none of this one's: {'; '.join(differences)}. Its tables would replace the old ones. "
            "Give this study another name, or choose another folder with --results"
        )


def dropped_notes(plan: Plan, known: Mapping[str, Any], done: Collection[str]) -> list[str]:
    """Say how many finished trials of an earlier run the study has dropped."""
    if plan.study.about.phase != "fixed":
        return []
    dropped = (_trial_ids(known) & set(done)) - {trial.trial_id for trial in plan.trials}
    note = (
        f"{len(dropped)} finished trials of an earlier run are not in this study any more: they leave its "
        "tables; their parts and weights stay, and the study in its earlier form finds them again"
    )
    return [note] if dropped else []


def _trial_ids(known: Mapping[str, Any]) -> set[str]:
    """Collect the trials of an earlier plan."""
    return {trial_id for _, _, trial_ids in documents.stacks_of(known) for trial_id in trial_ids}


def _differences(folder: Path, plan: Plan) -> list[str]:
    """List differences between a folder's study and this one; none where the same axes are varied."""
    there, here = documents.study(folder), tomllib.loads(tomli_w.dumps(plan.study.tables(folder)))
    if all(there.get(table) == here.get(table) for table in DEFINING):
        return []
    pairs = [("seeds", there["study"].get("seeds"), here["study"].get("seeds"))]
    for table in (*DEFINING, "baseline"):
        before, now = there.get(table, {}), here.get(table, {})
        if isinstance(before, dict) and isinstance(now, dict):
            pairs += [(f"{table}.{key}", before.get(key), now.get(key)) for key in {**before, **now}]
        else:
            pairs.append((table, before, now))
    listed = [f"{name} is {_shown(a)} there, {_shown(b)} here" for name, a, b in pairs if a != b]
    return listed[:MOST_LISTED] + [f"and {len(listed) - MOST_LISTED} more"] * (len(listed) > MOST_LISTED)


def _shown(value: object) -> str:
    return "not given" if value is None else quoted(value, most=60)


def check_parts(folder: Path) -> None:
    """Raise UsageError if only trials.csv has finished trials: a run would write it without them."""
    if part_files.paths(folder) or not (folder / "trials.csv").is_file():
        return
    try:  # as it stands: without study.toml, which types its columns, its trials are no less finished
        with (folder / "trials.csv").open(encoding="utf-8", newline="") as file:
            found = sum(row.get("status") in FINISHED for row in csv.DictReader(file))
    except (OSError, ValueError, csv.Error):  # unreadable, and no parts: there is nothing to lose
        return
    if found:
        raise UsageError(
            f"{folder} has {found:,} finished trials in trials.csv, but the parts/ that it was made from are "
            "missing. Copy parts/ back; or, to train all trials again, move the folder away"
        )


def finished(
    folder: Path, parts: Parts | None = None, *, set_aside: bool = False, with_old: bool = False
) -> dict[str, str]:
    """Map each trial that need not be trained again to its status: ok, diverged or pruned.

    Damaged parts do not count, those that are to be replaced only `with_old`. For the run that holds the
    folder, `set_aside` renames damaged parts, and leaves out stacks whose weights or predictions changed.
    """
    parts = parts or part_files.read_all(folder)
    sound = parts.sound
    if set_aside:
        part_files.say_copies(folder, parts.copies)
        for path in parts.damaged:
            path.replace(path.with_suffix(".damaged"))
            notes.warn(
                f"{path}: damaged, or changed after the run; set aside, and its trials are trained again"
            )
        sound = [part for part in sound if _is_unchanged(folder, part)]
    old = frozenset() if with_old else part_files.to_renew(folder)
    texts = [part.trials for part in sound if part.group not in old]
    trials = csv_rows.concatenated(texts, columns.of_part("trials"))
    pairs = zip(trials["trial_id"], trials["status"], strict=True)
    return {trial_id: status for trial_id, status in pairs if status in FINISHED}


def bits_of(folder: Path, finished: Collection[str], parts: Parts) -> dict[str, Bits]:
    """Tell which bits each of a folder's finished trials has, by its row."""
    names = made_by(folder, finished, parts, "kernels")
    return {trial: bits.kind(name) for trial, name in names.items()}


def made_by(
    folder: Path, finished: Collection[str], parts: Parts, column: Literal["kernels", "engine"]
) -> dict[str, str]:
    """Tell which kernels or engine each of a folder's finished trials has, by its row.

    A run that was stopped, or a provenance.json that was lost, does not say what it trained.
    """
    old = part_files.to_renew(folder)
    sound = [part for part in parts.sound if part.group not in old]
    tables = [part.table("trials").only(["trial_id", "status", column]) for part in sound]
    names = {trial: name for table in tables for trial, status, name in table.rows if status in FINISHED}
    return {trial: names[trial] for trial in finished}


def _is_unchanged(folder: Path, part: Part) -> bool:
    """Tell whether the files written with a part are as they were; note which are not."""
    paths = [(folder / name, digest) for name, digest in part.files.items() if (folder / name).is_file()]
    changed = [str(path) for path, digest in paths if checksums.digest(files.content_of(path)) != digest]
    if changed:
        notes.warn(f"{' and '.join(changed)} changed after the run that wrote it: its stack is trained again")
    return not changed


def unfinished(plan: Plan, done: Collection[str]) -> list[Stack]:
    """List the stacks that still have to be trained, whole."""
    return [stack for stack in plan.stacks if any(trial.trial_id not in done for trial in stack.trials)]


def write_plan(
    folder: Path,
    plan: Plan,
    digests: Mapping[str, str],
    retrained: Collection[str] = (),
    parts: Parts | None = None,
) -> TextTable:
    """Write down the stacks, the study, and a row for every planned trial, before anything is trained.

    The stacks come first: they make the folder a results folder, in which a killed run can be resumed. Rows
    of finished trials stay whole; `retrained` are groups whose parts will change. Returns the trials.
    """
    study = plan.study
    stacks = [
        {"group": s.group, "engine": s.engine, "trials": [t.trial_id for t in s.trials]} for s in plan.stacks
    ]
    content = {"schema": SCHEMA, "study": study.name, "phase": study.about.phase, "data": dict(digests)}
    content |= {"semantics": SEMANTICS, "components": _components(plan)}
    content |= {"shard": [plan.shard.number, plan.shard.count]} if plan.shard else {}
    content |= {"merged": plan.merged, "stacks": stacks}
    files.write(folder / "plan.json", json.dumps(content, indent=1).encode())
    return describe(folder, plan, retrained, parts)


def describe(
    folder: Path, plan: Plan, retrained: Collection[str] = (), parts: Parts | None = None
) -> TextTable:
    """Write down the study and a row for every planned trial, as `write_plan` does behind the stacks."""
    described = plan.study.tables(folder) | {"contrasts": _contrasts(folder, plan, parts)}
    files.write(folder / "study.toml", tomli_w.dumps(described).encode())
    sound = None if parts is None else parts.sound
    return tables.write_planned(folder, planned_rows(plan), retrained, sound)


def _components(plan: Plan) -> dict[str, str]:
    """Map each third-party component and metric of a plan to the digest of all that decides it."""
    chosen = [(axis, entry.name, entry.source_digest) for axis, entry in components_of(plan.trials)]
    chosen += [("metric", name, metrics.entry(name).source_digest) for name in plan.study.metrics]
    return {f"{axis} {name}": digest for axis, name, digest in sorted(chosen) if digest}


def _contrasts(folder: Path, plan: Plan, parts: Parts | None) -> dict[str, Any]:
    """Make the [contrasts] table: how many trials had finished when it, or the target, was changed."""
    table = plan.contrasts.table()
    path = folder / "study.toml"
    if not path.is_file():
        return table
    try:
        tables = files.toml_table(path)
        before, aim = tables.get("contrasts", table), tables.get("study", {}).get("until")
        changed_after, target_after = (before.pop(key, 0) for key in AFTER)
    except (OSError, ValueError, AttributeError, TypeError) as error:
        notes.warn(f"{path} was damaged ({error}) and is written anew")
        return table
    now = {key: value for key, value in table.items() if key not in AFTER}
    declared = any(one.get("declared") or one.get("looks") for one in (before, table))
    changed = declared and before != now
    moved = plan.study.about.until not in (None, aim)
    done = len(finished(folder, parts, with_old=True)) if changed or moved else 0
    if changed and done:
        notes.warn(
            f"[contrasts] changed after {count(done, 'trial')} had been trained and could be read; the "
            "report says so"
        )
    told = {"changed_after": (changed and done) or changed_after}
    since = (moved and done) or target_after
    return table | told | ({"target_after": since} if plan.study.target and since else {})


def planned_rows(plan: Plan) -> TextTable:
    """Make a row a planned trial, as text: its identity, its settings, and why it is skipped if it is."""
    linked = plan.study.label_columns
    every = [*CORE, *(name for name in known_settings() if name not in CORE)]
    settings = [name for name in every if name not in NAMED_ONLY or _names(plan.study, name)]
    write = _written_once()

    def cells(arm: Settings) -> list[str]:
        return [write(value) for value in arm.values_of(settings)]

    cells_of, rows = once_an_arm(cells), []
    for trial in plan.trials:
        reason = plan.skipped.get(trial.trial_id, "")
        arm = trial.arm
        named = [trial.trial_id, arm.name, *(arm.labels.get(axis, "") for axis in linked)]
        ended = [str(trial.seed), "skipped" if reason else "", reason]
        rows.append([*named, *cells_of(arm.settings), *ended])
    header = ["trial_id", "arm", *linked, *settings, "seed", "status", "reason"]
    return TextTable(header, rows)


def _names(study: Study, setting: str) -> bool:
    """Tell whether a study gives a setting a value, in any of its tables."""
    linked = [value for values in study.axes.values() for value in values if isinstance(value, Mapping)]
    given = [
        study.baseline,
        study.axes,
        *linked,
        *study.steps,
        *study.chosen.values(),
        *study.spaces.values(),
    ]
    return any(setting in names for names in (*given, *(entry.sets for entry in study.space.entries)))


def _written_once() -> Callable[[Value | None], str]:
    """Make a function that writes a setting as text, equal ones as one text: most of a plan's cells are."""
    known: dict[tuple[type, object], str] = {}

    def write(value: Value | None) -> str:
        if not value:  # 0.0 and -0.0 are equal, and not written alike
            return as_text(value)
        key = type(value), str(value) if isinstance(value, list) else value
        if key not in known:
            known[key] = as_text(value)
        return known[key]

    return write
