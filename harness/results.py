"""Results: the schema of a results folder, its atomic parts, and the tidy CSVs made from them.

    <folder>/
      trials.csv  epochs.csv  confusion.csv    tidy, in the plan's order; remade from the parts
      parts/<group>.zip                        what one stack gave; the truth, written atomically
      predictions/<group>.npz                  predicted class and its probability, per sample
      weights/<trial_id>.safetensors           final weights
      checkpoints/<group>-<trial_id>.safetensors   long stacks in training; gone when they are finished
      study.toml  plan.json  provenance.json
      checksums.json                           the SHA-256 of the CSVs, of weights and predictions
      planned.csv.gz                           the planned trials' rows, from which trials.csv is made anew
      retrain.json                             which stacks are still to be trained anew, while some are

Everything here is DataFrames and text; nothing imports torch.
"""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import secrets
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import tomli_w
from filelock import Timeout

from harness import checksums, claims, csv_rows, documents, files, part_files, standing
from harness.checking import known_settings
from harness.columns import TEXT, text_columns, typed
from harness.errors import MachineError, UsageError
from harness.grouping import Stack
from harness.plan import Plan
from harness.settings import CORE, EPOCHS, OUTCOME, TUNING, outcome_columns
from harness.study import Study
from harness.text import as_text

SCHEMA = 1
TABLES = part_files.TABLES
OLD = "retrain.json"
"""Which stacks are still to be trained anew, while a folder is."""
FINISHED = ("ok", "diverged", "pruned")
DAMAGE = files.DAMAGE
PLANNED = "planned.csv.gz"
MOST_PLANNED = 256 * 2**20  # bytes of all planned rows, unpacked
SIGNIFICANT = "%.7g"  # float32 holds no more


@dataclass(frozen=True)
class Results:
    """A results folder, read: tidy frames, the study's tables, and where it all came from."""

    folder: Path
    trials: pd.DataFrame
    epochs: pd.DataFrame
    confusion: pd.DataFrame
    study: dict[str, Any]
    provenance: dict[str, Any]


# -------------------------------------------------------------------------------------- atomic writing


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: temporary file, flush to disk, rename.

    Raises:
        MachineError: the disk is full or cannot be written; what was there before is still there.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.parent / f"{claims.prefix()}{secrets.token_hex(8)}"
        with draft.open("xb") as file:  # with the permissions that this process gives its files
            temporary = draft
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            with suppress(OSError):  # the disk may be gone by now: its first error is what is told
                temporary.unlink()
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        advice = "free some space" if full else "check the folder's permissions"
        raise MachineError(
            f"{path} cannot be written: {error.strerror or error}. What is finished is safe; {advice}, "
            "then run the same command again: it goes on from here."
        ) from error


def write_tables(
    folder: Path, contents: Mapping[str, bytes], parts: Sequence[part_files.Part] | None = None
) -> None:
    """Write tables of a folder that is held, and their digests, so that a kill at any moment is no change.

    Args:
        folder: the results folder.
        contents: file name -> content, written in this order.
        parts: what the tables were made from, where they were.
    """
    record = (checksums.read(folder) or checksums.Record()).before(contents)
    write(folder / checksums.FILE, record.content())
    for name, content in contents.items():
        write(folder / name, content)
    record = record.after(contents)
    if parts is not None:
        kept = {name: digest for part in parts for name, digest in part.files.items()}
        record = replace(
            record,
            parts={part.name: part.digest for part in parts},
            files={name: digest for name, digest in kept.items() if (folder / name).is_file()},
        )
    write(folder / checksums.FILE, record.content())


def write_part(
    folder: Path, group: str, tables: Mapping[str, pd.DataFrame], written: Mapping[str, str] | None = None
) -> None:
    """Write what one stack gave, as one atomic part; `written`: the digests of its other files, by name.

    Raises:
        MachineError: it cannot be written, or the folder is gone.
    """
    check_there(folder)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in TABLES:
            table = tables[name]
            text = csv_rows.confusion(table) if name == "confusion" else csv_rows.written(table, SIGNIFICANT)
            # Level 1: a fifth of the time of the default, for a quarter more bytes.
            archive.writestr(zipfile.ZipInfo(f"{name}.csv"), text, zipfile.ZIP_DEFLATED, 1)
        listed = json.dumps(dict(written or {}), sort_keys=True)
        archive.writestr(zipfile.ZipInfo(part_files.WRITTEN), listed, zipfile.ZIP_DEFLATED, 1)
    write(folder / "parts" / f"{group}.zip", buffer.getvalue())


