"""The tables trials.csv, epochs.csv and confusion.csv: made from the parts, and checked before they are read.

The parts are the truth, and decide which table is current; a file's time does not, since a copy changes it.
checksums.json holds the SHA-256 of every table, so that a changed one is noticed. scores.csv, stacks.csv
(`derived`) and datapackage.json are made of these for other programs; the harness reads no number there.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from harness import notes
from harness.errors import MachineError, UsageError
from harness.results import (
    checksums,
    columns,
    csv_rows,
    datapackage,
    derived,
    documents,
    part_files,
    targets,
)  # fmt: skip
from harness.results.checksums import Record
from harness.results.columns import FINISHED, TABLES
from harness.results.csv_rows import CONFUSION, TextTable
from harness.results.part_files import Part
from harness.results.part_summaries import PartSummary
from harness.settings import limits
from harness.settings.schema import EPOCHS, PARENT, outcome_columns
from harness.system import files
from harness.system.files import DraftFile

PLANNED = "planned.csv.gz"
KEPT = ("weights", "predictions")
"""Folders of files that are written with a part."""
MADE = (*(f"{name}.csv" for name in derived.DERIVED), datapackage.FILE)
"""Files that are made of the tables, for other programs."""
ANEW = "`harness run` writes it anew from parts/"
MOST_PLANNED = limits.TRIALS * 2**10
"""Most bytes of all planned rows, unpacked: 1 KiB for each trial of the largest study."""


def write(
    folder: Path,
    contents: Mapping[str, bytes | DraftFile],
    parts: Iterable[Part | PartSummary] | None = None,
    key_of_trials: Sequence[str] = (),
    left: Collection[str] = (),
) -> None:
    """Write tables of a locked folder, and their digests, so that a kill at any moment does no harm.

    `contents` maps file names to contents, or to drafts of them, written in this order, behind
    datapackage.json, which describes them; `parts` are those that they were made from. A draft of trials.csv
    needs `key_of_trials`, the columns that tell its rows apart. Tables that are `left` in the parts go.
    """
    for name in left:
        (folder / f"{name}.csv").unlink(missing_ok=True)
    heads = {name: one.head if isinstance(one, DraftFile) else one for name, one in contents.items()}
    described = datapackage.content(folder, heads, documents.study(folder), key_of_trials)
    record = checksums.read(folder) or Record()
    settled = record.tables.get(datapackage.FILE) == (checksums.digest(described),)
    if not settled or _content(folder / datapackage.FILE) != described:
        contents = {datapackage.FILE: described, **contents}
    digests = {
        name: one.digest if isinstance(one, DraftFile) else checksums.digest(one)
        for name, one in contents.items()
    }
    record = record.before(digests)
    files.write(folder / checksums.FILE, record.content())
    for name, content in contents.items():
        if isinstance(content, DraftFile):
            content.place()
        else:
            files.write(folder / name, content)
    gone = {f"{name}.csv" for name in left}
    record = record.after(contents)
    record = replace(record, tables={name: one for name, one in record.tables.items() if name not in gone})
    if parts is not None:
        listed = list(parts)
        there = {f"{kind}/{name}" for kind in KEPT for name in files.names(folder / kind)}
        record = replace(
            record,
            parts={part.name: part.digest for part in listed},
            files={name: digest for part in listed for name, digest in part.files.items() if name in there},
        )
    files.write(folder / checksums.FILE, record.content())


def write_planned(
    folder: Path, rows: TextTable, retrained: Collection[str] = (), sound: Sequence[Part] | None = None
) -> TextTable:
    """Write the planned trials' rows, and tables in which finished trials keep their outcomes.

    The parts of the groups `retrained` are about to change, and are not recorded. Returns the trials.
    """
    files.write(folder / PLANNED, gzip.compress(rows.written().encode(), 1, mtime=0))
    return _write_merged(folder, rows, part_files.current(folder, sound), retrained)


def consolidate(folder: Path, sound: Sequence[Part] | None = None) -> TextTable:
    """Remake the tables from the parts, prune the weights as the study asks, and return the trials."""
    trials = _write_merged(folder, planned(folder), part_files.current(folder, sound))
    prune_weights(folder, trials)
    return trials


def _write_merged(
    folder: Path, rows: TextTable, parts: Sequence[Part], retrained: Collection[str] = ()
) -> TextTable:
    trials, texts = _merged_tables(folder, rows, parts)
    texts |= {name: make(trials).written() for name, make in derived.DERIVED.items()}
    contents = {f"{name}.csv": texts.pop(name).encode() for name in reversed(list(texts))}
    write(folder, contents, [part for part in parts if part.group not in retrained])
    return trials


def prune_weights(folder: Path, trials: TextTable) -> None:
    """With keep_weights = "best", leave the best finished trial of each data set, by val accuracy."""
    kept = documents.study(folder)["study"]["keep_weights"]
    if kept == "all":
        return
    weights = {path.stem: path for path in (folder / "weights").glob("*.safetensors")}
    # Of trials that tie, a stack kept the weights of one.
    best: dict[str, tuple[float, str]] = {}
    for trial_id, dataset, status, cell in zip(
        *(trials[name] for name in ("trial_id", "dataset", "status", "val_accuracy")), strict=True
    ):
        accuracy = float(cell or math.nan)
        first = best.get(dataset, (-math.inf, ""))[0]
        if status == "ok" and trial_id in weights and accuracy > first:
            best[dataset] = accuracy, trial_id
    chosen = {trial_id for _, trial_id in best.values()}
    for trial_id in weights.keys() & set(trials["trial_id"]):  # an earlier form of the study asked for others
        if kept == "none" or trial_id not in chosen:
            weights[trial_id].unlink()


def complete(folder: Path) -> None:
    """Write what is made of trials.csv, and datapackage.json, for a folder that is kept: older, or packed.

    No run may write into it meanwhile.

    Raises:
        UsageError: trials.csv or study.toml cannot be read.
    """
    trials = csv_rows.table(read(folder, ["trials"])["trials"])
    contents = {f"{name}.csv": make(trials).written().encode() for name, make in derived.DERIVED.items()}
    if (folder / checksums.FILE).exists():
        write(folder, contents)
        return
    # Checksums of these alone would say of the other tables that they changed.
    described = datapackage.content(folder, contents, documents.study(folder))
    for name, content in {**contents, datapackage.FILE: described}.items():
        files.write(folder / name, content)


def planned(folder: Path) -> TextTable:
    """Read the planned trials' rows; where that file is damaged or missing, those of trials.csv."""
    try:
        content = files.unpacked(files.content_of(folder / PLANNED), MOST_PLANNED)
        return _with_needed(csv_rows.table(content.decode()))
    except files.DAMAGE as error:
        if (folder / PLANNED).exists():
            notes.warn(f"{folder / PLANNED} is damaged ({error}): trials.csv is read in its place")
    return _with_needed(csv_rows.table(files.content_of(folder / "trials.csv").decode("utf-8-sig")))