# ----------------------------------------------------------------------------------------- one run's folder


def check_there(folder: Path) -> None:
    """Raise MachineError where a folder is gone in the middle of a run, which must not begin it anew."""
    if not folder.is_dir():
        raise MachineError(
            f"results folder {folder} is gone: it was deleted or renamed during the run. What was finished "
            "is where it was moved to: move it back, and the same command goes on from there"
        )


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold a results folder for one run; a lock that the system lets go when the process dies.

    Raises:
        UsageError: another run holds it.
        MachineError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = claims.hold(folder / ".lock", "Choose a local folder with --results")
    except Timeout:
        raise UsageError(
            f"another run is writing into {folder}. Wait for it, or choose another folder with --results"
        ) from None
    except OSError as error:
        raise MachineError(
            f"results folder {folder} cannot be written: {error.strerror or error}. "
            "Choose another with --results, or mend its permissions."
        ) from error
    try:
        with suppress(OSError):
            claims.sweep(folder, claims.time_of(folder / ".lock"), held=True)
        yield
    finally:
        lock.release()


def check_same(folder: Path, study: Study, digests: Mapping[str, str]) -> dict[str, Any]:
    """The plan an earlier run of this study left in the folder ({} if none did).

    Raises:
        UsageError: the folder is of another study, phase, schema or data, or is no results folder.
    """
    name, phase = study.name, study.about.phase
    path = folder / "plan.json"
    if folder.is_file():
        raise UsageError(f"{folder} is a file, no results folder. Choose another name with --results.")
    if not path.exists():
        own = (
            ".lock",
            ".tmp-",
            checksums.FILE,
        )  # left by a run that was killed before it could write its plan
        strangers = [p.name for p in folder.glob("*") if not p.name.startswith(own)]
        if strangers:
            raise UsageError(
                f"{folder} holds {strangers[0]!r} and no plan.json: it is no results folder. "
                "Choose an empty or new one with --results."
            )
        return {}
    plan = documents.plan(folder)
    advice = "Choose another folder with --results, or move this one away."
    if plan.get("schema") != SCHEMA:
        raise UsageError(
            f"{folder} was written with results schema {plan.get('schema')!r}; "
            f"this version writes {SCHEMA}. {advice}"
        )
    if plan.get("study") != name:
        raise UsageError(
            f"{folder} holds results of the study {plan.get('study')!r}, not of {name!r}. {advice}"
        )
    if plan.get("phase", "fixed") != phase:
        raise UsageError(
            f"{folder} holds the {plan.get('phase', 'fixed')} trials of {name!r}, not the {phase} ones. "
            "Run the study's own file; it finds the folder of each."
        )
    for dataset, digest in plan.get("data", {}).items():
        if dataset in digests and digests[dataset] != digest:
            raise UsageError(
                f"{folder} was trained on other data called {dataset!r}: digest {digest[:12]} there, "
                f"{digests[dataset][:12]} here. {advice}"
            )
    return plan


REMAKE = "`harness run` of its study writes it anew from parts/"


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return files.json_table(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}. Move the folder away and run again.") from error


def begin(folder: Path, plan: Plan, digests: Mapping[str, str], again: Collection[str] = ()) -> None:
    """Write down the stacks, the study, and a row for every planned trial, before anything is trained.

    The stacks come first: they make the folder a results folder, in which a killed run can be resumed. Rows
    of finished trials stay whole.

    Args:
        folder: a results folder that this run holds.
        plan: what is planned.
        digests: data set -> digest of its images.
        again: the groups that are about to be trained, whose parts, if they are there, will be others.
    """
    stacks = [
        {"group": s.group, "engine": s.engine, "trials": [t.trial_id for t in s.trials]} for s in plan.stacks
    ]
    study = plan.study
    content = {"schema": SCHEMA, "study": study.name, "phase": study.about.phase, "data": dict(digests)}
    content["stacks"] = stacks
    write(folder / "plan.json", json.dumps(content, indent=1).encode())
    tables = plan.study.tables(folder) | {"contrasts": _declared(folder, plan)}
    write(folder / "study.toml", tomli_w.dumps(tables).encode())
    rows = planned(plan)
    write(folder / PLANNED, gzip.compress(csv_rows.written(rows).encode(), 1, mtime=0))
    _write_tables(folder, rows, again)


def _declared(folder: Path, plan: Plan) -> dict[str, Any]:
    """The [contrasts] table to write down, which remembers whether trials were there when it was changed."""
    table = plan.contrasts.table()
    path = folder / "study.toml"
    if not path.is_file():
        return table
    try:
        before = files.toml_table(path).get("contrasts", table)
        known = before.pop("changed_after", 0)
    except (OSError, ValueError, AttributeError, TypeError) as error:
        documents.say(f"{path} was damaged ({error}) and is written anew")
        return table
    now = {key: value for key, value in table.items() if key != "changed_after"}
    declared = before.get("declared") or table["declared"]
    changed = declared and before != now and len(finished(folder, with_old=True))
    return table | {"changed_after": changed or known}


def planned(plan: Plan) -> pd.DataFrame:
    """A row a planned trial, as text: who it is, its settings, and why it is skipped if it is."""
    linked = plan.study.label_columns
    settings = [*CORE, *(name for name in known_settings() if name not in CORE)]
    rows = []
    for trial in plan.trials:
        reason = plan.skipped.get(trial.trial_id, "")
        arm = trial.arm
        rows.append(
            [trial.trial_id, arm.name]
            + [arm.labels.get(axis, "") for axis in linked]
            + [as_text(arm.settings.get(name)) for name in settings]
            + [str(trial.seed), "skipped" if reason else "", reason]
        )
    columns = ["trial_id", "arm", *linked, *settings, "seed", "status", "reason"]
    return pd.DataFrame(rows, columns=columns, dtype=str)


def finished(folder: Path, *, set_aside: bool = False, with_old: bool = False) -> dict[str, str]:
    """trial_id -> status (ok, diverged, pruned) of every trial that need not be trained again.

    A damaged part counts for nothing; the run that holds the folder also sets it aside. Nor does it count a
    stack whose weights or predictions are not what was written any more: it trains that again. A part that is
    to be renewed counts for nothing, either, unless `with_old`.
    """
    old = frozenset() if with_old else to_renew(folder)
    there = part_files.whole(folder)
    parts = there.sound
    if set_aside:
        part_files.say_copies(folder, there.copies)
        for path in there.damaged:
            path.replace(path.with_suffix(".damaged"))
            documents.say(
                f"{path}: damaged, or changed after the run; set aside, and its trials are trained again"
            )
        parts = [part for part in parts if not _spoiled(folder, part)]
    sound = [part.trials for part in parts if part.name.removesuffix(".zip") not in old]
    outcome = csv_rows.concatenated(sound, empty("trials"))
    done = outcome[outcome["status"].isin(FINISHED)]
    return dict(zip(done["trial_id"], done["status"], strict=True))


def _spoiled(folder: Path, part: part_files.Part) -> bool:
    """Whether a file written with a part is another one now; says which."""
    odd = part_files.misfits(folder, part)
    if odd:
        names = " and ".join(str(folder / name) for name in odd)
        documents.say(f"{names} changed after the run that wrote it: its stack is trained again")
    return bool(odd)


# ---------------------------------------------------------------------------------------- training anew


def mark_old(folder: Path) -> None:
    """Have all that a folder holds trained anew: its parts stay, and count, until others take their place."""
    groups = sorted(path.stem for path in (folder / "parts").glob("*.zip"))
    if groups:
        write(folder / OLD, json.dumps({"groups": groups}, indent=1).encode())
    for checkpoint in (folder / "checkpoints").glob("*.safetensors"):
        checkpoint.unlink(missing_ok=True)


def renewed(folder: Path, group: str) -> None:
    """Note that a stack which was to be trained anew is."""
    old = to_renew(folder)
    if group not in old:
        return
    left = sorted(old - {group})
    if left:
        write(folder / OLD, json.dumps({"groups": left}, indent=1).encode())
    else:
        (folder / OLD).unlink(missing_ok=True)