def planned_columns(folder: Path) -> list[str]:
    """List the columns of the planned trials' rows up to seed."""
    try:
        with gzip.open(folder / PLANNED, "rt", encoding="utf-8", newline="") as file:
            columns_there = csv_rows.table(file.readline()).columns
    except files.DAMAGE:
        columns_there = planned(folder).columns
    return columns_there[: columns_there.index("seed") + 1]


def _with_needed(rows: TextTable) -> TextTable:
    columns.check_columns(rows.columns, columns.NEEDED["trials"])
    return rows


def _merged(folder: Path, rows: TextTable, parts: Sequence[Part]) -> dict[str, str]:
    """Merge the parts into three CSVs in the plan's order; `rows` are the planned trials'."""
    return _merged_tables(folder, rows, parts)[1]


def _merged_tables(folder: Path, rows: TextTable, parts: Sequence[Part]) -> tuple[TextTable, dict[str, str]]:
    """Merge the parts as `_merged`; gives the trials' rows, too, as they will be read again."""
    tracked = _tracked(folder, parts)
    place: dict[str, int] = {}
    for i, trial_id in enumerate(rows["trial_id"]):
        place.setdefault(trial_id, i)  # of arms that chose the same settings
    header = [*EPOCHS, *tracked]
    target = targets.of_study(documents.study(folder)["study"])
    outcomes = csv_rows.concatenated([part.trials for part in parts], ["trial_id"])
    if len(set(outcomes["trial_id"])) < len(outcomes.rows):
        parts = part_files.each_once(parts)
        outcomes = csv_rows.concatenated([part.trials for part in parts], ["trial_id"])
    epochs = [csv_rows.with_columns(part.epochs, header) for part in parts]
    outcomes = targets.with_times(outcomes, parts, target)
    names = [*outcome_columns(tracked), *targets.columns(target), *([PARENT] if PARENT in outcomes else [])]
    trials = _merged_trials(rows, outcomes, names)
    return trials, {
        "trials": trials.written(),
        "epochs": csv_rows.merged(header, epochs, place),
        "confusion": csv_rows.merged(CONFUSION, [part.confusion for part in parts], place),
    }