def to_renew(folder: Path) -> frozenset[str]:
    """Give the stacks that are still to be trained anew."""
    path = folder / OLD
    if not path.is_file():
        return frozenset()
    groups = read_json(path).get("groups")
    return frozenset(map(str, groups)) if isinstance(groups, list) else frozenset()


# ------------------------------------------------------------------------------------------- consolidation


def consolidate(folder: Path) -> None:
    """Remake the tidy CSVs from the parts, and keep of the weights what the study asks for."""
    _write_tables(folder, _planned_rows(folder))
    _prune_weights(folder)


def _write_tables(folder: Path, rows: pd.DataFrame, again: Collection[str] = ()) -> None:
    """Write the three tables; parts of the groups that are trained `again` are not held against them."""
    parts = _parts(folder)
    tables = _merged(folder, rows, parts)
    contents = {f"{name}.csv": tables[name].encode() for name in reversed(TABLES)}
    write_tables(folder, contents, [part for part in parts if part.name.removesuffix(".zip") not in again])


def _planned_rows(folder: Path) -> pd.DataFrame:
    """The planned trials' rows as they were written before anything was trained; else those of trials.csv."""
    try:
        with gzip.open(io.BytesIO(files.content_of(folder / PLANNED))) as file:
            content = file.read(MOST_PLANNED + 1)
        if len(content) > MOST_PLANNED:
            raise ValueError(f"it would unpack to more than {MOST_PLANNED:,} bytes")
        return _as_planned(csv_rows.read(io.StringIO(content.decode())))
    except DAMAGE as error:
        if (folder / PLANNED).exists():
            documents.say(f"{folder / PLANNED} is damaged ({error}): trials.csv says what was planned")
    return _as_planned(csv_rows.read(folder / "trials.csv"))


def _as_planned(rows: pd.DataFrame) -> pd.DataFrame:
    """Planned trials' rows; raises ValueError where columns are missing that all have."""
    lacking = [name for name in documents.NEEDED if name not in rows]
    if lacking:
        raise ValueError(f"trials.csv has no column {', '.join(lacking)}")
    return rows


def read_part(path: Path) -> dict[str, pd.DataFrame] | None:
    """A part's tables, as text; None if it is damaged."""
    part = part_files.read(path)
    return None if part is None else _frames(part)


def _frames(part: part_files.Part) -> dict[str, pd.DataFrame]:
    return {name: csv_rows.read(io.StringIO(getattr(part, name))) for name in TABLES}


def digest_of(folder: Path, name: str, group: str = "") -> str:
    """The SHA-256 of the weights or predictions that a run wrote under this name; empty if none is known."""
    record, part = checksums.read(folder), f"{group}.zip"
    if files.is_name(group) and (record is None or part not in record.parts):
        there = part_files.read(folder / "parts" / part)
        if there is not None:
            return there.files.get(name, "")
    return record.files.get(name, "") if record else ""


def rows_of(folder: Path, ids: Collection[str]) -> dict[str, pd.DataFrame]:
    """The rows of some trials in the parts, as text: of a trial that is in several, those of the last."""
    parts = [_frames(part) for part in part_files.whole(folder).sound]
    tables = {
        name: pd.concat([part[name] for part in parts], ignore_index=True) if parts else empty(name)
        for name in TABLES
    }
    # A trial that failed in one part and finished in another has finished.
    trials = tables["trials"].sort_values("status", key=lambda s: s.isin(FINISHED), kind="stable")
    tables["trials"] = trials.drop_duplicates("trial_id", keep="last")
    return {name: frame[frame["trial_id"].isin(set(ids))] for name, frame in tables.items()}


def empty(name: str) -> pd.DataFrame:
    """A table without rows."""
    columns = {"trials": ["trial_id", *OUTCOME], "epochs": EPOCHS, "confusion": csv_rows.CONFUSION}
    return pd.DataFrame(columns=columns[name], dtype=str)