def _merged_trials(rows: TextTable, outcomes: TextTable, names: Sequence[str]) -> TextTable:
    """Join the planned trials' rows with their outcomes, as text."""
    outcomes = outcomes.only(["trial_id", *names])
    ended = {trial_id: cells for trial_id, *cells in outcomes.rows}
    known = rows.columns.index("seed") + 1
    merged, missing = TextTable([*rows.columns[:known], *names]), [""] * len(names)
    expected = zip(rows.rows, rows["trial_id"], rows["status"], rows["reason"], strict=True)
    for row, trial_id, before, why in expected:
        cells = with_reason(ended.get(trial_id, missing), names, before, why)
        merged.rows.append([*row[:known], *cells])
    return merged.in_lines()


def with_reason(cells: Sequence[str], names: Sequence[str], before: str = "", why: str = "") -> list[str]:
    """Give the end of a row of trials.csv, columns `names`, with the reason where its trial was not trained.

    `before` and `why` are the status and reason that were planned.
    """
    cells, status, reason = list(cells), names.index("status"), names.index("reason")
    if before == "skipped" and why:
        cells[status], cells[reason] = before, why
    elif not cells[status]:
        cells[reason] = "not trained yet"
    return cells


def _tracked(folder: Path, parts: Sequence[Part]) -> list[str]:
    """List the metrics that have columns: the study's, in its order, then those it tracked before."""
    listed: list[str] = documents.study(folder)["study"]["metrics"]
    present = {column for part in parts for column in csv_rows.header(part.epochs)}
    return [*listed, *sorted(present - {*EPOCHS, *listed})]


def read(folder: Path, names: Sequence[str] = TABLES) -> dict[str, str]:
    """Read the CSVs of some tables: as they were written, or else merged anew from the parts.

    Raises:
        UsageError: a table changed or is missing, and there are no parts.
        MachineError: a table or a part cannot be read now.
    """
    record, contents, made = _at_one_moment(folder, [f"{name}.csv" for name in names], MADE)
    _say_changed(folder, record, made)
    if record is None and (folder / checksums.FILE).exists():
        notes.warn(f"{folder / checksums.FILE} is damaged, so a changed table would go unnoticed")
    in_parts = [
        name
        for name, content in contents.items()
        if content is None and record is not None and record.parts and name not in record.tables
    ]
    changed = [
        name
        for name, content in contents.items()
        if name not in in_parts
        and (content is None or (record is not None and not record.fits(name, content)))
    ]
    texts = {name: (content or b"").replace(b"\r\n", b"\n") for name, content in contents.items()}
    if part_files.paths(folder):
        parts = part_files.read_all(folder)
        current = _are_current(folder, parts, record, contents, changed)
        anew: dict[str, str] = {}
        if not current or in_parts:
            anew = _merged(folder, planned(folder), part_files.current(folder, parts.sound))
        if not current:
            return anew
        texts |= {name: anew[name.removesuffix(".csv")].encode() for name in in_parts}
    elif (lost := [*changed, *in_parts]) and (record is not None or contents[lost[0]] is None):
        raise UsageError(_lost(folder / lost[0]))
    return {name: texts[f"{name}.csv"].decode("utf-8-sig") for name in names}


def _say_changed(folder: Path, record: Record | None, made: Mapping[str, bytes | None]) -> None:
    """Note which files that are made of the tables have changed: other programs read them."""
    if record is None or not record.settled:
        return
    known = {name: content for name, content in made.items() if content and name in record.tables}
    changed = [name for name, content in known.items() if not record.fits(name, content)]
    if changed:
        names = " and ".join(str(folder / name) for name in changed)
        advice = ANEW if part_files.paths(folder) else documents.COPY_AGAIN
        notes.warn(
            f"{names} was changed by another program, or by hand, after the run: trials.csv is read in its "
            f"place. {advice}"
        )