def _merged(folder: Path, rows: pd.DataFrame, parts: Sequence[part_files.Part]) -> dict[str, str]:
    """The three tables, as CSVs, in the plan's order; `rows` are the planned trials'."""
    tracked = _tracked(folder, [part.epochs for part in parts])
    place: dict[str, int] = {}
    for i, trial_id in enumerate(rows["trial_id"]):
        place.setdefault(trial_id, i)  # of arms that chose the same settings
    columns = [*EPOCHS, *tracked]
    epochs = [csv_rows.with_columns(part.epochs, columns) for part in parts]
    outcome = csv_rows.concatenated([part.trials for part in parts], empty("trials"))
    return {
        "trials": csv_rows.written(_merged_trials(rows, outcome, outcome_columns(tracked))),
        "epochs": csv_rows.merged(columns, epochs, place),
        "confusion": csv_rows.merged(csv_rows.CONFUSION, [part.confusion for part in parts], place),
    }


def _parts(folder: Path) -> list[part_files.Part]:
    """Read the sound parts; of those that are to be renewed, the trials that no other part has."""
    old = {f"{group}.zip" for group in to_renew(folder)}
    sound = part_files.whole(folder).sound
    if not old:
        return sound
    new = [part for part in sound if part.name not in old]
    there = {name for part in new for name in csv_rows.read(io.StringIO(part.trials))["trial_id"]}
    left = (part for part in sound if part.name in old)
    return new + [
        replace(
            part,
            trials=csv_rows.without(part.trials, there),
            epochs=csv_rows.without(part.epochs, there),
            confusion=csv_rows.without(part.confusion, there),
        )
        for part in left
    ]


def _merged_trials(rows: pd.DataFrame, outcome: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The planned trials' rows with what came of them, as text."""
    known = rows.loc[:, :"seed"].assign(_skipped=rows["reason"].where(rows["status"] == "skipped", ""))
    outcome = outcome.reindex(columns=["trial_id", *columns], fill_value="")
    # A trial that failed in one stack and finished in a later one has finished.
    outcome = outcome.sort_values("status", key=lambda s: ~s.isin(FINISHED), kind="stable")
    outcome = outcome.drop_duplicates("trial_id")
    trials = known.merge(outcome, on="trial_id", how="left").fillna("")
    trials.loc[trials["status"] == "", "reason"] = "not trained yet"
    skipped = trials["_skipped"] != ""
    trials.loc[skipped, "status"] = "skipped"
    trials.loc[skipped, "reason"] = trials["_skipped"]
    return trials.drop(columns="_skipped")


def _tracked(folder: Path, epochs: Sequence[str]) -> list[str]:
    """The metrics that have columns: the study's, in its order, then those that it tracked before."""
    listed: list[str] = documents.study(folder)["study"]["metrics"]
    there = {column for text in epochs for column in csv_rows.header(text)}
    return [*listed, *sorted(there - {*EPOCHS, *listed})]


def _prune_weights(folder: Path) -> None:
    """With keep_weights = "best", leave the best finished trial of each data set, by val accuracy."""
    kept = documents.study(folder)["study"]["keep_weights"]
    if kept == "all":
        return
    trials = read_trials(folder)
    files = {path.stem: path for path in (folder / "weights").glob("*.safetensors")}
    # Of trials that tie, a stack kept the weights of one.
    done = trials[(trials["status"] == "ok") & trials["trial_id"].isin(files)]
    done = done.dropna(subset=["val_accuracy"])
    best = set(done.loc[done.groupby("dataset")["val_accuracy"].idxmax(), "trial_id"])
    for trial_id in files.keys() & set(trials["trial_id"]):  # others were asked for by the study as it was
        if kept == "none" or trial_id not in best:
            files[trial_id].unlink()


# -------------------------------------------------------------------------------------------------- reading


def read(folder: Path | str) -> Results:
    """Read a results folder; where a run was killed, from its parts.

    Raises:
        UsageError: it is no results folder, or cannot be read.
    """
    folder = Path(folder)
    study = _study(folder)
    frames = _read_tables(folder, TABLES, study)
    provenance = documents.provenance(folder)
    return Results(folder, frames["trials"], frames["epochs"], frames["confusion"], study, provenance)


def check_parts(folder: Path) -> None:
    """Raise UsageError where trials.csv alone has finished trials: a run would write it without them."""
    if part_files.paths(folder) or not (folder / "trials.csv").is_file():
        return
    try:
        count = int(read_trials(folder)["status"].isin(FINISHED).sum())
    except UsageError:  # unreadable, and no parts: there is nothing to lose
        return
    if count:
        raise UsageError(
            f"{folder} has {count:,} finished trials in trials.csv, and none of the parts/ that it was made "
            "from. Copy parts/ back; or, to train all of them again, move the folder away"
        )


def read_trials(folder: Path | str) -> pd.DataFrame:
    """The trials of a results folder, as `read` gives them: the other tables of a large study take seconds.

    Raises:
        UsageError: it is no results folder, or cannot be read.
    """
    return _read_tables(Path(folder), ["trials"], _study(Path(folder)))["trials"]


def _study(folder: Path) -> dict[str, Any]:
    """What study.toml says of a results folder; raises UsageError where it is none."""
    if not (folder / "trials.csv").is_file():
        raise UsageError(
            f"{folder} is no results folder: it has no trials.csv. Results are in results/<study>/."
        )
    return documents.study(folder)


def _read_tables(folder: Path, names: Sequence[str], study: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """Some of a results folder's tables, typed as its study has their columns, and checked."""
    text = {"trials": text_columns(study)}  # in epochs.csv, loss is a number
    remade = part_files.paths(folder)
    advice = REMAKE if remade else documents.AGAIN
    frames, name = {}, "trials"
    try:
        current = _current(folder, names)
        for name in names:
            frames[name] = typed(csv_rows.read(io.StringIO(current[name])), text.get(name, TEXT))
            documents.check_table(name, frames[name])
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            f"{folder / name}.csv cannot be read, it was changed by another program or is damaged: {error}. "
            f"{advice}."
        ) from error
    return frames


def folder_with(trial: str | None, under: Path = Path("results")) -> Path:
    """The results folder under `under` that has a trial of this id.

    Raises:
        UsageError: there is none, or several; says to name the folder.
    """
    folders = sorted(path.parent for path in under.glob("**/trials.csv"))
    # What arms tried is no result; and a tuned trial that is among the fixed ones, too, is found there.
    folders = [folder for folder in folders if folder.name != TUNING and (folder / "study.toml").is_file()]
    anyone = trial in {None, "best"}
    having = [] if anyone else [folder for folder in folders if trial in _ids(folder)]
    having = [folder for folder in having if folder.parent not in having]
    folders = [folder for folder in folders if folder.parent not in folders]
    if anyone:
        having = folders
    if len(having) == 1:
        return having[0]
    there = ", ".join(map(str, having or folders)) or "none"
    what = "which results folder?" if having else f"no results folder there has a trial {trial!r}."
    raise UsageError(f"{what} Name one with --results; under {under}/ there are: {there}")


def _ids(folder: Path) -> set[str]:
    """The trial_ids of a results folder; none of one that cannot be read, which is said."""
    try:
        return set(read_trials(folder)["trial_id"])
    except (UsageError, MachineError) as error:
        documents.say(str(error))
        return set()


def _current(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Some tables as they stand: the CSVs as they were written, or else what the parts make of them."""
    there = standing.tables(folder, [f"{name}.csv" for name in names])
    if there is None:
        return _merged(folder, _planned_rows(folder), _parts(folder))
    return {name: there[f"{name}.csv"].decode("utf-8-sig") for name in names}


def count_statuses(trials: pd.DataFrame) -> dict[str, int]:
    """Status -> how many trials; empty for not trained yet."""
    return {str(status): int(n) for status, n in trials["status"].fillna("").value_counts().items()}


def stacks_of(plan: Mapping[str, Any]) -> list[tuple[str, Any, Sequence[str]]]:
    """The stacks that an earlier plan wrote down: (group, engine, trial_ids)."""
    return [(stack["group"], stack["engine"], stack["trials"]) for stack in plan.get("stacks", [])]


def unfinished(plan: Plan, done: Mapping[str, str]) -> list[Stack]:
    """The stacks that still have to be trained, whole."""
    return [stack for stack in plan.stacks if any(trial.trial_id not in done for trial in stack.trials)]