def _are_current(
    folder: Path,
    parts: part_files.Parts,
    record: Record | None,
    contents: Mapping[str, bytes | None],
    changed: Sequence[str],
) -> bool:
    """Tell whether tables agree with the parts, or have more trials; note damaged parts, changed tables."""
    part_files.say_copies(folder, parts.copies)
    if parts.damaged:
        names = " and ".join(str(path) for path in parts.damaged)
        notes.warn(
            f"{names}: damaged, or changed after the run, so not read; `harness run` trains its trials again"
        )
    if record is None:
        return not changed and _has_more(contents.get("trials.csv") or b"", parts.sound)
    if changed and record.settled:
        notes.warn(_merged_anew(folder, changed, record.parts))
    return not changed and record.settled and all(part.name in record.parts for part in parts.sound)


def _has_more(content: bytes, parts: Sequence[Part]) -> bool:
    """Tell whether a trials.csv without checksums has all trials that parts have finished, and others."""
    try:
        trials = csv_rows.table(content.decode("utf-8-sig"))
        written = _finished_ids(trials)
    except (ValueError, KeyError):
        return False
    return set().union(*(_finished_ids(part.table("trials")) for part in parts)) < written


def _finished_ids(trials: TextTable) -> set[str]:
    pairs = zip(trials["trial_id"], trials["status"], strict=True)
    return {trial_id for trial_id, status in pairs if status in FINISHED}


def check_unchanged(folder: Path, name: str) -> None:
    """Raise ValueError if a table that no part can restore has changed since it was written."""
    record, contents, _ = _at_one_moment(folder, [name])
    content = contents[name]
    if content is None or record is None or name not in record.tables:
        return  # missing, or older than checksums: its reader reports errors, if there are any
    if not record.fits(name, content):
        raise ValueError("it was changed by another program, or by hand, after the run that wrote it")


def _at_one_moment(
    folder: Path, names: Sequence[str], made: Sequence[str] = ()
) -> tuple[Record | None, dict[str, bytes | None], dict[str, bytes | None]]:
    """Read the record, some tables, and files made of them, again if a run writes in between."""
    while True:
        record = checksums.read(folder)
        contents = {name: _content(folder / name) for name in names}
        others = {name: _plain(folder / name) for name in made}
        if checksums.read(folder) == record:
            return record, contents, others


def _plain(path: Path) -> bytes | None:
    """Read a file that no number depends on; None if it is not there, or cannot be read."""
    with suppress(OSError, MachineError):
        return files.content_of(path)
    return None


def is_there(path: Path) -> bool:
    """Tell whether a table is there, as it was written or packed."""
    return path.is_file() or _packed(path).is_file()


def _content(path: Path) -> bytes | None:
    """Read a table, or else unpack it; None if it is not there. Raise UsageError if it cannot be unpacked."""
    with suppress(FileNotFoundError):
        return files.content_of(path)
    packed = _packed(path)
    try:
        return files.unpacked(files.content_of(packed), datapackage.MOST_UNPACKED)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UsageError(f"{packed} is damaged: {error}. {documents.COPY_AGAIN}.") from error


def _packed(path: Path) -> Path:
    return path.with_name(f"{path.name}.gz")


def _merged_anew(folder: Path, changed: Sequence[str], known: Mapping[str, str]) -> str:
    """Say that tables are merged from the parts, and which of these are missing."""
    present = {path.name for path in part_files.paths(folder)}
    gone = [f"parts/{name}" for name in known if name not in present]
    lost = f" ({', '.join(gone)} missing, whose trials count as not trained)" if gone else ""
    names = " and ".join(str(folder / name) for name in changed)
    return (
        f"{names} was changed by another program, or by hand, after the run: read from parts/ instead{lost}. "
        f"{ANEW}"
    )


def _lost(path: Path) -> str:
    if not is_there(path):
        return f"{path} cannot be read: it is missing. Copy the whole results folder again."
    return (
        f"{path} was changed by another program, or by hand, after the run that wrote it: its SHA-256 is not "
        f"the one in {checksums.FILE}, and there are no parts/ to read instead. Copy the whole folder again; "
        f"or, to read the file as it is now, remove {checksums.FILE}."
    )
